"""Mastermind: Knuth's guarantee against exact bounds, held-out codes, secrets, whole episodes."""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter

import pytest

from chat_envs.core import SPLITS
from chat_envs.envs.mastermind import PROMISED, Mastermind, game, make_vector
from chat_envs.replier import REPLIERS, play, play_many
from chat_envs.simulators.combination import is_held_out
from chat_envs.simulators.deduction import (
    Deduction,
    can_promise,
    lower_total,
    minimax_choice,
    most_solvable,
    num_found,
    total_cost,
)

# tier -> pegs, colours, turns
TIERS = {"easy": (3, 4, 6), "default": (3, 6, 7), "hard": (4, 6, 8)}

Code = tuple[int, ...]


@functools.cache
def shared(tier: str, split: str = "train") -> Mastermind:
    """Return one environment a tier; every test resets it."""
    return Mastermind(tier, split=split)


def game_of(tier: str) -> Deduction:
    return game(*TIERS[tier][:2])


def every_code(tier: str) -> list[Code]:
    pegs, num_colours, _ = TIERS[tier]
    return list(itertools.product(range(num_colours), repeat=pegs))


def say(env: Mastermind, text: str) -> tuple[str, float, bool]:
    """Return the answer to `text`, the reward and whether the episode is over."""
    _, reward, terminated, truncated, _ = env.step(env.encode(text))
    return env.conversation[-1].content, reward, terminated or truncated


def first_guesses(tier: str) -> list[int]:
    """Return one first guess of each kind: colours and pegs can be renamed before any answer."""
    kinds: dict[tuple[int, ...], int] = {}
    for number, code in enumerate(every_code(tier)):
        kinds.setdefault(tuple(sorted(Counter(code).values())), number)
    return list(kinds.values())


# The guarantee ----------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_the_expert_finds_every_code_in_what_is_promised(tier: str) -> None:
    found = num_found(game_of(tier), minimax_choice, TIERS[tier][2])
    assert sum(found) == len(every_code(tier))
    assert max(k + 1 for k, n in enumerate(found) if n) == PROMISED[tier]


@pytest.mark.parametrize("tier", TIERS)
def test_no_policy_promises_fewer_guesses(tier: str) -> None:
    firsts = first_guesses(tier)
    assert len(firsts) == {"easy": 3, "default": 3, "hard": 5}[tier]
    assert not can_promise(game_of(tier), PROMISED[tier] - 1, firsts)
    assert PROMISED[tier] < TIERS[tier][2]


@pytest.mark.parametrize("tier", ["easy", "default"])
def test_the_search_finds_what_is_promised(tier: str) -> None:
    assert can_promise(game_of(tier), PROMISED[tier], first_guesses(tier))


def test_first_guesses_of_a_kind_are_alike() -> None:
    # What the search leaves out by symmetry: tried in full where that is quick.
    game_, least = game_of("easy"), PROMISED["easy"]
    assert [can_promise(game_, k) for k in (least - 1, least)] == [False, True]
    assert lower_total(game_) == lower_total(game_, first_guesses("easy"))


def test_the_classic_game_is_played_as_knuth_says() -> None:
    # Knuth 1977: at most 5 guesses, 5801 in all over the 1296 codes, 4.476 on average.
    found = num_found(game_of("hard"), minimax_choice, 8)
    assert found == [1, 6, 62, 533, 694, 0, 0, 0]
    assert sum((k + 1) * n for k, n in enumerate(found)) == 5801
    first = minimax_choice(game_of("hard"), game_of("hard").everything)
    assert every_code("hard")[first] == (0, 0, 1, 1)


def test_four_guesses_cannot_do_because_of_the_first() -> None:
    # Whatever the first guess, some answer leaves more codes than three guesses can find.
    sizes = game_of("hard").class_sizes(game_of("hard").everything)
    largest = [int(sizes[guess].max()) for guess in first_guesses("hard")]
    assert sorted(largest) == [256, 276, 312, 317, 625]
    assert min(largest) > most_solvable(14, 3)


