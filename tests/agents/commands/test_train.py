"""`chat-envs train`: where values come from, and what is printed."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import pytest

from agents.commands.terminal import BadInput
from agents.commands.train import _parser, read_config, run
from agents.sft import SFTConfig
from agents.tracking import hold_lock, read_lines
from agents.train_config import AGENTS, TrainConfig

SMALL = (
    "--no-warm-start --total-timesteps 4 --num-eval-episodes 2 --set num_episodes=2 "
    "--set group_size=2 --set env_kwargs.max_turns=2 --set env_kwargs.reply_length=4"
).split()


def parse(*argv: str) -> argparse.Namespace:
    return _parser().parse(argv)


def config(*argv: str) -> TrainConfig:
    return read_config(parse(*argv))


def test_flags_set_fields() -> None:
    found = config(
        "--agent", "reinforce", "--env", "Echo-easy-v0", "--seed", "3", "--zero=0"
    )
    assert found == TrainConfig(agent="reinforce", env="Echo-easy-v0", seed=3)


def test_set_reaches_every_group() -> None:
    found = config(
        "--set=learning_rate=1e-4",
        "--set=hyperparameters.num_epochs=3",
        "--set=warm_start.script=careless",
        "--set=env_kwargs.max_turns=4",
        "--set=checkpoint_every=7",
    )
    assert found.hyperparameters == {"learning_rate": 1e-4, "num_epochs": 3}
    assert found.warm_start == {"script": "careless"}
    assert found.env_kwargs == {"max_turns": 4}
    assert found.checkpoint_every == 7


def test_a_reward_is_a_name_or_a_mapping_beside_other_keywords() -> None:
    found = config("--reward", "proxy:vader", "--set", "env_kwargs.max_turns=4")
    assert found.env_kwargs == {"reward": "proxy:vader", "max_turns": 4}
    found = config("--reward", '{"task": 1.0, "length_band": 0.5}')
    assert found.env_kwargs == {"reward": {"task": 1.0, "length_band": 0.5}}


def test_set_wins_over_the_flag_of_a_reward() -> None:
    found = config("--reward", "gold", "--set", "env_kwargs.reward=proxy:vader")
    assert found.env_kwargs == {"reward": "proxy:vader"}


def test_a_file_gives_the_same_fields_and_flags_win(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "seed: 4\nagent: reinforce\nhyperparameters: {learning_rate: 1e-3, group_size: 4}\n"
    )
    found = config("--config", str(path), "--seed", "5", "--set", "learning_rate=0")
    assert (found.seed, found.agent) == (5, "reinforce")
    assert found.hyperparameters == {"learning_rate": 0, "group_size": 4}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seeed: 1", "Did you mean 'seed'"),
        ("hyperparameters: {learning_rat: 1}", "Did you mean 'learning_rate'"),
        ("[1, 2]", "must map"),
        ("{", "cannot be read"),
    ],
)
def test_a_bad_file_is_bad_input(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises((BadInput, TypeError), match=words):
        config("--config", str(path))


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("x", "KEY=VALUE"),
        ("=1", "KEY=VALUE"),
        ("group.x=1", "groups are"),
        ("a={", "YAML"),
    ],
)
def test_a_bad_assignment_is_bad_input(assignment: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        config("--set", assignment)


def test_a_resumed_run_need_not_be_described_again(desk: Path) -> None:
    found = config("--run", "small", "--resume", "--total-timesteps", "99")
    stored = json.loads((desk / "runs/small/config.json").read_text())["config"]
    assert found.as_dict() == stored | {"total_timesteps": 99}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--agent", "pp0"], "Did you mean 'ppo'"),
        (["--env", "Eco-easy-v0"], "Did you mean 'chat_envs/Echo-easy-v0'"),
        (["--lm", "tinny"], "Did you mean 'tiny'"),
        (["--set", "learning_rat=1"], "Did you mean 'learning_rate'"),
        (["--set", "env_kwargs.max_turn=1"], "Did you mean 'max_turns'"),
        (["--set", "warm_start.script=carelss"], "Did you mean 'careless'"),
        (["--config", "nowhere.yaml"], "There is no file nowhere.yaml"),
        (
            ["--set", "ptx_coefficient=1", "--set", "ptx_data=none.jsonl"],
            "'none.jsonl'",
        ),
        (["--run", "../x"], "name"),
        (["--run", "small", *SMALL], "holds a run already"),
        (["--run", "small", "--resume", "--seed", "9"], "seed is 0 there, 9 here"),
    ],
)
def test_bad_input_is_exit_code_2_and_a_line(
    desk: Path, argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(argv) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.out == ""
    assert captured.err.startswith("error: ") and "Traceback" not in captured.err
    assert [path.name for path in (desk / "runs").iterdir()] == ["small"]


def test_a_run_in_use_is_exit_code_2(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold_lock(desk / "runs/small/lock"):
        assert run(["--run", "small", "--resume"]) == 2
    assert "in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"seed"', '"sed"', "Did you mean 'seed'"),
        ('"config": {', '"config": 5, "rest": {', "no object 'config'"),
    ],
)
def test_a_damaged_config_is_refused_by_name(
    desk: Path,
    before: str,
    after: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = desk / "runs/small/config.json"
    path.write_text(path.read_text().replace(before, after, 1))
    assert run(["--run", "small", "--resume"]) == 2
    error = capsys.readouterr().err
    assert "runs/small/config.json" in error and words in error


def test_the_help_names_every_agent_and_every_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"({', '.join(AGENTS)})" in " ".join(text.split())
    keys = {
        field.name
        for config_class in (
            *(recipe.config_class for recipe in AGENTS.values()),
            SFTConfig,
        )
        for field in dataclasses.fields(config_class)
    }
    assert {key for key in keys - {"seed"} if f" {key}=" not in text} == set()
    assert "max_reply_tokens=null" in text and "kl_estimator=k1" in text


def test_a_run_prints_one_object_and_leaves_a_report(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--run", "new", "--json", *SMALL]) == 0
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert record["run"] == "runs/new" and record["before"] is None
    assert record["after"]["episodes"] == 2
    assert record["iterations"] == len(read_lines(desk / "runs/new/metrics.jsonl"))
    assert (desk / "runs/new/report.html").stat().st_size > 1000


def test_a_run_is_continued_and_replaced(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (desk / "runs/small/metrics.jsonl").read_bytes()
    assert run(["--run", "small", "--resume", "--total-timesteps", "20"]) == 0
    after = (desk / "runs/small/metrics.jsonl").read_bytes()
    assert after.startswith(before) and len(after) > len(before)
    assert "Resuming from" in capsys.readouterr().err
    assert run(["--run", "small", "--force", *SMALL]) == 0
    assert len((desk / "runs/small/metrics.jsonl").read_bytes()) < len(before)
    assert "turns" in capsys.readouterr().out
