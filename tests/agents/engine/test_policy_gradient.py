"""A vocabulary of three ids, where every reply can be written down."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from agents.engine.language_model import Sampling
from agents.engine.local import LocalLM
from tests.agents.engine.toy import batch_after, batch_of, noise, toy_model

STOP = 2
CONTEXT = np.array([0, 1, 1])
REPLIES = [[STOP], *([a, b] for a, b in itertools.product((0, 1), (0, 1, STOP)))]
REWARDS = torch.tensor([0.3, 1.0, -1.0, 0.5, 2.0, 0.0, -0.7])
SAMPLING = Sampling(max_new_tokens=2, stop_ids=frozenset({STOP}))


def build(family: str = "llama-grouped") -> LocalLM:
    return LocalLM(toy_model(family, vocab_size=3), name="three")


def log_probs_of_replies(lm: LocalLM) -> torch.Tensor:
    """(7,) log-probs of `REPLIES` by one evaluation."""
    dialogues = [np.concatenate([CONTEXT, reply]) for reply in REPLIES]
    masks = [np.arange(len(ids)) >= len(CONTEXT) for ids in dialogues]
    return lm.evaluate(batch_of(dialogues, masks)).log_probs.sum(-1)


def expected_reward(lm: LocalLM) -> float:
    """Sum over all replies by the plain forward, in the module's own precision."""
    total = 0.0
    for reply, reward in zip(REPLIES, REWARDS.tolist(), strict=True):
        ids = torch.tensor([*CONTEXT, *reply])
        with torch.no_grad():
            steps = lm.module(ids[None]).logits[0].log_softmax(-1)
        places = range(len(CONTEXT), len(ids))
        total += np.exp(sum(float(steps[s - 1, ids[s]]) for s in places)) * reward
    return total


def test_replies_have_all_the_probability() -> None:
    total = log_probs_of_replies(build()).exp().sum()
    torch.testing.assert_close(total, torch.tensor(1.0), atol=1e-5, rtol=0)


def test_sampler_draws_replies_as_often_as_the_trainer_says() -> None:
    lm = build()
    probs = log_probs_of_replies(lm).exp().detach().numpy()
    counts = np.zeros(len(REPLIES))
    generator = noise(1)
    with lm.decoder(500) as decoder:
        for _ in range(8):
            generation = decoder.generate(
                [CONTEXT] * 500, range(500), SAMPLING, generator
            )
            for row in range(500):
                counts[REPLIES.index(generation.reply(row).tolist())] += 1
    error = np.sqrt(probs * (1 - probs) * 4000)
    assert (np.abs(counts - probs * 4000) < 4.5 * error).all()


def test_policy_gradient_is_the_derivative_of_the_expected_reward() -> None:
    """The sum of pi * r * grad log pi against central differences of the sum of pi * r."""
    lm = build("gpt2")  # Llama's norms round to float32, too coarse for differences
    lm.module.double()
    log_probs = log_probs_of_replies(lm)
    surrogate = (log_probs.detach().exp() * REWARDS * log_probs).sum()
    surrogate.backward()
    for parameter in lm.module.parameters():
        direction = torch.randn(
            parameter.shape, dtype=torch.float64, generator=noise(parameter.numel())
        )
        direction /= direction.norm()
        ends = []
        for sign in (1, -2):
            parameter.data += sign * 1e-5 * direction
            ends.append(expected_reward(lm))
        parameter.data += 1e-5 * direction
        slope = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(
            (parameter.grad * direction).sum().item(), slope, atol=2e-6, rtol=1e-4
        )


def test_sampled_policy_gradient_is_unbiased() -> None:
    """REINFORCE over sampled replies, from decoder to gradient, within its standard error."""
    lm = build()
    weight = lm.module.get_output_embeddings().weight
    log_probs = log_probs_of_replies(lm)
    surrogate = (log_probs.detach().exp() * REWARDS * log_probs).sum()
    (exact,) = torch.autograd.grad(surrogate, weight)
    scores = torch.stack(
        [
            torch.autograd.grad(one, weight, retain_graph=True)[0]
            for one in log_probs_of_replies(lm).split(1)
        ]
    )
    probs = log_probs.detach().exp()
    terms = REWARDS[:, None, None] * scores
    variance = (probs[:, None, None] * (terms - exact) ** 2).sum(0)
    with lm.decoder(1000) as decoder:
        generation = decoder.generate([CONTEXT] * 1000, range(1000), SAMPLING, noise(5))
    rewards = REWARDS[
        [REPLIES.index(generation.reply(row).tolist()) for row in range(1000)]
    ]
    evaluation = lm.evaluate(batch_after([CONTEXT] * 1000, generation))
    loss = (rewards * evaluation.log_probs.sum(-1)).mean()
    (sampled,) = torch.autograd.grad(loss, weight)
    assert ((sampled - exact).abs() <= 5 * (variance / 1000).sqrt() + 1e-6).all()
    assert (sampled - exact).abs().max() > 0  # it was sampled
