"""What a result must carry: versions, commit, device."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import torch

from pvg.versions import versions


def provenance(device: str = "cpu") -> dict[str, str]:
    """Versions of what was run, the commit of the checkout (where there is one) and the device's name."""
    name = torch.cuda.get_device_name() if device == "cuda" and torch.cuda.is_available() else platform.processor()
    return {**versions(), "commit": _commit(), "device": device, "device_name": name or platform.machine()}


def _commit() -> str:
    try:
        command = ["git", "-C", str(Path(__file__).resolve().parent), "describe", "--always", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
