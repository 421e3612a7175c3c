"""A new protocol is one file: everything that is made of a protocol comes by itself."""

from __future__ import annotations

from pathlib import Path

from interpreted import interpreted

PROTOCOL = '''
from dataclasses import dataclass
from typing import Any

from pvg.lane import lane
from pvg.protocol import Protocol, ProtocolRules, Role, Row, next_turn, protocols, score


@protocols.register("second_opinion")
@dataclass(frozen=True)
class SecondOpinion(Protocol):
    """Two verifiers hear one message; the second hears the first one's opinion too, and decides.

    Paid: the prover 1 if accepted, else 0; the second verifier 1 if right, -1 if wrong, 0 for "don't know".
    Source: a test.
    """

    roles = (Role("prover", "prover", -1.0), Role("first", "verifier", 0.0), Role("second", "verifier", -1.0))
    table = (
        Row(0, ("prover",), "message", 0, ("first", "second")),
        Row(1, ("first",), "opinion", 1, ("second",)),
        Row(2, ("second",), "verdict"),
    )

    def kinds(self, task, proof):
        from pvg.field import Field

        return {"opinion": (Field("opinion", 2, kind="bit"),)}

    def build(self, task, proof):
        check = proof.check

        @lane
        def deal(s: Any, tables: Any) -> None:
            s.side[0] = 1

        @lane
        def pay(s: Any, tables: Any, reward: Any) -> None:
            if s.turn < 0:
                reward[0] += s.verdict == 1
                reward[2] += score(s.verdict, s.truth, 2)

        @lane
        def tell(s: Any, tables: Any, role: Any, slot: Any, honest: Any, out: Any) -> None:
            out[0] = check(s, tables, 0)

        return ProtocolRules(deal, pay, next_turn, tell)
'''

USE = """
import gymnasium, second_opinion
from pvg import gallery
from pvg.cli import main
from pvg.envs import parallel_env
from pvg.protocol import protocols
from pvg.tasks import Arith
from pvg.testing import check_protocol

task = Arith(operations=3, modulus=3)
check_protocol(protocols["second_opinion"](), task)
for role in ("prover", "first", "second"):
    gymnasium.make("pvg/Arith-v0", protocol="second_opinion", role=role).reset(seed=0)
parallel_env("pvg/Arith-v0", protocol="second_opinion").reset(seed=0)
print("second_opinion" in gallery.protocol_table(), "Paid: the prover" in gallery.protocol_section("second_opinion"))
sys.argv = ["pvg", "list", "protocols"]
main()
"""


def test_a_protocol_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "second_opinion.py").write_text(PROTOCOL)
    out = interpreted(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{USE}")
    assert out.startswith("True True")
    assert "first opinion: opinion 0..1 -> second" in out
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".py"] == ["second_opinion.py"]
