from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Iterator

import pytest

from chat_envs import fingerprint as module
from chat_envs.fingerprint import fingerprint, source_modules
from tests.chat_envs.toy import SayIt

Write = Callable[[str, str], None]
ENV = "from plugin_pkg import dynamics\nimport json\n\nclass Env:\n    pass\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Return a function that writes one file of a package `plugin_pkg`."""
    folder = tmp_path / "plugin_pkg"
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def put(name: str, text: str) -> None:
        (folder / name).write_text(text)
        importlib.invalidate_caches()

    put("__init__.py", "")
    put("env.py", ENV)
    put("dynamics.py", "SPEED = 1\n")
    put("unused.py", "X = 1\n")
    yield put
    for name in [n for n in sys.modules if n.partition(".")[0] == "plugin_pkg"]:
        del sys.modules[name]


def digest(**kwargs: Any) -> str:
    found: ModuleType = importlib.import_module("plugin_pkg.env")
    return fingerprint(found.Env, kwargs)


def test_a_fingerprint_is_16_digits_and_repeatable() -> None:
    first = fingerprint(SayIt, {"num_turns": 3})
    assert first == fingerprint(SayIt, {"num_turns": 3})
    assert len(first) == 16 and int(first, 16) >= 0


def test_the_modules_of_the_package_that_are_imported_count(write: Write) -> None:
    assert set(source_modules("plugin_pkg.env")) == {
        "plugin_pkg.env",
        "plugin_pkg.dynamics",
    }


@pytest.mark.parametrize(
    ("name", "text", "is_changed"),
    [
        ("env.py", ENV + "SPEED = 2\n", True),
        ("dynamics.py", "SPEED = 2\n", True),
        ("unused.py", "X = 2\n", False),
        ("env.py", ENV.replace("\n", "\r\n"), False),
    ],
)
def test_what_an_edit_changes(
    write: Write, name: str, text: str, is_changed: bool
) -> None:
    before = digest()
    write(name, text)
    assert (digest() != before) == is_changed


def test_keywords_count_and_their_order_does_not(write: Write) -> None:
    assert digest(a=1, b=2) == digest(b=2, a=1)
    assert digest(a=1) != digest(a=2) != digest()


def test_relative_order_of_parts_cannot_collide(write: Write) -> None:
    write("dynamics.py", "A = 1\n")
    first = digest()
    write("dynamics.py", "")
    write("env.py", ENV + "A = 1\n")
    assert digest() != first


def test_data_files_count_where_a_source_names_them(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "suite" / "data"
    (data / "words").mkdir(parents=True)
    monkeypatch.setattr(module.resources, "files", lambda package: tmp_path / "suite")
    for name in ("rooms.json", "words/train.json", "other.json", "anchors.json"):
        (data / name).write_text("1")
    (data / "tokenizer.json").write_text("1")
    source = ENV + 'NAMES = ("rooms", "words/train.json", "anchors.json")\n'
    write("env.py", source)
    before = digest()
    for name, is_changed in {
        "rooms.json": True,
        "words/train.json": True,
        "tokenizer.json": True,
        "other.json": False,
        "anchors.json": False,
    }.items():
        (data / name).write_text("2")
        assert (digest() != before) == is_changed, name
        (data / name).write_text("1")
        assert digest() == before


def test_a_class_of_an_interactive_session_is_refused() -> None:
    typed = type("Typed", (), {"__module__": "__main__"})
    typed.__module__ = "no_such_session"
    with pytest.raises(ValueError, match="put the class into a module"):
        fingerprint(typed, {})
