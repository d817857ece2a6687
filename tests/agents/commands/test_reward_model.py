"""`chat-envs reward-model`: both kinds, what they report, and files that are broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from numpy.random import default_rng

from agents.commands.reward_model import SUMMARY, run
from agents.reward_model import RewardModel
from chat_envs.message import assistant, user
from chat_envs.preference_pair import PreferencePair, read_pairs, write_pairs
from chat_envs.simulators.preference_model import NGramReward
from tests.agents.test_reward_modeling import make_pairs
from tests.chat_envs.request import make_request

QUICK = [
    "--set",
    "num_epochs=6",
    "--set",
    "batch_size=16",
    "--set",
    "num_warmup_steps=5",
]


@pytest.fixture
def pairs(desk: Path) -> Path:
    """Return a file of pairs with more than ten prompts."""
    rng = default_rng(0)
    numbered = [
        PreferencePair((user(f"{rng.integers(90)} cups?"),), p.chosen, p.rejected)
        for p in make_pairs(120)
    ]
    write_pairs("pairs.jsonl", numbered)
    write_pairs("valid.jsonl", make_pairs(30, seed=1))
    return Path("pairs.jsonl")


def test_a_language_model_learns_and_is_saved(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--pairs", str(pairs), "--valid", "valid.jsonl", "--output", "runs/rm"]
    assert run([*argv, "--json", *QUICK]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["num_train_pairs"] == 120 and record["lm"] == "tiny"
    assert record["held_out"]["num_pairs"] == 30
    assert record["held_out"]["accuracy"]["mean"] == 1.0
    model = RewardModel("runs/rm", device="cpu")
    yes, no = (
        make_request(f"{x}, the cup.", prompt=(user("My fan?"),)) for x in ("Yes", "No")
    )
    assert model.score([yes])[0] > model.score([no])[0]
    notes = json.loads(Path("runs/rm/reward_model.json").read_text("utf-8"))
    assert notes["config"]["num_epochs"] == 6
    assert notes["held_out"] == record["held_out"]


def test_every_tenth_prompt_is_held_out_where_none_is_given(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--pairs", str(pairs), "--kind", "ngram", "--output", "rm.json", "--json"]
    assert run(argv) == 0
    record = json.loads(capsys.readouterr().out)
    expected = len(read_pairs(pairs, split="test"))
    assert record["held_out"]["num_pairs"] == expected > 2
    assert record["num_train_pairs"] == 120 - expected
    assert record["held_out"]["accuracy"]["mean"] == 1.0
    notes = json.loads(Path("rm.json").read_text("utf-8"))
    assert notes["held_out"] == record["held_out"]
    yes, no = (make_request(f"{x}, the cup.") for x in ("Yes", "No"))
    first, second = NGramReward("rm.json").score([yes, no])
    assert first > second


def test_it_begins_as_a_run_or_a_directory(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--pairs", str(pairs), "--output", "a", "--set", "learning_rate=1e-9"]
    assert run([*argv, "--lm", "runs/small", "--set", "num_epochs=1"]) == 0
    again = [
        "--pairs",
        str(pairs),
        "--output",
        "b",
        "--lm",
        "a",
        "--set",
        "num_epochs=1",
    ]
    assert run(again) == 0
    assert RewardModel("b", device="cpu").score([make_request()])


def test_people_get_a_table(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--pairs", str(pairs), "--kind", "ngram", "--output", "rm.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("rm.json: learned from ")
    assert lines[1].split() == ["accuracy", "1.000", lines[1].split()[2], "1.000]"]
    assert lines[2].split()[:2] == ["calibration", "error"]


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["--output", "rm", "--set", "num_epoch=1"], "Did you mean 'num_epochs'"),
        (["--output", "rm", "--set", "num_epochs"], "--set wants KEY=VALUE"),
        (["--output", "rm", "--lm", "tinny"], "Did you mean 'tiny'"),
        (["--output", "runs/small"], "is there already"),
        (["--output", "runs/small", "--force"], "holds no reward model"),
        (["--output", "runs", "--force", "--kind", "ngram"], "is a directory"),
        (["--output", "rm", "--valid", "none.jsonl"], "none.jsonl"),
    ],
)
def test_what_cannot_be_is_refused_before_training(
    pairs: Path, capsys: pytest.CaptureFixture[str], argv: list[str], problem: str
) -> None:
    assert run(["--pairs", str(pairs), *argv]) == 2
    assert problem in capsys.readouterr().err
    assert not Path("rm").exists()


def transcript(pair: PreferencePair, reply: str) -> str:
    """Return a reply as HH-RLHF has it: text of the whole dialogue."""
    return f"\n\nHuman: {pair.prompt[0].content}\n\nAssistant: {reply}"


def test_transcripts_and_saved_datasets_are_learned_from_as_any_pairs(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    datasets = pytest.importorskip("datasets")
    own = read_pairs(pairs)
    rows = [
        {"chosen": transcript(p, p.chosen), "rejected": transcript(p, p.rejected)}
        for p in own
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    Path("hh.jsonl").write_text(lines, encoding="utf-8")
    talks = [
        {
            name: [*(m.as_dict() for m in p.prompt), assistant(text).as_dict()]
            for name, text in (("chosen", p.chosen), ("rejected", p.rejected))
        }
        for p in own
    ]
    datasets.Dataset.from_list(talks).save_to_disk("saved")
    records = []
    for number, path in enumerate([str(pairs), "hh.jsonl", "saved"]):
        argv = ["--pairs", path, "--kind", "ngram", "--output", f"{number}.json"]
        assert run([*argv, "--json"]) == 0
        records.append(json.loads(capsys.readouterr().out))
    assert records[0]["num_train_pairs"] > 100
    for record in records[1:]:
        assert record["num_train_pairs"] == records[0]["num_train_pairs"]
        assert record["held_out"] == records[0]["held_out"]


@pytest.mark.parametrize("kind", ["lm", "ngram"])
def test_equal_pairs_and_broken_lines_are_named_before_any_training(
    pairs: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    for line, problem in (
        ('{"prompt": "Hi", "chosen": "Yes.", "rejected": "Yes."}', "are equal: 'Yes.'"),
        ('{"prompt": "Hi", "chosen"', "the line is not JSON"),
        ('{"prompt": "Hi", "rejected": "No."}', "there is no field 'chosen'"),
    ):
        Path("bad.jsonl").write_text(f"{pairs.read_text('utf-8')}{line}\n", "utf-8")
        argv = ["--pairs", "bad.jsonl", "--kind", kind, "--output", "rm"]
        assert run(argv) == 2
        error = capsys.readouterr().err
        assert "bad.jsonl:121: " in error and problem in error
        assert not Path("rm").exists()


def test_broken_lines_stop_it_or_are_skipped(
    pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pairs.open("a") as file:
        file.write('{"prompt": "Hi", "chosen": "Yes."}\n')
    argv = ["--pairs", str(pairs), "--kind", "ngram", "--output", "rm.json"]
    assert run(argv) == 2
    assert "pairs.jsonl:121: there is no field 'rejected'" in capsys.readouterr().err
    assert run([*argv, "--on-broken", "skip"]) == 0


def test_hyperparameters_are_none_of_the_n_grams(pairs: Path) -> None:
    argv = ["--pairs", str(pairs), "--kind", "ngram", "--output", "rm.json"]
    with pytest.raises(SystemExit) as caught:
        run([*argv, "--set", "num_epochs=1"])
    assert caught.value.code == 2


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert SUMMARY in text and "example:\n  chat-envs reward-model" in text
    assert "learning_rate=0.001" in text
