"""Searches for the message a verifier accepts most readily: what a prover who only wants acceptance would send.

`best_response` is the quick search that training and evaluation use. `pvg.agents.attacks.library` runs every attack there is,
one file a family, with equal budgets; a new one is one file here and one line there.
"""

from pvg.agents.attacks.coordinates import best_of, coordinate_ascent
from pvg.agents.attacks.exact import StepChecking, dynamic_programming, exhaustive, numbered
from pvg.agents.attacks.queries import ask, tosses_of
from pvg.agents.attacks.response import BestResponse, best_response, exact_response
from pvg.agents.claims import Seats, seats

__all__ = [
    "BestResponse",
    "Seats",
    "StepChecking",
    "ask",
    "best_of",
    "best_response",
    "coordinate_ascent",
    "dynamic_programming",
    "exact_response",
    "exhaustive",
    "numbered",
    "seats",
    "tosses_of",
]
