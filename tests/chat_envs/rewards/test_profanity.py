"""Words of a list."""

from __future__ import annotations

import json
import sys

import pytest

from chat_envs.rewards import profanity
from chat_envs.rewards.profanity import Profanity
from tests.chat_envs.rewards.ratings import rate


def test_listed_words_cost_up_to_the_limit() -> None:
    reward = Profanity(words=["darn", "dirty rat", "f.o.o"], limit=2)
    replies = {
        "It is clean.": 0.0,
        "DARN it": -0.5,
        "darning": 0.0,
        "You dirty, rat": -0.5,
        "dirty old rat": 0.0,
        "f-o-o": -0.5,
        "darn darn darn": -1.0,
    }
    assert rate(reward, *replies) == list(replies.values())
    with pytest.raises(ValueError, match="limit must be at least 1"):
        Profanity(limit=0)


@pytest.mark.usefixtures("no_network")
def test_the_list_of_the_package_is_read_and_words_can_be_allowed() -> None:
    profanity._package_list.cache_clear()
    assert rate(Profanity(), "damn it", "dear me") == [-1.0, 0.0]
    assert rate(Profanity(allowed=["Damn"]), "damn it", "bullshit") == [0.0, -1.0]
    assert "better_profanity" not in sys.modules
    longest = max(map(len, profanity._package_list()))
    assert len(profanity._package_list()) > 500 and 2 <= longest < 10


def test_no_single_letter_is_listed() -> None:
    reward = Profanity(words=["p*", "q!", "a s s"])
    assert rate(reward, "p q", "p", "a s s") == [0.0, 0.0, -1.0]


def test_the_keywords_are_json() -> None:
    kwargs = json.loads(json.dumps({"words": ["darn"], "allowed": [], "limit": 1}))
    assert rate(Profanity(**kwargs), "darn") == [-1.0]
