"""The steps in order: each once, after every kill, and again where something is not as it was."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from agents.checkpoint import checksum
from agents.evaluation import evaluate, gold_gain
from agents.export import load_model
from agents.pipeline import REPORT_FILE, run_pipeline
from agents.tracking import RunError, hold_lock
from agents.train import load_run
from tests.agents.pipeline.small_pipeline import (
    ENV,
    NAME,
    Listener,
    finish,
    small_pipeline,
    start,
)

STEPS = ("sft", "pairs", "reward_model", "ppo", "export")
# What of the artefacts the seed determines.
FILES = (
    "sft/model.safetensors",
    "pairs/pairs.jsonl",
    "reward_model/model.safetensors",
    "reward_model/reward_model.json",
    "ppo/metrics.jsonl",
    "export/model.safetensors",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of runs with a finished pipeline; it is not to be changed."""
    root = tmp_path_factory.mktemp("finished")
    run_pipeline(small_pipeline(), root=root)
    return root


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished pipeline, to be damaged."""
    shutil.copytree(finished, tmp_path / "runs")
    return tmp_path / "runs"


def sums(root: Path) -> dict[str, str]:
    return {name: checksum(root / NAME / name) for name in FILES}


def taken(root: Path, **fields: Any) -> tuple[list[str], list[str]]:
    """Carry on; return the steps that were taken, and the remarks on them."""
    listener = Listener()
    report = run_pipeline(small_pipeline(**fields), root=root, observer=listener)
    steps = [name for name, step in report["steps"].items() if not step["was_there"]]
    remarks = [remark for remark in listener.remarks if "taken again" in remark]
    return steps, remarks


def test_every_step_leaves_its_artefact_and_the_report_has_the_figures(
    finished: Path,
) -> None:
    place = finished / NAME
    report = json.loads((place / REPORT_FILE).read_text())
    assert set(report["steps"]) == set(STEPS)
    figures = {name: step["figures"] for name, step in report["steps"].items()}
    assert figures["sft"]["steps"] == 1
    assert figures["pairs"]["num_pairs"] == 12
    lines = (place / "pairs/pairs.jsonl").read_text().splitlines()
    assert len(lines) == 12
    assert figures["reward_model"]["config"]["num_epochs"] == 1
    assert figures["ppo"]["updates"] >= 2
    lm, _ = load_model(str(place / "export"), engine="local")
    assert lm.vocab_size == 1024


def test_the_run_begins_with_the_model_of_sft_and_is_paid_by_the_reward_model(
    finished: Path,
) -> None:
    place = finished / NAME
    config, _, _ = load_run(place / "ppo")
    assert config.lm == str(place / "sft")
    assert dict(config.env_kwargs["reward"]) == {
        "task": 1.0,
        "agents.reward_model:RewardModel": {
            "weight": 0.5,
            "kwargs": {"directory": str(place / "reward_model")},
        },
    }
    line = json.loads((place / "ppo/metrics.jsonl").read_text().splitlines()[0])
    assert "reward/reward_model" in line


def test_gold_is_the_tasks_own_reward_paired_by_seed(finished: Path) -> None:
    place = finished / NAME
    report = json.loads((place / REPORT_FILE).read_text())
    results = []
    for name in ("sft", "export"):
        lm, tokenizer = load_model(str(place / name), engine="local")
        kwargs = {"tokenizer": tokenizer, **ENV}
        env = "chat_envs/CustomerService-easy-v0"
        results.append(evaluate(lm, env, num_episodes=2, env_kwargs=kwargs))
    before, after = results
    assert report["gold"] == {
        "episodes": 2,
        "before": before.gold_interval().as_dict(),
        "after": after.gold_interval().as_dict(),
        "gain": gold_gain(before, after).as_dict(),
    }


def test_a_finished_pipeline_is_left_as_it_is(finished: Path) -> None:
    before = sums(finished)
    times = (finished / NAME / "sft/model.safetensors").stat().st_mtime_ns
    assert taken(finished) == ([], [])
    assert sums(finished) == before
    assert (finished / NAME / "sft/model.safetensors").stat().st_mtime_ns == times


@pytest.mark.parametrize(
    "point",
    [
        "pruned",  # the run of `ppo` has a checkpoint
        *(
            pytest.param(point, marks=pytest.mark.slow)
            for point in (
                "sft begun",
                "sft made",
                "sft noted",
                "reward_model begun",
                "ppo begun",
                "state written",
                "ppo made",
                "export made",
                "export noted",
            )
        ),
    ],
)
def test_a_killed_pipeline_goes_on_to_the_same_artefacts(
    finished: Path, tmp_path: Path, point: str
) -> None:
    assert finish(start(tmp_path, point)) == -signal.SIGKILL
    listener = Listener()
    report = run_pipeline(small_pipeline(), root=tmp_path, observer=listener)
    assert tuple(report["steps"]) == STEPS
    assert sums(tmp_path) == sums(finished)
    is_resumed = any(r.startswith("Resuming from") for r in listener.remarks)
    assert is_resumed == (point in ("pruned", "ppo made"))
    noted = [name for name, step in report["steps"].items() if step["was_there"]]
    step = {"pruned": "ppo", "state written": "ppo"}.get(point, point.split()[0])
    is_there = point.endswith("noted")
    assert noted == list(STEPS[: STEPS.index(step) + is_there])


@pytest.mark.parametrize(
    ("file", "again"),
    [
        ("sft/model.safetensors", ["sft"]),
        ("pairs/pairs.jsonl", ["pairs"]),
        ("reward_model/model.safetensors", ["reward_model"]),
        ("export/config.json", ["export"]),
    ],
)
def test_a_damaged_artefact_is_named_and_made_again_alone(
    copy: Path, file: str, again: list[str]
) -> None:
    path = copy / NAME / file
    before = sums(copy)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    steps, remarks = taken(copy)
    assert steps == again
    assert remarks[0].startswith(f"The step {again[0]} is taken again: {path}")
    assert sums(copy) == before  # what is made again is the same


def test_a_missing_file_and_a_damaged_record_are_named(copy: Path) -> None:
    (copy / NAME / "export/tokenizer.json").unlink()
    record = copy / NAME / "records/pairs.json"
    record.write_text("{")
    steps, remarks = taken(copy)
    assert steps == ["pairs", "export"]
    assert "records/pairs.json" in remarks[0]
    assert any("tokenizer.json is missing" in remark for remark in remarks)


def test_what_changed_is_made_again_with_all_that_follows_from_it(copy: Path) -> None:
    steps, remarks = taken(copy, reward_model={"num_epochs": 2})
    assert steps == ["reward_model", "ppo", "export"]
    assert "settings.config.num_epochs is 1 there, 2 here" in remarks[0]
    assert "inputs.reward_model" in remarks[1]


def test_other_machinery_is_remarked_upon_and_no_reason_to_begin_anew(
    copy: Path,
) -> None:
    path = copy / NAME / "records/sft.json"
    record = json.loads(path.read_text())
    record["machinery"] |= {"git_commit": "older", "source": "older", "threads": 7}
    path.write_text(json.dumps(record))
    listener = Listener()
    report = run_pipeline(small_pipeline(), root=copy, observer=listener)
    assert all(step["was_there"] for step in report["steps"].values())
    remarks = [remark for remark in listener.remarks if "machinery" in remark]
    assert len(remarks) == 1 and "(source, threads)" in remarks[0]


def test_a_change_of_a_data_file_is_noticed(tmp_path: Path) -> None:
    data = tmp_path / "d.jsonl"
    line = json.dumps({"prompt": "Say it", "completion": "it"}) + "\n"
    data.write_text(10 * line)
    fields: dict[str, Any] = dict.fromkeys(("pairs", "reward_model", "ppo", "export"))
    fields["sft"] = {"data": [str(data)], "num_steps": 1, "num_rows": 2}
    assert taken(tmp_path, **fields) == (["sft"], [])
    assert taken(tmp_path, **fields) == ([], [])
    data.write_text(11 * line)
    steps, remarks = taken(tmp_path, **fields)
    assert steps == ["sft"] and "d.jsonl" in remarks[0]


def test_what_no_pipeline_made_is_left_alone(tmp_path: Path) -> None:
    letter = tmp_path / NAME / "sft/letter.txt"
    letter.parent.mkdir(parents=True)
    letter.write_text("dear")
    with pytest.raises(RunError, match="no pipeline has made it"):
        run_pipeline(small_pipeline(), root=tmp_path)
    (tmp_path / NAME / "config.json").write_text("{}")
    with pytest.raises(RunError, match="not a pipeline"):
        run_pipeline(small_pipeline(), root=tmp_path)
    assert letter.read_text() == "dear"


def test_a_pipeline_has_one_writer(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with hold_lock(tmp_path / NAME / "lock"):
        with pytest.raises(RunError, match="in use"):
            run_pipeline(small_pipeline(), root=tmp_path)


def test_pretraining_comes_before_and_the_ngram_reward_model_beside(
    tmp_path: Path,
) -> None:
    text = tmp_path / "text.jsonl"
    lines = [{"text": f"Order {n} was sent to the city."} for n in range(30)]
    text.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = small_pipeline(
        pretrain={"data": [str(text)], "num_steps": 1, "num_rows": 1},
        reward_model={"kind": "ngram"},
        ppo={
            **dict(small_pipeline().ppo or {}),
            "hyperparameters": {
                "num_episodes": 2,
                "group_size": 2,
                "ema_decay": 0.5,
                "ptx_coefficient": 0.1,
                "ptx_rows": 2,
            },
        },
        export={"is_averaged": True},
    )
    report = run_pipeline(config, root=tmp_path)
    assert tuple(report["steps"]) == ("pretrain", *STEPS)
    place = tmp_path / NAME
    line = json.loads((place / "ppo/metrics.jsonl").read_text().splitlines()[0])
    assert "ptx_cross_entropy" in line
    assert "reward/ngram_reward_model" in line, sorted(line)
    figures = report["steps"]["export"]["figures"]
    assert figures["is_averaged"] and report["gold"] == figures["gold"]
    weights = [
        (place / name / "model.safetensors").read_bytes()
        for name in ("pretrain", "sft", "export")
    ]
    assert len(set(weights)) == 3
