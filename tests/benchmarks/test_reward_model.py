"""The benchmark of reward models: which pairs, which rows, and that noise is noise."""

from __future__ import annotations

import pytest

from benchmarks.reward_model import ENVS, NUM_PROMPTS, batching, measure, pairs_of
from chat_envs.registration import find


def test_another_flip_rate_turns_labels_of_the_same_pairs_round() -> None:
    env = ENVS[0]
    clean = pairs_of(env, 100, 0, split="train")
    noisy = pairs_of(env, 100, 0, split="train", flip_rate=0.3)
    assert [p.prompt for p in clean] == [p.prompt for p in noisy]
    num_flipped = 0
    for one, other in zip(clean, noisy, strict=True):
        assert {one.chosen, one.rejected} == {other.chosen, other.rejected}
        assert one.margin == other.margin
        num_flipped += one.chosen == other.rejected
    assert 15 < num_flipped < 45


def test_a_row_says_what_was_trained_and_how_right_it_is() -> None:
    env = "SocialChat-easy-v0"
    row = measure(env, "ngram", 0.0, 1, num_pairs=300, num_test=100)
    assert row["env"] == find(env).id
    assert (row["kind"], row["flip_rate"], row["seed"]) == ("ngram", 0.0, 1)
    assert row["held_out"]["num_pairs"] == 100
    assert row["held_out"]["accuracy"]["mean"] > 0.85
    noisy = measure(env, "ngram", 0.4, 1, num_pairs=300, num_test=100)
    assert noisy["held_out"]["accuracy"]["mean"] < row["held_out"]["accuracy"]["mean"]
    tiny = measure(env, "tiny", 0.0, 1, num_pairs=16, num_test=10)
    assert tiny["held_out"]["num_pairs"] == 10


@pytest.mark.parametrize("num_prompts", NUM_PROMPTS)
def test_replies_are_to_so_many_prompts(num_prompts: int) -> None:
    found = batching(ENVS[0], num_prompts, 5)
    assert found["num_prompts"] == num_prompts
    assert found["seconds_together"] > 0 and found["seconds_alone"] > 0
    ratio = found["alone_over_together"]
    assert ratio["low"] <= ratio["median"] <= ratio["high"]
