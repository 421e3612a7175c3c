"""Activations against passes by hand, step labels against arithmetic, probes and information against what was planted."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from pvg.agent import Observation, Utterance, agents
from pvg.agents import interpretability
from pvg.agents.interpretability import StepLabels, activations, labelled, layers, logistic_regression, probe
from pvg.agents.networks import MLPVerifier, VerifierNetwork, build, networks
from pvg.benchmarks import probe as benchmark
from pvg.game import Game
from pvg.metrics import mutual_information, precision
from pvg.protocols import CrossExamination, Debate, ProverVerifier, Solo
from pvg.registry import UnknownName
from pvg.spec import Spec, resolve
from pvg.task import Task
from pvg.tasks import GCD, Arith, Connectivity, Program, WordProblem
from pvg.verifier import ScriptedVerifier, Verifier, with_messages

SPEC = resolve(Arith(operations=3, modulus=3), ProverVerifier())


@pytest.fixture(scope="module")
def dataset() -> StepLabels:
    return labelled(SPEC, 90, seed=1)


@pytest.fixture(scope="module")
def halves() -> tuple[StepLabels, StepLabels]:
    return labelled(SPEC, 160, seed=3), labelled(SPEC, 160, seed=4)


class Planted(nn.Module):
    """Not one of ours: its layer `known` gives a code of the first wrong step, its layer `noise` one of nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.known, self.noise, self.twice, self.idle, self.table = (nn.Identity() for _ in range(5))
        self.broken = False

    def verdict(self, statement: Observation, messages: Tensor) -> Tensor:
        heard = with_messages(statement, messages)
        start, op, x, partial, claim = (heard[name].long() for name in ("start", "op", "x", "partial", "claim"))
        states = torch.cat([start[:, None], partial, claim[:, None]], 1)
        right = (states[:, :-1] + torch.where(op == 0, x, -x)) % 3 == states[:, 1:]
        code = torch.tensor([[0.0, 0, 0], [1, 0, 2], [0, 3, 0], [0, 0, 1]])
        self.known(code[right.long().cumprod(1).sum(1)])
        self.noise((heard.packed * torch.arange(heard.view.width)).sum(1, keepdim=True).float().sin())
        self.table(code[:2])
        if self.broken:
            raise ArithmeticError("broken on purpose")
        return self.twice(self.twice(right.all(1).float()[:, None]))


# Activations.


def test_activations_are_what_a_pass_by_hand_gives(dataset: StepLabels) -> None:
    mlp, packed = build("mlp", SPEC, "verifier", width=16), dataset.seen.packed
    assert isinstance(mlp, MLPVerifier)
    hidden = mlp.first(packed)
    assert torch.equal(mlp.activations(dataset, "first"), hidden)
    assert torch.equal(mlp.activations(dataset, "rest.1"), mlp.rest[1](hidden.relu()))
    assert torch.equal(mlp.activations(dataset.seen, "rest").log_softmax(1), mlp.log_probs(packed))
    transformer: Any = build("transformer", SPEC, "verifier", width=16)
    tokens, _ = transformer.trunk.blocks[0](transformer.tokens(packed), None)  # the block gives a pair
    assert torch.equal(transformer.activations(dataset, "trunk.blocks.0"), tokens)
    assert not transformer.activations(dataset, "trunk.blocks.0").requires_grad


def test_a_layer_that_reads_rows_of_steps_gives_them_game_by_game(dataset: StepLabels) -> None:
    network: Any = build("step_check", SPEC, "verifier", width=8)
    packed, aligned = dataset.seen.packed, network.path.aligned
    by_step = network.activations(dataset, "inputs.aligned")
    assert by_step.shape == (90, 3, 8)
    for j in range(3):
        assert torch.allclose(by_step[:, j], network.inputs.aligned(torch.stack([packed[:, c.start + j] for c in aligned], 1)))


@pytest.mark.parametrize("name", sorted(networks))
def test_what_a_layer_gives_of_a_game_does_not_depend_on_the_games_beside_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = resolve(Connectivity(), ProverVerifier()) if name == "graph" else SPEC
    verifier, game = build(name, spec, "verifier", width=16), Game(spec, 30)
    assert isinstance(verifier, VerifierNetwork)
    game.play()
    seen, given = game.observe("verifier"), {}
    for layer in layers(verifier):
        with suppress(ValueError):  # not run, run again, or run on something else than games
            given[layer] = verifier.activations(seen, layer)
    assert len(given) >= len(layers(verifier)) / 2
    monkeypatch.setattr(interpretability, "ROWS", 11)
    for layer, whole in given.items():
        assert len(whole) == 30
        assert torch.allclose(verifier.activations(seen, layer), whole, atol=1e-5), layer


