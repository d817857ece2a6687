"""Words of a command line that must be of a known set."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

__all__ = ["choose"]


def choose(words: Sequence[str], known: Sequence[str], what: str) -> list[str]:
    """Return `words` if each is one of `known`.

    Raises:
        ValueError: names the first that is not, the nearest that is, and all of them.

    >>> choose(["trains"], ["decode", "train"], "part")
    Traceback (most recent call last):
    ValueError: Unknown part 'trains'; did you mean 'train'? Known are decode, train.
    """
    for word in words:
        if word not in known:
            close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise ValueError(
                f"Unknown {what} {word!r}{hint} Known are {', '.join(known)}."
            )
    return list(words)
