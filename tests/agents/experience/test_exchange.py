"""Episodes on their way between processes: what arrives is what was sent, every bit of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.engine import process_group
from agents.experience.collector import Collector
from agents.experience.exchange import from_bytes, gather_episodes, to_bytes
from agents.experience.rollout import Episode
from tests.agents.toys import make_lm, make_parrots

# Any bits: infinities, NaN, -0.0, numbers too small to be normal.
float64s = st.floats(width=64)
float32s = st.floats(width=32)
int64s = st.integers(-(2**63), 2**63 - 1)
words = st.text(max_size=8)
message = st.fixed_dictionaries({"role": words, "content": st.text(max_size=20)})


@st.composite
def episodes(draw: st.DrawFn) -> Episode:
    """Return an episode with anything in it that an episode may have."""
    lengths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    turn_index: list[int] = []
    for turn, length in enumerate(lengths):
        turn_index += [-1] * draw(st.integers(0, 3)) + [turn] * length
    turn_index += [-1] * draw(st.integers(0, 2))
    size, num_turns = len(turn_index), len(lengths)

    def row(values: st.SearchStrategy[Any], length: int, dtype: Any) -> Any:
        some = draw(st.lists(values, min_size=length, max_size=length))
        return np.array(some, dtype=dtype)

    return Episode(
        seed=draw(st.integers(0, 2**63 - 1)),
        group=draw(st.integers(0, 1000)),
        ids=row(int64s, size, np.int64),
        action_mask=np.array(turn_index) >= 0,
        log_probs=row(float32s, size, np.float32),
        turn_index=np.array(turn_index),
        rewards=row(float64s, num_turns, np.float64),
        reward_valid=row(st.booleans(), num_turns, np.bool_),
        gold_rewards=row(float64s, draw(st.sampled_from([0, num_turns])), np.float64),
        reward_components={
            name: row(float64s, num_turns, np.float64)
            for name in draw(st.lists(words, max_size=2, unique=True))
        },
        terminated=draw(st.booleans()),
        truncated=draw(st.booleans()),
        success=draw(st.booleans()),
        termination_reason=draw(words),
        metrics=draw(st.dictionaries(words, float64s, max_size=3)),
        messages=tuple(draw(st.lists(message, max_size=3))),
        reply_lengths=np.array(lengths),
        reply_cut=row(st.booleans(), num_turns, np.bool_),
    )


def bits(value: Any) -> Any:
    """Return something that is equal only for the same type and the same bits."""
    if isinstance(value, np.ndarray):
        # A NaN is a NaN, whatever its other bits say; -0.0 is not 0.0.
        is_nan = value != value
        return (
            value.dtype.str,
            is_nan.tolist(),
            np.where(is_nan, np.zeros_like(value), value).tobytes(),
        )
    if isinstance(value, float):
        return "float", bits(np.array(value))
    if isinstance(value, dict):
        return [(name, bits(part)) for name, part in value.items()]
    if isinstance(value, tuple):
        return "tuple", [bits(part) for part in value]
    return type(value).__name__, value


def fields(episode: Episode) -> dict[str, Any]:
    return {
        field.name: bits(getattr(episode, field.name))
        for field in dataclasses.fields(Episode)
    }


def same_bits(one: dict[int, Episode], other: dict[int, Episode]) -> bool:
    return list(one) == list(other) and all(
        fields(one[number]) == fields(other[number]) for number in one
    )


@given(st.dictionaries(st.integers(0, 10**6), episodes(), max_size=4))
def test_every_field_arrives_bit_for_bit(sent: dict[int, Episode]) -> None:
    arrived = from_bytes(to_bytes(sent))
    assert list(arrived) == list(sent)
    for number, episode in sent.items():
        assert fields(arrived[number]) == fields(episode)


def test_nobody_played_anything() -> None:
    assert from_bytes(to_bytes({})) == {}


def test_a_nan_stays_a_nan_and_an_infinity_keeps_its_sign() -> None:
    episode = played()[0]
    rewards: npt.NDArray[np.float64] = np.array([np.nan, -np.inf])[: episode.num_turns]
    sent = {5: dataclasses.replace(episode, rewards=rewards)}
    arrived = from_bytes(to_bytes(sent))[5]
    assert np.array_equal(arrived.rewards, rewards, equal_nan=True)
    assert np.isnan(arrived.rewards[0]) and arrived.rewards.dtype == np.float64


def test_episodes_that_were_really_played_arrive() -> None:
    sent = dict(enumerate(played()))
    assert len({len(episode.ids) for episode in sent.values()}) > 1
    assert same_bits(from_bytes(to_bytes(sent)), sent)


def test_what_arrives_can_be_written_to() -> None:
    """As what was played here can: nobody should have to know who played an episode."""
    arrived = from_bytes(to_bytes(dict(enumerate(played()))))
    for episode in arrived.values():
        assert episode.ids.flags.writeable and episode.rewards.flags.writeable


def test_one_process_keeps_its_episodes() -> None:
    sent = dict(enumerate(played()))
    gathered = gather_episodes(sent)
    assert gathered is not sent and gathered.keys() == sent.keys()
    assert all(gathered[number] is sent[number] for number in sent)


def in_company(monkeypatch: pytest.MonkeyPatch, other: dict[int, Episode]) -> None:
    """Let there be another process, which has played `other`."""
    monkeypatch.setattr(process_group, "place", lambda: (0, 2))
    monkeypatch.setattr(
        process_group, "gather", lambda message: [message, to_bytes(other)]
    )


def test_the_episodes_of_all_processes_come_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everything = dict(enumerate(played()))
    odd = {number: e for number, e in everything.items() if number % 2}
    even = {number: e for number, e in everything.items() if not number % 2}
    in_company(monkeypatch, odd)
    gathered = gather_episodes(even)
    assert same_bits(dict(sorted(gathered.items())), everything)
    assert same_bits(gather_episodes({}), odd)


def test_an_episode_that_two_processes_played_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everything = dict(enumerate(played()))
    in_company(monkeypatch, {2: everything[2], 3: everything[3]})
    with pytest.raises(RuntimeError, match=r"Episodes \[2\] were played by two"):
        gather_episodes({1: everything[1], 2: everything[2]})


def played() -> tuple[Episode, ...]:
    lm = make_lm()
    return tuple(
        episode
        for num_turns in (2, 3)
        for episode in Collector(lm, make_parrots(2, num_turns=num_turns))
        .collect(2, 0)
        .episodes
    )
