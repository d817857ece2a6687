"""Rewards with arguments: classes, and functions that return a reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from chat_envs.reward import (
    RewardFunction,
    RewardRequest,
    describe,
    make_scorer,
    register_reward,
    registry,
    reward_function,
)
from chat_envs.reward.signature import snake_case
from tests.chat_envs.request import make_request

PATH = __name__


class LengthModel:
    """Scores a batch."""

    made = 0

    def __init__(self, scale: float = 1.0) -> None:
        type(self).made += 1
        self.scale = scale

    def score(self, batch: Sequence[RewardRequest]) -> list[float]:
        """Return scaled lengths."""
        return [self.scale * len(request.reply) for request in batch]


class Named:
    """A callable with a name of its own."""

    def __init__(self, name: Any = "own") -> None:
        self.name = name

    def __call__(self, reply: str) -> float:
        """Return the length."""
        return float(len(reply))


def scaled(scale: float) -> Any:
    """Return a reward."""
    return lambda reply: scale * len(reply)


def number(reply: str = "") -> float:
    """Return a number, not a reward."""
    return 0.0


@reward_function
def decorated(reply: str) -> float:
    """Return the length."""
    return float(len(reply))


def total(reward: Any) -> float:
    (outcome,) = make_scorer(reward).score([make_request("abc")])
    return outcome.total


def test_a_class_is_made_once_with_kwargs_or_without() -> None:
    before = LengthModel.made
    for reward in (LengthModel, f"{PATH}:LengthModel", {LengthModel: 1.0}):
        scorer = make_scorer(reward)
        assert scorer.component_names == ("length_model",)
        assert [scorer.score([make_request("abc")])[0].total for _ in "ab"] == [3, 3]
    assert LengthModel.made == before + 3
    assert total({LengthModel: {"kwargs": {"scale": 2.0}}}) == 6.0
    assert total({f"{PATH}:LengthModel": {"kwargs": {"scale": 2.0}, "weight": 2}}) == 12


def test_kwargs_call_a_function_that_returns_the_reward() -> None:
    assert total({f"{PATH}:scaled": {"kwargs": {"scale": 3.0}}}) == 9.0


@pytest.mark.parametrize(
    ("target", "kwargs", "message"),
    [
        ("LengthModel", {"scael": 1.0}, "cannot be made from kwargs=.*'scael'"),
        ("number", {}, "returned 0.0, not a reward: kwargs are for a class"),
        ("decorated", {}, "takes no kwargs"),
        ("PATH", {}, "takes no kwargs"),
    ],
)
def test_what_cannot_be_made_says_why(
    target: str, kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        make_scorer({f"{PATH}:{target}": {"kwargs": kwargs}})


def test_a_scorer_is_no_part_of_a_mixture() -> None:
    with pytest.raises(TypeError, match="is a scorer, which stands alone"):
        make_scorer({"task": 1.0, make_scorer(): 1.0})


def test_an_object_has_its_own_name_and_an_id_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_TARGETS", {})
    assert make_scorer(Named()).component_names == ("own",)
    for no_name in ("", None, 3):
        assert make_scorer(Named(no_name)).component_names == ("named",)
    register_reward("known", Named())
    register_reward("other", reward_function(name="short")(number))
    register_reward("third", f"{PATH}:LengthModel")
    scorer = make_scorer({"known": 1.0, "other": 1.0, "third": {"kwargs": {}}})
    assert scorer.component_names == ("known", "other", "third")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RewardModel", "reward_model"),
        ("NGramReward", "n_gram_reward"),
        ("HTTPJudge", "http_judge"),
        ("judge", "judge"),
        ("Top2Judge", "top2_judge"),
    ],
)
def test_a_class_s_name_in_snake_case(name: str, expected: str) -> None:
    assert snake_case(name) == expected


def test_a_class_is_no_function_to_decorate() -> None:
    with pytest.raises(TypeError, match="LengthModel is a class"):
        reward_function(LengthModel)
    with pytest.raises(TypeError, match="LengthModel is a class"):
        RewardFunction.of(LengthModel)


def test_the_description_of_a_class_makes_it_again() -> None:
    reward = {LengthModel: {"kwargs": {"scale": 2.0}}}
    described = describe(reward)
    assert described == {f"{PATH}:LengthModel": {"kwargs": {"scale": 2.0}}}
    assert total(described) == 6.0
