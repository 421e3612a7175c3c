"""Networks that play any task's roles from the fields of its view, one file each.

A new one is one file here and one line below.
"""

from pvg.agents.networks.base import Player, ProverNetwork, VerifierNetwork
from pvg.agents.networks.graph import GraphProver, GraphVerifier
from pvg.agents.networks.gru import GRUProver, GRUVerifier
from pvg.agents.networks.mlp import MLPProver, MLPVerifier
from pvg.agents.networks.registry import Network, build, networks, size_of, widest
from pvg.agents.networks.step_check import StepCheckProver, StepCheckVerifier
from pvg.agents.networks.transformer import TransformerProver, TransformerVerifier

__all__ = [
    "GRUProver",
    "GRUVerifier",
    "GraphProver",
    "GraphVerifier",
    "MLPProver",
    "MLPVerifier",
    "Network",
    "Player",
    "ProverNetwork",
    "StepCheckProver",
    "StepCheckVerifier",
    "TransformerProver",
    "TransformerVerifier",
    "VerifierNetwork",
    "build",
    "networks",
    "size_of",
    "widest",
]
