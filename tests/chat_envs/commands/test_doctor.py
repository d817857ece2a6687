"""`doctor`: what is there, what is missing, what is broken."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from chat_envs.commands import doctor

Capture = pytest.CaptureFixture[str]
REQUIRES = [
    "gymnasium<2,>=1.1",
    'torch>=2.8; extra == "agents"',
    'surely-not-installed>=1; extra == "agents"',
    'chat-envs[agents]; extra == "sb3"',
    'stable-baselines3>=2.7; extra == "sb3"',
    'black>=26.1; extra == "dev"',
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the heavy packages out, and the cache in a folder of the test's own."""
    monkeypatch.setattr(doctor, "_DEVICES", "print('[1]')")
    monkeypatch.setattr(doctor, "_DEEPSPEED", "raise SystemExit('no compiler')")
    monkeypatch.setattr(metadata, "requires", lambda name: REQUIRES)
    monkeypatch.setenv("CHAT_ENVS_CACHE", str(tmp_path))


def test_it_names_what_is_missing_and_the_command_for_it(capsys: Capture) -> None:
    assert doctor.run(["--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    agents = report["extras"]["agents"]
    assert agents["missing"] == ["surely-not-installed"]
    assert agents["install"] == "pip install 'chat-envs[agents]'"
    assert set(report["extras"]) == {"agents", "deepspeed", "sb3", "smollm2"}
    assert "chat-envs" not in report["extras"]["sb3"]["installed"]
    assert {"python", "gymnasium", "numpy", "tokenizers"} <= set(report["versions"])


def test_it_takes_a_step_in_an_environment(capsys: Capture) -> None:
    doctor.run(["--json"])
    environment = json.loads(capsys.readouterr().out)["environment"]
    assert environment["num_registered"] > 0
    assert isinstance(environment["reward"], float)


def test_text_says_the_same(capsys: Capture) -> None:
    assert doctor.run([]) == 0
    out = capsys.readouterr().out
    assert "missing surely-not-installed: pip install 'chat-envs[agents]'" in out
    assert out.endswith("all in order\n")


def test_a_package_that_breaks_at_import_is_a_line_and_no_crash() -> None:
    assert doctor._probe("json", "print('[1]')") == {"value": [1], "error": None}
    found = doctor._probe("json", "raise SystemExit('no compiler')")
    assert found == {"value": None, "error": "exit code 1: no compiler"}
    found = doctor._probe("json", "import os; os._exit(7)")
    assert found["error"] == "exit code 7: no message"
    found = doctor._probe("no_such_package", "")
    assert found["error"] == "no_such_package is not installed"


def test_a_package_that_hangs_at_import_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_TIMEOUT_S", 0.5)
    found = doctor._probe("json", "import time; time.sleep(60)")
    assert found["error"] == "no answer within 0 s"


def test_a_broken_tokenizer_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def fail() -> Any:
        raise ValueError("damaged")

    monkeypatch.setattr(doctor, "load_tokenizer", fail)
    assert doctor.run([]) == 1
    assert "PROBLEM: the built-in tokenizer fails: ValueError: damaged" in (
        capsys.readouterr().out
    )


def test_no_environment_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "registrations", list)
    assert doctor.run(["--json"]) == 1


def test_a_suite_that_is_not_installed_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def fail(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", fail)
    assert doctor.run([]) == 1
    assert "pip install -e ." in capsys.readouterr().out


def test_a_cache_below_a_file_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    monkeypatch.setenv("CHAT_ENVS_CACHE", str(file))
    assert doctor.run([]) == 1
    assert "set CHAT_ENVS_CACHE" in capsys.readouterr().out
