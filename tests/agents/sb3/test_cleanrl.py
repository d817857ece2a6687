"""A PPO script in CleanRL's manner runs on tokens, and learns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

SCRIPT = Path(__file__).parent / "cleanrl_ppo.py"
ROOT = SCRIPT.parents[3]


def run(*arguments: str) -> dict[str, float]:
    """Return the figures that the script prints at its end."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pairs = (line.split("=") for line in done.stdout.splitlines() if "=" in line)
    return {name: float(value) for name, value in pairs}


@pytest.mark.slow
def test_it_learns_a_bandit() -> None:
    figures = run("--total-timesteps", "8192")
    assert figures["episodes"] == 8_192  # each of one token
    assert figures["first_return"] < 0.35
    assert figures["last_return"] > 0.9


@pytest.mark.slow
def test_its_rewards_have_to_be_learnt_from() -> None:
    figures = run("--total-timesteps", "2048", "--learning-rate", "0")
    assert abs(figures["last_return"] - figures["first_return"]) < 0.15


def test_it_runs_over_several_turns_with_all_ids() -> None:
    arguments = "--env-id chat_envs/CustomerService-easy-v0 --reply-length 4".split()
    figures = run(*arguments, "--vocabulary", "all", "--total-timesteps", "512")
    assert figures["episodes"] > 0
