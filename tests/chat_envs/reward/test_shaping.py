from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.message import Message, assistant, user
from chat_envs.reward import (
    PotentialShaping,
    RewardError,
    RewardRequest,
    describe,
    make_scorer,
)
from tests.chat_envs.request import make_request


def phi(messages: tuple[Message, ...]) -> float:
    """Return a potential that every message changes."""
    return sum(math.sin(len(m.content) + i) for i, m in enumerate(messages)) + 3.0


def episode(replies: list[str], is_ended: bool) -> list[RewardRequest]:
    """Return the requests of an episode whose turns follow one another."""
    messages: tuple[Message, ...] = (user("begin"),)
    requests = []
    for number, reply in enumerate(replies, start=1):
        prompt = messages
        messages = (*prompt, assistant(reply), user("go on" * number))
        is_last = number == len(replies)
        requests.append(
            make_request(
                reply,
                prompt=prompt,
                messages=messages,
                turn=number,
                terminated=is_last and is_ended,
            )
        )
    return requests


@given(
    st.lists(st.text(max_size=9), min_size=1, max_size=6),
    st.floats(0.0, 1.0),
    st.booleans(),
)
def test_it_sums_to_what_no_policy_can_change(
    replies: list[str], discount: float, is_ended: bool
) -> None:
    requests = episode(replies, is_ended)
    scorer = make_scorer(PotentialShaping(phi, discount))
    paid = [outcome.total for outcome in scorer.score(requests)]
    total = sum(discount**turn * value for turn, value in enumerate(paid))
    after = 0.0 if is_ended else phi(requests[-1].messages)
    expected = discount ** len(replies) * after - phi(requests[0].prompt)
    assert total == pytest.approx(expected, abs=1e-9)


def test_it_is_named_in_json() -> None:
    path = "chat_envs.reward:PotentialShaping"
    kwargs = {"potential": f"{__name__}:phi", "discount": 0.5}
    scorer = make_scorer({path: {"kwargs": kwargs}})
    assert scorer.component_names == ("potential_shaping",)
    (request,) = episode(["a"], is_ended=False)
    expected = 0.5 * phi(request.messages) - phi(request.prompt)
    assert scorer.score([request])[0].total == expected
    assert describe({path: {"kwargs": kwargs}}) == {path: {"kwargs": kwargs}}


@pytest.mark.parametrize("discount", [-0.1, 1.1, math.nan, "1", None])
def test_a_discount_that_is_none_is_refused(discount: Any) -> None:
    with pytest.raises(ValueError, match="discount must be in"):
        PotentialShaping(phi, discount)


@pytest.mark.parametrize("potential", [3, None, dict])
def test_a_potential_that_is_no_function_is_refused(potential: Any) -> None:
    with pytest.raises(TypeError, match="potential must be a function"):
        PotentialShaping(potential)


def test_a_potential_that_is_no_number_is_a_failure() -> None:
    scorer = make_scorer(PotentialShaping(lambda messages: None))
    with pytest.raises(RewardError, match="its potential returned None"):
        scorer.score([make_request()])
