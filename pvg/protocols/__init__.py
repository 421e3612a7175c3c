"""The protocols, one file each. A new protocol is one file here and one line below."""

from pvg.protocols.prover_verifier import ProverVerifier
from pvg.protocols.solo import Solo

__all__ = ["ProverVerifier", "Solo"]
