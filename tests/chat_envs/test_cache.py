"""Where the cache is."""

from pathlib import Path

import pytest

from chat_envs.cache import cache_directory


def test_the_first_variable_that_is_set_decides(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("CHAT_ENVS_CACHE", raising=False)
    assert cache_directory() == tmp_path / ".cache" / "chat-envs"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "chat-envs"
    monkeypatch.setenv("CHAT_ENVS_CACHE", "~/mine")
    assert cache_directory() == tmp_path / "mine"
    assert not any(tmp_path.iterdir()), "asking makes nothing"
