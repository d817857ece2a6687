"""What the built-in rewards say of themselves is true: ids, ranges, fields, exploits."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any, Iterator

import pytest

from chat_envs import rewards
from chat_envs.message import assistant, system, user
from chat_envs.reward import make_scorer
from chat_envs.reward.builtin import BUILTIN
from chat_envs.reward.registry import resolve_reward
from chat_envs.rewards.description import (
    BuiltinReward,
    Exploit,
    as_texts,
    last_user,
    make_request,
)
from chat_envs.testing.hostile_reply import HOSTILE_REPLIES
from chat_envs.tokenizer import load_tokenizer

CLASSES: dict[str, type[BuiltinReward]] = {
    name: resolve_reward(target) for name, target in BUILTIN.items()
}
# What a reward cannot be made without; none is there for the judge, which needs a server.
REQUIRED: dict[str, dict[str, Any]] = {
    "exact_match": {"expected": "yes"},
    "regex_match": {"pattern": "e"},
}
OFFLINE = sorted(set(CLASSES) - {"llm_judge"})


def exploits() -> Iterator[Any]:
    for name, reward in CLASSES.items():
        for exploit in reward.exploits:
            if not exploit.needs:
                yield pytest.param(reward, exploit, id=f"{name}-{exploit.name}")


def test_every_reward_that_describes_itself_is_in_the_table() -> None:
    for path in Path(rewards.__file__).parent.glob("*.py"):
        importlib.import_module(f"chat_envs.rewards.{path.stem}")
    ours = {
        f"{reward.__module__}:{reward.__name__}"
        for reward in BuiltinReward.__subclasses__()
        if reward.__module__.startswith("chat_envs.rewards.")
    }
    assert ours == set(BUILTIN.values())
    assert list(BUILTIN) == sorted(BUILTIN)


@pytest.mark.parametrize("name", CLASSES)
def test_a_reward_names_itself_as_the_table_does(name: str) -> None:
    reward = CLASSES[name]
    assert issubclass(reward, BuiltinReward) and reward.name == name
    assert reward.__module__ == f"chat_envs.rewards.{name}"
    low, high = reward.range
    assert low < high and low <= 0 <= high
    assert reward.exploits and (reward.__doc__ or "").strip()


@pytest.mark.parametrize("name", CLASSES)
def test_a_reward_sees_what_it_says(name: str) -> None:
    reward = CLASSES[name]
    if hasattr(reward, "score"):
        return  # it sees whole requests
    _, *parameters = inspect.signature(reward.__call__).parameters
    assert sorted(parameters) == sorted(reward.sees)


@pytest.mark.parametrize(("reward", "exploit"), list(exploits()))
def test_the_hostile_reply_of_an_exploit_beats_the_honest_one(
    reward: type[BuiltinReward], exploit: Exploit
) -> None:
    scorer = make_scorer(reward(**exploit.kwargs))
    hostile, honest = (o.total for o in scorer.score(exploit.requests()))
    assert hostile > honest


@pytest.mark.parametrize("name", OFFLINE)
def test_values_lie_in_the_range_whatever_the_reply(name: str) -> None:
    reward = CLASSES[name]
    scorer = make_scorer(reward(**REQUIRED.get(name, {})))
    prompt = (system("Be kind."), user("I want a refund for my hat."))
    replies = [write(prompt) for write in HOSTILE_REPLIES.values()]
    outcomes = scorer.score([make_request(reply, prompt) for reply in replies])
    low, high = reward.range
    assert all(low <= outcome.total <= high for outcome in outcomes)
    assert {type(outcome.total) for outcome in outcomes} == {float}


def test_only_the_judge_needs_more_than_itself_to_be_cheated() -> None:
    needing = {n for n, c in CLASSES.items() if any(e.needs for e in c.exploits)}
    assert needing == {"llm_judge"}


def test_a_request_that_nobody_played_pays_nothing() -> None:
    request = make_request("Hello there", [user("Hi")])
    assert request.prompt == (user("Hi"),)
    assert request.messages == (user("Hi"), assistant("Hello there"))
    assert request.task == 0.0 and not request.info["success"]
    assert load_tokenizer().decode(request.reply_ids.tolist()) == "Hello there"


def test_the_last_user_message_is_found_behind_others() -> None:
    said = [user("one"), assistant("two"), user("three"), assistant("four")]
    assert last_user(said) == "three"
    assert last_user([system("one")]) == ""


@pytest.mark.parametrize("value", [(), [1], ["a", None]])
def test_what_is_no_text_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match="expected must be a text or a list of texts"):
        as_texts("expected", value)
