"""The protocols, one file each. A new protocol is one file here and one line below."""

from pvg.protocols.bisection import Bisection
from pvg.protocols.consultancy import Consultancy
from pvg.protocols.interactive_proof import InteractiveProof
from pvg.protocols.prover_verifier import ProverVerifier
from pvg.protocols.solo import Solo

__all__ = ["Bisection", "Consultancy", "InteractiveProof", "ProverVerifier", "Solo"]
