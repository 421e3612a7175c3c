"""Cooperation against adversarial training on FindThePlus, at tiny size: pairs are trained and attacked, and claims can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pvg.benchmarks.papers import find_the_plus
from pvg.tasks import FindThePlus


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(find_the_plus, "TASK", FindThePlus(height=3, width=3, colours=3))
        both = (*find_the_plus.HEADLINE, *find_the_plus.BESIDE)
        for way, settings in find_the_plus.WAYS.items():
            patched.setitem(find_the_plus.WAYS, way, settings | {"updates": 4})
        found = [find_the_plus.run(objective, way, 0, claims=20, games=0) for objective, way in both]
    torch.set_num_threads(threads)
    return found


def test_every_arm_is_trained_and_attacked(rows: list[dict[str, Any]]) -> None:
    assert len({(row["objective"], row["way"]) for row in rows}) == 6
    for row in rows:
        assert set(row["success"]) == {"exhaustive", "gradient"}
        assert row["success"]["exhaustive"] == row["exact"]  # of nine messages, all are tried
        assert 0 < row["completeness"] <= row["achievable_completeness"] <= 1
        assert len(set(map(len, row["curves"].values()))) == 1


def test_a_figure_and_a_summary_are_made(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    find_the_plus.figure(rows, tmp_path / "find_the_plus.png")
    assert (tmp_path / "find_the_plus.png").stat().st_size > 5000
    assert find_the_plus.summary(rows)["cooperative, quantal"]["exact"].startswith(f"{rows[0]['exact']:.4f}")


def test_a_quantal_response_draws_messages_by_what_they_gain() -> None:
    v = torch.tensor([[0.8, 0.2], [0.5, 0.25]])  # statement message
    log_probs = torch.stack([1 - v, v], 2).log()
    by_v, by_doubt = (v**4, (1 - v) ** 4)
    truth = torch.tensor([1, 0])
    adversarial, cooperative = (find_the_plus.quantal(log_probs, truth, objective) for objective in ("adversarial", "cooperative"))
    torch.testing.assert_close(adversarial, by_v / by_v.sum(1, keepdim=True))
    torch.testing.assert_close(cooperative[0], adversarial[0])
    torch.testing.assert_close(cooperative[1], by_doubt[1] / by_doubt[1].sum())


def scored(code: dict[str, float] | None = None, proof: dict[str, float] | None = None) -> dict[str, bool]:
    """Which claims hold of one seed whose figures are good but for those given."""
    made = []
    changes = (code or {}, proof or {})
    for (objective, way), exact, change in zip(find_the_plus.HEADLINE, (0.95, 0.05), changes, strict=True):
        made.append({"objective": objective, "way": way, "completeness": 0.95, "exact": exact} | change)
    return find_the_plus.claims_of(made)


def test_each_claim_fails_alone() -> None:
    assert all(scored().values())
    for change in ({"exact": 0.85}, {"completeness": 0.85}):
        assert scored(code=change) == {"code_breaks": False, "adversarial_holds": True}
    for change in ({"exact": 0.15}, {"completeness": 0.85}):
        assert scored(proof=change) == {"code_breaks": True, "adversarial_holds": False}


def test_a_diverged_run_is_a_failure_of_every_claim() -> None:
    assert not any(scored(code={"diverged": 1.0}).values())
