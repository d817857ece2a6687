"""Plans: the lengths of real scripts, forced through the last id of each context."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.engine.local import LocalLM
from agents.experience.dialogue import make_env, play_script, script_of
from benchmarks.shape import SHAPES, build_model
from benchmarks.training import Replies
from benchmarks.workload import (
    LENGTHS_ENV,
    STOP_ID,
    fixed_plan,
    log_prob_gap,
    make_rollout,
    scripted_dialogues,
    turns_plan,
    varied_plan,
)
from tests.benchmarks.micro import MICRO

SHAPE = SHAPES["1m"]


def test_the_table_is_what_the_experts_said_and_heard() -> None:
    env = make_env(LENGTHS_ENV, 64)
    rng = np.random.default_rng(0)  # an expert draws nothing
    rollout = play_script(env, range(64), script_of("expert", rng))
    for lengths, episode in zip(scripted_dialogues(), rollout, strict=False):
        assert lengths.replies == tuple(episode.reply_lengths.tolist())
        # Walk the mask: a run of True for each reply, a run of False before it.
        runs = np.split(
            episode.action_mask, np.flatnonzero(np.diff(episode.action_mask)) + 1
        )
        heard = [len(run) for run in runs if not run[0]]
        assert lengths.heard == tuple(heard[: len(lengths.replies)])


def test_both_scripts_are_in_the_table_and_nothing_in_it_moves() -> None:
    table = scripted_dialogues()
    assert len(table) == 128
    assert table == scripted_dialogues()
    expert, careless = table[:64], table[64:]
    assert sum(len(d.replies) for d in expert) != sum(len(d.replies) for d in careless)


def test_fixed_replies_are_full_and_groups_have_one_prompt() -> None:
    plan = fixed_plan(SHAPE, seed=3)
    assert plan.num_tokens == SHAPE.num_tokens == 64 * 32
    assert plan.longest == 64 and not plan.stop_ids
    (prompts,) = plan.news
    groups = [{tuple(p.tolist()) for p in prompts[g : g + 8]} for g in range(0, 64, 8)]
    assert all(len(group) == 1 for group in groups)
    assert len(set.union(*groups)) == 8
    assert all(len(prompt) == 32 for prompt in prompts)


def test_varied_replies_have_lengths_of_the_table_and_ask_for_them() -> None:
    plan = varied_plan(SHAPE, seed=3)
    known = {n for dialogue in scripted_dialogues() for n in dialogue.replies}
    assert set(plan.lengths[0].tolist()) <= known
    assert len(set(plan.lengths[0].tolist())) > 1
    assert [prompt[-1] for prompt in plan.news[0]] == plan.lengths[0].tolist()
    assert plan.stop_ids == {STOP_ID}
    for row, prompt in enumerate(plan.news[0]):
        first = plan.news[0][row - row % 8]
        assert np.array_equal(prompt[:-1], first[:-1])
        assert len(prompt) == 32


def test_four_turns_are_those_of_dialogues_that_have_as_many() -> None:
    plan = turns_plan(SHAPE, seed=3)
    assert plan.lengths.shape == (4, 64)
    known = {d.replies[:4] for d in scripted_dialogues() if len(d.replies) >= 4}
    assert {tuple(row) for row in plan.lengths.T.tolist()} <= known
    for news, lengths in zip(plan.news, plan.lengths, strict=True):
        assert [new[-1] for new in news] == lengths.tolist()


@pytest.mark.parametrize("make", [fixed_plan, varied_plan, turns_plan])
def test_a_plan_is_a_function_of_its_seed(make: object) -> None:
    assert callable(make)
    one, same, other = make(SHAPE, 1), make(SHAPE, 1), make(SHAPE, 2)
    assert all(map(np.array_equal, one.news[0], same.news[0]))
    assert np.array_equal(one.lengths, same.lengths)
    assert not all(map(np.array_equal, one.news[0], other.news[0]))


def test_decoder_and_trainer_agree_until_a_log_prob_is_moved() -> None:
    model = build_model(MICRO, seed=0, device=torch.device("cpu"), dtype=torch.float32)
    lm = LocalLM(model, name="micro")
    replies = Replies(lm, MICRO)
    mean, largest = log_prob_gap(lm, replies.contexts, replies.generation)
    assert 0 <= mean <= largest < 1e-5
    replies.generation.log_probs[0, 0] += 0.5
    mean, largest = log_prob_gap(lm, replies.contexts, replies.generation)
    assert largest == pytest.approx(0.5, abs=1e-4)
    assert mean == pytest.approx(0.5 / MICRO.num_tokens, abs=1e-5)


def test_a_rollout_has_the_groups_rewards_and_tokens_of_what_was_generated() -> None:
    model = build_model(MICRO, seed=0, device=torch.device("cpu"), dtype=torch.float32)
    replies = Replies(LocalLM(model, name="micro"), MICRO)
    rewards = np.arange(8.0)
    rollout = make_rollout(replies.contexts, replies.generation, 4, rewards)
    assert rollout.groups.tolist() == [0] * 4 + [1] * 4
    assert [e.total_reward for e in rollout] == rewards.tolist()
    for row, episode in enumerate(rollout):
        assert np.array_equal(episode.ids[~episode.action_mask], replies.contexts[row])
        assert np.array_equal(episode.ids[episode.action_mask], replies.ids[row])
        assert episode.reply_cut.tolist() == [True]
