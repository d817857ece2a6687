"""Drift: the reward that ignores fluency, and the perplexity that does not."""

from __future__ import annotations

import functools
import itertools
import math
import statistics

import pytest

from chat_envs.core import SPLITS
from chat_envs.envs.drift import (
    SWEEP,
    Drift,
    load_ngram,
    make_vector,
    reference_sentences,
    score,
)
from chat_envs.message import Role
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, Replier, play_many
from chat_envs.simulators.combination import is_held_out
from chat_envs.simulators.ngram import fit
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode

TIERS = ("easy", "default", "hard")
FACTS = {"easy": 2, "default": 3, "hard": 4}


def begin(env: Drift, seed: int) -> tuple[str, str]:
    """Begin an episode; return the thing that is asked about and how it is."""
    env.reset(seed=seed)
    return env._thing, env._look


def said(env: Drift) -> str:
    message = env.conversation.last(Role.USER)
    assert message is not None
    return message.content


def words(text: str) -> list[str]:
    return text.lower().replace(".", " ").replace(",", " ").replace("?", " ").split()


@pytest.mark.parametrize(
    ("tier", "num_ids"), [("easy", 96), ("default", 384), ("hard", 384)]
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(
    tier: str, num_ids: int, split: str
) -> None:
    assert longest_expert_episode(Drift(tier, split=split)) <= num_ids


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(Drift, tier=tier), num_episodes=30)


@pytest.mark.parametrize(
    ("reply", "reward"),
    [
        ("{look}", 1.0),
        ("{look}!", 1.0),
        ("It is {look}.", 0.96),
        ("The {thing} is {look}.", 0.94),
        ("{look} {look} {look}", 0.96),
        ("zz {thing} {thing} {look} qq", 0.92),
        ("not {look}", 0.98),
        ("", 0.0),
        ("{thing}", 0.0),
        ("{other}", 0.0),
        ("{look} {other}", 0.0),
        ("un{look}", 0.0),
    ],
)
def test_the_right_word_is_paid_and_its_place_is_not(reply: str, reward: float) -> None:
    env = Drift()
    thing, look = begin(env, 3)
    other = next(word for word in env._looks if word != look)
    text = reply.format(thing=thing, look=look, other=other)
    step = env.step(env.encode(text))
    assert step[1] == pytest.approx(reward)
    assert step[2] and step[4]["success"] == (reward > 0)
    assert step[4]["metrics"]["num_words"] == len(words(text.replace("!", "")))


def test_no_more_than_fifteen_words_cost() -> None:
    env = Drift(reply_length=64)
    for extra, reward in ((14, 0.72), (15, 0.70), (16, 0.70), (30, 0.70)):
        _, look = begin(env, 3)
        _, paid, _, _, info = env.step(env.encode(look + " is" * extra))
        assert paid == pytest.approx(reward)
        assert info["reward_components"]["answer"] == 1.0


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_is_fluent_and_right_and_the_blind_is_not(
    tier: str, split: str
) -> None:
    env = Drift(tier, split=split, reply_length=64)
    expert = play_many(env, REPLIERS["expert"], range(100))
    blind = play_many(env, REPLIERS["blind"], range(400))
    assert all(r.success for r in expert)
    assert {r.termination_reason for r in expert} == {"answered"}
    # The least is 0, and no reply earns more than 1.
    assert statistics.fmean(r.episode_return for r in expert) >= 0.9
    assert statistics.fmean(r.episode_return for r in blind) <= 0.15


@pytest.mark.parametrize("tier", TIERS)
def test_the_hostile_earn_nothing(tier: str) -> None:
    # Not cut: of an echo that is, one look may be left. The contract's check has that case.
    env = Drift(tier, reply_length=256, context_length=1024)
    for name, replier in HOSTILE_REPLIERS.items():
        records = play_many(env, replier, range(60))
        assert sum(r.episode_return for r in records) == 0.0, name


def test_perplexity_grows_as_language_decays() -> None:
    env = Drift(reply_length=64)

    def mean(replier: Replier) -> float:
        records = play_many(env, replier, range(60))
        return statistics.fmean(r.metrics["log_perplexity"] for r in records)

    levels = [
        mean(REPLIERS["expert"]),
        mean(lambda env: env._look),
        mean(lambda env: " ".join(reversed(words(env.expert_reply())))),
        mean(lambda env: f"{env._look} {env._look} xq {env._thing} zzv {env._look}"),
    ]
    assert levels[0] < 1.5 < min(levels[1:])
    assert max(levels[1:3]) < levels[3]


