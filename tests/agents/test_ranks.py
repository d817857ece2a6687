"""A run in two processes is the run of one: the same updates, one directory, whatever dies."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("deepspeed")

from agents.checkpoint import newest_checkpoint  # noqa: E402
from agents.experience.exchange import from_bytes, to_bytes  # noqa: E402
from agents.experience.rollout import Episode, Rollout  # noqa: E402
from agents.tracking import read_lines  # noqa: E402
from tests.agents.run_program import (  # noqa: E402
    ALGORITHMS,
    build,
    carry_out_run,
    command,
    learn,
    learn_from,
    play_some,
    play_together,
    run_ranks,
    start_ranks,
)
from tests.agents.small_run import NAME, small_config  # noqa: E402
from tests.agents.test_train import fingerprint  # noqa: E402

WEIGHTS = ("model.safetensors", "value_head.safetensors")


@dataclass(frozen=True)
class Lesson:
    """Where several processes, one, and the local engine have learnt from the same episodes."""

    directory: Path
    rollout: Rollout

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        return {
            f"{file}/{key}": tensor
            for file in WEIGHTS
            for key, tensor in load_file(self.directory / name / file).items()
        }

    def metrics(self, name: str) -> dict[str, float]:
        values = json.loads((self.directory / f"{name}.json").read_text())
        return {key: float(value) for key, value in values.items()}


def largest_difference(
    one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]
) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.fixture(
    scope="module",
    params=[0, *(pytest.param(stage, marks=pytest.mark.slow) for stage in (1, 2, 3))],
)
def lesson(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Lesson:
    directory = tmp_path_factory.mktemp("lesson")
    rollout = play_some(build("local"))
    episodes = directory / "episodes"
    episodes.write_bytes(to_bytes(dict(enumerate(rollout))))
    for num_ranks in (1, 2):
        run_ranks(
            directory,
            learn_from,
            episodes,
            request.param,
            tuple(ALGORITHMS),
            num_ranks=num_ranks,
        )
    for name in ALGORITHMS:
        lm = build("local")
        measured = learn(lm, name, rollout)
        lm.save(directory / f"{name}-local")
        (directory / f"{name}-local.json").write_text(json.dumps(measured))
    return Lesson(directory, rollout)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_two_processes_make_the_update_of_one(lesson: Lesson, name: str) -> None:
    alone = lesson.weights(f"{name}-1")
    assert largest_difference(lesson.weights(f"{name}-2"), alone) <= 1e-5
    assert largest_difference(lesson.weights(f"{name}-local"), alone) <= 1e-4
    start = dict(build("local").module.named_parameters())
    moved = [
        float((alone[f"model.safetensors/{key}"] - weight.detach()).abs().max())
        for key, weight in start.items()
    ]
    assert max(moved) > 4e-5, "there was something to learn"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_all_processes_measure_what_one_measures(lesson: Lesson, name: str) -> None:
    alone = lesson.metrics(f"{name}-1-0")
    assert len(alone) >= 5
    first, second = (lesson.metrics(f"{name}-2-{rank}") for rank in (0, 1))
    assert first == second, "processes would decide differently"
    assert first == pytest.approx(alone, rel=1e-4, abs=1e-6)
    assert lesson.metrics(f"{name}-local") == pytest.approx(alone, rel=1e-4, abs=1e-6)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory in which two processes wrote down what they have played."""
    directory = tmp_path_factory.mktemp("played")
    run_ranks(directory, play_together)
    return directory


def replies(episode: Episode) -> list[int]:
    return [int(token) for token in episode.ids[episode.action_mask]]


@pytest.mark.parametrize("name", ["collected", "one seed", "too few"])
def test_all_processes_have_the_same_episodes(played: Path, name: str) -> None:
    first, second = ((played / f"{name}-{rank}").read_bytes() for rank in (0, 1))
    assert first == second
    episodes = from_bytes(first)
    num_groups = len({episode.group for episode in episodes.values()})
    assert [e.group for e in episodes.values()] == [
        group for group in range(num_groups) for _ in range(2)
    ]
    assert num_groups == {"collected": 5, "one seed": 4, "too few": 1}[name]


