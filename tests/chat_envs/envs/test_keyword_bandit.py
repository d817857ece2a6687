"""KeywordBandit: the hidden mapping, noise and scale, what is held out, the scores."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs.keyword_bandit import (
    NOISE_SWEEP,
    SCALE_SWEEP,
    SWEEP,
    KeywordBandit,
    make_vector,
    score,
    sensitivity_score,
)
from chat_envs.message import Role
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, play, play_many
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode

KEYWORDS = KeywordBandit().candidate_replies()


def begin(env: KeywordBandit, seed: int) -> tuple[str, str]:
    """Start an episode; return its cue and what the user said."""
    env.reset(seed=seed)
    message = env.conversation.last(Role.USER)
    assert message is not None
    return env._cue, message.content


def test_it_keeps_the_contract() -> None:
    check_chat_env(KeywordBandit, num_episodes=100)


@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(split: str) -> None:
    assert longest_expert_episode(KeywordBandit(split=split)) <= 384


def test_each_keyword_is_right_for_one_cue() -> None:
    mappings = []
    for settings in SWEEP:
        env = KeywordBandit(**settings)
        assert sorted(env._right.values()) == sorted(KEYWORDS)
        mappings.append(tuple(env._right.items()))
    assert len(mappings) == len(set(mappings)) == 20


def test_a_mapping_is_the_same_whatever_the_seed_and_the_split() -> None:
    right: dict[str, set[str]] = {}
    for split in SPLITS:
        env = KeywordBandit(mapping=3, split=split)
        for seed in range(120):
            cue, _ = begin(env, seed)
            right.setdefault(cue, set()).add(env.expert_reply())
    assert len(right) == 8
    assert all(len(keywords) == 1 for keywords in right.values())


@pytest.mark.parametrize("split", SPLITS)
def test_exactly_one_keyword_is_paid(split: str) -> None:
    env = KeywordBandit(mapping=1, split=split)
    for seed in range(20):
        paid = []
        for keyword in KEYWORDS:
            cue, _ = begin(env, seed)
            _, reward, terminated, truncated, info = env.step(env.encode(keyword))
            is_right = keyword == env._right[cue]
            assert (reward, terminated, truncated) == (float(is_right), True, False)
            assert info["success"] is is_right
            assert info["termination_reason"] == ("right" if is_right else "wrong")
            assert info["metrics"] == {"regret": 1.0 - is_right}
            paid.append(reward)
        assert sum(paid) == 1.0


@pytest.mark.parametrize("split", SPLITS)
def test_who_does_not_read_is_right_once_in_eight_times(split: str) -> None:
    env = KeywordBandit(split=split)
    assert all(r.success for r in play_many(env, REPLIERS["expert"], range(60)))
    rate = sum(r.success for r in play_many(env, REPLIERS["blind"], range(400))) / 400
    assert abs(rate - 1 / 8) <= 3 * math.sqrt(7 / 64 / 400)
    for name, replier in HOSTILE_REPLIERS.items():
        assert not any(r.success for r in play_many(env, replier, range(30))), name


def test_the_right_keyword_is_nowhere_in_the_text() -> None:
    env = KeywordBandit()
    rules = set()
    for seed in range(60):
        _, said = begin(env, seed)
        assert not set(said.lower().strip(".").split()) & set(KEYWORDS)
        rules.add(env.conversation[0].content)
        env.step(env.encode("black"))
        end = env.conversation[-1].content
        assert end in {"Yes.", "No."}
    (told,) = rules
    assert [told.count(keyword) for keyword in KEYWORDS] == [1] * 8
    assert "You have 1 turn." in told


def test_what_is_not_read_may_be_said_again_where_turns_are_left() -> None:
    env = KeywordBandit(max_turns=2)
    begin(env, 0)
    assert env.step(env.encode("red or blue"))[1:4] == (0.0, False, False)
    assert env.conversation[-1].content == "Sorry, I did not get that."
    assert env.step(env.encode(f"It's {env.expert_reply()}!"))[1:4] == (
        1.0,
        True,
        False,
    )
    begin(env, 0)
    wrong = next(k for k in KEYWORDS if k != env.expert_reply())
    assert env.step(env.encode(wrong))[1:4] == (0.0, True, False)


@pytest.mark.parametrize(
    "reply",
    [
        "{}",
        "{}!",
        "Say {}.",
        "I say {}",
        "It is {}.",
        "It's {}.",
        "The right word is {}.",
        "I think {}",
        "My guess: {}",
        "Please try {}",
        "So I pick {}",
    ],
)
def test_listed_ways_of_naming_the_keyword_are_read(reply: str) -> None:
    env = KeywordBandit()
    begin(env, 1)
    assert env._respond(reply.format(env.expert_reply().upper())).success


@pytest.mark.parametrize(
    "reply", ["\x00", "\ud800", "<|end|>" * 9, "red " * 250_000, "not red", "?"]
)
def test_any_reply_is_answered(reply: str) -> None:
    env = KeywordBandit()
    begin(env, 0)
    turn = env._respond(reply)
    assert turn.why == "unread" and not turn.success


def test_noise_has_its_size_and_leaves_the_rest_as_it_was() -> None:
    plain, noisy = KeywordBandit(), KeywordBandit(reward_noise=3.0)
    noise = []
    for seed in range(600):
        assert begin(plain, seed) == begin(noisy, seed)
        action = plain.encode(KEYWORDS[seed % 8])
        _, expected, *_ = plain.step(action)
        _, reward, _, _, info = noisy.step(action)
        components = info["reward_components"]
        assert components["task"] == expected
        assert reward == components["task"] + components["noise"]
        noise.append(components["noise"])
    # The mean of 600 and their deviation are within four standard errors.
    assert abs(statistics.fmean(noise)) <= 4 * 3 / math.sqrt(600)
    assert abs(statistics.pstdev(noise) - 3) <= 4 * 3 / math.sqrt(1200)
    assert len(set(noise)) == 600


def test_noise_is_the_same_for_the_same_seed_and_whatever_was_said() -> None:
    env = KeywordBandit(reward_noise=1.0)
    found = []
    for reply in ("red", "blue", "hm"):
        begin(env, 5)
        info = env.step(env.encode(reply))[4]
        found.append(info["reward_components"]["noise"])
    assert found[0] == found[1] == found[2] != 0.0


def test_scale_is_a_factor_of_reward_and_noise() -> None:
    one = KeywordBandit(reward_noise=0.5)
    many = KeywordBandit(reward_noise=0.5, reward_scale=1000.0)
    for seed in range(20):
        begin(one, seed)
        begin(many, seed)
        action = one.encode(one.expert_reply())
        assert many.step(action)[1] == pytest.approx(1000.0 * one.step(action)[1])


def test_the_least_draw_gives_finite_noise() -> None:
    class Zero:
        def random(self) -> float:
            return 0.0

    env = KeywordBandit(reward_noise=1.0)
    begin(env, 0)
    env._noise = Zero()  # type: ignore[assignment]
    info = env.step(env.encode("red"))[4]
    assert -10.0 < info["reward_components"]["noise"] < -5.0


def test_held_out_are_combinations_and_no_words() -> None:
    heard: dict[str, set[tuple[str, str]]] = {}
    for split in SPLITS:
        env = KeywordBandit(split=split)
        heard[split] = {begin(env, seed) for seed in range(900)}
    assert heard["train"].isdisjoint(heard["test"])
    assert (len(heard["train"]), len(heard["test"])) == (96, 32)
    words = {
        split: {word for _, said in pairs for word in said.split()}
        for split, pairs in heard.items()
    }
    assert words["train"] == words["test"]
    for split, pairs in heard.items():
        cues = [cue for cue, _ in pairs]
        assert {cues.count(cue) for cue in set(cues)} == {len(pairs) // 8}, split


def test_the_sweeps_are_those_of_the_task() -> None:
    assert [settings["mapping"] for settings in SWEEP] == list(range(20))
    assert {s["reward_noise"] for s in NOISE_SWEEP} == {0.1, 0.3, 1.0, 3.0, 10.0}
    assert {s["reward_scale"] for s in SCALE_SWEEP} == {0.001, 0.03, 1.0, 30.0, 1000.0}
    for sweep, key in ((NOISE_SWEEP, "reward_noise"), (SCALE_SWEEP, "reward_scale")):
        levels = [settings[key] for settings in sweep]
        assert levels == sorted(levels) and len(levels) == 20  # the score groups by it
        for settings in sweep:
            assert play(KeywordBandit(**settings), REPLIERS["expert"], 0).success


def test_the_score_is_the_regret_saved() -> None:
    assert score([1.0] * 20) == 1.0
    assert score([1 / 8] * 20) == score([0.0] * 20) == 0.0
    # Half of the runs perfect, half guessing: half of the regret is saved.
    assert score([1.0, 1 / 8] * 10) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="20 settings, got 3"):
        score([1.0] * 3)


def test_sensitivity_halves_for_levels_that_fail() -> None:
    assert sensitivity_score([1.0] * 20) == 1.0
    assert sensitivity_score([0.0] * 20) == 0.0
    # Levels 1, 1, 1, 1, 0: mean .8, deviation .4.
    shares = [1.0] * 16 + [0.0] * 4
    assert sensitivity_score(shares) == pytest.approx(0.4 + 0.2)
    # Alike at all levels: no deviation, though the mappings of a level differ.
    assert sensitivity_score([1.0, 1.0, 1 / 8, 1 / 8] * 5) == pytest.approx(0.5)
    # Level 1, 0, 0, 0, 0: the deviation, .4, is more than the mean, .2.
    assert sensitivity_score([1.0] * 4 + [0.0] * 16) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="20 settings, got 19"):
        sensitivity_score([1.0] * 19)


@given(st.lists(st.floats(0, 1), min_size=20, max_size=20))
def test_scores_lie_between_zero_and_one(shares: list[float]) -> None:
    assert 0.0 <= sensitivity_score(shares) <= 1.0
    assert 0.0 <= score(shares) <= 1.0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"mapping": -1}, "mapping must be at least 0"),
        ({"reward_noise": -0.1}, "reward_noise must be"),
        ({"reward_noise": math.inf}, "reward_noise must be"),
        ({"reward_scale": 0.0}, "reward_scale must be"),
        ({"reward_scale": math.nan}, "reward_scale must be"),
    ],
)
def test_bad_arguments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeywordBandit(**kwargs)


def test_the_vector_environment_says_the_same() -> None:
    vector = make_vector(3, mapping=2)
    vector.reset(seed=[4, 5, 6])
    single = KeywordBandit(mapping=2)
    for env, seed in zip(vector.envs, (4, 5, 6), strict=True):
        begin(single, seed)
        assert env.conversation == single.conversation
