"""Machine code kept on disk by one process serves another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DEAL = """
import hashlib, sys
import pvg
for protocol in sys.argv[1:]:
    print(hashlib.sha256(pvg.game("Arith", protocol, num_envs=5, seed=1).bytes.numpy().tobytes()).hexdigest())
"""


def dealt(cache: Path, *protocols: str) -> list[str]:
    """A hash of the records dealt under each protocol by a process of its own."""
    command, env = [sys.executable, "-c", DEAL, *protocols], os.environ | {"PVG_CACHE": str(cache)}
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.split()


def test_code_kept_by_two_processes_does_not_mix_in_a_third(tmp_path):
    alone = dealt(tmp_path, "solo") + dealt(tmp_path, "prover_verifier")
    assert dealt(tmp_path, "solo", "prover_verifier") == alone
