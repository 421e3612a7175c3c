"""The protocols, one file each. A new protocol is one file here and one line below."""

from pvg.protocols.bisection import Bisection
from pvg.protocols.consultancy import Consultancy
from pvg.protocols.cross_examination import CrossExamination
from pvg.protocols.debate import Debate
from pvg.protocols.full_information import FullInformation
from pvg.protocols.helpful_sneaky import HelpfulSneaky
from pvg.protocols.interactive_proof import InteractiveProof
from pvg.protocols.merlin_arthur import MerlinArthur
from pvg.protocols.multi_prover import MultiProver
from pvg.protocols.open_consultancy import OpenConsultancy
from pvg.protocols.open_debate import OpenDebate
from pvg.protocols.prover_estimator import ProverEstimator
from pvg.protocols.prover_verifier import ProverVerifier
from pvg.protocols.solo import Solo
from pvg.protocols.stochastic_debate import StochasticDebate
from pvg.protocols.zero_knowledge import ZeroKnowledge

__all__ = [
    "Bisection",
    "Consultancy",
    "CrossExamination",
    "Debate",
    "FullInformation",
    "HelpfulSneaky",
    "InteractiveProof",
    "MerlinArthur",
    "MultiProver",
    "OpenConsultancy",
    "OpenDebate",
    "ProverEstimator",
    "ProverVerifier",
    "Solo",
    "StochasticDebate",
    "ZeroKnowledge",
]
