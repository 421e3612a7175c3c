"""The tasks, one file each. A new task is one file here and one line below."""

from pvg.tasks.arith import Arith

__all__ = ["Arith"]
