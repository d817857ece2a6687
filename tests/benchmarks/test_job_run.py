"""A job, carried out: what its cell holds, and what becomes of agents that are broken."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.tracking import plain_json
from benchmarks.cell import Cell
from benchmarks.cell_schema import validate
from benchmarks.job import Job
from benchmarks.job_run import choose_transcripts, failed_cell, run_job
from benchmarks.player import CurveLog, Goals, ScriptPlayer
from chat_envs import anchors
from tests.benchmarks.small_agents import make_env
from tests.benchmarks.small_bench import job_of

ECHO = "Echo-easy-v0"
EVALUATIONS = {"final", "final_greedy", "final_train"}


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("CHAT_ENVS_CACHE", str(path))


def numbers(cell: Cell) -> dict[str, Any]:
    """Return all that must be the same when the run is repeated."""
    record = cell.as_dict()
    for key in ("cpu_seconds", "wall_seconds", "date"):
        record["provenance"].pop(key, None)
    if record["curve"]:
        del record["curve"]["seconds"]
    return record


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Cell]:
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.getbasetemp() / "cache"
        patch.setenv("CHAT_ENVS_CACHE", str(path))
        job = job_of(tmp_path_factory.mktemp("suite"), "ppo", ECHO)
        return job, run_job(job)


def test_the_cell_of_an_algorithm_holds_everything(learned: tuple[Job, Cell]) -> None:
    job, cell = learned
    assert (cell.status, cell.error, cell.kind) == ("done", "", "learner")
    starts = {name.replace("final", "start") for name in EVALUATIONS}
    assert set(cell.evaluations) == EVALUATIONS | starts | {"final_trials"}
    assert [len(cell.evaluations[n].returns) for n in sorted(EVALUATIONS)] == [6, 4, 4]
    assert cell.evaluations["final_train"].split == "train"
    assert cell.evaluations["final"].split == "test"
    assert cell.evaluations["final_trials"].seeds == (0, 0, 1, 1)
    assert cell.budget == {"tokens": 200} and cell.seed == 0
    assert [t.kind for t in cell.transcripts] == ["random", "random", "best", "worst"]
    for when in ("start", "final"):
        perplexity = cell.language[when].perplexity
        assert perplexity is not None and perplexity > 1.0
    validate(plain_json(cell.as_dict()))


def test_the_curve_goes_to_the_budget_and_no_further_than_an_update(
    learned: tuple[Job, Cell],
) -> None:
    _, cell = learned
    curve = cell.curve
    assert curve is not None and curve.split == "train"
    assert curve.tokens[-1] >= 200
    assert len(curve.tokens) == 1 or curve.tokens[-2] < 200
    assert list(curve.turns) == [8.0 * (i + 1) for i in range(len(curve.turns))]
    assert len(curve.kl) == len(curve.turns)
    assert curve.gold == curve.proxy == ()


def test_the_config_has_every_hyperparameter(learned: tuple[Job, Cell]) -> None:
    job, cell = learned
    trained = cell.config["trained"]
    assert trained["hyperparameters"]["learning_rate"] == 1e-3
    assert "max_grad_norm" in trained["hyperparameters"]
    assert trained["warm_start"]["script"] == "expert+blind"
    assert trained["warm_start"]["seed"] == 0
    assert Job.from_dict({k: v for k, v in job.as_dict().items()}) == job


def test_the_command_makes_this_cell_alone(learned: tuple[Job, Cell]) -> None:
    _, cell = learned
    assert cell.command.startswith("chat-envs bench --suite ")
    assert cell.command.endswith(
        "--agents ppo --env chat_envs/Echo-easy-v0 --seed-list 0 --budget 200 --out rerun"
    )


def test_the_cell_says_of_what_it_was_made(learned: tuple[Job, Cell]) -> None:
    made = learned[1].provenance
    assert made["environment"] == anchors.version(f"chat_envs/{ECHO}")
    assert made["versions"]["torch"] and made["cpu_seconds"] > 0
    assert made["wall_seconds"] >= 0 and made["machine"]


def test_a_repeated_run_gives_the_same_numbers_bit_for_bit(
    learned: tuple[Job, Cell],
) -> None:
    job, cell = learned
    assert numbers(run_job(job)) == numbers(cell)
    other = numbers(run_job(replace(job, seed=1)))
    assert other["transcripts"] != numbers(cell)["transcripts"]


def test_the_start_is_where_the_algorithms_start(
    learned: tuple[Job, Cell], tmp_path: Path
) -> None:
    cell = run_job(job_of(tmp_path, "sft", ECHO))
    assert cell.kind == "learner" and cell.curve is None
    for name in EVALUATIONS:
        start = name.replace("final", "start")
        assert cell.evaluations[name] == cell.evaluations[start]
        assert cell.evaluations[start] == learned[1].evaluations[start]
    assert cell.language["final"] == learned[1].language["start"]


def test_a_frozen_control_ends_where_it_began(tmp_path: Path) -> None:
    cell = run_job(job_of(tmp_path, "reinforce+frozen", ECHO))
    assert (cell.kind, cell.agent) == ("control", "reinforce+frozen")
    assert cell.config["settings"]["learning_rate"] == 0
    for name in EVALUATIONS:
        start = name.replace("final", "start")
        assert cell.evaluations[name] == cell.evaluations[start]
    final, start = cell.language["final"].perplexity, cell.language["start"].perplexity
    assert final == start


def test_an_expert_scores_one_and_the_blind_nothing(tmp_path: Path) -> None:
    for name, expected in (("expert", 1.0), ("blind", 0.0), ("script:empty", 0.0)):
        cell = run_job(job_of(tmp_path, name, ECHO))
        assert (cell.kind, cell.status) == ("script", "done")
        assert set(cell.evaluations) == {"final", "final_train"}
        final = cell.evaluations["final"].mean_return
        assert final == pytest.approx(expected, abs=1e-9)


def test_another_reward_is_paid_but_never_scored(tmp_path: Path) -> None:
    job = job_of(tmp_path, "reinforce", ECHO)
    paid = "tests.benchmarks.test_job_run:pay_two"
    cell = run_job(replace(job, env_kwargs={**job.env_kwargs, "reward": paid}))
    assert cell.status == "done", cell.error
    assert cell.curve is not None and set(cell.curve.proxy) == {2.0}
    assert cell.curve.gold == cell.curve.mean_return
    assert max(r for r in cell.evaluations["final"].returns if r is not None) <= 1.0
    assert cell.anchors is not None


def pay_two(reply: str) -> float:
    """Return a reward that has nothing to do with the task."""
    return 2.0


def test_a_keyword_that_makes_another_task_has_no_anchors(tmp_path: Path) -> None:
    job = job_of(tmp_path, "expert", ECHO)
    assert run_job(job).anchors is not None
    assert run_job(replace(job, env_kwargs={"max_turns": 1})).anchors is None


# Agents from outside ------------------------------------------------------------------------


def test_an_agent_that_never_learns_is_scored(tmp_path: Path) -> None:
    cell = run_job(job_of(tmp_path, "Idle"))
    assert (cell.status, cell.kind) == ("done", "learner")
    assert cell.curve is None and cell.agent.endswith("small_agents:Idle")
    assert set(cell.evaluations) == EVALUATIONS | {"final_trials"}
    lengths = cell.evaluations["final"].reply_tokens
    said = make_env("chat_envs/KeywordBandit-v0").encode("yes")
    (stop,) = make_env("chat_envs/KeywordBandit-v0").template.stop_ids
    assert set(lengths) == {float(said.tolist().index(stop) + 1)}


def test_an_agent_is_given_its_settings(tmp_path: Path) -> None:
    cell = run_job(job_of(tmp_path, "Idle@word=maybe", ECHO))
    record = cell.transcripts[0].record
    said = [m["content"] for m in record["messages"] if m["role"] == "assistant"]
    assert said == ["maybe"] * len(said)


def test_an_agents_own_randomness_is_its_seed(tmp_path: Path) -> None:
    job = job_of(tmp_path, "Guesser")
    assert numbers(run_job(job)) == numbers(run_job(job))


@pytest.mark.parametrize(
    ("agent", "status", "words"),
    [
        ("Raises", "failed", "RuntimeError: no idea what to do with 100 tokens"),
        ("Leaves", "failed", "SystemExit: enough of this"),
        ("Hungry", "killed", "three exabytes"),
        ("Floats", "malformed", "dtype float32"),
        ("NaNs", "malformed", "dtype float64"),
        ("Short", "malformed", "actions have the shape (6, 1 to"),
        ("Long", "malformed", "actions have the shape"),
        ("FewRows", "malformed", "got (7,"),
        ("TooHigh", "malformed", "ids lie in [0,"),
        ("Negative", "malformed", "got -1 to -1"),
        ("Padded", "malformed", "write a stop id alone"),
        ("Ragged", "malformed", "no array"),
        ("Bare", "malformed", "predict returns a pair"),
    ],
)
def test_a_broken_agents_cell_says_so(
    tmp_path: Path, agent: str, status: str, words: str
) -> None:
    cell = run_job(job_of(tmp_path, agent))
    assert cell.status == status
    assert words in cell.error
    assert str(Path(__file__).parents[2]) not in cell.error
    assert "final" not in cell.evaluations
    assert cell.command and cell.config["seed"] == 0
    validate(plain_json(cell.as_dict()))


def test_what_was_measured_before_a_failure_is_kept(tmp_path: Path) -> None:
    job = job_of(tmp_path, "ppo", ECHO)
    paid = "tests.benchmarks.test_job_run:refuse"
    cell = run_job(replace(job, env_kwargs={**job.env_kwargs, "reward": paid}))
    assert cell.status == "failed" and "refused" in cell.error
    assert set(cell.evaluations) == {"start", "start_greedy", "start_train"}
    assert cell.language["start"].reply_length is not None


def refuse(reply: str) -> float:
    """Fail as a reward."""
    raise ValueError("refused")


def test_a_process_that_said_nothing_has_a_cell_all_the_same(tmp_path: Path) -> None:
    cell = failed_cell(job_of(tmp_path, "ppo", ECHO), "killed", "by the moon", 12.34)
    assert (cell.status, cell.error) == ("killed", "by the moon")
    assert cell.provenance["wall_seconds"] == 12.3
    assert "cpu_seconds" not in cell.provenance
    validate(plain_json(cell.as_dict()))


# Parts --------------------------------------------------------------------------------------


def test_repeated_goals_stand_side_by_side() -> None:
    assert Goals(split="test", number=2, repeats=3).seeds == [0, 0, 0, 1, 1, 1]


def test_random_transcripts_are_drawn_by_the_seed(tmp_path: Path) -> None:
    player = ScriptPlayer(job_of(tmp_path, "script:guess", "KeywordBandit-v0"))
    rollout = player.play(Goals(split="test", number=20))

    def drawn(seed: int) -> list[int]:
        chosen = choose_transcripts(rollout, seed)
        return [t.record["seed"] for t in chosen if t.kind == "random"]

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(6)}) > 1
    totals = [e.total_reward for e in rollout]
    by_kind = {t.kind: t.record["return"] for t in choose_transcripts(rollout, 0)}
    assert by_kind["best"] == max(totals) and by_kind["worst"] == min(totals)


def test_a_curve_keeps_what_is_known() -> None:
    log = CurveLog()
    assert log.curve() is None
    log.add(8, 20, {"return": 0.5, "kl_per_reply": 0.125})
    log.add(16, 41, {"return": math.nan})
    curve = log.curve()
    assert curve is not None
    assert curve.turns == (8, 16) and curve.tokens == (20, 41)
    assert curve.mean_return == (0.5, None) and curve.kl == (0.125, None)
    assert curve.gold == () == curve.proxy
    assert np.all(np.diff(curve.seconds) >= 0)


def test_a_curve_of_a_flawed_reward_has_gold_and_proxy() -> None:
    measured = CurveLog()
    measured.add(1, 1, {"return": 1.5, "env/gold": 0.25})
    curve = measured.curve()
    assert curve is not None
    assert (curve.mean_return, curve.gold, curve.proxy) == ((1.5,), (0.25,), (1.5,))
    replaced = CurveLog(is_paid_otherwise=True)
    replaced.add(1, 1, {"return": 1.5, "gold_return": 0.75})
    curve = replaced.curve()
    assert curve is not None
    assert (curve.mean_return, curve.gold, curve.proxy) == ((0.75,), (0.75,), (1.5,))
