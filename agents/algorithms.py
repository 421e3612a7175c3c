"""All learning algorithms, one file each: importing this registers them."""

from pvg.agents.adversarial import Adversarial
from pvg.agents.imitation import Imitation
from pvg.agents.merlin_arthur import MerlinArthurTraining
from pvg.agents.prover_verifier import ProverVerifierTraining
from pvg.agents.reinforce import Reinforce
from pvg.agents.selfplay import PPO

__all__ = ["PPO", "Adversarial", "Imitation", "MerlinArthurTraining", "ProverVerifierTraining", "Reinforce"]
