"""Seeds are functions of counters, distinct, and pinned."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.experience.seeding import episode_seed, numpy_generator, torch_generator

CPU = torch.device("cpu")
PINNED = [917752063, 581343550, 993704184]


def test_seeds_are_pinned() -> None:
    # These numbers are part of the format: another value would change every published run.
    assert [
        episode_seed(0, 0, 0),
        episode_seed(0, 0, 1),
        episode_seed(7, 3, 2),
    ] == PINNED


@given(st.integers(0, 2**40), st.integers(0, 10**6), st.integers(0, 10**6))
def test_seeds_fit_gymnasium_and_repeat(seed: int, iteration: int, group: int) -> None:
    value = episode_seed(seed, iteration, group)
    assert 0 <= value < 2**31
    assert value == episode_seed(seed, iteration, group)


def test_no_two_groups_share_a_seed() -> None:
    seeds = {
        episode_seed(s, i, g) for s in range(3) for i in range(20) for g in range(20)
    }
    assert len(seeds) == 3 * 20 * 20


def test_purposes_are_separate_streams() -> None:
    draws = {
        purpose: float(numpy_generator(0, purpose, 1).random())
        for purpose in ("minibatch", "shuffle", "script", "bootstrap")
    }
    assert len(set(draws.values())) == len(draws)


def test_torch_generator_repeats_and_leaves_the_global_state_alone() -> None:
    state = torch.get_rng_state()
    first = torch.rand(3, generator=torch_generator(1, "sampling", 2, device=CPU))
    again = torch.rand(3, generator=torch_generator(1, "sampling", 2, device=CPU))
    other = torch.rand(3, generator=torch_generator(1, "sampling", 3, device=CPU))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_negative_counters_are_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        episode_seed(-1, 0, 0)