def test_anybodys_module_has_them_too(dataset: StepLabels) -> None:
    planted = Planted()
    assert isinstance(planted, Verifier)
    assert layers(planted) == ["known", "noise", "twice", "idle", "table"]
    assert activations(planted, dataset, "known").shape == (90, 3)


def test_layers_that_give_nothing_of_each_game_are_refused(dataset: StepLabels) -> None:
    for layer, why in (("twice", "run 2 times"), ("idle", "run 0 times"), ("table", "2 rows for 90 games")):
        with pytest.raises(ValueError, match=f"layer '{layer}': .*{why}"):
            activations(Planted(), dataset, layer)


@pytest.mark.parametrize("name", ["rest.9", ""])
def test_an_unknown_layer_is_answered_with_the_nearest(dataset: StepLabels, name: str) -> None:
    near = r"nearest are .*rest.*layers\(verifier\)` lists all"
    with pytest.raises(UnknownName, match=f"unknown layer '{name}': {near}"):
        activations(build("mlp", SPEC, "verifier", width=8), dataset, name)  # type: ignore[arg-type]


def test_no_hook_is_left_whatever_happens(dataset: StepLabels) -> None:
    planted = Planted()
    activations(planted, dataset, "known")
    assert not planted.known._forward_hooks
    planted.broken = True
    with pytest.raises(ArithmeticError, match="on purpose"):
        activations(planted, dataset, "known")
    assert not planted.known._forward_hooks
    with pytest.raises(ValueError, match="run 2 times"):
        activations(Planted(), dataset, "twice")


# Step labels.


def test_step_labels_are_those_of_four_transcripts_checked_by_hand() -> None:
    """1 + 1 + 0 = claim (mod 2), of which a message gives the sum after the first addition."""
    games = labelled(resolve(Arith(operations=2, modulus=2), ProverVerifier()), 300, prover=agents["random"])
    fields = {name: games.seen[name] for name in ("start", "op", "x", "claim", "partial")}
    ours = (fields["start"] == 1) & (fields["op"] == 0).all(1) & (fields["x"] == torch.tensor([1, 0])).all(1)
    # (claim, message): truth, steps, first wrong step
    by_hand = {
        (0, 0): (1, [True, True], 2),
        (0, 1): (1, [False, False], 0),
        (1, 0): (0, [True, False], 1),
        (1, 1): (0, [False, True], 0),
    }
    for (claim, message), (truth, right, first) in by_hand.items():
        found = (ours & (fields["claim"] == claim) & (games.messages[:, 0] == message)).nonzero()[:, 0].tolist()
        assert found, (claim, message)
        for i in found:
            assert (int(games.truth[i]), games.right[i].tolist(), int(games.first_error[i])) == (truth, right, first)
            assert fields["partial"][i].tolist() == [message]


@pytest.mark.parametrize(
    ("task", "games"), [(Arith(), 100), (WordProblem(), 100), (Program(length=3, steps=4, queries=1), 20)], ids=str
)
@pytest.mark.parametrize("prover", ["dishonest", "random"])
def test_all_steps_are_right_exactly_where_the_reference_accepts(task: Task, games: int, prover: str) -> None:
    spec = resolve(task, ProverVerifier())
    some = labelled(spec, games, seed=2, prover=agents[prover])
    accepted = ScriptedVerifier(spec).verdict(some.seen, some.messages[:, None])[:, 0] == 1
    assert torch.equal(some.right.all(1), accepted)
    assert torch.equal(some.first_error == some.right.shape[1], accepted)
    assert bool((some.truth[accepted] == 1).all())
    if prover == "dishonest":
        assert torch.equal(accepted, some.truth == 1)
    wrong = some.first_error[~accepted]
    assert not some.right[~accepted].gather(1, wrong[:, None]).any()
    assert all(some.right[~accepted][i, :first].all() for i, first in enumerate(wrong.tolist()))


def test_every_first_wrong_step_and_none_is_equally_often() -> None:
    some = labelled(resolve(Arith(), ProverVerifier()), 70, prover="one_wrong_step")
    assert some.first_error.bincount().tolist() == [10] * 7
    assert len(some) == 70


