"""BorrowedRandomness: every holder has its own stream, and the process keeps its own."""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np
import pytest

from chat_envs.bridges.borrowed_randomness import BorrowedRandomness


def draw() -> tuple[float, float]:
    return random.random(), float(np.random.random())


def stream(seed: int, length: int) -> list[tuple[float, float]]:
    own = BorrowedRandomness(seed)
    draws = []
    for _ in range(length):
        with own.installed():
            draws.append(draw())
    return draws


def global_state() -> tuple[Any, str]:
    return random.getstate(), str(np.random.get_state())


def test_a_seed_is_a_stream_that_goes_on_from_call_to_call() -> None:
    assert stream(3, 4) == stream(3, 4)
    assert len(set(stream(3, 4))) == 4
    assert stream(3, 1) != stream(4, 1)


def test_the_stream_is_what_the_seeded_generator_gives() -> None:
    assert stream(3, 1)[0][0] == random.Random(3).random()


def test_the_state_of_the_process_is_as_it_was() -> None:
    before = global_state()
    own = BorrowedRandomness(5)
    with own.installed():
        draw()
        random.seed(1)
        np.random.seed(1)
    assert global_state() == before


def test_the_state_of_the_process_comes_back_after_an_error() -> None:
    before = global_state()
    with pytest.raises(KeyError):
        with BorrowedRandomness(5).installed():
            draw()
            raise KeyError
    assert global_state() == before


def test_holders_that_take_turns_do_not_mix() -> None:
    one, other = BorrowedRandomness(1), BorrowedRandomness(2)
    found: list[list[tuple[float, float]]] = [[], []]
    for _ in range(5):
        for draws, own in zip(found, (one, other)):
            with own.installed():
                draws.append(draw())
    assert found == [stream(1, 5), stream(2, 5)]


def test_eight_threads_do_not_mix() -> None:
    before = global_state()
    found: dict[int, list[tuple[float, float]]] = {}
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        start.wait()
        found[seed] = stream(seed, 50)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert global_state() == before
    assert found == {seed: stream(seed, 50) for seed in range(8)}
