"""Jobs: in which order they are planned, and what is wrong with one before it is begun."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from agents.tracking import plain_json
from benchmarks.contestant import read_contestants
from benchmarks.job import Job, evaluation_kwargs, plan_jobs, train_config
from benchmarks.suite import SuiteError, read_suite
from tests.benchmarks.small_bench import AGENTS, jobs_of, write_suite

ECHO, BANDIT = "chat_envs/Echo-easy-v0", "chat_envs/KeywordBandit-v0"


def test_jobs_are_planned_seed_by_seed_and_neighbours_differ_in_task(
    tmp_path: Path,
) -> None:
    keys = [job.key for job in jobs_of(tmp_path, "ppo", "sft", seeds=2)]
    assert keys == [
        (agent, env, seed)
        for seed in (0, 1)
        for agent in ("ppo", "sft")
        for env in (ECHO, BANDIT)
    ]


def test_a_script_is_run_once_a_task(tmp_path: Path) -> None:
    keys = [job.key for job in jobs_of(tmp_path, "expert", "sft", seeds=3)]
    assert keys.count(("expert", ECHO, 0)) == 1
    assert sum(agent == "expert" for agent, _, _ in keys) == 2
    assert sum(agent == "sft" for agent, _, _ in keys) == 6


def test_a_budget_and_tasks_can_be_chosen(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, "ppo", budget=77, envs=["KeywordBandit-v0"])
    assert [(job.env, job.budget) for job in jobs] == [(BANDIT, 77)]
    assert [job.budget for job in jobs_of(tmp_path, "ppo")] == [200, 100]
    with pytest.raises(SuiteError, match="Did you mean 'Echo-easy-v0'"):
        jobs_of(tmp_path, "ppo", envs=["Echo-easi-v0"])


def test_a_job_survives_the_way_to_another_process(tmp_path: Path) -> None:
    for job in jobs_of(tmp_path, "ppo@clip_low=0.25", "expert", "Idle", "sft"):
        line = json.dumps(plain_json(job.as_dict()))
        assert Job.from_dict(json.loads(line)) == job


def test_the_command_is_one_that_a_shell_reads(tmp_path: Path) -> None:
    folder = tmp_path / "with a space"
    folder.mkdir()
    suite = read_suite(write_suite(folder))
    (job,) = plan_jobs(
        suite, read_contestants(["ppo@clip_low=0.25"]), [4], envs=[ECHO], budget=9
    )
    words = shlex.split(job.command)
    assert words[:2] == ["chat-envs", "bench"]
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert given == {
        "--suite": str(folder / "small.yaml"),
        "--agents": "ppo@clip_low=0.25",
        "--env": ECHO,
        "--seed-list": "4",
        "--budget": "9",
        "--out": "rerun",
    }


def test_the_model_of_all_agents_begins_alike(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, "ppo", "reinforce", "sft", envs=[ECHO])
    starts = [train_config(job).warm_start_config() for job in jobs]
    assert starts[0] == starts[1] == starts[2] is not None
    assert all(train_config(job).num_threads == 1 for job in jobs)
    ppo, _, sft = (train_config(job) for job in jobs)
    assert ppo.agent_config().learning_rate == 1e-3
    assert sft.hyperparameters == {}


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("ppo@learning_rat=1", "Did you mean 'learning_rate'"),
        ("ppo@learning_rate=-1", "must lie in"),
        ("ppo@learning_rate=fast", "must be a number"),
        ("script:carless", "There is no script 'carless'"),
        (f"{AGENTS}:Idle@words=x", "unexpected keyword argument 'words'"),
        (f"{AGENTS}:Idl", "Did you mean 'Idle'"),
        ("sb3-ppo@vocabulary=candidate", "'candidate'"),
    ],
)
def test_a_wrong_setting_is_found_before_anything_is_run(
    tmp_path: Path, agent: str, words: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        jobs_of(tmp_path, agent)
    assert str(caught.value).startswith(f"{agent} on {ECHO}: ")


def test_the_reward_that_is_paid_is_no_part_of_an_evaluation() -> None:
    kwargs = {"reward": {"task": 1.0}, "on_error": "mask", "timeout_s": 1.0, "x": 1}
    assert evaluation_kwargs(kwargs) == {"x": 1}