def test_of_a_first_wrong_step_that_is_rare_all_are_kept() -> None:
    spec = resolve(Arith(operations=4), ProverVerifier())
    counts = labelled(spec, 200, prover=agents["random"]).first_error.bincount(minlength=5)
    assert counts[0] >= counts[1] >= counts[0] - 1
    assert counts[1] > counts[2] > counts[4]
    assert counts[2] == pytest.approx(1600 * 4 / 5**3, abs=28)  # two right states and a wrong one, by chance: four deviations


def test_datasets_of_two_splits_share_no_statement() -> None:
    train, test = (labelled(SPEC, 30, split=split).seen for split in ("train", "test"))
    statements = [
        {(int(s), *o, *x) for s, o, x in zip(*(seen[f].tolist() for f in ("start", "op", "x")), strict=True)}
        for seen in (train, test)
    ]
    assert statements[0].isdisjoint(statements[1])


def test_the_steps_of_a_cross_examined_proof_are_labelled_as_the_judge_hears_it() -> None:
    some = labelled(resolve(Arith(operations=3), CrossExamination()), 40)
    named = some.seen["step"][:, 0] if some.seen["step"].dim() > 1 else some.seen["step"]
    wrong = some.first_error < 3
    assert torch.equal(named[wrong].long(), some.first_error[wrong])  # the honest challenger names it


@pytest.mark.parametrize(
    "spec",
    [resolve(GCD(), ProverVerifier()), resolve(Arith(), Debate()), resolve(Arith(), Solo())],
    ids=["no steps", "two messages", "no message"],
)
def test_games_without_one_message_of_steps_are_refused(spec: Spec) -> None:
    with pytest.raises(ValueError, match=f"{type(spec.task).__name__}, .*: step labels need a judge who hears one message"):
        labelled(spec, 10)


def test_too_many_forfeited_games_are_refused() -> None:
    class Illegal:
        def act(self, observation: Observation, acting: Tensor) -> Utterance:
            return Utterance(torch.full((len(acting), 2), 99, dtype=torch.int32))

    with pytest.raises(ValueError, match="games=5: only 0 of 40 played"):
        labelled(SPEC, 5, prover=Illegal())


# Probes.


def test_a_probe_finds_what_is_planted_and_nothing_where_nothing_is(halves: tuple[StepLabels, StepLabels]) -> None:
    train, test = halves
    found = probe(Planted(), Planted(), "known", train, test)
    assert found["accuracy"].value == found["where a step is wrong"].value == found["random weights"].value == 1.0
    assert found["accuracy"].n == 160
    assert found["where a step is wrong"].n == int((test.first_error < 3).sum())
    assert found["commonest"].value == pytest.approx(0.25, abs=0.01)
    nothing = probe(Planted(), Planted(), "noise", train, test)
    assert nothing["accuracy"].value < 0.4


def test_a_probe_of_shuffled_labels_finds_no_more_than_chance(halves: tuple[StepLabels, StepLabels]) -> None:
    shuffled = [probe(Planted(), Planted(), "known", *halves, seed)["shuffled labels"].value for seed in range(5)]
    assert sum(shuffled) / 5 < 0.4


def test_logistic_regression_is_that_of_scikit_learn() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(300, 4, generator=random)
    labels = (x @ torch.randn(4, 3, generator=random) + torch.randn(300, 3, generator=random)).argmax(1)
    fresh = torch.randn(2000, 4, generator=random)
    fitted, asked = (((z - x.mean(0)) / x.std(0)).numpy() for z in (x, fresh))
    for penalty in (1e-3, 1.0):
        theirs = LogisticRegression(C=1 / (300 * penalty), tol=1e-8, max_iter=1000).fit(fitted, labels.numpy()).predict(asked)
        ours = logistic_regression(x, labels, 3, penalty)(fresh)
        assert (ours.numpy() == theirs).mean() > 0.999


def test_features_that_never_vary_do_no_harm() -> None:
    x = torch.tensor([[5.0, 0.0], [5.0, 1.0]] * 10)
    assert logistic_regression(x, torch.tensor([0, 1] * 10), 2)(torch.tensor([[7.0, 0.1], [3.0, 0.9]])).tolist() == [0, 1]


def test_the_example_writes_what_it_prints(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"FITTED": 30, "TESTED": 30, "UPDATES": {"mlp": 1, "transformer": 1}}.items():
        monkeypatch.setattr(benchmark, name, value)
    monkeypatch.setattr("sys.argv", ["probe", "--out", str(tmp_path / "probe.json")])
    benchmark.main()
    written, printed = json.loads((tmp_path / "probe.json").read_text()), capsys.readouterr().out
    assert set(written["networks"]) == {"mlp", "transformer"}
    for network, row in written["networks"].items():
        assert set(row["layers"]) == set(benchmark.LAYERS[network])
        for figures in row["layers"].values():
            assert f"accuracy {figures['accuracy']['value']:.3f}" in printed
            assert figures["accuracy"]["n"] == 30


