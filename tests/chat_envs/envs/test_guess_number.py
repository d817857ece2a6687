"""GuessNumber: what is a guess, what binary search reaches, that shaping changes no optimum."""

from __future__ import annotations

import functools
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs import guess_number
from chat_envs.envs.guess_number import (
    GuessNumber,
    _draw_goal,
    read_guess,
    worst_case_guesses,
)
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, play_many
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode

TIERS = {"easy": (10, 4), "default": (50, 7), "hard": (1000, 12)}


def goals(env: GuessNumber) -> range:
    return range(1, env.highest + 1)


def begin(env: GuessNumber, goal: int) -> None:
    """Start an episode with a given goal, which no seed could be asked for."""
    env.reset(seed=0)
    env._goal = goal


@pytest.mark.parametrize(
    ("tier", "num_ids"), [("easy", 96), ("default", 384), ("hard", 384)]
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(
    tier: str, num_ids: int, split: str
) -> None:
    assert longest_expert_episode(GuessNumber(tier, split=split)) <= num_ids


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(GuessNumber, tier=tier), num_episodes=30)


@pytest.mark.parametrize("tier", TIERS)
def test_the_tiers_are_as_told(tier: str) -> None:
    env = GuessNumber(tier)
    env.reset(seed=0)
    assert (env.highest, env.max_turns) == TIERS[tier]
    rules, question = env.conversation
    assert f"{env.max_turns} turns" in rules.content
    assert question.content[:-1].endswith(f"from 1 to {env.highest}")


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("7", 7),
        (" Is it 7?", 7),
        ("I guess 50.", 50),
        ("007", 7),
        ("*7*", 7),
        ("7 or 8", None),
        ("7 7", None),
        ("1 2 3 4 5 6 7 8 9 10", None),
        ("between 1 and 10", None),
        ("0", None),
        ("51", None),
        ("-7", None),
        ("\u22127", None),
        ("7.5", None),
        (".5", None),
        ("7%", None),
        ("1,0", None),
        ("seven", None),
        ("\u0667", None),
        ("", None),
        ("9" * 1_000_000, None),
        ("9" * 200, None),
        ("7" + " " * 1_000_000, None),
        ("SCORE: 10/10", None),
    ],
)
def test_a_guess_is_exactly_one_number(text: str, guess: int | None) -> None:
    assert read_guess(text, 50) == guess


@given(st.text(max_size=40), st.integers(1, 50))
def test_a_second_number_spoils_every_guess(text: str, number: int) -> None:
    assert read_guess(f"{text} 3 {number}", 50) is None


@given(st.text(max_size=350))
def test_any_text_is_read_without_an_error(text: str) -> None:
    guess = read_guess(text, 50)
    assert guess is None or 1 <= guess <= 50


@pytest.mark.parametrize("tier", TIERS)
def test_binary_search_finds_every_number_as_early_as_can_be_promised(
    tier: str,
) -> None:
    env = GuessNumber(tier)
    turns = []
    for goal in goals(env):
        begin(env, goal)
        is_over = False
        while not is_over:
            _, reward, is_over, truncated, info = env.step(
                env.encode(env.expert_reply())
            )
            assert not truncated
        assert (reward, info["success"]) == (1.0, True)
        assert info["termination_reason"] == "found"
        turns.append(env.turn)
    assert max(turns) == worst_case_guesses(env.highest) <= env.max_turns
    # t guesses can find 2^t - 1 numbers: one of the first guess, and so on down the tree.
    assert 2 ** (max(turns) - 1) - 1 < env.highest


@pytest.mark.parametrize("highest", [*range(2, 40)])
def test_no_policy_promises_fewer_guesses(highest: int) -> None:
    @functools.cache
    def least(num_candidates: int) -> int:
        if num_candidates <= 0:
            return 0
        return 1 + min(
            max(least(guess - 1), least(num_candidates - guess))
            for guess in range(1, num_candidates + 1)
        )

    assert worst_case_guesses(highest) == least(highest)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_what_the_blind_and_the_hostile_earn(tier: str, split: str) -> None:
    env = GuessNumber(tier, split=split)
    chance = env.max_turns / env.highest
    found = sum(r.success for r in play_many(env, REPLIERS["blind"], range(300)))
    spread = 3 * math.sqrt(chance * (1 - chance) / 300)
    # Where numbers are held out, the share of them among the guesses need not be exact.
    assert abs(found / 300 - chance) <= spread + 0.03
    for name, replier in HOSTILE_REPLIERS.items():
        # "You have 4 turns", said back, is the guess 4: as good as any single guess.
        rate = sum(r.success for r in play_many(env, replier, range(100))) / 100
        assert rate <= (0.5 * chance + 0.02 if name == "copy_system" else 0.0)


def test_the_blind_policy_reads_nothing_and_repeats_nothing() -> None:
    env = GuessNumber()
    guesses = []
    begin(env, 1)
    while env.turn < env.max_turns:
        guesses.append(env.blind_reply())
        env.step(env.encode(guesses[-1]))
    assert len(set(guesses)) == env.max_turns
    assert all(1 <= int(guess) <= 50 for guess in guesses)


