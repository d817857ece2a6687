from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from chat_envs.reward import make_scorer, register_reward, registry
from chat_envs.reward.registry import registered_rewards, resolve_reward
from tests.chat_envs.request import make_request


def polite(reply: str) -> float:
    """Return 1 for a polite reply."""
    return float("please" in reply)


class Nested:
    """Something with an attribute."""

    polite = staticmethod(polite)


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_TARGETS", {})
    monkeypatch.setattr(registry, "BUILTIN", {"built_in": f"{__name__}:polite"})
    monkeypatch.setattr(registry, "entry_points", lambda group: [])


def test_a_registered_reward_is_found_by_its_id_and_carries_it() -> None:
    register_reward("manners", polite)
    scorer = make_scorer({"task": 1.0, "manners": 0.5})
    assert scorer.component_names == ("task", "manners")
    assert scorer.score([make_request("please")])[0].total == 1.5


def test_a_registered_path_is_imported_when_it_is_used() -> None:
    register_reward("later", "no_such_module_yet:judge")
    assert "later" in registered_rewards()
    with pytest.raises(ValueError, match="no module named 'no_such_module_yet'"):
        resolve_reward("later")
    register_reward("manners", f"{__name__}:polite")
    assert resolve_reward("manners") is polite


def test_a_path_finds_functions_and_attributes_of_classes() -> None:
    assert resolve_reward(f"{__name__}:polite") is polite
    assert resolve_reward(f"{__name__}:Nested.polite") is polite
    assert make_scorer(f"{__name__}:polite").component_names == ("polite",)


@pytest.mark.parametrize("name", ["", "task", "gold", "a:b"])
def test_some_ids_cannot_be_registered(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a reward id"):
        register_reward(name, polite)


def test_an_id_stands_for_one_target() -> None:
    register_reward("manners", polite)
    register_reward("manners", polite)
    with pytest.raises(ValueError, match="'manners' already stands for"):
        register_reward("manners", len)
    with pytest.raises(ValueError, match="'built_in' already stands for"):
        register_reward("built_in", len)


def test_a_built_in_reward_is_imported_by_its_id() -> None:
    assert resolve_reward("built_in") is polite
    assert make_scorer("built_in").component_names == ("built_in",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tassk", "Did you mean 'task'"),
        ("maners", "Did you mean 'manners'"),
        ("zzzzzz", "Known: built_in, gold, manners, task"),
        (f"{__name__}:polit", "Did you mean 'polite'"),
        (f"{__name__}:", "must have the form"),
        (":polite", "must have the form"),
        ("tests.no_such.module:judge", "no module named 'tests.no_such'"),
    ],
)
def test_a_wrong_name_teaches_the_right_one(name: str, message: str) -> None:
    register_reward("manners", polite)
    with pytest.raises(ValueError, match=message):
        resolve_reward(name)


def test_a_module_whose_own_import_fails_shows_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_more.py").write_text("import surely_not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed_anywhere"):
        resolve_reward("needs_more:judge")
    assert "needs_more" not in sys.modules


def test_installed_plugins_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("plugged", f"{__name__}:polite", "chat_envs.rewards")

    def entry_points(*, group: str) -> list[Any]:
        return [point] if group == "chat_envs.rewards" else []

    monkeypatch.setattr(registry, "entry_points", entry_points)
    assert registered_rewards() == ["built_in", "gold", "plugged", "task"]
    assert resolve_reward("plugged") is polite
    assert make_scorer("plugged").component_names == ("plugged",)
