"""Replies as ids: how they are cut into batches, and where the head reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.engine.reply_scorer import HeadedNetwork, TokenReply, micro_batches
from tests.agents.toys import make_lm


def make_replies(num_replies: int = 24, seed: int = 0) -> list[TokenReply]:
    """Return replies of random ids to a few prompts, in no order."""
    rng = np.random.default_rng(seed)
    prompts = [
        tuple(rng.integers(5, 900, size=size).tolist()) for size in (3, 9, 9, 30)
    ]
    replies = []
    for _ in range(num_replies):
        prompt = prompts[int(rng.integers(len(prompts)))]
        said = tuple(rng.integers(5, 900, size=int(rng.integers(1, 12))).tolist())
        replies.append((prompt + said, len(prompt)))
    return replies


@pytest.mark.parametrize("budget", [1, 60, 200, 10_000])
def test_every_reply_is_in_one_batch_within_the_budget(budget: int) -> None:
    replies = make_replies()
    batches = list(micro_batches(replies, budget))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(replies)))
    for rows in batches:
        longest = max(len(replies[row][0]) for row in rows)
        assert len(rows) == 1 or longest * len(rows) <= budget
    if budget == 10_000:
        assert len(batches) == 1
    assert list(micro_batches([], budget)) == []


def test_replies_to_one_prompt_stay_together() -> None:
    replies = make_replies()
    (rows,) = micro_batches(replies, 10_000)
    prompts = [replies[row][0][: replies[row][1]] for row in rows]
    changes = sum(a != b for a, b in zip(prompts, prompts[1:]))
    assert changes == len(set(prompts)) - 1


def test_the_head_reads_the_last_token_of_the_bare_model() -> None:
    lm = make_lm()
    head = lm.network.value_head
    assert head is not None
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator))
        head.bias.fill_(0.5)
    replies = [*make_replies(6), ((5, 9), 0), ((5, 9), 1)]
    with torch.no_grad():
        scores = HeadedNetwork(lm).scores(replies)
        for score, (ids, _) in zip(scores, replies, strict=True):
            hidden = lm.module.model(input_ids=torch.tensor([ids])).last_hidden_state
            expected = float(hidden[0, -1] @ head.weight + 0.5)
            assert float(score) == pytest.approx(expected, abs=2e-5)
