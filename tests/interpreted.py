"""Python in a fresh process in which nothing is compiled: for games that are played a few times, compiling is what takes long."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def interpreted(script: str, *arguments: object) -> str:
    """What a script prints; an AssertionError with its last line and its errors if it fails."""
    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    env = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1:]}\n{done.stderr}"
    return done.stdout
