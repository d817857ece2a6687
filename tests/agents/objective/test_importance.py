"""Ratios of tokens, replies and episodes by hand; weights between trainer and sampler."""

from __future__ import annotations

import math

import pytest
import torch

from agents.objective.importance import log_ratios, truncated_weights
from agents.objective.loss import clipped_policy_loss

NEW = torch.tensor([[0.1, 0.3, 0.8, 9.0], [0.2, 0.4, -0.6, 0.2]])
OLD = torch.zeros(2, 4)
MASK = torch.tensor([[True, True, True, False], [True, True, True, True]])
TURN = torch.tensor([[0, 0, 1, 0], [0, 1, 1, 2]])


def ratios(level: str, mask: torch.Tensor = MASK) -> torch.Tensor:
    return log_ratios(NEW, OLD, mask, TURN, level=level)  # type: ignore[arg-type]


def test_levels_by_hand() -> None:
    token = ratios("token")
    assert token.tolist() == torch.where(MASK, NEW, 0.0).tolist()
    turn = [[0.2, 0.2, 0.8, 0.0], [0.2, -0.1, -0.1, 0.2]]
    assert torch.allclose(ratios("turn"), torch.tensor(turn), atol=1e-6)
    episode = [[0.4, 0.4, 0.4, 0.0], [0.05, 0.05, 0.05, 0.05]]
    assert torch.allclose(ratios("episode"), torch.tensor(episode), atol=1e-6)


def test_a_token_that_takes_no_part_enters_no_mean() -> None:
    mask = MASK.clone()
    mask[1, 1:3] = False
    assert ratios("episode", mask)[1].tolist() == pytest.approx([0.2, 0, 0, 0.2])
    assert ratios("turn", mask)[1].tolist() == pytest.approx([0.2, 0, 0, 0.2])


def test_a_reply_of_one_token_has_the_ratio_of_its_token() -> None:
    turn = torch.arange(4)[None, :].expand(2, 4)
    assert torch.equal(log_ratios(NEW, OLD, MASK, turn, level="turn"), ratios("token"))


def test_a_token_has_its_own_gradient_and_a_reply_that_of_the_mean() -> None:
    leaf = NEW.clone().requires_grad_()
    log_ratios(leaf, OLD, MASK, TURN, level="turn")[0, 0].backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [[1.0, 0.0, 0.0, 0.0], [0.0] * 4]
    # Of a reply as a whole it is that of the mean, times the number of tokens: a mean over these
    # has the gradient of GSPO's ratio, whatever the ratio does to it.
    for level, turn in (("turn", TURN), ("episode", torch.zeros_like(TURN))):
        whole, mean = NEW.clone().requires_grad_(), NEW.clone().requires_grad_()
        ratios_BK = log_ratios(
            whole, OLD, MASK, TURN, level=level  # type: ignore[arg-type]
        )
        (ratios_BK.exp() * MASK).sum().backward()
        total = torch.zeros(())
        for row in range(2):
            for part in range(3):
                chosen = MASK[row] & (turn[row] == part)
                if chosen.any():
                    total = total + chosen.sum() * mean[row][chosen].mean().exp()
        total.backward()
        assert whole.grad is not None and mean.grad is not None
        assert torch.allclose(whole.grad, mean.grad, atol=1e-6)


def test_gspo_clips_a_reply_as_a_whole() -> None:
    # log ratios +1 and -1 cancel: the reply is where it was and keeps its gradient, although each
    # of its tokens alone would be clipped for one sign of the advantage.
    leaf = torch.tensor([[1.0, -1.0]], requires_grad=True)
    mask, turn = torch.ones(1, 2, dtype=torch.bool), torch.zeros(
        1, 2, dtype=torch.int64
    )
    ratio = log_ratios(leaf, torch.zeros(1, 2), mask, turn, level="turn")
    limits = {"clip_low": 3e-4, "clip_high": 4e-4}
    weights = torch.full((1, 2), 0.5)
    loss = clipped_policy_loss(ratio, torch.ones(1, 2), weights, **limits)
    loss.backward()
    assert leaf.grad is not None
    assert loss.item() == pytest.approx(-1.0)
    assert leaf.grad.tolist() == [[-0.5, -0.5]]


def test_unknown_level() -> None:
    with pytest.raises(ValueError, match="'sequence'.*token, turn, episode"):
        ratios("sequence")


def test_truncated_weights_by_hand() -> None:
    trainer = torch.tensor([[-1.0, -2.0, -1.0]], requires_grad=True)
    sampler = torch.tensor([[-1.0, -1.0, -4.0]])
    found = truncated_weights(trainer, sampler, 2.0)
    assert found.tolist() == [[1.0, pytest.approx(math.exp(-1.0)), 2.0]]
    assert not found.requires_grad
