"""The tasks, one file each. A new task is one file here and one line below."""

from pvg.tasks.arith import Arith
from pvg.tasks.bug_hunt import BugHunt
from pvg.tasks.coloring import Coloring
from pvg.tasks.connectivity import Connectivity
from pvg.tasks.erasure_channel import ErasureChannel
from pvg.tasks.find_the_plus import FindThePlus
from pvg.tasks.formula import Formula
from pvg.tasks.gcd import GCD
from pvg.tasks.graph_iso import GraphIso
from pvg.tasks.graph_non_iso import GraphNonIso
from pvg.tasks.mat_mul import MatMul
from pvg.tasks.matching import Matching
from pvg.tasks.poll import Poll
from pvg.tasks.program import Program
from pvg.tasks.sorting import Sorting
from pvg.tasks.sparse_digits import SparseDigits
from pvg.tasks.sum_check import SumCheck
from pvg.tasks.word_problem import WordProblem

__all__ = [
    "GCD",
    "Arith",
    "BugHunt",
    "Coloring",
    "Connectivity",
    "ErasureChannel",
    "FindThePlus",
    "Formula",
    "GraphIso",
    "GraphNonIso",
    "MatMul",
    "Matching",
    "Poll",
    "Program",
    "Sorting",
    "SparseDigits",
    "SumCheck",
    "WordProblem",
]
