"""The data files: loaded once, and each of them in the fingerprint of whoever reads it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import chat_envs
from chat_envs.data_file import load_json
from chat_envs.fingerprint import _data_files, source_modules
from chat_envs.suite import FAMILIES

SUITE = Path(chat_envs.__file__).parent
# What no environment reads by name: the results, and what every environment depends on.
OF_ALL = {"anchors.json", "tokenizer.json"}
NAMES = {path.name for path in (SUITE / "data").glob("*.json")} - OF_ALL
READERS = [
    p for folder in ("envs", "simulators") for p in (SUITE / folder).glob("*.py")
]
# Plays one environment after another, each with empty caches, and prints what each opened.
PLAY = """
import json, sys
from pathlib import Path

opened = set()

def hear(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        path = Path(arguments[0])
        if path.parts[-3:-1] == ("chat_envs", "data"):
            opened.add(path.name)

sys.addaudithook(hear)
import gymnasium
import chat_envs
from chat_envs.data_file import load_json
from chat_envs.replier import REPLIERS, play

seen = {}
for env_id in sys.argv[1:]:
    load_json.cache_clear()
    for name, module in list(sys.modules.items()):
        if name.startswith(("chat_envs.envs.", "chat_envs.simulators.")):
            for value in vars(module).values():
                if callable(getattr(value, "cache_clear", None)):
                    value.cache_clear()
    opened.clear()
    play(gymnasium.make(env_id), REPLIERS["expert"], 0)
    seen[env_id] = sorted(opened)
print(json.dumps(seen))
"""


def names_asked(source: str) -> list[str | None]:
    """Return the name that each use of `load_json` gives, None for one that is not written out."""
    found: list[str | None] = []
    tree = ast.parse(source)
    uses = [
        n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "load_json"
    ]
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        parts = [call.func, *call.args]
        for part, after in zip(parts, [*parts[1:], None]):
            if part in uses:
                name = after.value if isinstance(after, ast.Constant) else None
                found.append(name if isinstance(name, str) else None)
    return found + [None] * (len(uses) - len(found))


def test_a_file_is_read_once_and_as_it_is() -> None:
    data = load_json("echo.json")
    assert data == json.loads((SUITE / "data" / "echo.json").read_text("utf-8"))
    assert load_json("echo.json") is data


def test_a_name_that_is_not_written_out_is_found() -> None:
    source = (
        'load_json("a.json"); partial(load_json, "b.json"); load_json(c); load_json'
    )
    assert names_asked(source) == ["a.json", "b.json", None, None]


def test_whoever_reads_a_file_names_it_in_full() -> None:
    asked = {path.name: names_asked(path.read_text("utf-8")) for path in READERS}
    named = [name for names in asked.values() for name in names]
    assert None not in named, asked
    assert set(named) == NAMES


def test_no_environment_has_a_loader_of_its_own() -> None:
    sources = {path.name: path.read_text("utf-8") for path in READERS}
    assert not [name for name, source in sources.items() if "resources" in source]


def test_fingerprints_see_every_file_that_an_episode_reads() -> None:
    ids = {f.id(min(f.summaries)): f.entry_point.partition(":")[0] for f in FAMILIES}
    done = subprocess.run(
        [sys.executable, "-c", PLAY, *ids], capture_output=True, text=True, check=True
    )
    opened = json.loads(done.stdout)
    assert {name for names in opened.values() for name in names} >= NAMES
    for env_id, module in ids.items():
        read = set(opened[env_id]) - OF_ALL
        hashed = {name for name, _ in _data_files(source_modules(module).values())}
        assert read and read <= hashed, env_id
