"""The compound score, of the one who is to be scored."""

from __future__ import annotations

import pytest

from chat_envs.message import assistant, user
from chat_envs.rewards import sentiment
from chat_envs.rewards.sentiment import Sentiment
from tests.chat_envs.rewards.ratings import rate


def test_sentiment_is_the_compound_score_of_the_speaker() -> None:
    good, bad, none = rate(Sentiment(), "I love it", "I hate it", "")
    assert good > 0.3 > 0 == none > -0.3 > bad
    of_user = Sentiment(of="user")
    prompt = (user("hello"), assistant("I hate it"))
    assert of_user("I hate it", (*prompt, user("I love it"))) == good
    assert of_user("I hate it", prompt) == 0.0
    assert of_user("I love it", ()) == 0.0
    with pytest.raises(ValueError, match="of must be one of"):
        Sentiment(of="system")


def test_without_its_package_a_reward_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sentiment, "_MODULE", "no_such_package")
    sentiment._analyzer.cache_clear()
    sentiment._score.cache_clear()
    with pytest.raises(ImportError, match=r"chat-envs\[sentiment\]"):
        Sentiment()("a text", ())
    sentiment._analyzer.cache_clear()
    sentiment._score.cache_clear()
