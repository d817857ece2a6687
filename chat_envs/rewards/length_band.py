"""Whether the reply is about as long as it should be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chat_envs.rewards.description import BuiltinReward, Exploit
from chat_envs.rewards.word import split_words

__all__ = ["LengthBand"]

_UNITS = ("words", "tokens", "characters")


class LengthBand(BuiltinReward):
    """1 for a reply of `low` to `high` words; outside it falls in a straight line to 0.

    Args:
        low: fewest words that earn all, at least 0.
        high: most words that earn all, at least `low`.
        ramp: how many words outside of the band earn nothing any more, at least 1.
        unit: "words", "tokens" (the ids as they were written), or "characters".

    >>> band = LengthBand(low=2, high=4, ramp=2)
    >>> import numpy as np
    >>> [band("word " * n, np.arange(n)) for n in range(8)]
    [0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0]
    """

    name = "length_band"
    range = (0.0, 1.0)
    sees = ("reply", "reply_ids")
    exploits = (
        Exploit(
            "filler",
            "Only the number of words counts: any words of the right number earn all.",
            hostile="well well and so on and so on and so on",
            honest="Yes.",
            asked="Are you open today?",
        ),
    )

    def __init__(
        self, *, low: int = 5, high: int = 30, ramp: int = 10, unit: str = "words"
    ) -> None:
        if not 0 <= low <= high:
            raise ValueError(
                f"length_band wants 0 <= low <= high, got low={low}, high={high}"
            )
        if ramp < 1:
            raise ValueError(f"ramp must be at least 1, got {ramp}")
        if unit not in _UNITS:
            raise ValueError(f"unit must be one of {_UNITS}, got {unit!r}")
        self._low, self._high, self._ramp, self._unit = low, high, ramp, unit

    def __call__(self, reply: str, reply_ids: NDArray[np.int64]) -> float:
        """Return the share of 1 that the length earns."""
        if self._unit == "tokens":
            length = len(reply_ids)
        else:
            length = len(reply if self._unit == "characters" else split_words(reply))
        distance = max(self._low - length, length - self._high, 0)
        return max(0.0, 1.0 - distance / self._ramp)