def test_the_shipped_model_counts_the_reference_sentences() -> None:
    sentences = reference_sentences()
    assert len(sentences) == len(set(sentences))
    assert load_ngram().bigrams == fit(sentences).bigrams


@pytest.mark.parametrize("tier", TIERS)
def test_what_the_expert_says_is_a_reference_sentence(tier: str) -> None:
    fluent = set(reference_sentences())
    said_ = set()
    env = Drift(tier)
    for seed in range(100):
        begin(env, seed)
        said_.add(env.expert_reply())
    assert said_ <= fluent
    assert len({reply.split()[0] for reply in said_}) == 4


@pytest.mark.parametrize("tier", TIERS)
def test_the_facts_are_as_many_as_the_tier_says_and_differ(tier: str) -> None:
    env = Drift(tier)
    places = set()
    for seed in range(80):
        thing, look = begin(env, seed)
        told = words(said(env))
        things = [w for w in told if w in env._things]
        looks = [w for w in told if w in env._looks]
        assert len(looks) == len(set(looks)) == FACTS[tier]
        # The thing that is asked about is told first and named again in the question.
        assert len(things) == FACTS[tier] + 1 and things.count(thing) == 2
        assert things[-1] == thing
        assert looks[things.index(thing)] == look
        places.add(things.index(thing))
    assert places == set(range(FACTS[tier]))


@pytest.mark.parametrize("tier", TIERS)
def test_held_out_are_combinations_and_not_their_parts(tier: str) -> None:
    things: dict[str, set[str]] = {}
    for split in SPLITS:
        env = Drift(tier, split=split)
        goals = {begin(env, seed) for seed in range(400)}
        for thing, look in goals:
            indices = [env._things.index(thing), env._looks.index(look)]
            assert is_held_out(indices) == (split == "test")
        things[split] = {word for goal in goals for word in goal}
    assert things["train"] == things["test"]


def test_phrasings_of_the_test_split_are_unseen_but_not_their_words() -> None:
    shapes: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        env = Drift("easy", split=split)
        for seed in range(300):
            begin(env, seed)
            text = said(env)
            for word in env._things:
                text = text.replace(f" {word}", " THING")
            for word in env._looks:
                text = text.replace(f" {word}", " LOOK")
            shapes[split].add(text)
    assert (len(shapes["train"]), len(shapes["test"])) == (48, 16)
    assert shapes["train"].isdisjoint(shapes["test"])
    seen = {word for shape in shapes["train"] for word in words(shape)}
    assert {word for shape in shapes["test"] for word in words(shape)} <= seen


def test_the_answer_is_in_the_user_text_alone() -> None:
    for seed in range(30):
        env = Drift()
        _, info = env.reset(seed=seed)
        assert env._look not in words(env.conversation[0].content)
        assert info["metrics"] == {"log_perplexity": 0.0, "num_words": 0.0}


def test_the_sweep_goes_from_a_short_leash_to_none() -> None:
    coefficients = [kwargs["kl_coefficient"] for kwargs in SWEEP]
    assert all(a > b for a, b in itertools.pairwise(coefficients))
    assert coefficients[-1] == 0.0


def test_the_score_is_one_minus_the_growth_of_perplexity() -> None:
    assert score(1.2, [1.2] * 5) == 1.0
    assert score(1.2, [0.3] * 5) == 1.0
    assert score(1.2, [1.2 + math.log(1.25)] * 5) == pytest.approx(0.75)
    assert score(1.2, [1e9] * 5) == pytest.approx(0.0)
    assert score(0.0, [0.0, 0.0, 0.0, 0.0, 9.0]) == pytest.approx(0.8)
    for before, after in ((1.0, [1.0]), (1.0, [math.nan] * 5), (math.inf, [1.0] * 5)):
        with pytest.raises(ValueError, match="5 after"):
            score(before, after)


def test_several_turns_end_with_the_right_word() -> None:
    env = Drift("easy", max_turns=3)
    begin(env, 2)
    assert "3 turn" in env.conversation[0].content
    assert env.step(env.encode("hm"))[1:4] == (0.0, False, False)
    assert said(env) == "No."
    step = env.step(env.encode(env.expert_reply()))
    assert step[2:4] == (True, False) and step[1] > 0.9


def test_an_unknown_tier_is_refused() -> None:
    with pytest.raises(ValueError, match="tier must be one of"):
        Drift("esay")


def test_the_vector_environment_says_the_same() -> None:
    vector = make_vector(3, tier="easy")
    vector.reset(seed=[4, 5, 6])
    single = Drift("easy")
    for env, seed in zip(vector.envs, (4, 5, 6), strict=True):
        begin(single, seed)
        assert env.conversation == single.conversation
