"""An ensemble is only as pleased as its strictest member."""

from __future__ import annotations

import pytest

from chat_envs.reward import make_scorer
from chat_envs.reward.ensemble import Minimum
from chat_envs.rewards.description import make_request

MINIMUM = "chat_envs.reward.ensemble:Minimum"


def words(reply: str) -> float:
    return float(len(reply.split()))


def against(reply: str) -> float:
    return 5.0 - len(reply.split())


def test_the_least_counts_reply_by_reply() -> None:
    batch = [make_request(text) for text in ("a", "a b c", "a b c d e f")]
    assert Minimum([words, against]).score(batch) == [1.0, 2.0, -1.0]


def test_it_is_a_reward_of_json_with_weights_and_members_of_their_own() -> None:
    members = [f"{__name__}:words", {f"{__name__}:against": 2.0}]
    scorer = make_scorer({MINIMUM: {"weight": 0.5, "kwargs": {"rewards": members}}})
    (outcome,) = scorer.score([make_request("a b c d")])
    assert outcome.components == {"minimum": 2.0}
    assert outcome.total == 1.0


def test_a_member_that_fails_fails_the_ensemble() -> None:
    def broken(reply: str) -> float:
        raise ConnectionError("no answer")

    for member in (broken, {broken: {"on_error": "mask"}}):
        scorer = make_scorer(Minimum([words, member]), on_error="mask")
        (outcome,) = scorer.score([make_request("a")])
        assert not outcome.is_valid


@pytest.mark.parametrize("rewards", [[], [words], "repetition"])
def test_one_alone_is_no_ensemble(rewards: object) -> None:
    with pytest.raises(ValueError, match="at least two"):
        Minimum(rewards)  # type: ignore[arg-type]
