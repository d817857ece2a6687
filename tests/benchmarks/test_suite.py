"""Suites are data: what they hold, and mistakes in them, each named with the nearest right name."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.commands.demo import DEMO
from agents.experience.script import check_script
from agents.sft import SFTConfig
from benchmarks.contestant import read_contestants
from benchmarks.job import plan_jobs, train_config
from benchmarks.job_run import anchors_of
from benchmarks.suite import EvaluationPlan, SuiteError, read_suite
from benchmarks.suite_table import SUITES
from benchmarks.task_setting import IMITATION, SETTINGS
from chat_envs import anchors, registrations
from chat_envs.registration import find
from tests.benchmarks.small_bench import write_suite

TASK = "{env: Echo-easy-v0}"


@pytest.mark.parametrize("name", [name for name in SUITES if name != "smollm2"])
def test_a_built_in_suite_can_be_run(name: str) -> None:
    suite = read_suite(name)
    assert suite.name == name and suite.lm == "tiny" and suite.variants == ()
    for task in suite.tasks:
        setting = SETTINGS[task.env.removeprefix("chat_envs/")]
        assert isinstance(task.warm_start, dict)
        assert task.warm_start["num_steps"] == setting.num_steps
        assert task.warm_start["learning_rate"] == IMITATION["learning_rate"]
        assert task.budget == setting.total_tokens
        assert task.evaluation.num_episodes == 200
        check_script(task.warm_start["script"], task.env)


def test_the_suite_of_a_real_model_has_two_applications_and_small_budgets() -> None:
    suite = read_suite("smollm2")
    assert suite.lm == "smollm2-135m"
    jobs = plan_jobs(suite, read_contestants(["reinforce", "grpo"]), [0])
    assert len({job.env for job in jobs}) == 2 and len(jobs) == 4
    for job in jobs:
        assert "application" in find(job.env).tags
        assert job.budget < SETTINGS[job.env.removeprefix("chat_envs/")].total_tokens
        assert anchors_of(job) == anchors.load(job.env)
        assert train_config(job).agent_config().num_episodes == 16


def test_core_covers_every_kind_of_environment() -> None:
    core = read_suite("core")
    tags = [tag for task in core.tasks for tag in find(task.env).tags]
    kinds = {tag for r in registrations() for tag in r.tags}
    assert set(tags) == kinds == {"application", "game", "preference", "diagnostic"}
    assert tags.count("diagnostic") >= 3, "a radar needs three"
    assert core.agents["ppo"] == DEMO["hyperparameters"]
    assert {**IMITATION, "script": "careless", "num_steps": 200} == DEMO["warm_start"]


@pytest.mark.parametrize(
    ("name", "tag"),
    [("apps", "application"), ("games", "game"), ("diagnostics", "diagnostic")],
)
def test_the_other_suites_are_all_of_their_kind(name: str, tag: str) -> None:
    envs = {task.env for task in read_suite(name).tasks}
    tagged = {env for env in SETTINGS if tag in find(env).tags}
    assert envs == {f"chat_envs/{env}" for env in tagged}


def test_a_file_takes_from_another_suite_what_it_does_not_say(tmp_path: Path) -> None:
    path = write_suite(
        tmp_path,
        "extends: core\nagents: {reinforce: {num_episodes: 8}}\n"
        "hyperparameters: {learning_rate: 1e-4}\n"
        f"tasks: [{TASK}]\nevaluation: {{num_episodes: 50}}",
    )
    suite, core = read_suite(path), read_suite("core")
    assert suite.name == path
    assert [task.env for task in suite.tasks] == ["chat_envs/Echo-easy-v0"]
    assert suite.hyperparameters == {**core.hyperparameters, "learning_rate": 1e-4}
    assert suite.agents == {**core.agents, "reinforce": {"num_episodes": 8}}
    assert suite.tasks[0].evaluation == EvaluationPlan(num_episodes=50)


def test_a_file_can_extend_a_file(tmp_path: Path) -> None:
    base = write_suite(tmp_path, f"tasks: [{TASK}]\nlm: tiny")
    path = tmp_path / "more.yaml"
    path.write_text(f"extends: {base}\nhyperparameters: {{num_episodes: 8}}")
    assert read_suite(str(path)).hyperparameters == {"num_episodes": 8}
    looping = tmp_path / "loop.yaml"
    looping.write_text(f"extends: {looping}")
    with pytest.raises(SuiteError, match="cannot extend"):
        read_suite(str(looping))


def test_a_task_says_what_is_different_on_it(tmp_path: Path) -> None:
    path = write_suite(
        tmp_path,
        "tasks:\n- Recall-easy-v0\n- {env: Echo-v0, budget: 7, warm_start: false,"
        " env_kwargs: {reply_length: 4}, agents: {ppo: {num_epochs: 3}},"
        " evaluation: {num_trials: 2}}\nevaluation: {num_episodes: 9}",
    )
    short, full = read_suite(path).tasks
    assert short.env == "chat_envs/Recall-easy-v0" and short.agents == {}
    assert short.evaluation == EvaluationPlan(num_episodes=9)
    assert full.budget == 7 and full.warm_start is False
    assert full.env_kwargs == {"reply_length": 4}
    assert full.agents == {"ppo": {"num_epochs": 3}}
    assert full.evaluation == EvaluationPlan(num_episodes=9, num_trials=2)


def test_a_warm_start_is_as_it_was_written(tmp_path: Path) -> None:
    path = write_suite(
        tmp_path,
        "tasks: [{env: Echo-v0, budget: 7, warm_start: {script: expert, num_steps: 3}}]",
    )
    assert read_suite(path).tasks[0].warm_start == {"script": "expert", "num_steps": 3}
    assert SFTConfig().num_steps != 3


def test_a_sweep_is_every_combination(tmp_path: Path) -> None:
    path = write_suite(
        tmp_path,
        f"tasks: [{TASK}]\nsweep:\n- agents: [ppo, reinforce]\n"
        "  grid: {learning_rate: [1e-4, 1e-5], kl_target: [null, 0.5]}\n"
        "- {agents: [ppo], grid: {kl_estimator: [k1]}}",
    )
    names = read_suite(path).variants
    assert len(names) == 9 and names[-1] == "ppo@kl_estimator=k1"
    assert names[:2] == (
        "ppo@learning_rate=0.0001,kl_target=null",
        "ppo@learning_rate=0.0001,kl_target=0.5",
    )
    assert "reinforce@learning_rate=1e-05,kl_target=null" in names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tasks: [{env: Ecko-easy-v0}]", "Did you mean 'chat_envs/Echo-easy-v0'"),
        ("taskz: []", "no field 'taskz'. Did you mean 'tasks'"),
        ("tasks: []", "at least one task"),
        ("{}", "at least one task"),
        ("tasks: 3", "list of at least one"),
        ("tasks: [{budget: 4}]", r"tasks\[0\] lacks env"),
        ("tasks: [{env: Echo-v0, warm_start: false}]", r"tasks\[0\].budget"),
        ("tasks: [{env: Echo-easy-v0, budget: 0}]", "number of tokens, got 0"),
        ("tasks: [{env: Echo-easy-v0, budget: true}]", "number of tokens, got True"),
        ("tasks: [{env: Echo-v0, budget: 4}]", "how a model begins"),
        ("tasks: [{env: Echo-easy-v0, budgett: 4}]", "Did you mean 'budget'"),
        ("tasks: [Echo-easy-v0, Echo-easy-v0]", "Echo-easy-v0 is twice"),
        ("tasks: [{env: Echo-easy-v0, warm_start: {scriptt: x}}]", "mean 'script'"),
        ("tasks: [{env: Echo-easy-v0, warm_start: {script: exper}}]", "mean 'expert'"),
        ("tasks: [{env: Echo-easy-v0, warm_start: 3}]", "warm_start must map"),
        ("tasks: [{env: Echo-easy-v0, env_kwargs: 3}]", "env_kwargs must map"),
        (
            "tasks: [{env: Echo-easy-v0, env_kwargs: {split: test}}]",
            "cannot have split",
        ),
        (
            "tasks: [{env: Echo-easy-v0, env_kwargs: {reply_lenght: 3}}]",
            "Did you mean 'reply_length'",
        ),
        ("tasks: [{env: Echo-easy-v0, env_kwargs: {reward: no:x}}]", "no module named"),
        (f"tasks: [{TASK}]\nevaluation: {{num_episode: 3}}", "mean 'num_episodes'"),
        (f"tasks: [{TASK}]\nevaluation: {{num_episodes: 1}}", r"must lie in \[2"),
        (f"tasks: [{TASK}]\nhyperparameters: [1]", "hyperparameters must map"),
        (f"tasks: [{TASK}]\nagents: {{ppo: 3}}", "agents.ppo must map"),
        (f"tasks: [{TASK}]\nlm: 3", "lm must be"),
        (f"tasks: [{TASK}]\nsweep: 3", "sweep must be a list"),
        (f"tasks: [{TASK}]\nsweep: [{{agent: [ppo]}}]", "Did you mean 'agents'"),
        (f"tasks: [{TASK}]\nsweep: [{{agents: [ppo]}}]", "needs agents"),
        (
            f"tasks: [{TASK}]\nsweep: [{{agents: [ppo], grid: {{x: 3}}}}]",
            "must be a list",
        ),
        (
            f"tasks: [{TASK}]\nsweep: [{{agents: [ppo], grid: {{x: ['a,b']}}}}]",
            "no name could carry",
        ),
        ("extends: cor", "Did you mean 'core'"),
        ("extends: 3", "cannot extend 3"),
        ("[1]", "must map names"),
        ("{", "cannot be read"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        read_suite(write_suite(tmp_path, text))


def test_an_unknown_suite_is_named_with_the_nearest() -> None:
    with pytest.raises(SuiteError, match="Did you mean 'games'"):
        read_suite("gamse")


def test_a_task_is_found_by_its_id_long_or_short() -> None:
    core = read_suite("core")
    assert core.task("Echo-easy-v0") is core.task("chat_envs/Echo-easy-v0")
    with pytest.raises(SuiteError, match="Did you mean 'Echo-easy-v0'"):
        core.task("Echo-eazy-v0")
