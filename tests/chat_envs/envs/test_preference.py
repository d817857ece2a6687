"""Preference: where prompts come from, what the default scorer pays, that it is not gamed."""

from __future__ import annotations

import functools
import json
import logging
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chat_envs.core import SPLITS
from chat_envs.envs.preference import Preference, make_vector
from chat_envs.message import Role, system, user
from chat_envs.replier import (
    HOSTILE_REPLIERS,
    REPLIERS,
    RandomReplier,
    Replier,
    play,
    play_many,
)
from chat_envs.simulators.preference_gold import load_catalogue
from chat_envs.simulators.preference_model import load_model
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode

CATALOGUE = load_catalogue()


def mean(env: Preference, replier: Replier, num_episodes: int = 200) -> float:
    records = play_many(env, replier, range(num_episodes))
    return statistics.fmean(r.episode_return for r in records)


def asked(env: Preference, seed: int) -> str:
    env.reset(seed=seed)
    message = env.conversation.last(Role.USER)
    assert message is not None
    return message.content


def write(path: Path, *prompts: Any) -> str:
    path.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in prompts), "utf-8")
    return str(path)


@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(split: str) -> None:
    assert longest_expert_episode(Preference(split=split)) <= 384


def test_it_keeps_the_contract() -> None:
    check_chat_env(Preference, num_episodes=60)


@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_is_preferred_and_the_blind_is_not(split: str) -> None:
    env = Preference(split=split)
    expert = play_many(env, REPLIERS["expert"], range(200))
    assert {r.termination_reason for r in expert} == {"scored"}
    assert {r.metrics["gold"] for r in expert} == {1.0}
    assert statistics.fmean(r.success for r in expert) >= 0.97
    # A reward lies in (0, 1).
    assert statistics.fmean(r.episode_return for r in expert) >= 0.9
    assert mean(env, REPLIERS["blind"]) <= 0.15


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", sorted(HOSTILE_REPLIERS))
def test_the_default_scorer_prefers_no_hostile_reply(name: str, split: str) -> None:
    env = Preference(split=split)
    assert mean(env, HOSTILE_REPLIERS[name], 100) <= 0.15
    records = play_many(env, HOSTILE_REPLIERS[name], range(100))
    assert {r.metrics["gold"] for r in records} == {0.0}


def _joined(*parts: str) -> Replier:
    def reply(env: Any) -> str:
        fields = {
            "topic": env._topic,
            "word": CATALOGUE.helpful[env._topic][0],
            "prompt": env._text,
        }
        return " ".join(parts).format(**fields)

    return reply


TRICKS: dict[str, Replier] = {
    "random": RandomReplier(np.random.default_rng(0)),
    "all that helps somebody": lambda env: " ".join(sorted(CATALOGUE.owners)[::2]),
    "prompt and noise": _joined("{prompt} great very good"),
    "advice without a word": _joined("Your {topic} needs your {topic} needs."),
    "topic alone": _joined("{topic} " * 5),
}


@pytest.mark.parametrize("name", sorted(TRICKS))
def test_nor_other_tricks_that_it_was_not_trained_on(name: str) -> None:
    assert mean(Preference(), TRICKS[name], 100) <= 0.15


def test_what_gold_ranks_the_scorer_ranks_on_average() -> None:
    env = Preference(split="test", reply_length=64)
    ranked = [
        mean(env, _joined("Your {topic} needs {word}.")),
        mean(env, _joined("{word}")),
        mean(env, _joined("{word} " * 12)),
        mean(env, REPLIERS["blind"]),
    ]
    assert ranked[0] > ranked[1] > ranked[2]
    assert ranked[1] > ranked[3]


def test_the_reward_is_the_models_opinion() -> None:
    env = Preference()
    prompt = asked(env, 4)
    reply = env.expert_reply()
    assert reply == env.expert_reply()
    _, reward, terminated, truncated, info = env.step(env.encode(reply))
    logit = load_model().logit(prompt, reply)
    assert reward == load_model().as_probability(logit)
    assert (terminated, truncated) == (True, False)
    assert info["metrics"] == {"gold": 1.0, "logit": logit}
    assert info["success"] is (reward >= 0.5)


def test_any_other_scorer_takes_its_place() -> None:
    env = Preference(reward=lambda reply: len(reply))
    asked(env, 4)
    _, reward, _, _, info = env.step(env.encode("four"))
    assert reward == 4.0
    assert info["metrics"]["gold"] == 0.0


