"""The sides of an update and of a whole step do the same work."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.engine.local import LocalLM
from benchmarks.peak import SIDES, measure_peak
from benchmarks.shape import SHAPES, build_model
from benchmarks.token_task import IdTokenizer, make_task
from benchmarks.training import (
    Replies,
    algorithm_of,
    interleave,
    our_update,
    plain_update,
    task_prompts,
    trl_update,
    twin,
)
from tests.benchmarks.micro import MICRO

CPU = torch.device("cpu")
needs_trl = pytest.mark.skipif(
    importlib.util.find_spec("trl") is None, reason="trl is not installed"
)


def lm_of(seed: int = 0) -> LocalLM:
    model = build_model(MICRO, seed=seed, device=CPU, dtype=torch.float32)
    return LocalLM(model, name="micro")


def test_the_task_gives_full_replies_to_prompts_of_the_shape() -> None:
    report = algorithm_of(lm_of(), MICRO).iterate()
    assert report.metrics["reply_tokens"] == MICRO.num_tokens
    assert report.metrics["cut_share"] == 1.0
    assert report.metrics["trained_tokens"] == MICRO.num_tokens
    assert report.metrics["kl"] == 0.0  # no start model is kept
    assert report.metrics["log_prob_gap"] < 1e-5
    for episode in report.rollout:
        reply = episode.ids[episode.action_mask]
        assert len(episode.ids) - len(reply) == MICRO.prompt_length
        assert episode.total_reward == pytest.approx(np.mean(reply % 2 == 0))
    groups = report.rollout.groups.tolist()
    assert groups == [0] * 4 + [1] * 4
    prompts = [tuple(e.ids[: MICRO.prompt_length].tolist()) for e in report.rollout]
    assert len(set(prompts[:4])) == len(set(prompts[4:])) == 1


def test_words_of_the_task_are_ids() -> None:
    tokenizer = IdTokenizer(200)
    assert tokenizer.encode("17 199 0") == (17, 199, 0)
    assert tokenizer.decode([17, 199, 0]) == "17 199 0"
    env = make_task(MICRO)
    assert env.context_length == 11 and len(env.envs) == 8


def test_the_plain_loop_follows_our_gradient_up_to_rounding() -> None:
    """Same replies, and a baseline that differs by a factor alone: both follow one direction."""
    shape = replace(MICRO, group_size=8)
    lm = lm_of()
    other = twin(lm.module)
    start = [p.detach().clone() for p in lm.module.parameters()]
    replies = Replies(lm, shape)
    # Leave-one-out over one group of all rows is the mean's advantage times N / (N - 1), and
    # AdamW's first step does not depend on the gradient's size.
    assert our_update(algorithm_of(lm, shape), replies)() > 0
    assert plain_update(other, replies)() > 0
    ours, plain = [], []
    for p, q, s in zip(lm.module.parameters(), other.parameters(), start, strict=True):
        ours.append((p.detach() - s).flatten())
        plain.append((q.detach() - s).flatten())
    a, b = torch.cat(ours).double(), torch.cat(plain).double()
    assert a.norm() > 0
    assert float(a @ b / (a.norm() * b.norm())) > 0.99


@needs_trl
@pytest.mark.slow
def test_trl_trains_on_the_same_replies_and_moves_the_weights() -> None:
    lm = lm_of()
    other = twin(lm.module)
    before = [p.detach().clone() for p in other.parameters()]
    assert trl_update(other, MICRO, Replies(lm, MICRO))() > 0
    pairs = zip(before, other.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


@needs_trl
@pytest.mark.slow
@pytest.mark.parametrize("name", SIDES[1:])
def test_steps_of_ours_and_of_trl_take_turns(name: str) -> None:
    lm = lm_of()
    model = twin(lm.module)
    result = interleave(name, lm, model, MICRO, num_pairs=5)
    assert list(result.seconds) == ["ours", name]
    assert all(len(seconds) == 5 for seconds in result.seconds.values())
    assert all(min(seconds) > 0 for seconds in result.seconds.values())


@needs_trl
@pytest.mark.slow
def test_trl_reads_the_prompts_that_we_mean() -> None:
    peer = importlib.import_module("benchmarks.trl_peer")
    tokenizer = peer.id_tokenizer(200)
    prompts = task_prompts(MICRO, 3)
    texts = [" ".join(map(str, prompt)) for prompt in prompts]
    assert tokenizer(text=texts)["input_ids"] == [p.tolist() for p in prompts]
    assert tokenizer.eos_token_id == 200  # an id that the model does not have


@pytest.mark.slow
def test_the_peak_of_a_side_is_above_what_it_began_with() -> None:
    peak = measure_peak(
        "ours",
        SHAPES["1m"].with_rows(8),
        device="cpu",
        dtype="float32",
        num_threads=1,
        weights="random",
    )
    assert peak["peak_bytes"] > peak["before_bytes"] > 4 * 1_049_728
