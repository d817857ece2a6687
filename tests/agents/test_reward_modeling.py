"""Bradley-Terry training: the loss and its gradient by hand, what is learnt, what noise does."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from agents.reward_modeling import (
    RewardModelConfig,
    RewardModeling,
    bradley_terry_loss,
    margins_of,
    train_reward_model,
)
from chat_envs.message import user
from chat_envs.preference_pair import PreferencePair
from chat_envs.tokenizer import load_tokenizer
from tests.agents.toys import make_lm

WORDS = ("cup", "fan", "rug", "map")


def make_pairs(
    num_pairs: int = 64, *, seed: int = 0, flip_rate: float = 0.0
) -> list[PreferencePair]:
    """Return pairs of which the better reply is the one that says yes."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(num_pairs):
        word, other = (WORDS[i] for i in rng.integers(len(WORDS), size=2))
        sides = [f"Yes, the {other}.", f"No, the {other}."]
        if rng.random() < flip_rate:
            sides.reverse()
        pairs.append(PreferencePair((user(f"My {word}?"),), *sides, margin=0.5))
    return pairs


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_the_loss_and_its_gradient_are_those_of_a_hand() -> None:
    chosen = torch.tensor([2.0, -1.0], requires_grad=True)
    rejected = torch.tensor([0.5, 1.0], requires_grad=True)
    margins = torch.tensor([0.5, 0.25])
    loss = bradley_terry_loss(chosen, rejected, margins)
    gaps = [2.0 - 0.5 - 0.5, -1.0 - 1.0 - 0.25]
    assert loss.tolist() == pytest.approx([-math.log(sigmoid(gap)) for gap in gaps])
    loss.sum().backward()
    assert chosen.grad is not None and rejected.grad is not None
    slopes = [sigmoid(gap) - 1 for gap in gaps]
    assert chosen.grad.tolist() == pytest.approx(slopes)
    assert rejected.grad.tolist() == pytest.approx([-slope for slope in slopes])


def test_the_loss_is_finite_where_the_scores_are_far_apart() -> None:
    loss = bradley_terry_loss(torch.tensor([-1e4, 1e4]), torch.tensor([0.0, 0.0]))
    assert loss.tolist() == [1e4, 0.0]


@pytest.mark.parametrize("budget", [1, 120, 16_384])
def test_a_step_is_that_of_the_mean_loss_however_it_is_cut(budget: int) -> None:
    pairs = make_pairs(6)
    lm = make_lm(seed=2)
    config = RewardModelConfig(
        learning_rate=1e-2,
        num_warmup_steps=0,
        margin_weight=2.0,
        token_budget=budget,
        weight_decay=0.0,
    )
    training = RewardModeling(lm, load_tokenizer(), pairs, config)
    head = lm.network.value_head
    assert head is not None
    with torch.no_grad():
        head.weight.fill_(0.05)
    scores = training.model.token_scores(
        [
            training.model.encode(p.prompt, r)
            for p in pairs
            for r in (p.chosen, p.rejected)
        ]
    )
    expected = bradley_terry_loss(scores[0::2], scores[1::2] + 2.0 * 0.5).mean()
    weights = list(lm.network.parameters())
    by_hand = torch.autograd.grad(expected, weights)
    norm = float(torch.stack([g.norm() for g in by_hand]).norm())
    steps: list[float] = []
    plain_step = lm.step
    lm.step = lambda: steps.append(plain_step()) or steps[-1]  # type: ignore
    total = training.update(np.arange(6))
    assert total == pytest.approx(6 * float(expected.detach()), rel=1e-5)
    assert steps == pytest.approx([norm], rel=1e-4)


def test_a_separable_toy_is_learnt_for_good() -> None:
    result = train_reward_model(
        make_lm(),
        load_tokenizer(),
        make_pairs(),
        make_pairs(40, seed=1),
        num_epochs=8,
        batch_size=16,
        num_warmup_steps=5,
    )
    assert result.reliability is not None
    assert result.reliability.accuracy.mean == 1.0
    assert result.reliability.num_pairs == 40
    assert result.losses[0] > 0.1 > result.losses[-1]
    raw = result.model.raw_scores(
        [(p.prompt, r) for p in make_pairs() for r in (p.chosen, p.rejected)]
    )
    assert result.model.mean == pytest.approx(raw.mean())
    assert result.model.std == pytest.approx(raw.std())
    assert (margins_of(result.model, make_pairs(4)) > 0).all()


