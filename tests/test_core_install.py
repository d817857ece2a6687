"""The suite with its core dependencies alone, as a wheel installs it.

`make test-core` runs this file in an environment that holds gymnasium, numpy, tokenizers and
pytest. In any other it is skipped, since what it claims is about that environment.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    os.environ.get("CHAT_ENVS_CORE_INSTALL") != "1",
    reason="needs the core-only environment: make test-core",
)

ROOT = Path(__file__).parent.parent
MAX_IMPORT_SECONDS = 1.0  # what issue 2 promises
ABSENT = [
    "torch",
    "transformers",
    "safetensors",
    "rich",
    "tyro",
    "stable_baselines3",
]

PLAY = """
import json, sys
import gymnasium as gym, numpy as np, chat_envs

returns = {}
for env_id in sorted(id for id in gym.registry if id.startswith("chat_envs/")):
    env = gym.make(env_id)
    observation, info = env.reset(seed=7)
    assert env.observation_space.contains(observation), env_id
    reply = env.unwrapped.encode("Hello.")
    observation, reward, terminated, truncated, info = env.step(reply)
    assert env.observation_space.contains(observation), env_id
    assert np.isfinite(reward) and not truncated, env_id
    env.close()
    returns[env_id] = float(reward)
print(json.dumps({"where": chat_envs.__file__, "returns": returns, "loaded": sorted(sys.modules)}))
"""

IMPORT_TIME = """
import time
start = time.perf_counter()
import chat_envs
print(time.perf_counter() - start)
"""

IMPORT_ALL = """
import importlib, pkgutil, chat_envs

for module in pkgutil.walk_packages(chat_envs.__path__, "chat_envs."):
    # The one that needs transformers, and a script that importing would run.
    if not module.name.endswith(("pretrained_tokenizer", "__main__")):
        importlib.import_module(module.name)
"""

LIST_FILES = """
import importlib.metadata
print(*importlib.metadata.files("chat-envs"), sep="\\n")
"""


def run_isolated(code: str, folder: Path) -> str:
    """Run `code` away from the checkout, so that the installed package is what it imports."""
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ABSENT)
def test_the_environment_holds_the_core_alone(name: str) -> None:
    assert importlib.util.find_spec(name) is None


def test_every_environment_is_made_reset_and_stepped(tmp_path: Path) -> None:
    result = json.loads(run_isolated(PLAY, tmp_path))
    assert Path(result["where"]).is_relative_to(
        sys.prefix
    ), "that is not the installed package"
    assert "chat_envs/Echo-easy-v0" in result["returns"]
    assert "chat_envs/CustomerService-v0" in result["returns"]
    assert not set(ABSENT) & set(result["loaded"])


def test_every_module_imports(tmp_path: Path) -> None:
    run_isolated(IMPORT_ALL, tmp_path)


def test_import_takes_under_a_second(tmp_path: Path) -> None:
    # The best of several: a busy machine makes one slow, never one fast. The issue sets this limit.
    seconds = [float(run_isolated(IMPORT_TIME, tmp_path)) for _ in range(5)]
    assert min(seconds) < MAX_IMPORT_SECONDS, seconds


def test_the_command_line_needs_no_torch(tmp_path: Path) -> None:
    script = Path(sys.prefix, "bin", "chat-envs")
    assert script.exists()
    done = subprocess.run(
        [script, "list"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "chat_envs/Echo" in done.stdout


def test_every_file_of_the_packages_is_shipped_and_no_test(tmp_path: Path) -> None:
    # Away from the checkout: the *.egg-info beside it lists every file of the repository.
    shipped = set(run_isolated(LIST_FILES, tmp_path).splitlines())
    written = {
        str(path.relative_to(ROOT))
        for package in ("chat_envs", "agents")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"chat_envs/py.typed", "chat_envs/data/tokenizer.json"} <= written
    assert not written - shipped, "named by no package_data in setup.cfg"
    assert not [path for path in shipped if path.startswith(("tests/", "docs/"))]
