"""`VoiceAssistant`: asides, the reward to the cent, streams and secrets."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs._voice_assistant_butler import SILENCE
from chat_envs.envs._voice_assistant_reader import Command
from chat_envs.envs.voice_assistant import VoiceAssistant
from chat_envs.replier import REPLIERS, play
from tests.chat_envs.envs.house import (
    DATA,
    KITCHEN_ON,
    READER,
    TIERS,
    Fixed,
    begin,
    make,
    said_last,
    say,
)

ON = "ACTION light on kitchen . kitchen light on ."
ASIDE, UNNOTICED = 0.05, 0.99


# Asides -----------------------------------------------------------------------------------------


def begin_aside(*requests: Command) -> VoiceAssistant:
    """Start an episode whose first line is for somebody else, and no line after it."""
    env = begin(*requests, behaviour=ASIDE)
    env._behaviour_rng = Fixed(UNNOTICED)  # type: ignore[assignment]
    assert set(said_last(env).split()) & set(DATA["names"])
    return env


def test_silence_lets_an_aside_pass() -> None:
    env = begin_aside(KITCHEN_ON)
    assert env.expert_reply() == SILENCE
    info = say(env, SILENCE)
    assert READER.command(said_last(env).split()) == KITCHEN_ON
    assert info["reward"] == pytest.approx(-0.05)
    assert info["metrics"]["intrusions"] == 0.0


@pytest.mark.parametrize("reply", ["Sorry?", "", "Kitchen light on ?", "Done."])
def test_whoever_talks_into_an_aside_is_told_so_and_loses_a_turn(reply: str) -> None:
    env = begin_aside(KITCHEN_ON)
    info = say(env, reply)
    assert said_last(env) in DATA["lines"]["not_you"]["train"]
    assert info["metrics"]["intrusions"] == 1.0
    assert info["reward"] == pytest.approx(-0.05)
    assert env.expert_reply() == SILENCE
    say(env, SILENCE)
    assert READER.command(said_last(env).split()) == KITCHEN_ON
    assert say(env, ON)["success"]


def test_an_act_on_an_aside_changes_the_house_and_serves_nobody() -> None:
    env = begin_aside(KITCHEN_ON)
    info = say(env, "ACTION light on hall . hall light on .")
    assert said_last(env) in DATA["lines"]["not_you"]["train"]
    assert env._state == {"light hall": Command("light", "on", "hall")}
    assert not info["terminated"]
    info = say(env, SILENCE, ON)
    assert info["terminated"] and not info["success"]


def test_an_answer_waits_until_the_aside_is_over() -> None:
    env = begin(KITCHEN_ON)
    env._behaviour_rng = Fixed(ASIDE)  # type: ignore[assignment]
    say(env, "kitchen light on ?")
    assert env.expert_reply() == SILENCE
    env._behaviour_rng = Fixed(UNNOTICED)  # type: ignore[assignment]
    say(env, SILENCE)
    assert said_last(env) in DATA["lines"]["yes"]["train"]
    assert env.expert_reply() == ON


def test_after_an_intrusion_the_user_begins_again() -> None:
    """Else a "yes" would answer a question that was not the last one."""
    env = begin(KITCHEN_ON)
    env._behaviour_rng = Fixed(ASIDE)  # type: ignore[assignment]
    say(env, "kitchen light on ?")
    env._behaviour_rng = Fixed(UNNOTICED)  # type: ignore[assignment]
    say(env, "hall light on ?", SILENCE)
    assert READER.command(said_last(env).split()) == KITCHEN_ON


def test_one_line_in_ten_is_for_somebody_else() -> None:
    env = make("default", word_error_rate=0.0)
    env.reset(seed=0)
    num_lines, num_asides = 8000, 0
    for _ in range(num_lines):
        words = {*env._speak("yes please").content.split()}
        assert bool(env._aside) == bool(words & {*DATA["names"]})
        num_asides += bool(env._aside)
    spread = 4 * (0.1 * 0.9 / num_lines) ** 0.5
    assert abs(num_asides / num_lines - 0.1) <= spread


def test_three_wrong_acts_in_ten_are_noticed() -> None:
    env, num_noticed = begin(KITCHEN_ON), 0
    env._behaviour_rng = np.random.default_rng(0)  # type: ignore[assignment]
    for _ in range(3000):
        env._num_served = 0
        env._serve(Command("light", "on", "hall"), is_named=True)
        num_noticed += not env._num_served
    assert abs(num_noticed / 3000 - 0.3) <= 4 * (0.3 * 0.7 / 3000) ** 0.5


# Reward -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_words", "cost"), [(0, 0.0), (15, 0.0), (16, 0.4 / 30), (30, 0.2), (60, 0.6)]
)
def test_a_long_reply_costs_by_the_second(num_words: int, cost: float) -> None:
    env = begin(KITCHEN_ON)
    info = say(env, " ".join(["well"] * num_words))
    assert info["reward_components"]["length"] == pytest.approx(-cost)
    assert info["reward"] == pytest.approx(-0.05 - cost)


def test_the_action_line_takes_no_time_and_is_no_markup() -> None:
    env = begin(KITCHEN_ON)
    info = say(env, f"ACTION light on kitchen {'*now* ' * 20}\nkitchen light on .")
    assert info["reward"] == pytest.approx(0.95)


def test_what_cannot_be_said_costs_once_a_turn() -> None:
    env = begin(KITCHEN_ON)
    info = say(env, "- **kitchen** light\n- on \U0001f600 ?")
    assert info["reward_components"]["unspeakable"] == -0.1
    assert info["reward"] == pytest.approx(-0.15)
    assert said_last(env) in DATA["lines"]["yes"]["train"]


@pytest.mark.parametrize("tier", TIERS)
def test_the_turn_limit_ends_it_and_a_right_house_still_counts(tier: str) -> None:
    env = begin(KITCHEN_ON, tier=tier)
    say(env, *["hm"] * (env.max_turns - 1))
    info = say(env, "ACTION light on kitchen")
    assert info["terminated"] and info["success"]
    assert info["termination_reason"] == "turn_limit"
    assert info["reward"] == pytest.approx(0.95)
    env = begin(KITCHEN_ON, tier=tier)
    info = say(env, *["hm"] * env.max_turns)
    assert info["terminated"] and not info["success"]
    assert info["reward"] == pytest.approx(-0.05)


replies = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            [ON, SILENCE, "done", "hall light on ?", "again", "ACTION timer cancel"]
        ),
    ),
    max_size=12,
)


@given(replies, st.integers(0, 50))
def test_the_return_is_what_the_formula_says(said: list[str], seed: int) -> None:
    env = _noisy()
    env.reset(seed=seed)
    total = expected = 0.0
    info: dict[str, Any] = {}
    for reply in [*said, *["hm"] * 12]:
        reading = READER.read(env.decode(env.encode(reply)))
        _, reward, terminated, truncated, info = env.step(env.encode(reply))
        total += reward
        expected -= 0.05 + 0.2 * max(0.0, reading.num_words / 2.5 - 6.0) / 6.0
        expected -= 0.1 * reading.is_unspeakable
        if terminated or truncated:
            break
    expected += float(info["success"]) - 0.3 * info["metrics"]["wrong_acts"]
    assert total == pytest.approx(expected)
    assert info["success"] == (env._state == env._goal)


@functools.cache
def _noisy() -> VoiceAssistant:
    return make()


# Streams and secrets ----------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_noise_leaves_the_goal_and_the_words_as_they_are(tier: str) -> None:
    """Silence is answered alike whatever was heard, so all lines can be compared."""
    clean, noisy = make(tier, word_error_rate=0.0), make(tier, word_error_rate=0.9)
    num_different = 0
    for seed in range(40):
        said = []
        for env in (clean, noisy):
            env.reset(seed=seed)
            lines = [env._waiting]
            while not env.is_over:
                say(env, SILENCE)
                lines.append(env._waiting)
            said.append((env._requests, lines))
        assert said[0] == said[1]
        num_different += clean.conversation != noisy.conversation
    assert num_different == 40


def test_what_was_said_is_no_part_of_what_the_agent_sees() -> None:
    env, num_misheard = make("default"), 0
    for seed in range(300):
        env.reset(seed=seed)
        wanted = env._requests[0].value
        if not wanted or wanted in said_last(env).split():
            continue
        num_misheard += 1
        _, _, _, _, info = env.step(env.encode("hm"))
        seen = env.conversation.render() + json.dumps(
            {k: v for k, v in info.items() if k != "action_mask"}
        )
        rules = env.conversation[0].content
        assert wanted not in seen.replace(rules, "").split()
    assert num_misheard > 40


@pytest.mark.parametrize("split", SPLITS)
def test_an_episode_leaves_nothing_behind(split: str) -> None:
    used, fresh = make("hard", split=split), make("hard", split=split)
    say_wrong = "ACTION list order tea . ok ."
    used.reset(seed=3)
    say(used, say_wrong, "hm")
    for seed in (0, 1):
        one, other = (play(env, REPLIERS["expert"], seed) for env in (used, fresh))
        assert one == other
        fresh = make("hard", split=split)
