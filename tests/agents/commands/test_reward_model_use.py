"""From pairs to a policy by single commands: a reward model pays a run, and its head is the critic.

The commands are those that `docs/reward_model.md` prints, with less of everything.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.commands import reward_model, sft, train
from agents.engine.loading import load_lm
from agents.engine.saved_state import VALUE_HEAD_FILE
from agents.engine.state_file import read_tensors
from agents.export import export_model
from agents.reward_model import RewardModel
from agents.tracking import read_lines
from agents.train import load_run
from agents.warm_start import build_lm, starting_lm
from chat_envs.message import Message, Role
from chat_envs.preference_pair import write_pairs
from chat_envs.tokenizer import load_tokenizer, train_tokenizer
from tests.agents.commands.test_train import SMALL
from tests.agents.test_reward_modeling import make_pairs
from tests.agents.toys import make_lm

PAGE = Path(__file__).parents[3] / "docs" / "reward_model.md"
LESS = {
    "sft": "--set num_steps=2 --set num_rows=4",
    "reward-model": "--set num_epochs=4 --set batch_size=8 --set num_warmup_steps=2",
    "train": "--total-timesteps 8 --num-eval-episodes 0 --set num_episodes=4 "
    "--set group_size=2 --set env_kwargs.max_turns=2 --set env_kwargs.reply_length=4 "
    "--set num_transcripts=4",
}
RUNS = {"sft": sft.run, "reward-model": reward_model.run, "train": train.run}
Capture = pytest.CaptureFixture[str]


def carry_out(line: str) -> None:
    """Carry out a command of the page, with less of everything."""
    _, name, *words = shlex.split(line)
    words = [word.replace("careless", "careless&episodes=20") for word in words]
    assert RUNS[name]([*words, *LESS[name].split()]) == 0, line


def reward_of(directory: Path | str, **options: Any) -> str:
    entry = {"kwargs": {"directory": str(directory)}} | options
    return json.dumps({"agents.reward_model:RewardModel": entry})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory in which all commands of the section were carried out, in order."""
    directory = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        write_pairs("pairs.jsonl", make_pairs(40))
        write_pairs("valid.jsonl", make_pairs(10, seed=1))
        section = PAGE.read_text("utf-8").partition("## Training on it")[2]
        lines = re.findall(
            r"^chat-envs .*$", section.partition("\n## ")[0], re.MULTILINE
        )
        assert [line.split()[1] for line in lines] == [
            "sft",
            "reward-model",
            "train",
            "train",
        ]
        for line in lines:
            carry_out(line)
    return directory


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in the directory, which no test changes."""
    monkeypatch.chdir(made)
    return made


def test_every_reply_of_a_run_is_paid_what_the_model_says(here: Path) -> None:
    model = RewardModel("runs/rm", device="cpu")
    record = json.loads((here / "runs/rm/reward_model.json").read_text("utf-8"))
    num_replies = 0
    for episode in read_lines(here / "runs/first/transcripts.jsonl"):
        messages = [Message(Role(m["role"]), m["content"]) for m in episode["messages"]]
        places = [i for i, m in enumerate(messages) if m.role is Role.ASSISTANT]
        for place, paid in zip(places, episode["rewards"], strict=True):
            raw = model.raw_scores([(messages[:place], messages[place].content)])[0]
            score = (raw - record["mean"]) / record["std"]
            assert paid == pytest.approx(score, abs=1e-4)
            num_replies += 1
    assert num_replies >= 8


def test_the_metrics_tell_what_the_model_paid_and_what_the_task_would(
    here: Path,
) -> None:
    first, second = (
        read_lines(here / f"runs/{name}/metrics.jsonl")[0]
        for name in ("first", "second")
    )
    assert first["return"] == pytest.approx(first["reward/reward_model"], abs=1e-5)
    assert first["gold_return"] != pytest.approx(first["return"], abs=1e-3)
    total = second["gold_return"] + 0.1 * second["reward/reward_model"]
    assert second["return"] == pytest.approx(total, abs=1e-5)
    for line in (first, second):
        assert line["reward_error_rate"] == 0


def test_the_critic_of_the_second_run_began_as_the_head(here: Path) -> None:
    values = [
        read_lines(here / f"runs/{name}/metrics.jsonl")[0]["value"]
        for name in ("first", "second")
    ]
    assert values[0] == 0.0 and abs(values[1]) > 1e-3
    config, _, _ = load_run(here / "runs/second")
    lm = starting_lm(config, build_lm(config))
    assert lm.network.value_head is not None
    raw = read_tensors(here / "runs/rm" / VALUE_HEAD_FILE)["weight"].flatten()
    std = json.loads((here / "runs/rm/reward_model.json").read_text("utf-8"))["std"]
    own = lm.network.value_head.weight.detach().flatten()
    assert torch.allclose(own, raw / std) and own.abs().sum() > 0


def test_a_policy_with_another_tokenizer_is_paid_too_but_gets_no_critic(
    desk: Path, capsys: Capture
) -> None:
    texts = ["May I have the order number?", "It is 12, thanks.", "Bye then."] * 9
    words = train_tokenizer(texts, 300)
    assert len(words) != len(load_tokenizer())
    lm = load_lm(
        "tiny", tokenizer=words, engine="local", device="cpu", has_value_head=True
    )
    assert lm.network.value_head is not None
    with torch.no_grad():  # it is all zeros before it is trained
        lm.network.value_head.weight.copy_(torch.linspace(-1, 1, 128))
    RewardModel.of(lm, words).save("other")
    argv = ["--run", "paid", *SMALL]
    assert train.run([*argv, "--reward", reward_of("other")]) == 0
    assert read_lines(desk / "runs/paid/metrics.jsonl")[0]["reward/reward_model"] != 0
    capsys.readouterr()
    assert train.run(["--run", "none", *SMALL, "--critic", "other"]) == 2
    message = capsys.readouterr().err
    assert f"another tokenizer ({len(words)} entries)" in message
    assert not (desk / "runs/none").exists()


def test_a_critic_with_as_many_other_words_is_refused(
    desk: Path, capsys: Capture
) -> None:
    RewardModel.of(make_lm(), load_tokenizer()).save("other")
    path = desk / "other" / "tokenizer.json"
    text = path.read_text("utf-8")
    record = json.loads(text)
    vocabulary = record["model"]["vocab"]
    one, two = sorted(vocabulary, key=vocabulary.get)[-2:]
    vocabulary[one], vocabulary[two] = vocabulary[two], vocabulary[one]
    argv = ["--run", "critic", *SMALL, "--critic", "other"]
    assert train.run(argv) == 0
    path.write_text(json.dumps(record), "utf-8")
    assert train.run([*argv, "--force"]) == 2
    assert "another tokenizer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("directory", "words"),
    [
        ("nowhere", "There is no directory nowhere"),
        ("runs", "runs holds no reward model: it has no config.json of"),
        ("runs/small", "runs/small holds no reward model: it has no config.json of"),
        ("policy", "policy holds no reward model"),
        ("rm.json", "There is no directory rm.json"),
        ("damaged", "reward_model.json is damaged"),
    ],
)
@pytest.mark.parametrize("has_start", [False, True])
def test_what_is_no_reward_model_is_named_before_anything_is_written(
    desk: Path, capsys: Capture, directory: str, words: str, has_start: bool
) -> None:
    Path("rm.json").write_text("{}")
    export_model(make_lm(), load_tokenizer(), Path("policy"))
    RewardModel.of(make_lm(), load_tokenizer()).save("damaged")
    Path("damaged/reward_model.json").write_text('{"format": 1, "mean": 0, "std": 0}')
    flag = ["--critic", directory] if has_start else ["--reward", reward_of(directory)]
    assert train.run(["--run", "first", *SMALL, *flag]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ")
    if has_start and directory != "damaged":
        words = f"{directory}/{VALUE_HEAD_FILE} is missing: a critic starts from"
    assert words in captured.err
    assert [path.name for path in (desk / "runs").iterdir()] == ["small"]


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        ("agents.reward_model:RewardModel", "'directory'"),
        (reward_of("rm", weight="much"), "weight"),
        (reward_of("rm", weights=1.0), "Did you mean 'weight'"),
        ("runs/rm", "no reward is called 'runs/rm'"),
    ],
)
def test_a_reward_that_is_not_spelled_right_is_named(
    desk: Path, capsys: Capture, reward: str, words: str
) -> None:
    RewardModel.of(make_lm(), load_tokenizer()).save("rm")
    assert train.run(["--run", "first", *SMALL, "--reward", reward]) == 2
    assert words in capsys.readouterr().err
    assert not (desk / "runs/first").exists()


def test_a_run_is_resumed_with_the_reward_model_that_paid_it(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(here / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    more = ["--run", "first", "--resume", "--total-timesteps", "16"]
    assert train.run(more) == 0
    lines = read_lines(tmp_path / "runs/first/metrics.jsonl")
    assert len(lines) == 2 and lines[1]["reward/reward_model"] != 0
    assert lines[0] == read_lines(here / "runs/first/metrics.jsonl")[0]
