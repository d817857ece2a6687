"""A package that is not there: what the error says, and what is not mistaken for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chat_envs.bridges.optional_package import load_package, nearest


def test_a_package_that_is_there_is_returned() -> None:
    assert load_package("json.decoder", extra="trl") is sys.modules["json.decoder"]


@pytest.mark.parametrize("name", ["no_such_package", "no_such_package.part"])
def test_a_missing_package_is_an_import_error_that_names_its_extra(name: str) -> None:
    with pytest.raises(ImportError, match=r"pip install 'chat-envs\[textarena\]'"):
        load_package(name, extra="textarena")


def test_a_package_that_lacks_something_of_its_own_says_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import what_it_needs")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="what_it_needs") as caught:
        load_package("half_installed", extra="trl")
    assert "chat-envs" not in str(caught.value)


def test_the_nearest_name_is_proposed_however_far_it_is() -> None:
    assert "'Mastermind-v0'" in nearest("mastermind", ["Mastermind-v0", "Set-v0"])
    assert nearest("anything", []) == ""
