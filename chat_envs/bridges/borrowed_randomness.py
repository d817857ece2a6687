"""The hidden global generators, lent to code that draws from nothing else and given back.

Some packages draw from `random` and `numpy.random` as modules, whose one state belongs to the
whole process. Here such code runs on a state of its own.
"""

from __future__ import annotations

import contextlib
import random
import threading
from typing import Any, Iterator

import numpy as np

__all__ = ["BorrowedRandomness"]

# One for the process, since the states are: whoever runs on them has them alone.
_LOCK = threading.RLock()


class BorrowedRandomness:
    """A state of `random` and of `numpy.random` that belongs to one episode.

    Inside `installed()` both modules draw from it; outside they are as if nothing had happened.
    Threads take turns. A thread that draws from the global state *without* asking here, at the
    very moment when another is inside, does draw from the borrowed state.

    Args:
        seed: at least 0.

    >>> first, second = BorrowedRandomness(3), BorrowedRandomness(3)
    >>> with first.installed():
    ...     one = random.random(), np.random.random()
    >>> with second.installed():
    ...     one == (random.random(), np.random.random())
    True
    """

    def __init__(self, seed: int) -> None:
        self._python = random.Random(seed).getstate()
        self._numpy: Any = np.random.MT19937(seed).state

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Draw from this state, and go on from where it is left the next time."""
        with _LOCK:
            python, numpy = random.getstate(), np.random.get_state()
            random.setstate(self._python)
            np.random.set_state(self._numpy)
            try:
                yield
            finally:
                self._python, self._numpy = random.getstate(), np.random.get_state()
                random.setstate(python)
                np.random.set_state(numpy)
