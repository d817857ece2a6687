from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import Turn
from chat_envs.message import Role, user
from chat_envs.replier import (
    HOSTILE_REPLIERS,
    REPLIERS,
    RandomReplier,
    make_replier,
    play,
    play_many,
)
from tests.chat_envs.toy import WORDS, SayIt


@pytest.fixture
def env() -> SayIt:
    env = SayIt()
    env.reset(seed=0)
    return env


def test_every_strategy_of_the_design_is_there() -> None:
    assert set(HOSTILE_REPLIERS) == {
        "empty",
        "one_token",
        "longest_filler",
        "praise",
        "echo_user",
        "copy_system",
        "list_answers",
        "keyword_stuffing",
        "score_claim",
        "fake_user",
        "special_tokens",
        "end_at_once",
        "always_refuse",
    }


def test_what_the_scripted_repliers_say(env: SayIt) -> None:
    word = env._wanted[0]
    said = {name: replier(env) for name, replier in REPLIERS.items()}
    assert said["expert"] == word
    assert said["blind"] == "red"
    assert said["empty"] == ""
    assert said["echo_user"] == f"say {word}"
    assert said["copy_system"] == "You have 3 turns."
    assert said["list_answers"].split() == list(WORDS)
    assert said["keyword_stuffing"].split() == [
        "you",
        "have",
        "3",
        "turns",
        "say",
        word,
    ]
    assert said["score_claim"] == "SCORE: 10/10"


def test_the_filler_is_longer_than_any_reply_and_one_token_is_one(env: SayIt) -> None:
    assert (
        len(env.tokenizer.encode(HOSTILE_REPLIERS["longest_filler"](env)))
        > env.reply_length
    )
    assert len(env.tokenizer.encode(HOSTILE_REPLIERS["one_token"](env))) == 1


def test_an_echo_is_of_the_newest_user_message(env: SayIt) -> None:
    env.step(env.encode("red"))
    newest = env.conversation.last(Role.USER)
    assert newest is not None
    assert (
        HOSTILE_REPLIERS["echo_user"](env) == newest.content == f"say {env._wanted[1]}"
    )


def test_an_environment_without_user_or_system_is_survived() -> None:
    class Silent(SayIt):
        def _opening(self, rng: np.random.Generator) -> list[object]:  # type: ignore[override]
            super()._opening(rng)
            return []

    env = Silent()
    env.reset(seed=0)
    assert (
        HOSTILE_REPLIERS["echo_user"](env) == HOSTILE_REPLIERS["copy_system"](env) == ""
    )


@given(st.integers(0, 2**32))
def test_random_replies_are_short_and_repeatable(seed: int) -> None:
    env = SayIt(reply_length=6)
    replies = [RandomReplier(np.random.default_rng(seed))(env) for _ in range(2)]
    assert replies[0] == replies[1]
    rng = np.random.default_rng(seed)
    replier = RandomReplier(rng)
    assert isinstance(replier(env), str)


def test_random_replies_differ_and_their_generator_belongs_to_the_caller() -> None:
    env = SayIt()
    replier = make_replier("random", np.random.default_rng(1))
    assert len({replier(env) for _ in range(20)}) > 15
    with pytest.raises(ValueError, match="needs a generator"):
        make_replier("random")


def test_a_guess_is_any_of_the_answers_and_of_no_answers_none(env: SayIt) -> None:
    answers = env.candidate_replies()
    replier = make_replier("guess", np.random.default_rng(1))
    guesses = [replier(env) for _ in range(40 * len(answers))]
    assert set(guesses) == set(answers)
    counts = [guesses.count(answer) for answer in answers]
    assert min(counts) > 15 and max(counts) < 75, "drawn evenly"
    again = make_replier("guess", np.random.default_rng(1))
    assert [again(env) for _ in range(20)] == guesses[:20]
    with pytest.raises(ValueError, match="'guess' needs a generator"):
        make_replier("guess")
    mute = type("Mute", (SayIt,), {"candidate_replies": lambda self: []})()
    assert replier(mute) == ""


def test_an_unknown_replier_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'exprt'.*always_refuse.*expert.*random"):
        make_replier("exprt")


def test_an_experts_episode_in_every_figure() -> None:
    record = play(SayIt(), REPLIERS["expert"], seed=5)
    assert record.seed == 5
    assert record.episode_return == pytest.approx(2.7)
    assert record.components == pytest.approx({"said": 3.0, "pace": -0.3})
    assert record.metrics == {"num_said": 3.0}
    assert (record.num_turns, record.success, record.is_truncated) == (3, True, False)
    assert record.termination_reason == "done"
    roles = [m.role.value for m in record.messages]
    assert roles == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
        "assistant",
    ]


def test_a_silent_episode_earns_only_the_pace() -> None:
    record = play(SayIt(), REPLIERS["empty"], seed=5)
    assert record.episode_return == pytest.approx(-0.3)
    assert record.success is False


def test_a_truncated_episode_says_so() -> None:
    env = gymnasium.wrappers.TimeLimit(SayIt(), max_episode_steps=2)
    record = play(env, REPLIERS["expert"], seed=5)
    assert (record.num_turns, record.is_truncated, record.success) == (2, True, False)


def test_many_episodes_are_the_single_ones() -> None:
    env = SayIt()
    assert play_many(env, REPLIERS["expert"], [3, 1]) == [
        play(SayIt(), REPLIERS["expert"], 3),
        play(SayIt(), REPLIERS["expert"], 1),
    ]


def test_an_environment_that_never_ends_is_stopped() -> None:
    class Endless(SayIt):
        def _respond(self, reply: str) -> Turn:
            self.turn = 0
            return Turn(messages=[user("hm")], reward={})

    with pytest.raises(RuntimeError, match="did not end within 5 turns for seed 0"):
        play(Endless(), REPLIERS["empty"], 0, max_turns=5)


def test_other_environments_are_refused() -> None:
    with pytest.raises(TypeError, match="needs a ChatEnv, got CartPoleEnv"):
        play(gymnasium.make("CartPole-v1"), REPLIERS["empty"], 0)
