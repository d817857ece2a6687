"""The command: wrong words are answered, and a whole small measurement leaves its result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import throughput
from benchmarks.choice import choose
from benchmarks.engine_agreement import main as check
from benchmarks.throughput import main
from tests.benchmarks.micro import MICRO

SIDES = ("ours", "generate")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--parts", "decod"], "Unknown part 'decod'; did you mean 'decode'?"),
        (["--shapes", "1mb"], "Unknown shape '1mb'; did you mean '1m'?"),
        (["--shapes", "smollm-135m"], "did you mean 'smollm2-135m'?"),
        (["--scenarios", "turn"], "did you mean 'turns'?"),
        (["--peers", "generate_static"], "did you mean 'generate-static'?"),
        (["--dtype", "float16"], "Unknown dtype 'float16'"),
        (["--pairs", "4"], "at least five pairs, got 4"),
        (["--threads", "0"], "--threads must be at least 1, got 0"),
        (["--shapes", "1m", "--rows", "12"], "num_rows=12 must be a multiple"),
        (["--shapes", "opt-1.3b", "--device", "cpu"], "on a CUDA device only"),
    ],
)
def test_a_wrong_argument_is_answered(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_a_word_like_no_other_gets_the_list() -> None:
    with pytest.raises(ValueError, match="'zzz'. Known are a, b.$"):
        choose(["zzz"], ["a", "b"], "letter")


def test_a_measurement_leaves_rows_for_each_part_scenario_and_side(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(throughput, "SHAPES", {"micro": MICRO})
    monkeypatch.setattr(throughput, "_has_trl", lambda: False)
    flags = (
        "--parts decode train --shapes micro --pairs 5 --peers generate --device cpu"
    )
    main([*flags.split(), "--dtype", "float32", "--write", "--results", str(tmp_path)])
    (path,) = tmp_path.iterdir()
    assert path.name.endswith("_throughput_cpu.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    found = [(row["part"], row["scenario"], row["side"]) for row in record["rows"]]
    assert found == [
        *[("decode", s, side) for s in throughput.SCENARIOS for side in SIDES],
        ("train", "update", "ours"),
        ("train", "update", "plain loop"),
        ("train", "update", "trl-grpo loss"),
    ]
    first, last = record["rows"][0], record["rows"][-1]
    assert len(first["seconds_a_token"]) == 5
    assert first["log_prob_gap"]["mean"] < 1e-5
    assert first["share_of_bound"] > 0
    assert "pip install" in last["why"]
    printed = capsys.readouterr().out
    assert "| train | micro | 8 | update | plain loop |" in printed
    assert "of the bandwidth bound" in printed


def test_the_agreement_command_answers_wrong_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        check(["--families", "llama2"])
    assert "did you mean 'llama'?" in capsys.readouterr().err
