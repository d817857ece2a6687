"""The lanes' bookkeeping, on the device and in place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.engine.lane import Fact, Lanes
from agents.engine.language_model import Sampling

CPU = torch.device("cpu")


def lanes_of(num_lanes: int = 4, tokens: int = 3, **options) -> Lanes:
    lanes = Lanes(num_lanes, 5, 10, CPU)
    lanes.begin(Sampling(max_new_tokens=tokens, stop_ids=frozenset(), **options), None)
    return lanes


def test_a_lane_starts_at_its_last_id_and_moves_whole() -> None:
    lanes = lanes_of()
    lanes.seat(1, [7, 9], [3, 2], [4, 0])
    assert lanes.look(3)[Fact.POSITION].tolist() == [0, 7, 9]
    lanes.move([0, 2], [2, 1])
    facts = lanes.look(4)
    assert facts[Fact.POSITION].tolist() == [9, 7, 7, 0]
    assert facts[Fact.LIMIT].tolist() == [2, 3, 3, 0]
    assert facts[Fact.REPLY].tolist() == [0, 4, 4, 0]
    lanes.seat(0, [1], [1], [1])  # nothing of who was there before is left
    assert lanes.look(1)[:, 0].tolist() == [0, 1, 0, 1, 1, 0, 0, 0]


def test_a_look_is_a_copy() -> None:
    lanes = lanes_of()
    facts = lanes.look(2)
    lanes.seat(0, [7, 9], [3, 2], [4, 0])
    assert not facts.any()


def test_an_idle_lane_writes_where_nobody_reads() -> None:
    lanes = lanes_of()
    lanes.park(1, 3, 11)
    facts = lanes.look(4)
    assert facts[Fact.REPLY].tolist() == [0, 5, 5, 0]
    assert facts[Fact.POSITION].tolist() == [0, 11, 11, 0]
    assert facts[Fact.IS_DONE].tolist() == [0, 1, 1, 0]


def test_buffers_stay_where_they_are_until_a_reply_is_longer() -> None:
    lanes = lanes_of(tokens=3)
    address, growths = lanes.ids_BR.data_ptr(), lanes.num_growths
    for tokens in (1, 63):
        sampling = Sampling(max_new_tokens=tokens, stop_ids=frozenset({2}))
        lanes.begin(sampling, torch.ones(2, tokens, dtype=torch.float64))
        assert lanes.ids_BR.data_ptr() == address
        assert lanes.num_growths == growths
        assert lanes.noise_BR[:2, :tokens].min() == 1
    lanes.begin(Sampling(max_new_tokens=64, stop_ids=frozenset()), None)
    assert lanes.num_growths == growths + 1
    # One more than tokens, for what lanes that are done write.
    assert lanes.ids_BR.shape[1] > 64
    assert lanes.ids_BR.shape == lanes.log_probs_BR.shape == lanes.noise_BR.shape


def test_stop_ids_are_those_of_the_call() -> None:
    lanes = lanes_of()
    for stop_ids in ({1, 9}, {3, 10, -1, 10**12}):
        lanes.begin(Sampling(max_new_tokens=1, stop_ids=frozenset(stop_ids)), None)
        known = [i for i in sorted(stop_ids) if 0 <= i < 10]
        assert lanes.is_stop_V.nonzero().ravel().tolist() == known


@pytest.mark.parametrize("lengths", [[2, 3, 1], [1, 1, 1]])
def test_what_stands_past_a_reply_is_cleared_in_a_copy(lengths: list[int]) -> None:
    lanes = lanes_of()
    lanes.ids_BR.fill_(7)
    lanes.log_probs_BR.fill_(-1)
    finished_B = np.array([True, False, True])
    generation = lanes.generation(np.array(lengths), finished_B)
    assert generation.ids.shape == (3, max(lengths))
    for row, length in enumerate(lengths):
        assert generation.ids[row].tolist() == [7] * length + [0] * (
            max(lengths) - length
        )
        assert generation.log_probs[row].sum() == -length
    lanes.ids_BR.zero_()
    assert generation.ids.any()
    np.testing.assert_array_equal(generation.finished, finished_B)
