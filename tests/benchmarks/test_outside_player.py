"""Agents whose code is not ours: what they return, and Stable-Baselines3 as a player."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.experience.dialogue import make_env
from agents.tracking import plain_json
from benchmarks.cell import Cell
from benchmarks.job import Job
from benchmarks.job_run import run_job
from benchmarks.outside_player import (
    MalformedReplyError,
    OwnPlayer,
    SB3Player,
    _EpisodeWatch,
    _reply,
    check_actions,
)
from benchmarks.player import Goals
from chat_envs.vector import ChatVectorEnv
from tests.benchmarks.small_bench import job_of

BANDIT = "KeywordBandit-v0"
SB3 = "sb3-ppo@vocabulary=candidates,n_steps=4,batch_size=16,num_envs=4"


@pytest.fixture(scope="module")
def env() -> ChatVectorEnv:
    return make_env(f"chat_envs/{BANDIT}", 2, reply_length=4)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint16])
@pytest.mark.parametrize("width", [1, 4])
def test_integers_of_any_kind_and_width_are_actions(
    env: ChatVectorEnv, dtype: Any, width: int
) -> None:
    actions = check_actions(np.full((2, width), 5, dtype=dtype), 2, env)
    assert actions.dtype == np.int64 and actions.tolist() == [[5] * width] * 2
    assert check_actions([[5] * width] * 2, 2, env).tolist() == actions.tolist()


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (np.zeros((2, 4), dtype=bool), "dtype bool"),
        (np.zeros((2, 4), dtype=object), "dtype object"),
        (None, "dtype object"),
        ("yes", "dtype <U3"),
        (np.zeros((2, 0), dtype=np.int64), r"got \(2, 0\)"),
        (np.zeros((2, 5), dtype=np.int64), r"\(2, 1 to 4\), got \(2, 5\)"),
        (np.zeros((1, 2, 4), dtype=np.int64), r"got \(1, 2, 4\)"),
        (np.zeros(4, dtype=np.int64), r"got \(4,\)"),
        (np.array([[1, 2**40], [1, 1]]), "got 1 to 1099511627776"),
        (np.array([[1, -1], [1, 1]]), "got -1 to 1"),
    ],
)
def test_what_is_no_reply_is_refused(
    env: ChatVectorEnv, actions: Any, words: str
) -> None:
    with pytest.raises(MalformedReplyError, match=words):
        check_actions(actions, 2, env)


def test_a_reply_ends_with_its_first_control_id(env: ChatVectorEnv) -> None:
    (stop,) = env.template.stop_ids
    pad = env.tokenizer.pad_id
    cases: list[tuple[list[int], list[int], bool]] = [
        ([400, stop, 401, 402], [400, stop], False),
        ([400, 401], [400, 401], True),
        ([400, pad, stop, 1], [400], True),
        ([stop, 400], [stop], False),
    ]
    for ids, said, is_cut in cases:
        reply = _reply(np.array(ids), env)
        assert (reply.ids.tolist(), reply.is_cut) == (said, is_cut), ids
        assert len(reply.log_probs) == len(said)


def test_an_agent_sees_as_many_rows_as_there_are_dialogues(tmp_path: Path) -> None:
    player = OwnPlayer(job_of(tmp_path, "Idle"))
    rollout = player.play(Goals(split="test", number=5, repeats=2))
    assert [episode.seed for episode in rollout] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert player.mean_log_prob(rollout) is None


# Stable-Baselines3 --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sb3(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Cell]:
    job = job_of(tmp_path_factory.mktemp("suite"), SB3, BANDIT)
    return job, run_job(job)


def test_stable_baselines_is_run_as_everybody_is(sb3: tuple[Job, Cell]) -> None:
    job, cell = sb3
    assert (cell.status, cell.error, cell.agent) == ("done", "", SB3)
    names = {f"{w}{k}" for w in ("start", "final") for k in ("", "_greedy", "_train")}
    assert set(cell.evaluations) == names | {"final_trials"}
    assert cell.language["final"].perplexity is None
    assert "trained" not in cell.config
    json.dumps(plain_json(cell.as_dict()))


def test_its_timesteps_are_tokens(sb3: tuple[Job, Cell]) -> None:
    curve = sb3[1].curve
    assert curve is not None
    # A budget of 100 tokens in rollouts of 16: the last is played whole.
    assert curve.tokens[-1] <= 112 and curve.split == "train"
    assert all(turns <= tokens for turns, tokens in zip(curve.turns, curve.tokens))
    assert curve.turns[-1] >= 1


def test_it_is_repeated_bit_for_bit(sb3: tuple[Job, Cell]) -> None:
    job, cell = sb3
    again = run_job(job)
    assert again.evaluations == cell.evaluations
    assert again.curve is not None and cell.curve is not None
    assert again.curve.mean_return == cell.curve.mean_return


def test_a_frozen_network_ends_where_it_began(tmp_path: Path) -> None:
    cell = run_job(job_of(tmp_path, f"{SB3}+frozen", BANDIT))
    assert (cell.status, cell.kind) == ("done", "control"), cell.error
    assert cell.evaluations["final"] == cell.evaluations["start"]


def test_it_tries_goals_several_times_as_everybody_does(tmp_path: Path) -> None:
    player = SB3Player(job_of(tmp_path, SB3, BANDIT))
    trials = player.play(Goals(split="test", number=2, repeats=2))
    assert [e.seed for e in trials] == [0, 0, 1, 1]
    rollout = player.play(Goals(split="train", number=3))
    assert [e.seed for e in rollout] == [0, 1, 2]


def test_an_evaluation_pays_the_tasks_own_reward(tmp_path: Path) -> None:
    job = job_of(tmp_path, SB3, BANDIT)
    goals = Goals(split="test", number=4)
    paid_otherwise = replace(
        job, env_kwargs={"reward": {"task": 1.0, "length_band": 1.0}}
    )
    returns = [
        [e.total_reward for e in SB3Player(one).play(goals)]
        for one in (job, paid_otherwise)
    ]
    assert returns[0] == returns[1]


def test_the_last_point_of_its_curve_is_what_it_spent(sb3: tuple[Job, Cell]) -> None:
    curve = sb3[1].curve
    assert curve is not None and curve.tokens[-1] == 112


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("sb3-ppo@n_step=4", "Did you mean 'n_steps'"),
        ("sb3-ppo@vocabulary=candidate", "vocabulary|candidate"),
    ],
)
def test_a_wrong_setting_of_it_is_named(tmp_path: Path, agent: str, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        SB3Player(job_of(tmp_path, agent, BANDIT))


def test_the_watch_notes_means_of_episodes_at_even_distances() -> None:
    class Loop:
        num_timesteps = 0

    watch = _EpisodeWatch(total_tokens=60, is_paid_otherwise=False)  # a point every 2
    loop = Loop()
    for step, infos in enumerate(
        [
            [{"episode": {"r": 1.0}, "turn": 2}, {}],
            [{}],
            [{"episode": {"r": 0.0}, "turn": 1}, {"episode": {"r": 1.0}, "turn": 1}],
        ]
    ):
        loop.num_timesteps = 2 * (step + 1)
        assert watch({"self": loop, "infos": infos}, {}) is True
    curve = watch.log.curve()
    assert curve is not None
    assert curve.tokens == (2, 6) and curve.turns == (2, 4)
    assert curve.mean_return == (1.0, 0.5)
    watch.end(6)
    assert watch.log.curve() == curve, "that is known already"
    watch.end(8)
    ended = watch.log.curve()
    assert ended is not None and ended.tokens == (2, 6, 8)
    assert ended.mean_return == (1.0, 0.5, None)
