"""Misspelt names: every error that knows the right ones proposes the nearest."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that proposes the known name nearest to `name`, with a leading space.

    >>> nearest("replay", ["reply", "prompt"])
    " Did you mean 'reply'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(names)}."
