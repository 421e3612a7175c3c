"""All learning algorithms, one file each: importing this registers them."""

from pvg.agents.adversarial import Adversarial
from pvg.agents.checkability import Checkability
from pvg.agents.expert_iteration import ExpertIteration
from pvg.agents.imitation import Imitation
from pvg.agents.merlin_arthur import MerlinArthurTraining
from pvg.agents.prover_verifier import ProverVerifierTraining
from pvg.agents.reinforce import RLVF, Reinforce
from pvg.agents.selfplay import PPO
from pvg.agents.stackelberg import Stackelberg

__all__ = [
    "PPO",
    "RLVF",
    "Adversarial",
    "Checkability",
    "ExpertIteration",
    "Imitation",
    "MerlinArthurTraining",
    "ProverVerifierTraining",
    "Reinforce",
    "Stackelberg",
]
