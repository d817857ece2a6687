"""Pairs by gold reward: both replies answer one context, and the better one is the better one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import gymnasium
import pytest

import chat_envs  # noqa: F401  (registers the environments)
from agents.experience.speaker import ModelPolicy
from agents.pair_collection import CollectedPairs, collect_pairs
from chat_envs.chat_template import load_template
from chat_envs.core import ChatEnv
from chat_envs.message import Role
from tests.agents.toys import make_lm

ECHO = "chat_envs/Echo-easy-v0"
CUSTOMERS = "chat_envs/CustomerService-easy-v0"
MIXTURE = "guess+blind+misplaced+edited"


def collect(
    env: str = CUSTOMERS,
    *policies: str | ModelPolicy,
    num_pairs: int = 40,
    **options: Any,
) -> CollectedPairs:
    return collect_pairs(
        env, policies or ("expert", MIXTURE), num_pairs=num_pairs, **options
    )


def replay(found: CollectedPairs, env: str, **options: Any) -> ChatEnv:
    """Return an environment like the one that the pairs were found in."""
    made = gymnasium.make(env, **options).unwrapped
    assert isinstance(made, ChatEnv)
    return made


@pytest.mark.parametrize("label", ["return", "turn"])
def test_the_gold_reward_is_that_of_the_episode_played_by_hand(label: str) -> None:
    found = collect(num_pairs=25, label=label)
    env = replay(found, CUSTOMERS)
    for labelled in found.pairs:
        sides = labelled.pair.chosen, labelled.pair.rejected
        for reply, gold in zip(sides, labelled.gold, strict=True):
            env.reset(seed=labelled.seed)
            for message in labelled.pair.prompt:
                if message.role is Role.ASSISTANT:
                    env.step(env.encode(message.content))
            assert env.conversation.messages == labelled.pair.prompt
            *_, info = env.step(env.encode(reply))
            total = info["gold_reward"]
            while label == "return" and not env.is_over:
                *_, info = env.step(env.encode(env.expert_reply()))
                total += info["gold_reward"]
            assert total == pytest.approx(gold, abs=1e-9)


def test_the_better_reply_has_more_gold() -> None:
    found = collect(num_pairs=60)
    for labelled in found.pairs:
        better, worse = labelled.gold
        assert better > worse and not labelled.is_flipped
        assert labelled.pair.margin == pytest.approx(better - worse, abs=1e-8)
        assert set(labelled.policies) == {"expert", MIXTURE}
    assert found.num_flipped == 0
    assert found.gold["expert"] > found.gold[MIXTURE]
    firsts = Counter(labelled.policies[0] for labelled in found.pairs)
    assert firsts["expert"] > 40
    assert (
        len({(p.pair.prompt, p.pair.chosen, p.pair.rejected) for p in found.pairs})
        == 60
    )
    assert {labelled.turn for labelled in found.pairs} >= {0, 1, 2}


def test_flipped_labels_are_the_share_asked_for_and_keep_their_margin() -> None:
    found = collect(num_pairs=300, flip_rate=0.3)
    assert 60 < found.num_flipped < 120  # 90 in the mean, deviation 8
    for labelled in found.pairs:
        assert (labelled.gold[0] < labelled.gold[1]) == labelled.is_flipped
        assert labelled.pair.margin > 0
    every = collect(num_pairs=20, flip_rate=1.0)
    assert every.num_flipped == 20


def test_the_same_seed_finds_the_same_pairs() -> None:
    first = collect(seed=1)
    assert collect(seed=1) == first
    assert collect(seed=2).pairs != first.pairs


def test_held_out_goals_are_other_ones() -> None:
    train, test = collect(split="train"), collect(split="test")
    prompts = [{p.pair.prompt for p in found.pairs} for found in (train, test)]
    assert not prompts[0] & prompts[1]


def test_ties_and_equal_replies_are_counted_and_left_out() -> None:
    found = collect(label="turn", num_pairs=20)
    assert found.num_ties > 0 and found.num_equal > 0
    for labelled in found.pairs:
        assert labelled.pair.chosen.strip() != labelled.pair.rejected.strip()
        assert labelled.gold[0] != labelled.gold[1]
    record = found.as_dict()
    tried = found.num_contexts - found.num_equal - found.num_repeated
    assert record["share_of_ties"] == found.num_ties / tried
    # The last turn of the table may find more than were asked for.
    assert 20 <= tried - found.num_ties <= 36


def test_a_search_that_finds_nothing_ends_and_says_why() -> None:
    with pytest.raises(ValueError, match="same reply twice.*Take other policies"):
        collect(ECHO, "expert", "expert")


def test_models_answer_at_their_temperatures() -> None:
    lm = make_lm()
    cold, hot = (ModelPolicy(lm, t, f"tiny@{t}") for t in (0.05, 2.0))
    found = collect(SOCIAL, "expert", cold, hot, num_pairs=30)
    names = {name for labelled in found.pairs for name in labelled.policies}
    assert names == {"expert", "tiny@0.05", "tiny@2.0"}
    assert collect(SOCIAL, "expert", cold, hot, num_pairs=30) == found
    tokenizer = replay(found, SOCIAL).tokenizer
    control = load_template(tokenizer).stop_ids
    for labelled in found.pairs:
        assert not control & set(tokenizer.encode(labelled.pair.rejected))


SOCIAL = "chat_envs/SocialChat-easy-v0"


def test_a_model_that_does_not_fit_is_refused() -> None:
    policy = ModelPolicy(make_lm())
    with pytest.raises(ValueError, match="lower context_length"):
        collect(SOCIAL, "expert", policy, env_kwargs={"context_length": 4096})


@pytest.mark.parametrize(
    ("policies", "options", "problem"),
    [
        (("expert",), {}, "Pairs need two policies"),
        (("expert", "experto"), {}, "no script 'experto'.*Did you mean 'expert'"),
        (("expert", "blind+experto"), {}, "no script 'experto'"),
        (("expert", "blind"), {"num_pairs": 0}, "num_pairs must be at least 1"),
        (("expert", "blind"), {"flip_rate": 1.5}, "flip_rate in \\[0, 1\\]"),
        (("expert", "blind"), {"label": "gold"}, "label must be one of"),
    ],
)
def test_bad_input_is_refused(
    policies: tuple[str, ...], options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        collect(CUSTOMERS, *policies, **options)


def test_progress_ends_with_all_pairs() -> None:
    told: list[int] = []
    found = collect(num_pairs=40, progress=told.append)
    assert told == sorted(told) and told[-1] == 40 == len(found.pairs)
