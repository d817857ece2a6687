"""Reading which one of a few words a reply names."""

from __future__ import annotations

import re
from typing import Iterable, Mapping

__all__ = ["ChoiceReader"]

_WORD = re.compile(r"[^\W_]+")
_APOSTROPHES = str.maketrans("", "", "'\u2019")
_MAX_CHARACTERS = 300


class ChoiceReader:
    """Reads the one choice that a text names, if it names exactly one.

    Around it only words of `frames` may stand, which say nothing by themselves. Any other word
    leaves the text unread: so neither a denial ("not red") nor a list passes for an answer. Case
    and punctuation do not matter, and apostrophes are dropped ("it's" is "its").

    Args:
        choices: what can be named: words in lower case.
        frames: words that may stand around a choice.
        aliases: other spellings, each with the choice that it means.

    Raises:
        ValueError: if a word has two meanings, or an alias means no choice.

    >>> reader = ChoiceReader(["red", "grey"], ["it", "is"], {"gray": "grey"})
    >>> reader.read("It is RED!"), reader.read("gray")
    ('red', 'grey')
    >>> reader.read("not red"), reader.read("red grey"), reader.read("it is")
    (None, None, None)
    """

    __slots__ = ("_meanings",)

    def __init__(
        self,
        choices: Iterable[str],
        frames: Iterable[str] = (),
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        named = {choice: choice for choice in choices}
        for alias, choice in (aliases or {}).items():
            if alias in named or choice not in named:
                raise ValueError(
                    f"The alias {alias!r} must be no choice and mean one, not {choice!r}."
                )
        named |= aliases or {}
        framing = frozenset(frames)
        if both := sorted(framing & named.keys()):
            raise ValueError(f"{both} are choices and frames; a word is one of both.")
        self._meanings: dict[str, str] = dict.fromkeys(framing, "") | named

    def read(self, text: str) -> str | None:
        """Return the choice that `text` names, or None if it names none, several or more.

        A text of over 300 characters is no answer.
        """
        if len(text) > _MAX_CHARACTERS:
            return None
        named = ""
        for word in _WORD.findall(text.lower().translate(_APOSTROPHES)):
            meaning = self._meanings.get(word)
            if meaning is None or (meaning and named):
                return None
            named = meaning or named
        return named or None
