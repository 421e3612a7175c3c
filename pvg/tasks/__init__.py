"""The tasks, one file each. A new task is one file here and one line below."""

from pvg.tasks.arith import Arith
from pvg.tasks.word_problem import WordProblem

__all__ = ["Arith", "WordProblem"]
