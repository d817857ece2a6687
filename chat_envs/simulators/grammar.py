"""A grammar of listed phrases: text is reduced to a normal form, which can be looked up."""

from __future__ import annotations

import re
from typing import Iterable, Mapping

__all__ = ["Grammar"]

# No listed question is longer; what is may be a million characters of anything.
_MAX_CHARACTERS = 300
_MAX_WORDS = 24
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_SENTENCE_END = re.compile(r"[.!:;\n]")
_SORTS = frozenset({"kind", "type", "sort"})


class Grammar:
    """Reduces text to a normal form.

    Case, punctuation, articles and hedges fall away, a thing is `it` and whoever asks is `people`,
    and relative clauses become plain questions. Of several sentences the one that asks counts.

    Args:
        drop: words that say nothing.
        replace: words that stand for another.

    >>> grammar = Grammar(["a", "something"], {"that": "it", "you": "people"})
    >>> grammar.normal("OK! Is it something that you can eat?")
    'can people eat it'
    >>> grammar.normal("Is it a cat? Is it a dog?"), grammar.normal("cat, dog")
    ('', 'cat dog')
    """

    def __init__(self, drop: Iterable[str], replace: Mapping[str, str]) -> None:
        self._table: dict[str, tuple[str, ...]] = {word: () for word in drop}
        self._table |= {word: tuple(by.split()) for word, by in replace.items()}

    def normal(self, text: str) -> str:
        """Return the normal form of `text`, "" for what cannot be one question."""
        return " ".join(self.words(text))

    def words(self, text: str) -> list[str]:
        """Return the words of the normal form; [] for two questions at once, or a long text."""
        if len(text) > _MAX_CHARACTERS:
            return []
        if "?" in text:
            asked, _, rest = text.partition("?")
            if "?" in rest:
                return []
            # "Good. Is it alive? I wonder." asks one thing.
            text = _SENTENCE_END.split(asked)[-1]
        table = self._table
        words: list[str] = []
        for word in _WORD.findall(text.lower().replace("\u2019", "'")):
            by = table.get(word)
            if word == "of" and words and words[-1] in _SORTS:
                words.pop()  # a kind of tool is a tool
            elif by is None:
                words.append(word)
            elif by != ("it",) or words[-1:] != ["it"]:  # a thing that: one `it`
                words.extend(by)
        return _as_question(words) if len(words) <= _MAX_WORDS else []


def _as_question(words: list[str]) -> list[str]:
    """Return `words` with statements and relative clauses turned into plain questions."""
    if words[:1] == ["it"]:
        words = ["is", *words]
    if words[:2] != ["is", "it"]:
        return words
    match words[2:]:
        case ["is", *rest]:
            return ["is", "it", *rest]
        case ["can", *rest]:
            return ["can", "it", *rest]
        case ["has", *rest]:
            return ["does", "it", "have", *rest]
        case ["people", "can", *rest]:
            return ["can", "people", *rest, "it"]
        case ["people", *rest]:
            return ["does", "people", *rest, "it"]
    return words
