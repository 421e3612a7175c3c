"""Networks of every kind, on registered and toy games: probabilities, causality, symmetry of what they share, and refusals."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toys import Bit, Different, DrawnSpeaker, EarlyDecision, HiddenSlot, Lookup, PrivateCoin

import pvg
from pvg.agent import Observation
from pvg.agents.networks import (
    Player,
    ProverNetwork,
    StepCheckVerifier,
    TransformerVerifier,
    VerifierNetwork,
    base,
    build,
    networks,
)
from pvg.agents.networks.base import sample
from pvg.agents.networks.step_check import log_complement
from pvg.protocols import ProverVerifier, Solo
from pvg.registry import UnknownName
from pvg.spec import Spec, resolve
from pvg.tasks.arith import Arith
from pvg.verifier import Verifier, with_messages

SPEC = resolve(Arith(operations=3, modulus=3), ProverVerifier())
MESSAGES = torch.tensor(list(itertools.product(range(3), repeat=2)))
EVERY = pytest.mark.parametrize("name", [name for name in networks if name != "graph"])  # which has tests of its own
GENERAL = pytest.mark.parametrize("name", ["mlp", "gru", "transformer"])


def observed(spec: Spec = SPEC, role: str = "verifier", lanes: int = 40, prover: str = "honest") -> Observation:
    game = pvg.game(spec.task, spec.protocol, num_envs=lanes, seed=5)
    if role == "verifier" and len(spec.roles) > 1:
        game.play({"prover": prover})
    return game.observe(role)


def verifier(name: str, spec: Spec = SPEC, seed: int = 0) -> VerifierNetwork:
    player = build(name, spec, "verifier", seed)
    assert isinstance(player, VerifierNetwork)
    return player


def prover(name: str, seed: int = 0) -> ProverNetwork:
    player = build(name, SPEC, "prover", seed)
    assert isinstance(player, ProverNetwork)
    return player


@EVERY
@pytest.mark.parametrize("protocol", [ProverVerifier(), Solo()], ids=["prover_verifier", "solo"])
def test_verifier_gives_a_probability_to_each_answer(name: str, protocol: ProverVerifier | Solo) -> None:
    spec = resolve(SPEC.task, protocol)
    network = verifier(name, spec)
    observation = observed(spec)
    log_probs = network.log_probs(observation.packed)
    assert log_probs.shape == (40, 2)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(40))
    said = network.act(observation, torch.ones(40, dtype=torch.bool))
    assert said.belief is not None
    torch.testing.assert_close(said.belief, log_probs[:, 1].exp())
    assert set(said.symbols.unique().tolist()) <= {0, 1}


@EVERY
def test_verdict_is_the_probability_of_each_message_however_it_is_cut(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, statement = verifier(name), observed()
    assert isinstance(network, Verifier)
    messages = MESSAGES[None].expand(40, -1, -1)
    expected = network.log_probs(with_messages(statement, messages).packed)[:, 1].exp().reshape(40, 9)
    torch.testing.assert_close(network.verdict(statement, messages), expected)
    assert expected.std(1).min() > 0, "the verdict does not depend on the message"
    for rows in (4, 20):
        monkeypatch.setattr(base, "ROWS", rows)
        torch.testing.assert_close(network.verdict(statement, messages), expected)


@EVERY
def test_verdict_does_not_read_the_message_that_stands_in_the_statement(name: str) -> None:
    network, messages = verifier(name), MESSAGES[None].expand(40, -1, -1)
    said, other = observed(), observed(prover="random")
    assert not said.packed.equal(other.packed)
    torch.testing.assert_close(network.verdict(said, messages), network.verdict(other, messages))


@EVERY
def test_verdict_refuses_messages_of_other_statements(name: str) -> None:
    with pytest.raises(ValueError, match=r"messages: expected \(B=40, K"):
        verifier(name).verdict(observed(), MESSAGES[None].expand(39, -1, -1))
    with pytest.raises(ValueError, match="messages: expected"):
        verifier(name).verdict(observed(), MESSAGES[None, :, :1].expand(40, -1, -1))


@EVERY
def test_a_symbol_depends_on_those_before_it_and_on_no_other(name: str) -> None:
    network, packed = prover(name), observed(role="prover").packed
    message = torch.zeros((40, 2), dtype=torch.int64)
    changed = network.logits(packed, message + torch.tensor([1, 0])) - network.logits(packed, message)
    assert changed[:, 0].abs().max() == 0
    assert changed[:, 1].abs().max() > 0
    last = network.logits(packed, message + torch.tensor([0, 1])) - network.logits(packed, message)
    assert last.abs().max() == 0


@EVERY
def test_probabilities_of_all_messages_add_up_to_one_and_are_those_they_are_drawn_with(name: str) -> None:
    network, observation = prover(name, seed=3), observed(role="prover", lanes=1)
    many = Observation(observation.packed.expand(4000, -1), observation.view)
    likely = network.evaluate(many.packed[:9], MESSAGES)[0].exp()
    torch.testing.assert_close(likely.sum(), torch.tensor(1.0))
    said = network.act(many, torch.ones(4000, dtype=torch.bool)).symbols
    frequency = torch.bincount(said[:, 0] * 3 + said[:, 1], minlength=9) / 4000
    assert (frequency - likely).abs().max() < 0.04
    entropy = network.evaluate(many.packed[:1], MESSAGES[:1])[1]
    first = network.logits(many.packed[:1], MESSAGES[:1]).softmax(2)[0]
    torch.testing.assert_close(entropy[0], -(first * first.log()).sum())


@EVERY
def test_what_a_prover_says_next_is_what_it_says_when_all_is_decoded_at_once(name: str) -> None:
    spec = resolve(Arith(operations=5, modulus=3), ProverVerifier())
    network, observation = build(name, spec, "prover"), observed(spec, "prover", lanes=9)
    assert isinstance(network, ProverNetwork)
    message = torch.tensor([[0, 1, 2, 0], [2, 1, 0, 1], [1, 1, 2, 2]]).repeat(3, 1)
    context, memory = network.encode(observation.packed), None
    together = network.decode(context, message)
    for j in range(4):
        scores, memory = network.next(context, message[:, :j], memory)
        torch.testing.assert_close(scores, together[:, j])
    said = network.act(observation, torch.ones(9, dtype=torch.bool))
    assert said.log_prob is not None
    torch.testing.assert_close(said.log_prob, network.evaluate(observation.packed, said.symbols)[0])


def test_draws_follow_the_logits() -> None:
    logits = torch.tensor([0.1, 0.2, 0.7]).log().expand(30000, 3)
    drawn = sample(logits, torch.Generator().manual_seed(1))
    assert (torch.bincount(drawn, minlength=3) / 30000 - logits[0].exp()).abs().max() < 0.01


@EVERY
def test_building_and_playing_leave_global_randomness_alone(name: str) -> None:
    before = torch.get_rng_state()
    first, again, other = (prover(name, seed) for seed in (1, 1, 2))
    observation = observed(role="prover")
    said = [p.act(observation, torch.ones(40, dtype=torch.bool)).symbols for p in (first, again, other)]
    assert torch.get_rng_state().equal(before)
    assert said[0].equal(said[1])
    assert not said[0].equal(said[2])
    weights = [torch.cat([p.flatten() for p in player.parameters()]) for player in (first, again, other)]
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])


@EVERY
def test_an_agent_of_any_network_plays_whole_games(name: str) -> None:
    game = pvg.game(SPEC.task, SPEC.protocol, num_envs=64, seed=2)
    game.play({"prover": prover(name), "verifier": verifier(name)})
    assert bool(game.over.all())
    assert int((game.field("forfeit") >= 0).sum()) == 0
    assert 0 < float(game.field("belief").min()) <= float(game.field("belief").max()) < 1


@GENERAL
@pytest.mark.parametrize("protocol", [EarlyDecision(), DrawnSpeaker(seen=True)], ids=lambda p: type(p).__name__)
def test_networks_play_protocols_of_several_turns_and_speakers(name: str, protocol: EarlyDecision | DrawnSpeaker) -> None:
    game = pvg.game(Bit(), protocol, num_envs=64, seed=2)
    cast: dict[str, Player] = {role.name: build(name, game.spec, role.name) for role in game.spec.roles}
    game.play(dict(cast))
    assert bool(game.over.all())
    assert int((game.field("forfeit") >= 0).sum()) == 0


@GENERAL
def test_a_prover_says_nothing_outside_the_alphabet_of_its_turn(name: str) -> None:
    game = pvg.game(Bit(), HiddenSlot(), num_envs=300, seed=2)
    player = build(name, game.spec, "rival")
    assert isinstance(player, ProverNetwork)
    player.legal[1, :, 2] = False
    said = player.act(game.observe("rival"), game.acting[:, 1]).symbols
    assert set(said.unique().tolist()) == {0, 1}
    log_prob, entropy = player.evaluate(game.observe("rival").packed, said)
    assert bool(log_prob.isfinite().all() & entropy.isfinite().all())
    assert bool((player.evaluate(game.observe("rival").packed, said * 0 + 2)[0] == -torch.inf).all())


@GENERAL
@pytest.mark.parametrize("protocol", [PrivateCoin(), HiddenSlot()], ids=lambda p: type(p).__name__)
def test_a_verifier_that_asks_plays_symbol_by_symbol(name: str, protocol: PrivateCoin | HiddenSlot) -> None:
    game = pvg.game(Different() if isinstance(protocol, PrivateCoin) else Bit(), protocol, num_envs=64, seed=2)
    cast = {role.name: build(name, game.spec, role.name) for role in game.spec.roles}
    assert isinstance(cast["verifier"], ProverNetwork)
    game.play(dict(cast))
    assert bool(game.over.all())
    assert int((game.field("forfeit") >= 0).sum()) == 0
    with pytest.raises(ValueError, match="gives verdicts only"):
        networks[name].verifier(game.spec, "verifier")


def test_a_verifier_that_asks_says_what_it_believes_where_it_judges() -> None:
    game = pvg.game(Different(), PrivateCoin(), num_envs=64, seed=2)
    player = build("mlp", game.spec, "verifier")
    asking = player.act(game.observe("verifier"), game.acting[:, 1])
    assert asking.belief is not None
    assert bool((asking.belief == -1).all())
    game.play({"prover": "honest", "verifier": player})
    belief = game.field("belief")
    assert 0 < float(belief.min()) <= float(belief.max()) < 1
    verdict = game.field("verdict").long()
    assert set(verdict.tolist()) == {0, 1}, "no don't know where there is nothing to wait for"


@GENERAL
def test_who_may_decide_at_several_turns_may_say_dont_know(name: str) -> None:
    spec = resolve(Bit(), EarlyDecision())
    able, told, unable = (build(name, spec, "verifier", 3, abstains=abstains) for abstains in (None, True, False))
    assert isinstance(able, VerifierNetwork)
    assert isinstance(unable, VerifierNetwork)
    packed = torch.tensor([[2, 1, 0], [2, 3, 0], [4, 1, 2]])  # turn + 1 and the words heard
    observation = Observation(packed, spec.view(1))
    log_probs, actions = able.log_probs(packed), torch.arange(3)[:, None]
    assert log_probs.shape == (3, 3)
    torch.testing.assert_close(log_probs.exp(), able.probabilities(observation, actions))
    assert isinstance(told, VerifierNetwork)
    assert told.log_probs(packed).equal(log_probs)
    assert unable.log_probs(packed).shape == (3, 2)
    assert bool((unable.probabilities(observation, actions)[:, 2] == 0).all())
    many = Observation(packed[:1].expand(3000, -1), observation.view)
    said = able.act(many, torch.ones(3000, dtype=torch.bool))
    frequency = torch.bincount(said.symbols[:, 0], minlength=3) / 3000
    assert (frequency - log_probs[0].exp()).abs().max() < 0.04
    assert said.belief is not None
    torch.testing.assert_close(said.belief[:1], log_probs[:1, 1].exp())
    torch.testing.assert_close(able.evaluate(packed, actions)[0], log_probs.diag())
    heard = able.verdict(observation, packed[:, None, 1:] - 1)
    torch.testing.assert_close(heard[:, 0], log_probs[:, 1].exp())


@pytest.mark.parametrize("abstains", [False, True])
def test_who_asks_says_dont_know_only_if_it_abstains(abstains: bool) -> None:
    spec = resolve(Different(), PrivateCoin())
    player = build("mlp", spec, "verifier", abstains=abstains)
    view = spec.view(1)
    packed = torch.ones((1, view.width), dtype=torch.long)
    packed[0, view["turn"].start] = 3
    dont_know = player.probabilities(Observation(packed, view), torch.tensor([[2], [0]]))[0]
    assert float(dont_know[1]) > 0
    assert (float(dont_know[0]) > 0) == abstains


def test_only_who_gives_verdicts_may_abstain() -> None:
    with pytest.raises(ValueError, match="abstains=True: role 'prover' gives no verdict"):
        build("mlp", SPEC, "prover", abstains=True)
    with pytest.raises(ValueError, match="3 verdicts"):
        build("step_check", SPEC, "verifier", abstains=True)


# Messages and evidence as mixtures.


@EVERY
def test_weights_that_are_one_hot_are_read_as_the_message_they_name(name: str) -> None:
    network, statement = verifier(name), observed(lanes=9, prover="random")
    expected = network.log_probs(with_messages(statement, MESSAGES[:, None]).packed)
    torch.testing.assert_close(network.relaxed(statement.packed, F.one_hot(MESSAGES, 3).float()), expected)


@EVERY
def test_weights_have_gradients_that_say_how_the_verdict_changes(name: str) -> None:
    network, packed = verifier(name).double(), observed(lanes=5).packed
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand((5, 2, 3), dtype=torch.float64, generator=generator).softmax(2).requires_grad_()
    (gradient,) = torch.autograd.grad(network.relaxed(packed, weights)[:, 1].sum(), weights)
    move = 1e-6 * torch.rand((5, 2, 3), dtype=torch.float64, generator=generator)
    with torch.no_grad():
        change = (network.relaxed(packed, weights + move) - network.relaxed(packed, weights - move))[:, 1]
    torch.testing.assert_close(2 * (gradient * move).sum((1, 2)), change, rtol=1e-4, atol=0)
    assert bool((gradient.abs().amax(2) > 0).all()), "a position is not read"


@GENERAL
def test_evidence_is_read_as_mixtures_too(name: str) -> None:
    spec = resolve(Lookup(), ProverVerifier())
    network, view = verifier(name, spec), spec.view(1)
    assert [column.field.name for column in view] == ["cell", "column"]
    message, cell = torch.arange(3), torch.tensor([0, 1, 2])  # packed: 0 is blank
    packed = torch.stack([cell, message + 1], 1)
    evidence = {"cell": F.one_hot(cell[:, None], 3).float()}
    heard = F.one_hot(message[:, None], 3).float()
    torch.testing.assert_close(network.relaxed(torch.zeros_like(packed), heard, evidence), network.log_probs(packed))
    halves = network.relaxed(packed, heard, {"cell": torch.full((3, 1, 3), 1 / 3, requires_grad=True)})
    assert halves.requires_grad
    assert not halves.allclose(network.log_probs(packed))


def test_mixtures_of_another_shape_are_refused() -> None:
    spec = resolve(Lookup(), ProverVerifier())
    network, packed, heard = verifier("mlp", spec), torch.zeros((4, 2), dtype=torch.long), torch.ones((4, 1, 3))
    with pytest.raises(ValueError, match=r"message: expected weights \(4, 1, 3\), got \(4, 1, 2\)"):
        network.relaxed(packed, heard[..., :2])
    with pytest.raises(ValueError, match=r"evidence 'cell': expected weights \(4, 1, 3\)"):
        network.relaxed(packed, heard, {"cell": torch.ones((4, 3))})
    with pytest.raises(ValueError, match="no evidence"):
        network.relaxed(packed, heard, {"column": heard})
    with pytest.raises(UnknownName, match="cell"):
        network.relaxed(packed, heard, {"sell": heard})


# The step check.


def test_steps_of_the_step_check_multiply_to_its_verdict() -> None:
    network, statement = verifier("step_check", seed=4), observed()
    assert isinstance(network, StepCheckVerifier)
    table = network.step_log_probs(statement.packed)
    first, last = network.end_states(statement.packed)
    assert table.shape == (40, 3, 3, 3)
    assert first.equal(statement["start"].long())
    assert last.equal(statement["claim"].long())
    lanes = torch.arange(40)
    for message in MESSAGES:
        states = [first, *(symbol.expand(40) for symbol in message), last]
        path = torch.stack([table[lanes, j, states[j], states[j + 1]] for j in range(3)]).sum(0)
        heard = network.verdict(statement, message.expand(40, 1, -1))[:, 0]
        torch.testing.assert_close(path.exp(), heard)


def test_the_step_check_is_the_same_at_every_step() -> None:
    network, observation = verifier("step_check"), observed()
    assert isinstance(network, StepCheckVerifier)
    packed = observation.packed.clone()
    for name in ("op", "x"):
        packed[:, observation.view[name].start : observation.view[name].stop] = 1
    table = network.step_log_probs(packed)
    torch.testing.assert_close(table[:, 0], table[:, 1])
    assert not table[:, 0].allclose(network.step_log_probs(observation.packed)[:, 0])


def test_the_step_check_reads_blank_messages() -> None:
    game = pvg.game(SPEC.task, SPEC.protocol, num_envs=8)
    blank = game.observe("verifier")
    assert bool((blank["partial"] == -1).all())
    assert bool(verifier("step_check").log_probs(blank.packed).isfinite().all())


def test_the_step_check_needs_a_path() -> None:
    for role in ("verifier", "merlin"):
        with pytest.raises(ValueError, match="Bit has none"):
            build("step_check", resolve(Bit(), DrawnSpeaker()), role)


def test_the_complement_of_a_log_probability_is_accurate_at_both_ends() -> None:
    log_p = torch.tensor([-60.0, -3.0, -1e-3, -1e-9, -1e-25], requires_grad=True)
    complement = log_complement(log_p)
    expected = torch.log1p(-log_p.detach().double().exp())
    expected[3:] = torch.log(-torch.expm1(log_p.detach().double()))[3:]
    torch.testing.assert_close(complement.double(), expected, rtol=1e-5, atol=1e-30)
    (gradient,) = torch.autograd.grad(complement.sum(), log_p)
    assert bool(gradient.isfinite().all())
    torch.testing.assert_close(gradient[3], torch.tensor(-1e9), rtol=1e-3, atol=0)


def test_a_step_check_that_accepts_a_false_claim_for_certain_can_be_taught_otherwise() -> None:
    network = verifier("step_check")
    assert isinstance(network, StepCheckVerifier)
    with torch.no_grad():
        network.bias.fill_(40)
    packed = observed().packed
    # log(1 - v) is about log of the sum over steps of exp(-logit): its gradient by the bias is -1, however small 1 - v.
    (gradient,) = torch.autograd.grad(network.log_probs(packed)[:, 0].mean(), network.bias)
    torch.testing.assert_close(gradient, torch.tensor(-1.0))


# The transformer.


def test_the_transformer_merges_aligned_fields_and_tells_steps_apart() -> None:
    network = verifier("transformer")
    assert isinstance(network, TransformerVerifier)
    tokens = network.tokens
    assert len(tokens.tokens) == 5, "start, three steps, claim"
    packed = observed().packed
    swapped = packed.clone()
    swapped[:, [1, 2, 4, 5, 8, 9]] = packed[:, [2, 1, 5, 4, 9, 8]]  # the first two steps change places
    moved: Tensor = network.log_probs(swapped) - network.log_probs(packed)
    assert moved.abs().max() > 1e-3
    places = tokens.places()
    assert places.shape == (5, 64)
    assert len(places.unique(dim=0)) == 5


# Names and sizes.


def test_an_unknown_network_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="transformer"):
        build("tranformer", SPEC, "verifier")


@EVERY
def test_sizes_are_checked_and_kept(name: str) -> None:
    with pytest.raises(ValueError, match="width=0"):
        build(name, SPEC, "verifier", width=0)
    small, large = (build(name, SPEC, "prover", width=8, layers=layers) for layers in (1, 3))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in large.parameters())


def test_a_transformer_refuses_a_width_its_heads_do_not_divide() -> None:
    with pytest.raises(ValueError, match="width=30"):
        build("transformer", SPEC, "verifier", width=30)


@EVERY
def test_every_network_says_what_it_is(name: str) -> None:
    assert len(networks[name].about) > 10
    assert ("structural prior" in networks[name].about) == (name == "step_check")
