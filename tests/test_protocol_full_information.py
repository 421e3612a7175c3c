"""full_information: the verifier sees what is hidden from it elsewhere, and nothing more."""

from __future__ import annotations

import pytest
import torch
from toys import Bit

from pvg.agent import default_agent
from pvg.enumerator import Enumerator
from pvg.extensive_form import best_response
from pvg.game import Game
from pvg.protocols import Solo
from pvg.protocols.full_information import FullInformation
from pvg.spec import resolve
from pvg.task import Task
from pvg.tasks import Arith, ErasureChannel, SparseDigits


@pytest.mark.parametrize(("task", "hidden", "nobodys"), [(ErasureChannel(), "bit", "serial"), (SparseDigits(), "image", "index")])
def test_the_verifier_sees_what_provers_see_and_no_more(task: Task, hidden: str, nobodys: str) -> None:
    spec = resolve(task, FullInformation())
    game = Game(spec, 50)
    assert torch.equal(game.observe("verifier")[hidden].long(), game.field(hidden).long())
    assert hidden not in {column.field.name for column in resolve(task, Solo()).view(0)}
    assert nobodys not in {column.field.name for column in spec.view(0)}
    assert default_agent(spec, 0).name == "random"


def test_a_hidden_bit_is_worth_all_of_the_verifiers_reward() -> None:
    for protocol, value in ((Solo(), 0.0), (FullInformation(), 1.0)):
        assert best_response(Enumerator(resolve(Bit(), protocol)), "verifier", {})[0] == pytest.approx(value)


def test_a_task_that_hides_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"does not fit Arith .*it hides nothing from the verifier, whose game `solo` is the same"):
        resolve(Arith(), FullInformation())
