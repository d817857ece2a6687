"""The n-gram model as a reward: trained on pairs of any dialogue, saved as JSON, plugged in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chat_envs.message import Message, assistant, system, user
from chat_envs.preference_pair import PreferencePair
from chat_envs.simulators.preference_model import (
    NGramReward,
    PreferenceModel,
    features,
    load_model,
    prompt_text,
    train_reward,
)
from tests.chat_envs.request import make_request

WORDS = ("cat", "dog", "hen", "cow", "pig", "fox")
TALK = (system("Rules."), user("First."), assistant("Yes."), system("Result."))


def ask(word: str) -> tuple[Message, ...]:
    return (user(f"My {word} again."),)


def make_pairs(num_pairs: int = 240, seed: int = 0) -> list[PreferencePair]:
    """Return pairs whose better reply names the word of the prompt."""
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(num_pairs):
        right, wrong = (WORDS[i] for i in rng.permutation(len(WORDS))[:2])
        prompt = (user(f"{number} {number}"), *ask(right))
        pairs.append(PreferencePair(prompt, f"Your {right}?", f"Your {wrong}?"))
    return pairs


def test_a_prompt_is_read_as_it_was_learnt() -> None:
    assert prompt_text(TALK, "last_user") == "First."
    assert prompt_text(TALK, "all") == "Rules.\nFirst.\nYes.\nResult."
    assert prompt_text(TALK[:1], "last_user") == ""


def test_it_learns_which_word_belongs_to_which_prompt() -> None:
    reward = train_reward(make_pairs(), seed=1)
    for word in WORDS:
        scores = {w: reward.logit(ask(word), f"Your {w}?") for w in WORDS}
        assert max(scores, key=scores.__getitem__) == word


def test_what_it_reads_of_a_prompt_is_decided_by_the_pairs() -> None:
    assert train_reward(make_pairs()).context == "last_user"
    # The word stands in the first message, and the user's last says nothing.
    elsewhere = [
        PreferencePair((*p.prompt[1:], user("Well?")), p.chosen, p.rejected)
        for p in make_pairs()
    ]
    assert train_reward(elsewhere).context == "all"


def test_replies_of_the_pairs_have_mean_0_and_deviation_1() -> None:
    pairs = make_pairs()
    reward = train_reward(pairs)
    batch = [
        make_request(reply, prompt=p.prompt)
        for p in pairs
        for reply in (p.chosen, p.rejected)
    ]
    scores = np.array(reward.score(batch))
    assert scores.mean() == pytest.approx(0.0, abs=1e-9)
    assert scores.std() == pytest.approx(1.0)
    first = (reward.logit(pairs[0].prompt, pairs[0].chosen) - reward.mean) / reward.std
    assert scores[0] == first
    assert reward.score([]) == []


def test_it_is_the_same_after_a_way_through_the_disk(tmp_path: Path) -> None:
    reward = train_reward(make_pairs(), seed=3)
    path = tmp_path / "new" / "rm.json"
    reward.save(path, {"num_train_pairs": 240, "kind": "a note never wins"})
    again = NGramReward(path)
    batch = [make_request(f"Your {w}?", prompt=ask("cat")) for w in WORDS]
    assert again.score(batch) == reward.score(batch)
    assert (again.context, again.mean, again.std) == (
        reward.context,
        reward.mean,
        reward.std,
    )
    assert json.loads(path.read_text("utf-8"))["num_train_pairs"] == 240
    assert [p.name for p in path.parent.iterdir()] == ["rm.json"]


def test_without_a_path_it_is_the_shipped_model() -> None:
    request = make_request("It likes fish.", prompt=(user("What does my cat need?"),))
    model = load_model()
    expected = model.logit("What does my cat need?", "It likes fish.")
    assert NGramReward().score([request]) == [expected - model.threshold]


def test_a_logit_is_the_sum_of_the_weights_of_its_features() -> None:
    steps = np.zeros(2**14, dtype=np.int64)
    found = sorted(features("My cat again.", "fish"))
    steps[found] = 2
    reward = NGramReward.of(PreferenceModel(steps, 0.0), "last_user", 1.0, 0.5)
    logit = len(found) * 2 / 16
    assert reward.logit(ask("cat"), "fish") == logit
    assert reward.score([make_request("fish", prompt=ask("cat"))]) == [
        (logit - 1.0) / 0.5
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "other"}, "no file of an ngram_reward_model"),
        ({"format": 2}, "of format 1"),
        ({"context": "first"}, "context must be one of"),
        ({"std": 0.0}, "std above 0"),
        ({"mean": "0"}, "damaged"),
        ({"weights": "AAAA"}, "Expected 16384 weights"),
        ({"weights": None}, "damaged"),
        ({"threshold": float("nan")}, "damaged|finite"),
    ],
)
def test_a_damaged_file_is_named(
    tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "rm.json"
    train_reward(make_pairs(12)).save(path)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(ValueError, match=rf"rm\.json.*({problem})"):
        NGramReward(path)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rm.json"
    with pytest.raises(FileNotFoundError, match="rm.json"):
        NGramReward(path)
    for text in ("{", "[1]", "[" * 100_000):
        path.write_text(text, "utf-8")
        with pytest.raises(ValueError, match="rm.json"):
            NGramReward(path)
    with pytest.raises(ValueError, match="at least one pair"):
        train_reward([])
    with pytest.raises(ValueError, match="std above 0"):
        NGramReward.of(load_model(), "all", 0.0, 0.0)
