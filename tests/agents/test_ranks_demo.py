"""The demo is learnt with DeepSpeed too: at every stage, in one process and in two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("deepspeed")

from agents.commands.demo import DEMO  # noqa: E402
from agents.tracking import read_lines  # noqa: E402
from tests.agents.run_program import command, run_ranks  # noqa: E402
from tests.agents.small_run import NAME, small_config  # noqa: E402

pytestmark = pytest.mark.slow
LEAST_GAIN = 0.15  # in the share of held-out goals that are reached, at its lower end


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the cache of all runs here, with a warm start for each stage and number of ranks."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("num_ranks", [1, 2])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_the_demo_is_learnt(
    tmp_path: Path, cache: Path, stage: int, num_ranks: int
) -> None:
    config = tmp_path / "demo.yaml"
    config.write_text(json.dumps(dict(DEMO)))
    run_ranks(
        tmp_path,
        command,
        *("train", "--config", str(config), "--run", "demo"),
        *("--engine", "deepspeed", "--zero", str(stage)),
        num_ranks=num_ranks,
        environment={"CHAT_ENVS_CACHE": str(cache)},
    )
    for rank in range(num_ranks):
        report = json.loads((tmp_path / f"engine{rank}.json").read_text())
        assert (report["stage"], report["processes"]) == (stage, num_ranks)
        assert report["iterations"] >= 20
    run = tmp_path / "runs/demo"
    assert len(read_lines(run / "metrics.jsonl")) == report["iterations"]
    scores = json.loads((run / "evaluation.json").read_text())
    assert scores["before"]["sampled"]["episodes"] == DEMO["num_eval_episodes"]
    assert scores["gain"]["low"] >= LEAST_GAIN, scores["gain"]


LAUNCHERS = {
    # Without the two dashes torchrun takes our --run for one of its own options.
    "torchrun": ("--standalone", "--nproc-per-node", "2", "--no-python", "--"),
    "deepspeed": ("--num_gpus", "2", "--no_python"),
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_starts_the_command(tmp_path: Path, launcher: str) -> None:
    """No stand-in: the programs that users start, with the command behind them."""
    values = small_config(engine="deepspeed", zero=1, num_eval_episodes=2)
    config = tmp_path / "run.yaml"
    config.write_text(json.dumps(values.as_dict()))
    beside = Path(sys.executable).parent
    program = [str(beside / launcher), *LAUNCHERS[launcher], str(beside / "chat-envs")]
    environment = os.environ | {
        "DS_ACCELERATOR": "cpu",
        "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        [*program, "train", "--config", str(config), "--run", NAME],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("after: success") == 1
    run = tmp_path / "runs" / NAME
    lines = read_lines(run / "metrics.jsonl")
    assert [line["iteration"] for line in lines] == list(range(len(lines)))
    stored = json.loads((run / "config.json").read_text())
    assert stored["machinery"]["processes"] == 2
