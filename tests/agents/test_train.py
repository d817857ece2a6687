"""A run: the same numbers every time, whatever kills it, and clear refusals."""

from __future__ import annotations

import json
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.checkpoint import DamagedFileError, checksum, newest_checkpoint
from agents.engine import process_group
from agents.observer import Observer
from agents.tracking import RunError, hold_lock, read_lines
from agents.train import load_run, prepare, train
from tests.agents.damage import ACCIDENTS, malicious_pickle
from tests.agents.small_run import (
    NAME,
    carry_out,
    finish,
    kill_after,
    small_config,
    start,
)

DETERMINISTIC = ("metrics.jsonl", "transcripts.jsonl")
POINTS = (
    "logs synced",
    "cleared",
    "model written",
    "state written",
    "model.safetensors synced",
    "optimizer.safetensors synced",
    "reference.safetensors synced",
    "state.json synced",
    "training.json synced",
    "value_head.safetensors synced",
    "manifest written",
    "renamed",
    "published",
    "pruned",
)


def fingerprint(root: Path) -> dict[str, Any]:
    """Return all of a run that a seed determines."""
    run = root / NAME
    checkpoint, skipped = newest_checkpoint(run / "checkpoints")
    assert checkpoint is not None and skipped == ()
    files = sorted(checkpoint.directory.glob("*.safetensors"))
    assert len(files) == 4
    return {
        "step": checkpoint.step,
        "algorithm": checkpoint.state["algorithm"],
        "checksums": {path.name: checksum(path) for path in files},
        "logs": {name: (run / name).read_bytes() for name in DETERMINISTIC},
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of a run that nothing interrupted."""
    root = tmp_path_factory.mktemp("whole")
    assert finish(start(root)) == 0
    return root


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """Return the root of a finished run that a test may damage."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def test_a_run_leaves_what_it_should(whole: Path) -> None:
    run = whole / NAME
    metrics = read_lines(run / "metrics.jsonl")
    assert len(metrics) >= 4
    assert [line["iteration"] for line in metrics] == list(range(len(metrics)))
    turns = [line["num_timesteps"] for line in metrics]
    assert turns == sorted(turns) and turns[-2] < 16 <= turns[-1]
    assert len(read_lines(run / "timing.jsonl")) == len(metrics)
    assert len(read_lines(run / "transcripts.jsonl")) == len(metrics)
    checkpoints = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert checkpoints == [f"step_{len(metrics) - 1}", f"step_{len(metrics)}"]
    assert not any("second" in name for name in metrics[0]), "metrics measure no time"


def test_another_process_with_the_same_seed_writes_the_same_bytes(
    whole: Path, tmp_path: Path
) -> None:
    carry_out(tmp_path)
    assert fingerprint(tmp_path) == fingerprint(whole)


def test_another_seed_writes_other_bytes(whole: Path, tmp_path: Path) -> None:
    carry_out(tmp_path, fields={"seed": 1})
    assert fingerprint(tmp_path) != fingerprint(whole)


def test_these_are_all_points_of_a_save(whole: Path) -> None:
    points = (whole / "points").read_text().splitlines()
    assert tuple(points[: len(POINTS)]) == POINTS
    assert set(points) == set(POINTS)


def test_kills_at_every_point_of_a_save_change_nothing(
    whole: Path, tmp_path: Path
) -> None:
    """One run is killed at every point, one after the other, and goes on each time."""
    for number, point in enumerate(POINTS):
        # The first process lives to its second save, so that there is a checkpoint to lose.
        process = start(
            tmp_path, kill_at=point, nth=1 if number else 2, is_resuming=True
        )
        assert finish(process) == -signal.SIGKILL, point
        checkpoint, skipped = newest_checkpoint(tmp_path / NAME / "checkpoints")
        assert checkpoint is not None and not skipped, point
        is_published = number >= POINTS.index("renamed")
        expected = 1 + is_published * (number - POINTS.index("renamed") + 1)
        assert checkpoint.step == expected, point
    assert finish(start(tmp_path, is_resuming=True)) == 0
    assert fingerprint(tmp_path) == fingerprint(whole)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_a_kill_in_a_save_changes_nothing(
    whole: Path, tmp_path: Path, point: str
) -> None:
    assert finish(start(tmp_path, kill_at=point, nth=2)) == -signal.SIGKILL
    assert finish(start(tmp_path, is_resuming=True)) == 0
    assert fingerprint(tmp_path) == fingerprint(whole)


def test_a_kill_in_the_first_save_changes_nothing(whole: Path, tmp_path: Path) -> None:
    for point in ("model written", "manifest written", "renamed"):
        process = start(tmp_path, kill_at=point, nth=1, is_resuming=True)
        assert finish(process) == -signal.SIGKILL
    assert finish(start(tmp_path, is_resuming=True)) == 0
    assert fingerprint(tmp_path) == fingerprint(whole)


def test_kills_at_random_moments_change_nothing(whole: Path, tmp_path: Path) -> None:
    moments = random.Random(0)
    for _ in range(3):
        kill_after(start(tmp_path, is_resuming=True), moments.uniform(0.05, 1.2))
    assert finish(start(tmp_path, is_resuming=True)) == 0
    assert fingerprint(tmp_path) == fingerprint(whole)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_kills_at_random_moments_change_nothing(
    whole: Path, tmp_path: Path, seed: int
) -> None:
    moments = random.Random(seed)
    for _ in range(8):
        kill_after(start(tmp_path, is_resuming=True), moments.uniform(0.01, 1.5))
    assert finish(start(tmp_path, is_resuming=True)) == 0
    assert fingerprint(tmp_path) == fingerprint(whole)


def test_a_finished_run_resumes_to_itself(whole: Path, copy: Path) -> None:
    carry_out(copy, is_resuming=True)
    assert fingerprint(copy) == fingerprint(whole)


def test_a_run_that_is_continued_is_the_longer_run(whole: Path, tmp_path: Path) -> None:
    carry_out(tmp_path, fields={"total_timesteps": 5})
    assert fingerprint(tmp_path)["step"] < fingerprint(whole)["step"]
    carry_out(tmp_path, is_resuming=True)
    assert fingerprint(tmp_path) == fingerprint(whole)


def test_a_run_whose_steps_fall_to_its_end_is_not_continued(tmp_path: Path) -> None:
    """Its updates would not be those of the longer run, whose config it would bear."""
    hyperparameters = small_config().hyperparameters
    hyperparameters = dict(hyperparameters) | {"learning_rate_schedule": "linear"}
    fields: dict[str, Any] = {"hyperparameters": hyperparameters}
    carry_out(tmp_path, fields=fields | {"total_timesteps": 5})
    before = fingerprint(tmp_path)
    with pytest.raises(RunError, match="total_timesteps is 5 there, 16 here"):
        carry_out(tmp_path, fields=fields, is_resuming=True)
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_a_damaged_checkpoint_is_skipped_and_said(
    whole: Path, copy: Path, accident: str
) -> None:
    checkpoint, _ = newest_checkpoint(copy / NAME / "checkpoints")
    assert checkpoint is not None
    ACCIDENTS[accident](checkpoint.directory / "optimizer.safetensors")
    result = train(small_config(), root=copy, is_resuming=True)
    assert any(
        "Skipped" in r and "optimizer.safetensors" in r for r in result.remarks
    ), result.remarks
    assert any(f"step_{checkpoint.step - 1}" in remark for remark in result.remarks)
    assert fingerprint(copy) == fingerprint(whole)


def test_where_no_checkpoint_is_whole_the_run_begins_again_and_says_so(
    whole: Path, copy: Path
) -> None:
    for path in (copy / NAME / "checkpoints").iterdir():
        ACCIDENTS["emptied"](path / "model.safetensors")
    result = train(small_config(), root=copy, is_resuming=True)
    assert "begins again" in result.remarks[-1] and len(result.remarks) == 3
    assert fingerprint(copy) == fingerprint(whole)


def test_a_pickle_in_place_of_any_file_is_never_read(copy: Path) -> None:
    proof = copy / "proof"
    files = [path for path in (copy / NAME).rglob("*") if path.is_file()]
    files = [path for path in files if "tensorboard" not in path.parts]
    assert len(files) > 15
    for path in files:
        if path.name != "lock":
            path.write_bytes(malicious_pickle(proof))
    with pytest.raises(DamagedFileError, match="config.json"):
        train(small_config(), root=copy, is_resuming=True)
    with pytest.raises(DamagedFileError, match="config.json"):
        load_run(copy / NAME)
    assert not proof.exists()


@pytest.mark.parametrize("name", ["metrics.jsonl", "transcripts.jsonl"])
def test_a_damaged_log_stops_the_resumed_run_by_name(copy: Path, name: str) -> None:
    ACCIDENTS["flipped"](copy / NAME / name)
    with pytest.raises(DamagedFileError, match=name):
        train(small_config(), root=copy, is_resuming=True)


def test_a_run_in_use_is_refused(copy: Path) -> None:
    before = fingerprint(copy)
    with hold_lock(copy / NAME / "lock"):
        with pytest.raises(RunError, match="in use"):
            train(small_config(), root=copy, is_resuming=True)
    assert fingerprint(copy) == before


def test_another_config_is_refused(copy: Path) -> None:
    other = small_config(seed=3, hyperparameters={"num_episodes": 4, "group_size": 2})
    with pytest.raises(RunError) as caught:
        train(other, root=copy, is_resuming=True)
    for field in ("seed", "hyperparameters.num_episodes"):
        assert f"{field} is" in str(caught.value)


class Listener(Observer):
    """Writes down the remarks."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def remark(self, text: str) -> None:
        self.said.append(text)


def test_load_run_says_which_checkpoint_it_skipped(tmp_path: Path) -> None:
    train(small_config(), root=tmp_path)
    newest = sorted((tmp_path / NAME / "checkpoints").iterdir())[-1]
    with (newest / "model.safetensors").open("ab") as file:
        file.write(b"x")
    listener = Listener()
    _, _, checkpoint = load_run(tmp_path / NAME, observer=listener)
    assert checkpoint.directory != newest
    assert len(listener.said) == 1
    assert "Skipped" in listener.said[0] and newest.name in listener.said[0]


def test_a_script_that_nobody_has_is_refused_before_anything_is_written() -> None:
    with pytest.raises(ValueError, match="Did you mean 'expert'"):
        prepare(small_config(warm_start={"script": "exprt"}))


def test_several_processes_do_not_each_train_a_local_model_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_group, "num_processes", lambda: 2)
    with pytest.raises(ValueError, match="started 2 processes.*engine='deepspeed'"):
        prepare(small_config())


def test_a_model_that_is_not_here_is_called_a_model() -> None:
    with pytest.raises(ValueError, match="no language model 'nobody/nothing' here"):
        prepare(small_config(lm="nobody/nothing"))


def test_the_trained_weights_are_those_that_load_run_gives(tmp_path: Path) -> None:
    result = train(small_config(), root=tmp_path)
    config, lm, checkpoint = load_run(tmp_path / NAME)
    assert config.as_dict() == small_config().as_dict()
    assert checkpoint.step == result.num_iterations
    trained = dict(result.lm.module.named_parameters())
    for name, parameter in lm.module.named_parameters():
        assert parameter.equal(trained[name]), name


def test_a_run_without_a_checkpoint_cannot_be_loaded(copy: Path) -> None:
    for path in (copy / NAME / "checkpoints").iterdir():
        ACCIDENTS["removed"](path / "state.json")
    with pytest.raises(DamagedFileError, match="no whole checkpoint.*state.json"):
        load_run(copy / NAME)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"num_envs"', '"num_envz"'),
        ('"constant"', '"constanv"'),
        ('"seed": 0', '"seed": -1'),
        ('"machinery": {', '"machineri": {'),
        ('"config": {', '"confie": {'),
    ],
)
def test_a_config_that_cannot_be_used_is_refused_by_its_files_name(
    copy: Path, old: str, new: str
) -> None:
    path = copy / NAME / "config.json"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(DamagedFileError, match="config.json"):
        load_run(copy / NAME)
    with pytest.raises((DamagedFileError, RunError), match="config.json"):
        train(small_config(), root=copy, is_resuming=True)


def test_learning_rate_zero_moves_no_weight(tmp_path: Path) -> None:
    hyperparameters = dict(small_config().hyperparameters)
    hyperparameters |= {"learning_rate": 0, "value_learning_rate": 0}
    config = small_config(hyperparameters=hyperparameters)
    start_weights = {
        name: parameter.detach().clone()
        for name, parameter in prepare(config).module.named_parameters()
    }
    result = train(config, root=tmp_path)
    for name, parameter in result.lm.module.named_parameters():
        assert parameter.equal(start_weights[name]), name


def test_evaluations_stand_in_a_file(tmp_path: Path) -> None:
    config = small_config(num_eval_episodes=3, has_start_evaluation=True)
    result = train(config, root=tmp_path)
    assert result.before is not None and result.after is not None
    stored = json.loads((tmp_path / NAME / "evaluation.json").read_text())
    assert set(stored) == {"before", "after", "gain", "gold_gain"}
    assert stored["after"]["sampled"]["success"] == (
        result.after.sampled.success_interval().as_dict()
    )
    assert stored["after"]["greedy"]["episodes"] == 3
    assert [e.seed for e in result.after.sampled.rollout] == [0, 1, 2]


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [({"max_turn": 3}, "Did you mean 'max_turns'"), ({"max_turns": 0}, "max_turns")],
)
def test_bad_keywords_are_refused_before_anything_is_written(
    tmp_path: Path, kwargs: dict[str, Any], words: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        train(small_config(env_kwargs=kwargs), root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_has_its_threads_and_gives_them_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(num_threads=1, num_eval_episodes=0)
    used: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    train(config, root=tmp_path)
    assert used == [1, 3]


def test_a_model_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    run = train(small_config(), root=tmp_path).directory
    load_run(run)
    path = run / "config.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["machinery"]["builtin_tokenizer"] = "another"
    path.write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(RunError, match="another built-in tokenizer"):
        load_run(run)
    with pytest.raises(RunError, match="another built-in tokenizer"):
        train(small_config(total_timesteps=32), root=tmp_path, is_resuming=True)
