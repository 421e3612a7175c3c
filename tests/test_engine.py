"""The engine: the same transcripts however they are computed, and nothing a player says can reach another lane."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numba import njit
from toys import Bit, Different, DrawnSpeaker, EarlyDecision, HiddenSlot, Lookup, PrivateCoin

import pvg
from pvg.agent import Observation, Utterance, agents, default_agent
from pvg.engine import Kernels, kernels
from pvg.lane import GOLDEN, mix
from pvg.protocol import Protocol, protocols
from pvg.protocols import Bisection, InteractiveProof, ProverVerifier
from pvg.spec import resolve
from pvg.task import Task, tasks
from pvg.tasks import Arith

TRANSCRIPTS = """
import hashlib, sys, warnings
import torch, pvg
lanes, device, threads = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
game = pvg.game("Arith", num_envs=lanes, device=device, seed=7)
for _ in range(2):
    game.play()
print(hashlib.sha256(game.bytes[:3].numpy().tobytes() + game.returns[:3].numpy().tobytes()).hexdigest())
"""

GAMES: list[tuple[Task, Protocol]] = [
    (Bit(), EarlyDecision()),
    (Bit(erased=False), DrawnSpeaker()),
    (Different(), PrivateCoin()),
    (Bit(), HiddenSlot()),
    (Lookup(), ProverVerifier()),
    (Arith(), Bisection()),
    (Different(), InteractiveProof()),
    (Different(), InteractiveProof(asks="nature")),
]


def transcripts(lanes: int, device: str = "cpu", threads: int = 1, **environment: str) -> str:
    """The hash of lanes 0 to 2 after two games, from a fresh process."""
    command = [sys.executable, "-W", "error", "-c", TRANSCRIPTS, str(lanes), device, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_transcripts_do_not_depend_on_lanes_threads_processes_or_device() -> None:
    first = transcripts(7)
    assert transcripts(64) == first
    assert transcripts(4096) == first
    assert transcripts(4096, threads=2) == first
    assert transcripts(3, NUMBA_DISABLE_JIT="1") == first
    assert transcripts(3, device="cuda", NUMBA_DISABLE_JIT="1", NUMBA_ENABLE_CUDASIM="1") == first


def test_lane_alone_plays_as_in_any_batch() -> None:
    batch = pvg.game("Arith", num_envs=4096, seed=3)
    batch.play()
    for lane in (0, 1, 4095):
        alone = pvg.game("Arith", num_envs=1, seed=3)
        alone.seed(3, first_lane=lane)
        alone.play()
        assert torch.equal(alone.bytes[0], batch.bytes[lane])


@pytest.mark.parametrize("seed", range(6))
def test_a_game_played_by_hand(seed: int) -> None:
    game = pvg.game("Arith", num_envs=1, seed=seed)
    start, claim, truth = (int(game.field(name)) for name in ("start", "claim", "truth"))
    state, results = start, []
    for op, x in zip(game.field("op")[0].tolist(), game.field("x")[0].tolist(), strict=True):
        state = (state + x) % 5 if op == 0 else (state - x) % 5
        results.append(state)
    assert (results[-1] == claim) == bool(truth)
    assert game.acting.tolist() == [[True, False]]
    assert not game.observe("verifier")["partial"].ge(0).any()

    game.actions[0, 0] = torch.tensor(results[:-1])
    assert game.step().tolist() == [[0, 0]]
    assert game.acting.tolist() == [[False, True]]
    assert game.observe("verifier")["partial"].tolist() == [results[:-1]]

    game.actions[0, 1, 0] = 1
    assert game.step().tolist() == [[1, 1 if truth else -1]]
    assert bool(game.over)
    assert not game.acting.any()
    assert int(game.field("verdict")) == 1
    assert int(game.field("elapsed")) == 2


def test_fuzzed_actions_change_no_other_lane() -> None:
    lanes, generator = 100, torch.Generator().manual_seed(0)
    game, still = pvg.game("Arith", num_envs=lanes, seed=1), pvg.game("Arith", num_envs=lanes, seed=1)
    fuzzed = torch.arange(lanes) % 2 == 0
    for _ in range(2000):  # 2000 x 50 lanes = 100,000 fuzzed actions
        noise = torch.randint(-(2**31), 2**31 - 1, game.actions.shape, generator=generator, dtype=torch.int64)
        small = torch.randint(-1, 7, game.actions.shape, generator=generator)
        game.step(torch.where(torch.rand(lanes, 1, 1, generator=generator) < 0.5, noise, small), hold=~fuzzed)
        game.redeal(fuzzed & game.over)
    assert torch.equal(game.bytes[~fuzzed], still.bytes[~fuzzed])
    assert set(game.field("forfeit")[fuzzed].unique().tolist()) <= {-1, 0, 1}
    assert bool(((game.field("said") >= -1) & (game.field("said") < 5)).all())


def test_out_of_alphabet_is_a_forfeit_even_where_it_would_wrap_around() -> None:
    game = pvg.game("Arith", num_envs=4, seed=0)
    said = torch.zeros(4, 2, 5, dtype=torch.int64)
    said[:, 0, 2] = torch.tensor([5, -1, 2**32, 4])
    assert game.step(said)[:, 0].tolist() == [-1, -1, -1, 0]
    assert game.field("forfeit").tolist() == [0, 0, 0, -1]
    assert game.over.tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("actions", "complaint"),
    [
        (torch.zeros(4, 2, 4, dtype=torch.int32), r"actions: expected integers \(4, 2, 5\)"),
        (torch.zeros(3, 2, 5, dtype=torch.int32), r"got torch.int32 \(3, 2, 5\)"),
        (torch.zeros(4, 2, 5), "got torch.float32"),
        (torch.full((4, 2, 5), torch.nan), "got torch.float32"),
        (torch.zeros(4, 2, 5, dtype=torch.bool), "got torch.bool"),
    ],
)
def test_malformed_actions_are_refused_before_any_kernel_runs(actions: torch.Tensor, complaint: str) -> None:
    game = pvg.game("Arith", num_envs=4, seed=0)
    before = game.bytes.clone()
    with pytest.raises(ValueError, match=complaint):
        game.step(actions)
    with pytest.raises(ValueError, match="hold: expected"):
        game.step(hold=torch.zeros(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="mask: expected"):
        game.redeal(torch.zeros(4))
    assert torch.equal(game.bytes, before)


def test_field_is_the_lanes_own_memory() -> None:
    game = pvg.game("Arith", num_envs=3, seed=0)
    game.field("claim")[1] = 4
    assert game.observe("prover")["claim"][1] == 4
    assert game.field("claim").data_ptr() >= game.bytes.data_ptr()


def test_evidence_is_blank_until_the_message_points_at_it() -> None:
    game = pvg.game(Lookup(), num_envs=60, seed=0)
    assert game.observe("verifier")["cell"].eq(-1).all()
    game.actions[:, 0, 0] = torch.arange(60) % 3
    game.step()
    cells = torch.from_numpy(Lookup().tables["cells"])
    assert torch.equal(game.observe("verifier")["cell"], cells[game.field("row").long(), torch.arange(60) % 3])


def test_belief_of_a_batch_agent_stands_beside_its_verdict() -> None:
    class Confident:
        def act(self, observation: Observation, acting: torch.Tensor) -> Utterance:
            lanes = len(acting)
            return Utterance(torch.ones(lanes, 1, dtype=torch.int32), torch.linspace(0, 1, lanes))

    game = pvg.game("Arith", num_envs=5, seed=0)
    returns = game.play({"prover": "honest", "verifier": Confident()})
    assert torch.equal(game.field("belief"), torch.linspace(0, 1, 5))
    assert returns[:, 0].tolist() == [1.0] * 5
    assert torch.equal(returns[:, 1], torch.where(game.field("truth") == 1, 1.0, -1.0))


def test_a_million_lanes_take_less_than_a_gibibyte() -> None:
    game = pvg.game("Arith", num_envs=1_000_000, seed=0)
    held = [t for t in vars(game).values() if isinstance(t, torch.Tensor)]
    assert sum(t.numel() * t.element_size() for t in held) < 2**30
    assert game.spec.dtype.itemsize == 56


def test_missing_gpu_is_a_clear_error() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match=r"device='cuda': torch finds no CUDA device.*device='cpu'"):
        pvg.game("Arith", device="cuda")
    with pytest.raises(ValueError, match=r"device='mps': expected 'cpu' or 'cuda'"):
        pvg.game("Arith", device="mps")


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'Arit': nearest are Arith.*pvg list tasks"):
        pvg.game("Arit")
    with pytest.raises(ValueError, match="unknown protocol 'prover_verifer': nearest are prover_verifier"):
        pvg.game("Arith", "prover_verifer")
    with pytest.raises(ValueError, match="unknown agent 'one_wrong': nearest are one_wrong_step"):
        pvg.game("Arith").play({"prover": "one_wrong"})
    with pytest.raises(ValueError, match="unknown role 'provr': nearest are prover"):
        pvg.game("Arith").play({"provr": "honest"})
    with pytest.raises(ValueError, match="unknown proof of Arith 'transcripts': nearest are transcript"):
        pvg.game("Arith", proof="transcripts")


@pytest.mark.parametrize("numbers", [{"num_envs": 0}, {"num_envs": -1}, {"seed": -1}, {"seed": 2**64}])
def test_numbers_outside_their_range_are_named(numbers: dict[str, int]) -> None:
    (name, value) = next(iter(numbers.items()))
    with pytest.raises(ValueError, match=f"{name}={value} is outside"):
        pvg.game("Arith", **numbers)  # type: ignore[arg-type]


def test_splits_part_the_statements_by_their_hash() -> None:
    seen = {}
    for split in ("train", "validation", "test"):
        game = pvg.game(tasks["Arith"](operations=2, modulus=5), num_envs=4000, split=split)  # type: ignore[call-arg, arg-type]
        seen[split] = set(game.statement_hash().tolist())
    assert not seen["train"] & seen["validation"]
    assert not seen["train"] & seen["test"]
    assert not seen["validation"] & seen["test"]
    assert len(seen["train"] | seen["validation"] | seen["test"]) == 5**3 * 4


def test_claim_does_not_decide_the_split() -> None:
    game = pvg.game("Arith", num_envs=50)
    before = game.statement_hash()
    game.field("claim")[:] = (game.field("claim") + 1) % 5
    assert torch.equal(game.statement_hash(), before)


def test_split_without_statements_is_refused() -> None:
    with pytest.raises(ValueError, match=r"split='validation'.*has no"):
        pvg.game(Bit(), EarlyDecision(), num_envs=10, split="validation")


def test_machine_code_is_named_by_all_it_was_compiled_from() -> None:
    def name(task: Task) -> str:
        return Kernels(resolve(task, protocols["solo"]()), ()).name

    arith = tasks["Arith"]
    assert name(arith(modulus=5)) == name(arith(modulus=5))  # type: ignore[call-arg]
    assert name(arith(modulus=5)) != name(arith(modulus=7))  # type: ignore[call-arg]


def test_kernels_work_where_nothing_can_be_cached(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert transcripts(7, PVG_CACHE=str(blocked)) == transcripts(7)


@pytest.mark.parametrize(("task", "protocol"), GAMES, ids=lambda thing: type(thing).__name__)
def test_every_kernel_compiles_for_sm_90(task: Task, protocol: Protocol) -> None:
    spec = resolve(task, protocol)
    default = tuple(default_agent(spec, role) for role in range(len(spec.roles)))
    for cast in (default, tuple(agents["random"] for _ in spec.roles)):
        for name, text in kernels(spec, cast).all_ptx().items():
            assert ".target sm_90" in text, name
            assert f"{name}_cuda" in text


def test_a_lane_function_is_python_where_it_is_called_from_python_and_compiled_where_compiled_code_calls_it() -> None:
    first = 0xE220A8397B1DCDAF  # of splitmix64 from seed 0
    assert int(mix(GOLDEN)) == first
    assert int(njit(lambda z: mix(z))(GOLDEN)) == first


def test_draws_are_uniform_and_streams_differ() -> None:
    game = pvg.game("Arith", num_envs=50_000, seed=0)
    counts = np.bincount(game.field("start").numpy(), minlength=5)
    assert abs(counts / 50_000 - 0.2).max() < 0.01
    assert abs(np.corrcoef(game.field("start").numpy(), game.field("x").numpy()[:, 0])[0, 1]) < 0.02
    other = pvg.game("Arith", num_envs=50_000, seed=1)
    assert abs((other.field("start") == game.field("start")).float().mean() - 0.2) < 0.01
