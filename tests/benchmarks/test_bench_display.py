"""What is seen of a benchmark on its way, on a terminal and elsewhere."""

from __future__ import annotations

import io
import subprocess
import time
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.bench_display import BenchDisplay, Estimator, duration
from benchmarks.job_lock import JobLock
from benchmarks.runner import Ended, Running
from tests.benchmarks.small_bench import jobs_of

ECHO, BANDIT = "chat_envs/Echo-easy-v0", "chat_envs/KeywordBandit-v0"


@pytest.fixture
def running(tmp_path: Path) -> Running:
    log = tmp_path / "0.log"
    log.write_text("ppo: 200 tokens\n\x1b[2Jppo: 40 of 200\n")
    lock = JobLock.acquire(tmp_path / "0.lock")
    assert lock is not None
    process = subprocess.Popen(["true"])
    process.wait()
    job = jobs_of(tmp_path, "ppo", envs=[ECHO])[0]
    return Running(job, 0, time.monotonic() - 30, process, lock, log)


def test_times_are_said_as_people_say_them() -> None:
    said = [duration(s) for s in (0.4, 89.9, 90.0, 5_300, 5_401, 86_400)]
    assert said == ["0 s", "90 s", "2 min", "88 min", "1 h 30 min", "24 h 00 min"]


def test_an_estimate_is_of_the_jobs_that_are_most_alike(tmp_path: Path) -> None:
    ppo_echo, ppo_bandit = jobs_of(tmp_path, "ppo")
    sft_echo, _ = jobs_of(tmp_path, "sft")
    known = Estimator()
    assert known.of(ppo_echo) is None
    known.note("grpo", BANDIT, 10.0)
    assert known.of(ppo_echo) == 10.0
    known.note("sft", ECHO, 30.0)
    assert known.of(ppo_echo) == 30.0 and known.of(ppo_bandit) == 10.0
    known.note("ppo", ECHO, 100.0)
    known.note("ppo", ECHO, 50.0)
    assert known.of(ppo_echo) == 75.0 and known.of(sft_echo) == 30.0


def test_the_time_left_is_shared_by_the_seats(tmp_path: Path, running: Running) -> None:
    known = Estimator()
    waiting = jobs_of(tmp_path, "ppo", seeds=2)
    assert known.left([running], waiting, 2) is None
    for env in (ECHO, BANDIT):
        known.note("ppo", env, 40.0)
    assert known.left([], waiting, 1) == 160.0
    assert known.left([], waiting, 4) == 40.0
    left = known.left([running], [], 1)
    assert left == pytest.approx(10.0, abs=5.0)  # 30 of 40 seconds are over


def screen(is_terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=100)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_elsewhere_than_on_a_terminal_every_end_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], running: Running
) -> None:
    console = screen(is_terminal=False)
    jobs = jobs_of(tmp_path, "ppo", seeds=2)
    with BenchDisplay(9, 4, 1, Estimator(), console) as display:
        display.show([running], jobs[1:])
        display.ended(Ended(jobs[0], "done", 100.0))
        display.show([], jobs[2:])
        display.ended(Ended(jobs[1], "failed", 3.0))
        display.ended(Ended(jobs[2], "done", None))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("[5/9] done in 2 min: ppo, Echo-easy-v0, seed 0; about")
    assert lines[0].endswith(" left")
    assert lines[1].startswith("[6/9] failed in 3 s: ppo, KeywordBandit-v0, seed 0")
    assert lines[2].startswith("[7/9] done by another runner: ppo, Echo-easy-v0")
    assert text_of(console) == ""


def test_a_terminal_shows_who_is_at_work_and_gives_failures_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], running: Running
) -> None:
    console = screen(is_terminal=True)
    jobs = jobs_of(tmp_path, "ppo", seeds=2)
    with BenchDisplay(9, 4, 1, Estimator(), console) as display:
        display.ended(Ended(jobs[0], "done", 100.0))
        display.ended(Ended(jobs[1], "killed", 3.0))
        display.show([running], jobs[2:])
    shown = text_of(console)
    assert "6 of 9 runs are over (1 done, 1 killed); 1 at work; about" in shown
    assert "[6/9] killed in 3 s" in shown and "[5/9]" not in shown
    assert "40 of 200" in shown
    # What a log holds cannot command the terminal: rich writes its own codes, never this one.
    assert "\x1b[2Jppo" not in shown
    assert capsys.readouterr().err == ""


def test_the_last_words_of_a_log_are_its_end(running: Running) -> None:
    assert running.last_words(12) == ": 40 of 200"
    running.log.write_bytes(b"")
    assert running.last_words() == ""
    running.log.write_bytes(b"\xff" * 300)
    assert len(running.last_words(200)) == 200