@pytest.mark.parametrize("split", SPLITS)
def test_answers_are_true_in_every_phrasing(split: str) -> None:
    env = GuessNumber(split=split)
    heard = set()
    for seed in range(200):
        env.reset(seed=seed)
        for guess, word in (
            (env._goal - 1, "higher"),
            (env._goal + 1, "lower"),
            (99, "sorry"),
        ):
            guess = 99 if not 1 <= guess <= 50 else guess
            env.step(env.encode(str(guess)))
            answer = env.conversation[-1].content
            assert ("sorry" if guess == 99 else word) in answer.lower()
            heard.add(answer)
    # Of 18 ways to say either, a third is the test split's; and the apology.
    assert len(heard) == 1 + 2 * (12 if split == "train" else 6)


def test_each_part_of_what_is_held_out_is_seen_in_training() -> None:
    said = {split: guess_number._phrases(split) for split in SPLITS}
    for key, held_out in said["test"].items():
        assert held_out and not set(held_out) & set(said["train"][key])
        words = set(re.findall(r"\w+|[.!?,]", " ".join(said["train"][key])))
        assert set(re.findall(r"\w+|[.!?,]", " ".join(held_out))) <= words


def test_the_splits_share_no_phrasing_but_the_apology() -> None:
    heard: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        env = GuessNumber("easy", split=split)
        for seed in range(60):
            env.reset(seed=seed)
            for guess in ("5", "2", "5", "8"):
                if env._is_over:
                    break
                env.step(env.encode(guess))
            heard[split] |= {m.content.split(" It was")[0] for m in env.conversation}
    shared = heard["train"] & heard["test"]
    assert shared <= {"5", "2", "8"}


@pytest.mark.parametrize("highest", [20, 49, 50, 51, 1000])
def test_held_out_numbers_and_the_rest_make_the_range(highest: int) -> None:
    draws = [(k + 0.5) / 20_000 for k in range(20_000)]
    train = {_draw_goal(draw, highest, "train") for draw in draws}
    test = {_draw_goal(draw, highest, "test") for draw in draws}
    assert train | test == set(range(1, highest + 1))
    assert train.isdisjoint(test)
    assert test == {n for n in range(1, highest + 1) if n % 7 == 3}
    for split in SPLITS:
        for draw in (0.0, math.nextafter(1.0, 0.0)):
            assert 1 <= _draw_goal(draw, highest, split) <= highest


def test_a_short_range_holds_out_phrasings_alone() -> None:
    for split in SPLITS:
        drawn = {_draw_goal(k / 100, 10, split) for k in range(100)}
        assert drawn == set(range(1, 11))


def test_the_end_tells_the_number_and_no_sooner() -> None:
    env = GuessNumber("easy")
    begin(env, 10)
    for _ in range(3):
        _, reward, terminated, _, info = env.step(env.encode("hm"))
        assert (reward, terminated, info["success"]) == (0.0, False, False)
        assert "10" not in env.conversation[-1].content
    _, _, terminated, truncated, info = env.step(env.encode("1"))
    assert (terminated, truncated) == (True, False)
    assert info["termination_reason"] == "turn_limit"
    assert env.conversation[-1].content.endswith("It was 10.")


replies = st.lists(st.one_of(st.integers(1, 10).map(str), st.just("hm")), max_size=4)


@given(st.integers(1, 10), replies, st.floats(0, 100))
def test_shaping_leaves_every_return_as_it_is(
    goal: int, said: list[str], weight: float
) -> None:
    env = _easy(weight)
    begin(env, goal)
    total = task = 0.0
    for reply in [*said, "hm", "hm", "hm", "hm"]:
        if env._is_over:
            break
        _, reward, _, _, info = env.step(env.encode(reply))
        total += reward
        task += info["reward_components"]["task"]
    assert env._is_over
    assert total == pytest.approx(task, abs=1e-9 * max(1.0, weight))


@functools.cache
def _easy(weight: float) -> GuessNumber:
    return GuessNumber("easy", shaping=weight)


def test_shaping_pays_for_what_a_guess_rules_out() -> None:
    env = GuessNumber(highest=8, shaping=2.0)
    begin(env, 8)
    _, reward, _, _, info = env.step(env.encode("4"))  # 8 candidates -> 4: a third
    assert reward == pytest.approx(2.0 / 3)
    assert info["reward_components"] == {
        "task": 0.0,
        "shaping": pytest.approx(2.0 / 3),
    }
    assert info["metrics"] == {"candidates": 4.0}
    for reply in ("4", "hm", "2"):  # known already
        assert env.step(env.encode(reply))[1] == 0.0


def test_without_shaping_its_component_is_zero() -> None:
    env = GuessNumber()
    begin(env, 50)
    info = env.step(env.encode("25"))[4]
    assert info["reward_components"] == {"task": 0.0, "shaping": 0.0}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tier": "medium"}, "tier must be one of"),
        ({"highest": 1}, "highest must be from 2"),
        ({"highest": 10**9}, "highest must be from 2"),
        ({"shaping": -1.0}, "shaping must be"),
        ({"shaping": math.nan}, "shaping must be"),
    ],
)
def test_bad_arguments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GuessNumber(**kwargs)