# What messages tell.


def test_a_code_of_one_bit_tells_one_bit_and_its_opposite_too() -> None:
    answers = torch.arange(2000) % 2
    for message in (answers, 1 - answers, torch.stack([answers, torch.zeros_like(answers)], 1)):
        figure = mutual_information(message, answers, "code")
        assert figure.value == pytest.approx(1, abs=0.001)
    assert mutual_information(torch.arange(2000) % 4, torch.arange(2000) % 4, "code").value == pytest.approx(2, abs=0.01)


def test_a_message_right_three_times_in_four_tells_a_fifth_of_a_bit() -> None:
    message, answers = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]).repeat(1000), torch.tensor([0, 0, 0, 1, 1, 1, 1, 0]).repeat(1000)
    figure = mutual_information(message, answers, "noisy")
    assert figure.value == pytest.approx(0.18872, abs=0.0005)  # 1 - H(1/4)
    # The pointwise information is log2 3/2 or log2 1/2: of standard deviation 0.6863, over the root of 8,000 games.
    assert (figure.low, figure.high) == pytest.approx((0.1887 - 1.645 * 0.00767, 0.1887 + 1.645 * 0.00767), abs=0.002)


def test_what_the_parts_of_a_message_do_not_tell_the_whole_may() -> None:
    first, second = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).repeat(500, 1).T
    whole = torch.stack([first, second], 1)
    assert mutual_information(whole, first ^ second, "both").value == pytest.approx(1, abs=0.002)
    assert mutual_information(whole[:, 0], first ^ second, "one").value == pytest.approx(0, abs=0.001)


def test_messages_that_tell_nothing_are_not_credited_with_their_number() -> None:
    random = torch.Generator().manual_seed(0)
    values = []
    for seed in range(20):
        message, answers = torch.randint(0, 64, (400,), generator=random), torch.randint(0, 2, (400,), generator=random)
        figure = mutual_information(message, answers, "nothing", seed)
        values.append(figure.value)
    assert sum(values) / 20 == pytest.approx(0, abs=0.015)  # the count alone shows 63 / (2 * 400 ln 2) = 0.11
    assert "taken off" in figure.method
    never_again = mutual_information(torch.arange(100), torch.arange(100) % 2, "unique")
    assert never_again.value == pytest.approx(0, abs=1e-9)


def test_as_many_messages_as_answers_are_wanted() -> None:
    for messages, answers in ((3, 2), (0, 0)):
        with pytest.raises(ValueError, match=f"{messages} messages and {answers} answers"):
            mutual_information(torch.zeros(messages), torch.zeros(answers), "none")


def test_a_code_in_features_that_tell_nothing_is_a_coin_and_the_first_bit_is_precise() -> None:
    """Words of three bits, of the class that the first bit says; feature 2 i + v is bit i of value v."""
    bits = torch.tensor(list(product((0, 1), repeat=3)))
    holds, answers = F.one_hot(bits, 2).flatten(1).bool(), bits[:, 0]

    def feature(named: Tensor) -> Tensor:
        return 2 * named + bits.gather(1, named[:, None])[:, 0]

    code = feature(torch.where(answers == 1, 1, 2))
    assert precision(code, holds, answers, "code").value == 0.5
    assert precision(feature(torch.zeros(8, dtype=torch.long)), holds, answers, "first bit").value == 1.0
    assert mutual_information((code >= 4).long().repeat(200), answers.repeat(200), "what is named").value == pytest.approx(
        1, abs=0.01
    )


def test_precision_of_an_uneven_example_is_that_counted_by_hand() -> None:
    holds = torch.tensor([[1, 0], [1, 0], [1, 1], [0, 1]]).bool()
    figure = precision(torch.tensor([0, 0, 0, 1]), holds, torch.tensor([0, 0, 1, 1]), "by hand")
    # Feature 0 is had by two of class 0 and one of class 1: 2/3, 2/3, 1/3. Feature 1 by two of class 1: 1.
    assert figure.value == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1) / 4)
    with pytest.raises(ValueError, match="does not hold in 1 of 4 games"):
        precision(torch.tensor([1, 0, 0, 1]), holds, torch.tensor([0, 0, 1, 1]), "impossible")
