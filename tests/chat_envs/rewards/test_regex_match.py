"""Where a pattern matches, and which patterns are refused."""

from __future__ import annotations

from typing import Any

import pytest

from chat_envs.rewards.regex_match import RegexMatch, has_nested_repeats
from tests.chat_envs.rewards.ratings import rate


@pytest.mark.parametrize(
    ("mode", "values"),
    [("search", [1, 1, 1, 0]), ("match", [1, 1, 0, 0]), ("fullmatch", [1, 0, 0, 0])],
)
def test_a_mode_says_where_the_pattern_matches(mode: str, values: list[int]) -> None:
    reward = RegexMatch(pattern="(?i)AB+", mode=mode)
    assert rate(reward, "abb", "abbc", "cabb", "a") == values


def test_what_is_past_the_limit_is_not_looked_at() -> None:
    reward = RegexMatch(pattern="b", most_characters=3)
    assert rate(reward, "aab", "aaab") == [1.0, 0.0]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"pattern": "("}, "no regular expression"),
        ({"pattern": 3}, "no regular expression"),
        ({"pattern": "a", "mode": "find"}, "mode must be one of"),
        ({"pattern": r"^(\w+\s?)*$"}, "repeats a repeat"),
    ],
)
def test_a_bad_pattern_is_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RegexMatch(**kwargs)


def test_a_nested_repeat_can_be_asked_for() -> None:
    reward = RegexMatch(
        pattern=r"(?:\d+,)*\d+", mode="fullmatch", allows_nested_repeats=True
    )
    assert rate(reward, "1,22,3", "1,,2") == [1.0, 0.0]


def test_in_a_process_of_its_own_a_slow_pattern_costs_no_more_than_its_reply() -> None:
    kwargs = {"pattern": "(a|a)*b$"}  # passes the guard, and doubles with each letter
    options = {"isolation": "process", "timeout_s": 1.0, "on_error": -1.0}
    reward = {"regex_match": {"kwargs": kwargs, **options}, "repetition": 1.0}
    assert rate(reward, "a" * 60 + "c", "aab") == [-1.0, 1.0]


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(a*)*b",
        "(?:a+)*",
        "(?P<x>a+b){2,}",
        "((a+)b)*",
        "(a{2,})+",
        "(a+|b)+",
        "(a+){9}",
        "(?i)(a+)+",
        r"([)]+)+",
    ],
)
def test_a_repeat_in_a_repeat_is_found(pattern: str) -> None:
    assert has_nested_repeats(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "a+b*c{2,}",
        "(a+)b",
        "(ab)+",
        "(a?)+",
        "(a+)?",
        "(a+){1}",
        r"(a\+)+",
        "([a+*]b)+",
        "(?P<x>ab)+(c+)",
        r"([^)+]x)*",
        r"\(a+\)+",
        "",
    ],
)
def test_other_patterns_pass(pattern: str) -> None:
    assert not has_nested_repeats(pattern)
