"""What a result depends on: the versions of what made it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def versions() -> dict[str, str]:
    """Python's version and those of the packages figures may depend on; `pvg` is this one."""
    found = {"python": platform.python_version()}
    for package in ("prover-verifier-games", "torch", "numpy", "numba", "numba-cuda", "gymnasium"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # an extra, or a source tree that was not installed
            found[package] = "not installed"
    return {"pvg": found.pop("prover-verifier-games"), **found}
