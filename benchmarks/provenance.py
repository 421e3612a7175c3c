"""What a result must carry: versions, commit, device."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def provenance(device: str = "cpu") -> dict[str, str]:
    """Versions of what was run, the commit of the checkout (where there is one) and the device's name."""
    found = {"python": platform.python_version(), "commit": _commit()}
    for package in ("prover-verifier-games", "torch", "numpy", "numba", "numba-cuda", "gymnasium"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    name = torch.cuda.get_device_name() if device == "cuda" and torch.cuda.is_available() else platform.processor()
    return {**found, "device": device, "device_name": name or platform.machine()}


def _commit() -> str:
    try:
        command = ["git", "-C", str(Path(__file__).resolve().parent), "describe", "--always", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
