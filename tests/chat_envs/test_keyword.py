"""Keywords: what a constructor takes, and the nearest to one that it does not."""

from __future__ import annotations

from typing import Any

import gymnasium
import pytest

from chat_envs.keyword import keywords
from tests.chat_envs.toy import SayIt


def test_a_class_s_own_keywords_come_first_and_hide_its_bases() -> None:
    found = keywords(SayIt)
    assert list(found)[:2] == ["num_turns", "context_length"]
    assert (found["num_turns"], found["context_length"]) == ("3", "200")
    assert found["split"] == "'train'"
    assert not {"self", "kwargs", "unknown"} & set(found)


def test_what_has_no_default_is_required() -> None:
    class Two:
        def __init__(self, one: int, *rest: int, **more: int) -> None: ...

    assert keywords(Two) == {"one": "required"}


@pytest.mark.parametrize(
    ("make", "nearest"),
    [
        (lambda: SayIt(num_turn=3), "SayIt has no keyword 'num_turn'.*'num_turns'"),
        (
            lambda: gymnasium.make("chat_envs/Echo-v0", splitt="test"),
            "Echo has no keyword 'splitt'.*'split'",
        ),
        (
            lambda: gymnasium.make_vec("chat_envs/Echo-v0", num_envs=2, min_word=2),
            "Echo has no keyword 'min_word'.*'min_words'",
        ),
    ],
)
def test_an_unknown_keyword_is_told_the_nearest(make: Any, nearest: str) -> None:
    with pytest.raises(TypeError, match=nearest):
        make()
