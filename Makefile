# The two commands of the README: each makes .venv if it is missing, installs the tested versions, and runs.
PYTHON ?= python3

.PHONY: demo test
.NOTPARALLEL:

demo: .venv/installed-plots
	.venv/bin/python -m pvg.benchmarks.demo

test: .venv/installed-test
	.venv/bin/pytest --numprocesses auto --dist loadfile

# A stamp per extra: pip runs again only when what it reads has changed.
.venv/installed-%: pyproject.toml constraints.txt | .venv/made
	.venv/bin/python -m pip install --constraint constraints.txt --editable '.[$*]'
	touch $@

.venv/made:
	$(PYTHON) -m venv .venv
	touch $@