def test_every_process_plays_whole_groups_of_its_own(played: Path) -> None:
    first, second = (
        json.loads((played / f"own-{rank}.json").read_text()) for rank in (0, 1)
    )
    assert first == {
        "collected": [0, 1, 4, 5, 8, 9],
        "one seed": [0, 1, 4, 5],
        "too few": [0, 1],
    }
    assert second == {
        "collected": [2, 3, 6, 7],
        "one seed": [2, 3, 6, 7],
        "too few": [],
    }


def test_no_two_groups_have_the_same_replies(played: Path) -> None:
    """Group 0 is the first of the first process, group 1 of the second."""
    episodes = from_bytes((played / "one seed-0").read_bytes())
    assert {episode.seed for episode in episodes.values()} == {7}
    said = [replies(episodes[number]) for number in range(8)]
    assert len({tuple(reply) for reply in said}) == 8
    firsts = [reply[0] for reply in said]
    assert firsts[:2] != firsts[2:4], "both processes draw with the same noise"
    assert not np.array_equal(
        episodes[0].log_probs[episodes[0].action_mask][:2],
        episodes[2].log_probs[episodes[2].action_mask][:2],
    )


def small_yaml(directory: Path) -> str:
    """Write the config of a run of seconds that has every part; return its path."""
    values = small_config(
        engine="auto",
        warm_start={"num_steps": 2, "num_episodes": 4},
        hyperparameters={"num_episodes": 6, "group_size": 2, "num_envs": 2},
        total_timesteps=24,
        num_eval_episodes=3,
        has_start_evaluation=True,
    )
    path = directory / "run.yaml"
    path.write_text(json.dumps(values.as_dict()))
    return str(path)


@pytest.fixture(scope="module")
def commanded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where `chat-envs train` has run in two processes, at the stage that shares most."""
    directory = tmp_path_factory.mktemp("commanded")
    arguments = ["train", "--config", small_yaml(directory), "--run", NAME]
    run_ranks(
        directory,
        command,
        *arguments,
        *("--engine", "deepspeed", "--zero", "3"),
        environment={"CHAT_ENVS_CACHE": str(directory / "cache")},
    )
    return directory


def check_run(run: Path, num_iterations: int) -> None:
    """Make sure that one process alone has written a whole run."""
    for name in ("metrics.jsonl", "timing.jsonl"):
        lines = read_lines(run / name)
        assert [line["iteration"] for line in lines] == list(range(num_iterations))
    checkpoint, skipped = newest_checkpoint(run / "checkpoints")
    assert checkpoint is not None and skipped == ()
    assert checkpoint.step == num_iterations
    assert len(list((run / "tensorboard").iterdir())) >= 1


def test_the_command_trains_with_deepspeed_in_every_process(commanded: Path) -> None:
    for rank in (0, 1):
        report = json.loads((commanded / f"engine{rank}.json").read_text())
        assert (report["stage"], report["processes"]) == (3, 2)
        assert report["iterations"] >= 2


def test_the_first_process_alone_writes(commanded: Path) -> None:
    run = commanded / "runs" / NAME
    report = json.loads((commanded / "engine0.json").read_text())
    check_run(run, report["iterations"])
    assert len(list((run / "tensorboard").iterdir())) == 1
    scores = json.loads((run / "evaluation.json").read_text())
    assert set(scores) == {"before", "after", "gain", "gold_gain"}
    assert scores["after"]["sampled"]["episodes"] == 3
    assert (run / "report.html").is_file()
    config = json.loads((run / "config.json").read_text())
    assert config["machinery"]["processes"] == 2


def test_the_first_process_alone_speaks(commanded: Path) -> None:
    assert "after: success" in (commanded / "stdout0").read_text()
    assert (commanded / "stdout1").read_text() == ""
    assert "warm start" in (commanded / "stderr0").read_text()
    assert "warm start" not in (commanded / "stderr1").read_text()


def test_a_run_that_is_there_stops_both_and_one_says_why(
    commanded: Path, tmp_path: Path
) -> None:
    shutil.copytree(commanded / "runs", tmp_path / "runs")
    arguments = ["train", "--config", small_yaml(tmp_path), "--run", NAME]
    ranks = start_ranks(tmp_path, command, *arguments, "--engine", "deepspeed")
    assert ranks.finish() == [2, 1], ranks.output()
    assert "holds a run already" in (tmp_path / "stderr0").read_text()
    silent = (tmp_path / "stderr1").read_text()
    assert "error" not in silent and "Traceback" not in silent


def test_the_local_engine_is_no_hybrid_engine(tmp_path: Path) -> None:
    """The control: what makes sure of the engine above fails where it is another."""
    arguments = ["train", "--config", small_yaml(tmp_path), "--run", NAME]
    environment = {"CHAT_ENVS_CACHE": str(tmp_path / "cache")}
    ranks = start_ranks(
        tmp_path,
        command,
        *(*arguments, "--engine", "local"),
        num_ranks=1,
        environment=environment,
    )
    assert ranks.finish() == [1]
    assert "AssertionError: trained by a LocalLM" in ranks.output()


def test_the_local_engine_refuses_two_processes(tmp_path: Path) -> None:
    arguments = ["train", "--config", small_yaml(tmp_path), "--run", NAME]
    ranks = start_ranks(tmp_path, command, *arguments, "--engine", "local")
    assert ranks.finish() == [2, 2], ranks.output()
    for rank in (0, 1):
        (line,) = (tmp_path / f"stderr{rank}").read_text().splitlines()
        assert line.startswith("error: A launcher started 2 processes")
        assert "--engine deepspeed" in line
        assert (tmp_path / f"stdout{rank}").read_text() == ""
    assert not (tmp_path / "runs").exists()


FIELDS = {"engine": "deepspeed", "zero": 2}  # saving takes all processes there
NOBODY = ("", 0, 1)  # is killed


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of a run of two processes that nothing interrupted."""
    root = tmp_path_factory.mktemp("whole")
    run_ranks(root, carry_out_run, root, *NOBODY, {"fields": FIELDS})
    return root


