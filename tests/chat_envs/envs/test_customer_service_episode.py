"""`CustomerService`: determinism, splits, length, and replies that nobody expected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_envs.envs.customer_service import CustomerService
from chat_envs.message import Role
from chat_envs.simulators.channel import ErrorChannel
from chat_envs.tokenizer import train_tokenizer
from tests.chat_envs.envs.service import DATA, TIERS, expert, last, make, play, say


def transcript(env: CustomerService, seed: int) -> str:
    play(env, expert, seed)
    return env.conversation.render()


@pytest.mark.parametrize("tier", TIERS)
def test_a_seed_is_an_episode(tier: str) -> None:
    assert transcript(make(tier), 5) == transcript(make(tier), 5)
    assert transcript(make(tier), 5) != transcript(make(tier), 6)


def test_interleaved_episodes_do_not_touch() -> None:
    alone = [transcript(make("hard"), seed) for seed in (1, 2)]
    envs = [make("hard"), make("hard")]
    for env, seed in zip(envs, (1, 2)):
        env.reset(seed=seed)
    live = list(envs)
    while live:
        for env in list(live):
            _, _, terminated, truncated, _ = env.step(env.encode(env.expert_reply()))
            if terminated or truncated:
                live.remove(env)
    assert [env.conversation.render() for env in envs] == alone


def test_noise_leaves_goal_behaviour_and_phrasing_intact() -> None:
    clean, noisy, muted = make("default"), make("default"), make("default")
    values = {"intent": ("refund", "cancel"), "order": ("1", "2"), "name": ("A", "B")}
    noisy._channel = ErrorChannel(values, 1.0, 1.0)
    muted._channel = ErrorChannel(values, 0.0, 0.0)
    num_changed = 0
    for seed in range(30):
        for env in (clean, noisy, muted):
            env.reset(seed=seed)
            say(env, "Your order , name and code ?")
        assert noisy._scenario == muted._scenario == clean._scenario
        assert noisy._customer.agenda == muted._customer.agenda
        num_changed += last(noisy) != last(muted)
        # With no error at all the noisy channel's draws would be the only difference.
        if last(clean) != last(muted):
            heard = set(last(clean).split()) ^ set(last(muted).split())
            assert heard
    assert num_changed > 20


def test_the_expert_does_not_change_the_episode() -> None:
    env = make("hard")
    env.reset(seed=3)
    assert len({env.expert_reply() for _ in range(3)}) == 1
    assert len(env.conversation) == 2


def test_the_expert_goes_on_from_anybodys_replies() -> None:
    env, rng = make(), np.random.default_rng(0)
    solved = 0
    for seed in range(40):
        env.reset(seed=seed)
        say(env, ["Hello .", "zzz", "Yes .", "Your code ?"][int(rng.integers(4))])
        while not (env._terminated or env._truncated):
            say(env, env.expert_reply())
        solved += bool(env._last_turn.success)
    assert solved >= 38


@pytest.mark.parametrize("language", ["easy", "default"])
def test_phrasings_are_held_out(language: str) -> None:
    phrases = DATA["phrases"][language]
    words = {
        w.lower() for by in phrases.values() for t in by["train"] for w in t.split()
    }
    for key, by_split in phrases.items():
        assert by_split["train"] and by_split["test"], key
        assert set(by_split["train"]).isdisjoint(by_split["test"]), key
        if language == "easy":
            unseen = {w.lower() for t in by_split["test"] for w in t.split()} - words
            assert not unseen, key


def test_the_data_says_its_version_and_licence() -> None:
    assert isinstance(DATA["version"], int) and DATA["licence"]


def test_no_phrase_of_the_lexicon_means_two_things() -> None:
    phrases = [phrase for phrases in DATA["lexicon"].values() for phrase in phrases]
    entities = [
        n.lower() for k in ("name", "item", "street") for n in DATA["entities"][k]
    ]
    assert len(set(phrases)) == len(phrases)
    assert not set(phrases) & set(entities)


@pytest.fixture(scope="module")
def dialogues() -> dict[str, list[list[tuple[str, str]]]]:
    found: dict[str, list[list[tuple[str, str]]]] = {}
    for tier in TIERS:
        for split in ("train", "test"):
            env = make(tier, split=split)
            for seed in range(60):
                play(env, expert, seed)
                dialogue = [(m.role.value, m.content) for m in env.conversation]
                found.setdefault(tier, []).append(dialogue)
    return found


def test_the_tiers_speak_little(
    dialogues: dict[str, list[list[tuple[str, str]]]],
) -> None:
    """With a tokenizer of its own: the easy tier fits 96 ids, the default tier 384."""
    for tier, most in (("easy", 96), ("default", 384), ("hard", 512)):
        texts = [text for dialogue in dialogues[tier] for _, text in dialogue]
        tokenizer = train_tokenizer(texts)
        for dialogue in dialogues[tier]:
            assert sum(len(tokenizer.encode(text)) + 2 for _, text in dialogue) < most
            replies = [text for role, text in dialogue if role == "assistant"]
            limit = 10 if tier == "easy" else 24
            assert max(len(tokenizer.encode(text)) for text in replies) < limit
    easy = {word for d in dialogues["easy"] for _, text in d for word in text.split()}
    assert len(easy) <= 80


def test_easy_values_are_single_words() -> None:
    for kind in ("name", "item"):
        assert all(value.isalpha() for value in DATA["entities"][kind])


# Robustness ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fuzzed() -> dict[str, CustomerService]:
    return {tier: make(tier, reply_length=400) for tier in TIERS}


SCRAPS = st.sampled_from(
    [
        "ACTION",
        "check",
        "refund",
        "Kim",
        "pen",
        "7",
        "8812",
        "done",
        "not",
        "?",
        ".",
        ",",
        "\n",
    ]
    + [
        "your name",
        "promise",
        "Monday",
        "<|end|>",
        "<|user|>",
        "\0",
        "\ud800",
        "packed",
        "bye",
    ]
)
REPLIES = st.text(max_size=40) | st.lists(SCRAPS, max_size=12).map(" ".join)


def test_a_wish_that_is_not_said_first_is_put_into_words() -> None:
    """Once a `KeyError`: only the first of a customer's acts was looked at for what it wants."""
    env = make("default")
    env.reset(seed=117928754)
    say(
        env,
        "You want an exchange . Your order , name and code ?",
        "You want to complain . Your order , name and code ?",
        "Your name , code and problem ?",
        "Your problem ?",
        "ACTION check order 3800 Kim code 76",
        "Problem dirty ?",
    )
    assert last(env) == "Yes , right . No , I want to complain ."


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(TIERS),
    st.integers(0, 50),
    st.lists(REPLIES, min_size=1, max_size=8),
)
def test_any_replies_give_finite_rewards(
    fuzzed: dict[str, CustomerService], tier: str, seed: int, replies: list[str]
) -> None:
    env = fuzzed[tier]
    env.reset(seed=seed)
    for reply in replies:
        _, reward, terminated, truncated, info = env.step(env.encode(reply))
        assert -20.0 < float(reward) <= 0.98
        assert set(info["metrics"]) == set(env.metric_names)
        assert isinstance(env.expert_reply(), str)
        if terminated or truncated:
            break
    roles = [message.role for message in env.conversation]
    assert roles.count(Role.ASSISTANT) == env.turn


@pytest.mark.parametrize(
    "reply", ["x" * 10**6, "ACTION " * 10**5, "\0" * 1000, "\ud800" * 50]
)
def test_monstrous_replies(reply: str) -> None:
    env = make()
    env.reset(seed=0)
    env.turn = 1
    turn = env._respond(reply)
    assert not turn.success and isinstance(turn.reward, dict)