def test_labels_that_are_all_turned_round_are_learnt_as_such() -> None:
    result = train_reward_model(
        make_lm(),
        load_tokenizer(),
        make_pairs(flip_rate=1.0),
        make_pairs(40, seed=1),
        num_epochs=8,
        batch_size=16,
        num_warmup_steps=5,
    )
    assert result.reliability is not None
    assert result.reliability.accuracy.mean == 0.0
    assert result.reliability.overconfidence.mean > 0.5


def test_a_rate_of_0_leaves_a_coin() -> None:
    lm = make_lm()
    before = [p.clone() for p in lm.module.parameters()]
    training = RewardModeling(
        lm, load_tokenizer(), make_pairs(8), RewardModelConfig(learning_rate=0)
    )
    assert training.train_epoch(0) == pytest.approx(math.log(2))
    assert all(
        torch.equal(a, b) for a, b in zip(before, lm.module.parameters(), strict=True)
    )
    with pytest.raises(ValueError, match="no spread"):
        train_reward_model(make_lm(), load_tokenizer(), make_pairs(8), learning_rate=0)


def weights_after(seed: int) -> list[float]:
    lm = make_lm()
    train_reward_model(
        lm, load_tokenizer(), make_pairs(24), seed=seed, batch_size=8, num_epochs=1
    )
    head = lm.network.value_head
    assert head is not None
    return [*head.weight.tolist(), *head.bias.tolist()]


def test_the_same_seed_gives_the_same_weights() -> None:
    assert weights_after(1) == weights_after(1) != weights_after(2)


def test_a_critic_that_was_there_is_forgotten() -> None:
    lm = make_lm()
    head = lm.network.value_head
    assert head is not None
    with torch.no_grad():
        head.weight.fill_(3.0)
    config = RewardModelConfig(learning_rate=0)
    training = RewardModeling(lm, load_tokenizer(), make_pairs(4), config)
    assert training.model.raw_scores([((user("Hi"),), "Yes.")]).tolist() == [0.0]


def test_the_step_size_rises_and_falls() -> None:
    config = RewardModelConfig(
        num_epochs=2, batch_size=4, num_warmup_steps=2, learning_rate=1.0
    )
    training = RewardModeling(make_lm(), load_tokenizer(), make_pairs(20), config)
    assert training.num_steps == 10
    shares = []
    for training.step in range(10):
        shares.append(training.learning_rate())
    assert shares == pytest.approx(
        [1 / 2, 1, 1, 7 / 8, 6 / 8, 5 / 8, 0.5, 3 / 8, 2 / 8, 1 / 8]
    )


def test_the_head_takes_the_step_size_of_the_schedule() -> None:
    config = RewardModelConfig(learning_rate=1e-2, num_warmup_steps=4)
    lm = make_lm()
    training = RewardModeling(lm, load_tokenizer(), make_pairs(8), config)
    training.update(np.arange(8))
    head = lm.network.value_head
    assert head is not None
    # Adam's first step is the step size for every weight with a gradient.
    assert float(head.weight.detach().abs().max()) == pytest.approx(1e-2 / 4, rel=0.01)


def test_bad_input_is_refused() -> None:
    tokenizer = load_tokenizer()
    with pytest.raises(ValueError, match="at least one pair"):
        train_reward_model(make_lm(), tokenizer, [])
    with pytest.raises(ValueError, match="no value head"):
        train_reward_model(make_lm(has_value_head=False), tokenizer, make_pairs(2))
    with pytest.raises(TypeError, match="Did you mean 'num_epochs'"):
        train_reward_model(make_lm(), tokenizer, make_pairs(2), num_epoch=3)
    with pytest.raises(ValueError, match="margin_weight must lie in"):
        RewardModelConfig(margin_weight=-1.0)


def test_the_notes_say_how_it_was_trained() -> None:
    config = RewardModelConfig(num_epochs=1, learning_rate=1e-2)
    result = train_reward_model(
        make_lm(),
        load_tokenizer(),
        make_pairs(8),
        make_pairs(4, seed=1),
        config,
        seed=5,
    )
    notes = result.notes()
    assert notes["config"] == dataclasses.asdict(dataclasses.replace(config, seed=5))
    assert notes["num_train_pairs"] == 8 and notes["held_out"]["num_pairs"] == 4
    assert len(notes["losses"]) == 1
