# The two commands of the README: each makes .venv if it is missing, installs the tested versions, and runs.
PYTHON ?= python3

# Tests that play many games a few times, which takes a tenth of the time if nothing is compiled.
INTERPRETED = attack_library baselines benchmark_sweep benchmark_verifiers checkability differentiable distributed enumerator envs \
	frozen_transcripts interpretability jax_ppo log mcts metrics networks networks_graph \
	papers_checkability papers_emergence papers_find_the_plus papers_graph_isomorphism papers_ordering papers_red_team papers_results \
	papers_self_proving_gcd papers_sparse_pixels papers_verifying_against_solving pettingzoo protocol_consultancy protocol_debate \
	protocol_full_information protocol_merlin_arthur protocol_multi_prover rollout sb3 selfplay solver stackelberg verifier

.PHONY: demo test
.NOTPARALLEL:

demo: .venv/installed-plots
	.venv/bin/python -m pvg.benchmarks.demo

test: .venv/installed-test
	.venv/bin/pytest --numprocesses auto --dist loadfile $(INTERPRETED:%=--ignore=tests/test_%.py)
	NUMBA_DISABLE_JIT=1 .venv/bin/pytest --numprocesses auto --dist loadfile $(INTERPRETED:%=tests/test_%.py)

# A stamp per extra: pip runs again only when what it reads has changed.
.venv/installed-%: pyproject.toml constraints.txt | .venv/made
	.venv/bin/python -m pip install --constraint constraints.txt --editable '.[$*]'
	touch $@

.venv/made:
	$(PYTHON) -m venv .venv
	touch $@
