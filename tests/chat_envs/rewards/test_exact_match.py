"""When a reply is the expected one."""

from __future__ import annotations

from chat_envs.rewards.exact_match import ExactMatch
from tests.chat_envs.rewards.ratings import rate


def test_a_match_needs_the_same_words_and_nothing_else() -> None:
    reward = ExactMatch(expected=["Yes, please.", "OK"])
    assert rate(reward, "yes please", "ok!", "yes", "yes please now") == [1, 1, 0, 0]
    assert rate(ExactMatch(expected="?!"), "?!", "", "!") == [1, 0, 0]


def test_a_literal_match_needs_every_character() -> None:
    reward = ExactMatch(expected="Yes.", is_literal=True)
    assert rate(reward, "Yes.", "yes.", "Yes. ") == [1, 0, 0]
