"""Packages that are missing, or lack something themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat_envs.rewards import optional_package


def test_a_package_that_lacks_something_of_its_own_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_a_package.py").write_text("import no_such_module")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        optional_package.load_module("half_a_package", reward="x", extra="x")


def test_a_missing_package_is_told_with_the_extra_that_brings_it() -> None:
    with pytest.raises(ImportError, match=r"chat-envs\[profanity\]"):
        optional_package.package_folder(
            "no_such_package", reward="profanity", extra="profanity"
        )