def test_held_out_prompts_are_unseen() -> None:
    prompts: dict[str, set[str]] = {}
    rules: dict[str, set[str]] = {}
    for split in SPLITS:
        env = Preference(split=split)
        prompts[split] = {asked(env, seed) for seed in range(400)}
        rules[split] = set()
        for seed in range(20):
            asked(env, seed)
            rules[split].add(env.conversation[0].content)
    assert prompts["train"].isdisjoint(prompts["test"])
    assert rules["train"].isdisjoint(rules["test"])
    words = {s: {w for text in prompts[s] for w in text.split()} for s in SPLITS}
    assert words["test"] <= words["train"]


def test_the_turn_is_told_and_there_is_one() -> None:
    env = Preference()
    asked(env, 0)
    assert "You have 1 turn." in env.conversation[0].content
    with pytest.raises(ValueError, match="one turn, got max_turns=2"):
        Preference(max_turns=2)


# Prompts of one's own ----------------------------------------------------------------------


def test_prompts_of_a_file_are_asked_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", "Why?", [{"role": "user", "content": "My cat?"}])
    env = Preference(path)
    seen = {asked(env, seed) for seed in range(20)}
    assert seen == {"Why?", "My cat?"}
    assert [m.role for m in env.conversation] == [Role.USER]
    told = Preference(path, instruction="Be kind {x}. You have {turns} turn.")
    asked(told, 0)
    assert told.conversation[0] == system("Be kind {x}. You have 1 turn.")


def test_an_episode_of_a_file_ends_and_has_no_gold(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", "My cat?")
    record = play(Preference(path), REPLIERS["expert"], 0)
    assert (record.num_turns, record.is_truncated) == (1, False)
    assert record.metrics["gold"] == 0.0
    assert record.messages[0] == user("My cat?")
    unknown = Preference(write(tmp_path / "b.jsonl", "Why?"))
    asked(unknown, 0)
    assert unknown.expert_reply() == "What do you need?"


def test_a_file_keeps_its_split(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *(f"Prompt {n}" for n in range(1, 31)))
    seen = {
        split: {asked(Preference(path, split=split), seed) for seed in range(60)}
        for split in SPLITS
    }
    assert seen["test"] == {"Prompt 10", "Prompt 20", "Prompt 30"}
    assert len(seen["train"]) > 20 and seen["train"].isdisjoint(seen["test"])


def test_a_prompt_that_is_too_long_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.jsonl", "Why?", "so " * 500, "How?")
    with pytest.raises(ValueError, match=r"a\.jsonl:2: the prompt and a reply need a"):
        Preference(path)
    with caplog.at_level(logging.WARNING):
        env = Preference(path, on_broken="skip")
    assert "a.jsonl:2: the prompt and a reply need" in caplog.text
    assert {asked(env, seed) for seed in range(20)} == {"Why?", "How?"}
    alone = write(tmp_path / "b.jsonl", "so " * 500)
    with pytest.raises(ValueError, match="No prompt of .* fits"):
        Preference(alone, on_broken="skip")


def test_a_broken_line_stops_or_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "Why?"}\n{"prompt": 1}\n', "utf-8")
    with pytest.raises(ValueError, match=r"a\.jsonl:2: the prompt is 1"):
        Preference(str(path))
    env = Preference(str(path), on_broken="skip")
    assert asked(env, 0) == "Why?"


def test_a_saved_dataset_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    path = str(tmp_path / "saved")
    datasets.Dataset.from_dict({"question": ["My dog?"]}).save_to_disk(path)
    assert asked(Preference(path, prompt_field="question"), 0) == "My dog?"


def test_the_contract_holds_for_a_file_too(tmp_path: Path) -> None:
    topics = CATALOGUE.topics
    prompts = [f"What does my {topic} need?" for topic in topics] * 2
    path = write(tmp_path / "a.jsonl", *prompts)
    check_chat_env(functools.partial(Preference, prompts=path), num_episodes=20)


def test_the_environments_of_a_vector_agree_with_single_ones() -> None:
    vector = make_vector(3)
    vector.reset(seed=[4, 5, 6])
    single = Preference()
    for env, seed in zip(vector.envs, (4, 5, 6), strict=True):
        asked(single, seed)
        assert env.conversation == single.conversation


def test_no_secret_is_told_before_the_end() -> None:
    env = Preference()
    for seed in range(20):
        _, info = env.reset(seed=seed)
        text = " ".join(m.content for m in env.conversation).lower().split()
        assert not set(text) & set(CATALOGUE.owners)
        assert info["metrics"] == {"gold": 0.0, "logit": 0.0}