IN_SECOND = ("logs synced", 1, 3)  # the other process is in its third save then
IN_FIRST = ("manifest written", 0, 3)


@pytest.fixture(scope="module", params=[IN_SECOND, IN_FIRST], ids=str)
def dead(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the root of the same run, of which one process was killed in the middle."""
    root = tmp_path_factory.mktemp("dead")
    point, victim, nth = request.param
    options = {"fields": FIELDS}
    ranks = start_ranks(root, carry_out_run, root, point, victim, nth, options)
    ranks.processes[victim].join(120)
    assert ranks.processes[victim].exitcode == -signal.SIGKILL, ranks.output()
    other = ranks.processes[1 - victim]
    other.join(60)  # nobody is left to wait for, so it fails
    assert other.exitcode == 1, ranks.output()
    return root


@pytest.fixture
def cut(dead: Path, tmp_path: Path) -> Path:
    """Return the root of a copy, which may be resumed."""
    checkpoint, _ = newest_checkpoint(dead / NAME / "checkpoints")
    assert checkpoint is not None and checkpoint.step == 2
    return Path(shutil.copytree(dead, tmp_path / "cut"))


def test_a_run_of_which_a_process_died_goes_on_to_the_same_numbers(
    whole: Path, cut: Path
) -> None:
    options = {"fields": FIELDS, "is_resuming": True}
    run_ranks(cut, carry_out_run, cut, *NOBODY, options)
    check_run(cut / NAME, num_iterations(whole))
    assert fingerprint(cut) == fingerprint(whole)


def test_one_process_goes_on_where_two_have_been(whole: Path, cut: Path) -> None:
    begun = read_lines(whole / NAME / "metrics.jsonl")[:2]
    options = {"fields": FIELDS, "is_resuming": True}
    run_ranks(cut, carry_out_run, cut, *NOBODY, options, num_ranks=1)
    lines = read_lines(cut / NAME / "metrics.jsonl")
    assert lines[:2] == begun and lines[-1]["num_timesteps"] >= 16
    check_run(cut / NAME, len(lines))
    remarks = json.loads((cut / "remarks0.json").read_text())
    assert any("processes is 2 there, 1 here" in remark for remark in remarks)


def num_iterations(root: Path) -> int:
    return len(read_lines(root / NAME / "metrics.jsonl"))
