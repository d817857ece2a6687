"""CopyBack: what says a value back, what is held out, what each policy earns."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs.copy_back import (
    SWEEP,
    Claim,
    CopyBack,
    make_vector,
    read_claim,
    score,
)
from chat_envs.message import Role
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, play, play_many
from chat_envs.simulators.combination import is_held_out
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode

TIERS = ("easy", "default", "hard")
CAT_DOG = Claim("code", ("cat", "dog"))
VALUES = st.lists(st.sampled_from(["cat", "dog", "cow"]), min_size=1, max_size=6)


def begin(env: CopyBack, seed: int) -> Claim:
    env.reset(seed=seed)
    return env._goal


def said(env: CopyBack) -> str:
    message = env.conversation.last(Role.USER)
    assert message is not None
    return message.content


@pytest.mark.parametrize(
    ("tier", "num_ids"), [("easy", 96), ("default", 384), ("hard", 384)]
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(
    tier: str, num_ids: int, split: str
) -> None:
    assert longest_expert_episode(CopyBack(tier, split=split)) <= num_ids


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(CopyBack, tier=tier), num_episodes=20)


@pytest.mark.parametrize(
    "reply",
    [
        "Your code is cat dog.",
        "your code is cat dog",
        "YOUR CODE IS CAT DOG!!",
        "Hello. Your code is cat, dog. Bye.",
        "Ok, your code is cat dog.",
        "So your code was: 'cat dog'?",
        "Your code: cat dog",
        "Your code cat dog",
        "Cat dog is your code.",
        "So cat dog is your code.",
        "Your code is cat dog, right?",
        "Your code is the cat dog.",
        "\n your\tcode  is cat dog \n thanks",
    ],
)
def test_what_says_the_value_back(reply: str) -> None:
    assert read_claim(reply) == CAT_DOG


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "cat dog",
        "My code is cat dog.",
        "Cat dog is my code.",
        "The code is cat dog.",
        "Your",
        "Your code",
        "Your code is",
        "is your code",
        "Your code is right.",
        "My code is cat dog your code is cat dog",
        "Your code is cat dog. Your code is cat dog.",
        "Your code is cat dog; your code is cow.",
        "Your code is cat dog." + " " * 600,
        "Your code is " + "cat " * 250_000,
        "\ud800 \x00 <|end|>",
    ],
)
def test_what_says_nothing(reply: str) -> None:
    assert read_claim(reply) is None


@given(VALUES, VALUES)
def test_only_the_same_words_are_the_value(words: list[str], other: list[str]) -> None:
    claim = read_claim(f"Your code is {' '.join(other)}.")
    assert (claim == Claim("code", tuple(words))) == (words == other)


@given(st.text(max_size=700))
def test_any_text_is_read_without_an_error(text: str) -> None:
    claim = read_claim(text)
    assert claim is None or claim.words


@given(st.text(alphabet="yourcdeis .:", max_size=60))
def test_a_second_sentence_about_the_user_spoils_the_first(text: str) -> None:
    if read_claim(text) is not None:
        assert read_claim(f"{text}. Your code is cat.") is None


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_is_right_and_the_blind_is_not(tier: str, split: str) -> None:
    env = CopyBack(tier, split=split, reply_length=64)
    expert = play_many(env, REPLIERS["expert"], range(100))
    blind = play_many(env, REPLIERS["blind"], range(200))
    assert all(r.episode_return == 1.0 and r.success for r in expert)
    assert {r.termination_reason for r in expert} == {"copied"}
    assert {r.metrics["share_in_place"] for r in expert} == {1.0}
    assert sum(r.episode_return for r in blind) / len(blind) <= 0.15


@pytest.mark.parametrize("tier", TIERS)
def test_the_hostile_earn_nothing(tier: str) -> None:
    env = CopyBack(tier)
    for name, replier in HOSTILE_REPLIERS.items():
        records = play_many(env, replier, range(60))
        assert sum(r.episode_return for r in records) == 0.0, name


@pytest.mark.parametrize("tier", TIERS)
def test_the_user_says_the_value_and_the_slot(tier: str) -> None:
    env = CopyBack(tier)
    for seed in range(60):
        slot, words = begin(env, seed)
        assert " ".join(words) in said(env) and slot in said(env)
        assert env.expert_reply() == f"Your {slot} is {' '.join(words)}."


def test_another_persons_value_is_not_the_users() -> None:
    env = CopyBack("hard")
    for seed in range(60):
        slot, words = begin(env, seed)
        found = re.search(rf"clerk has the {slot} ([a-z ]+)\.", said(env))
        assert found is not None
        others = found.group(1).split()
        assert len(others) == len(words)
        assert all(a != b for a, b in zip(words, others))
        step = env.step(env.encode(f"Your {slot} is {' '.join(others)}."))
        assert step[1] == 0.0 and step[4]["metrics"] == {"share_in_place": 0.0}


@pytest.mark.parametrize(
    ("words", "share"), [("cat", 0.5), ("cat dog cow", 2 / 3), ("dog cat", 0.0)]
)
def test_the_metric_counts_words_in_their_place(words: str, share: float) -> None:
    env = CopyBack()
    env.reset(seed=0)
    env._goal = CAT_DOG
    _, reward, _, _, info = env.step(env.encode(f"Your code is {words}."))
    assert (reward, info["success"]) == (0.0, False)
    assert info["metrics"]["share_in_place"] == pytest.approx(share)


def test_another_slot_is_no_answer() -> None:
    env = CopyBack()
    env.reset(seed=0)
    env._goal = CAT_DOG
    _, reward, _, _, info = env.step(env.encode("Your name is cat dog."))
    assert (reward, info["metrics"]) == (0.0, {"share_in_place": 0.0})


@pytest.mark.parametrize("tier", ["easy", "default"])
def test_held_out_are_combinations_and_not_their_parts(tier: str) -> None:
    goals = {
        split: {
            begin(env, seed)
            for env in [CopyBack(tier, split=split)]
            for seed in range(500)
        }
        for split in SPLITS
    }
    assert goals["train"].isdisjoint(goals["test"])
    for split in SPLITS:
        assert {slot for slot, _ in goals[split]} == set(CopyBack(tier)._slots)
    in_test = {word for _, words in goals["test"] for word in words}
    assert in_test <= {word for _, words in goals["train"] for word in words}


def test_held_out_goals_are_those_of_the_rule() -> None:
    for split in SPLITS:
        env = CopyBack(split=split)
        for seed in range(100):
            slot, words = begin(env, seed)
            indices = [env._slots.index(slot), *map(env._words.index, words)]
            assert is_held_out(indices) == (split == "test")


def test_phrasings_of_the_test_split_are_unseen_but_not_their_words() -> None:
    shapes: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        env = CopyBack(split=split)
        for seed in range(300):
            slot, words = begin(env, seed)
            shapes[split].add(
                said(env).replace(" ".join(words), "VALUE").replace(slot, "SLOT")
            )
    assert (len(shapes["train"]), len(shapes["test"])) == (48, 16)
    assert shapes["train"].isdisjoint(shapes["test"])
    seen = {word for shape in shapes["train"] for word in shape.split()}
    assert {word for shape in shapes["test"] for word in shape.split()} <= seen


def test_another_persons_value_leaves_the_goal_and_the_phrasing_intact() -> None:
    plain, other = CopyBack(has_other=False), CopyBack(has_other=True)
    for seed in range(40):
        assert begin(plain, seed) == begin(other, seed)
        sentence = re.search(r" The clerk has [^.]+\.", said(other))
        assert sentence is not None
        assert said(other).replace(sentence.group(), "") == said(plain)


@pytest.mark.parametrize("kwargs", SWEEP)
def test_the_sweep_grows_longer(kwargs: dict[str, Any]) -> None:
    env = CopyBack(reply_length=64, **kwargs)
    assert len(begin(env, 1).words) == kwargs["min_words"]
    assert play(env, REPLIERS["expert"], 1).success


def test_the_score_is_the_mean_over_the_sweep() -> None:
    assert score([1.0] * 7) == 1.0
    assert score([0.0] * 7) == 0.0
    assert score([1, 0, 0, 0, 0, 0, 0.4]) == pytest.approx(0.2)
    for wrong in ([1.0], [2.0] * 7, [float("nan")] * 7):
        with pytest.raises(ValueError, match="Expected 7 shares"):
            score(wrong)


def test_several_turns_end_with_the_right_value() -> None:
    env = CopyBack("easy", max_turns=3)
    begin(env, 2)
    assert "3 turn" in env.conversation[0].content
    assert env.step(env.encode("hm"))[1:4] == (0.0, False, False)
    assert said(env) == "Sorry, I did not get that."
    assert env.step(env.encode("Your code is code."))[1:4] == (0.0, False, False)
    assert said(env) == "No."
    assert env.step(env.encode(env.expert_reply()))[1:4] == (1.0, True, False)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tier": "esay"}, "tier must be one of"),
        ({"min_words": 0}, "within 1 to 10, got 0"),
        ({"min_words": 5, "max_words": 4}, "got 5 and 4"),
        ({"max_words": 11}, "got 2 and 11"),
    ],
)
def test_bad_arguments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CopyBack(**kwargs)


def test_the_vector_environment_says_the_same() -> None:
    vector = make_vector(3, tier="easy")
    vector.reset(seed=[4, 5, 6])
    single = CopyBack("easy")
    for env, seed in zip(vector.envs, (4, 5, 6), strict=True):
        begin(single, seed)
        assert env.conversation == single.conversation