@pytest.mark.parametrize("tier", TIERS)
def test_expert_and_blind_are_where_they_should_be_in_the_range(tier: str) -> None:
    num_codes, turns = len(every_code(tier)), TIERS[tier][2]
    found = num_found(game_of(tier), minimax_choice, turns)
    cost = total_cost(found, num_codes) / num_codes
    least = lower_total(game_of(tier), first_guesses(tier)) / num_codes
    if tier == "hard":  # Koyama and Lai 1993: 5625 guesses in all, so 4329 wrong ones
        assert least <= 4329 / num_codes <= cost
        least = 4329 / num_codes
    assert (turns - cost) / (turns - least) >= 0.9
    gain = sum(range(1, turns + 1)) / num_codes
    assert gain / (turns - least) <= 0.15


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_blind_policy_meets_both_splits_alike(tier: str, split: str) -> None:
    env = shared(tier, split)
    env.reset(seed=0)
    said = []
    while not env.is_over:
        said.append(env.blind_reply())
        say(env, "hm")
    codes = [tuple(env.colours.index(name) for name in text.split()) for text in said]
    assert len(set(codes)) == env.max_turns
    pool = [c for c in every_code(tier) if is_held_out(c) == (split == "test")]
    gain = sum(env.max_turns - k for k, c in enumerate(codes) if c in pool) / len(pool)
    ideal = sum(range(1, env.max_turns + 1)) / len(every_code(tier))
    assert gain == pytest.approx(ideal, rel=0.3)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_always_wins_in_time(tier: str, split: str) -> None:
    for record in play_many(shared(tier, split), REPLIERS["expert"], range(60)):
        assert record.success
        assert record.num_turns == 1 - record.episode_return <= PROMISED[tier]


def test_the_easy_environment_plays_every_code_as_counted() -> None:
    env = shared("easy")
    turns: Counter[int] = Counter()
    for code in every_code("easy"):
        env.reset(seed=0)
        env._goal = code
        while not env.is_over:
            say(env, env.expert_reply())
        turns[env.turn] += 1
    assert [turns[k + 1] for k in range(6)] == num_found(
        game_of("easy"), minimax_choice, 6
    )


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_reads_the_conversation_alone(tier: str, split: str) -> None:
    env, ignorant = shared(tier, split), Mastermind(tier, split=split)
    for seed in range(12):
        env.reset(seed=seed)
        while not env.is_over:
            ignorant.reset(seed=seed + 1000)
            ignorant.conversation = env.conversation
            assert ignorant.expert_reply() == env.expert_reply()
            belief = env.belief(env.conversation)
            assert belief == env._belief
            assert belief >> every_code(tier).index(env._goal) & 1
            say(env, env.expert_reply())


@pytest.mark.parametrize("tier", TIERS)
def test_what_is_no_guess_teaches_the_expert_nothing(tier: str) -> None:
    env = shared(tier)
    env.reset(seed=0)
    for text in ("red", "hello", "red red red red red", "pink " * env.pegs):
        say(env, text)
        assert env.belief(env.conversation) == game_of(tier).everything
        assert env.describe()["metrics"]["candidates"] == len(every_code(tier))


# Held-out codes and episodes -----------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_held_out_codes_are_unseen_combinations_of_seen_colours(tier: str) -> None:
    drawn: dict[str, set[Code]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(400)):
        env = shared(tier, split)
        env.reset(seed=seed)
        drawn[split].add(env._goal)
    assert drawn["train"].isdisjoint(drawn["test"])
    for split, codes in drawn.items():
        assert all(is_held_out(code) == (split == "test") for code in codes)
    seen = {pair for code in drawn["train"] for pair in enumerate(code)}
    pegs, num_colours, _ = TIERS[tier]
    assert seen == set(itertools.product(range(pegs), range(num_colours)))
    if tier == "easy":
        assert (len(drawn["train"]), len(drawn["test"])) == (48, 16)


