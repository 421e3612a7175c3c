"""The tasks, one file each. A new task is one file here and one line below."""

from pvg.tasks.arith import Arith
from pvg.tasks.erasure_channel import ErasureChannel
from pvg.tasks.gcd import GCD
from pvg.tasks.word_problem import WordProblem

__all__ = ["GCD", "Arith", "ErasureChannel", "WordProblem"]