@pytest.mark.parametrize("tier", TIERS)
def test_the_same_seed_is_the_same_episode(tier: str) -> None:
    one = [play(shared(tier), REPLIERS["expert"], seed) for seed in range(5)]
    play(shared(tier), REPLIERS["blind"], 99)
    other = [play(Mastermind(tier), REPLIERS["expert"], seed) for seed in range(5)]
    assert one == other
    assert len({record.messages for record in one}) == 5


def test_phrasing_never_changes_the_goal() -> None:
    plain, other = shared("default"), Mastermind("default", max_turns=3, shaping=1.0)
    for seed in range(20):
        for env in (plain, other):
            env.reset(seed=seed)
        other._phrasing.random()  # one draw more shifts no goal
        say(other, "red red red")
        assert plain._goal == other._goal
    goals = set()
    for seed in range(20):
        plain.reset(seed=seed)
        goals.add(plain._goal)
    assert len(goals) > 10


def test_nothing_of_one_episode_is_in_the_next() -> None:
    env, fresh = shared("default"), Mastermind("default")
    env.reset(seed=1)
    for text in ("red blue green", "hm", "red red red"):
        say(env, text)
    for one in (env, fresh):
        one.reset(seed=2)
    for text in ("red red red", "hm", "blue blue green"):
        assert say(env, text) == say(fresh, text)
        assert env.describe()["metrics"] == fresh.describe()["metrics"]


@pytest.mark.parametrize("tier", TIERS)
def test_codes_that_get_the_same_answers_look_the_same(tier: str) -> None:
    env = shared(tier)
    seen = set()
    for code in every_code(tier):
        if 0 in code:
            continue
        env.reset(seed=0)
        env._goal = code
        observation, _, _, _, info = env.step(env.encode("red " * env.pegs))
        arrays = [a.tobytes() for a in (*observation.values(), info.pop("action_mask"))]
        seen.add((repr(info), *arrays))
    assert len(seen) == 1


@pytest.mark.parametrize("tier", TIERS)
def test_no_phrasing_is_in_both_splits(tier: str) -> None:
    heard: dict[str, set[tuple[str, ...]]] = {split: set() for split in SPLITS}
    framed: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(60)):
        env = shared(tier, split)
        env.reset(seed=seed)
        heard[split].add(tuple(m.content for m in env.conversation))
        while not env.is_over:
            text = say(env, env.expert_reply())[0]
            if not env.is_over:
                framed[split].add(re.sub(r"\d", "*", text))
    assert (len(heard["train"]), len(heard["test"])) == (6, 3)
    assert heard["train"].isdisjoint(heard["test"])
    parts = [{text for texts in heard[split] for text in texts} for split in SPLITS]
    assert parts[0] == parts[1]  # every part of a held-out opening is seen
    if tier == "easy":
        assert framed["train"] == framed["test"] == {"* exact * near"}
    else:
        assert (len(framed["train"]), len(framed["test"])) == (6, 3)
        assert framed["train"].isdisjoint(framed["test"])


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_a_long_reply_in_every_turn_truncates_nothing(tier: str, split: str) -> None:
    # A truncated episode would cost fewer turns than an honest one.
    env = shared(tier, split)
    longest = "\x00" * env.reply_length  # a token a character, with no room to stop
    padded = "red " * env.pegs + " " * env.reply_length
    for seed, text in itertools.product(range(9), (longest, padded)):
        env.reset(seed=seed)
        is_over, total = False, 0.0
        while not is_over:
            _, reward, is_over = say(env, text)
            total += reward
        if not env.describe()["success"]:
            assert total == -env.max_turns
            assert env.describe()["termination_reason"] == "turn_limit"


def test_the_vector_environment_plays_the_same() -> None:
    vector = make_vector(2, tier="easy")
    vector.reset(seed=[3, 4])
    for env, seed in zip(vector.envs, (3, 4), strict=True):
        record = play(Mastermind("easy"), REPLIERS["expert"], seed)
        assert env.conversation.messages == record.messages[:2]
