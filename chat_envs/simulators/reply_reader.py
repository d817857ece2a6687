"""A reader of replies: what a reply asks, which emotion it names, how it fits and repeats itself.

It knows words, not grammar. A sentence ends at `. ! ?` or a line's end. An emotion is named for
whoever was the subject last: in "I am glad you feel proud" the other is proud, and in "you are not
sad" nobody is sad. All of it is linear in the length of the text.
"""

from __future__ import annotations

import functools
import re
from typing import AbstractSet, Collection, Mapping, NamedTuple, Sequence

__all__ = ["Reading", "ReplyReader", "relevance", "repetition"]

_MOST_CHARACTERS = 2000  # of a reply; the rest is not read
_MOST_READINGS = 4096  # kept; the same replies come again and again
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+|[.!?\n,;:]")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+")
_SIGNS = frozenset(".!?\n,;:")
_STOPS = frozenset(".!?\n")
_COPIED_WORDS = 4  # in a row, and they are the other's and not one's own

_SELF = frozenset("i i'm im i've i'd i'll me my we we're us our".split())
_OTHERS = frozenset(
    "you you're you've you'd you'll your yours u ur that that's it it's its this"
    " they he she".split()
)
_OBSERVING = frozenset(
    "hear see think guess imagine understand know sense notice bet believe suppose find get".split()
)
_NEGATIONS = frozenset(
    "not never no isn't aren't don't doesn't wasn't cannot can't".split()
)
_FILLERS = frozenset("and so but well oh ok okay hm hmm then now".split())
_AUXILIARIES = frozenset(
    "do does did are is was were have has had can could would will should".split()
)
_ASKING = _AUXILIARIES | frozenset("who whose where why which".split())
_ASKING_WITH_AUXILIARY = frozenset("what when how".split())


class Reading(NamedTuple):
    """What was read.

    Attributes:
        words: all of them, in lower case.
        asked: the words of its questions.
        emotions: those that it says the other has.
        has_praise: whether it praises.
        has_abuse: whether it abuses.
    """

    words: tuple[str, ...]
    asked: frozenset[str]
    emotions: frozenset[str]
    has_praise: bool
    has_abuse: bool


class ReplyReader:
    """Reads replies, and remembers what it read.

    Args:
        emotions: emotion -> the words that name it.
        praise: words of praise.
        abuse: words, or phrases of two words, of abuse.

    >>> reader = ReplyReader({"sad": ["sad"], "angry": ["angry", "mad"]}, ["great"], ["shut up"])
    >>> reading = reader.read("I see, you are MAD. Where is the dog?")
    >>> sorted(reading.emotions), sorted(reading.asked)
    (['angry'], ['dog', 'is', 'the', 'where'])
    >>> reader.read("I am sad. You are not angry.").emotions
    frozenset()
    """

    def __init__(
        self,
        emotions: Mapping[str, Collection[str]],
        praise: Collection[str],
        abuse: Collection[str],
    ) -> None:
        self._emotion_of: dict[str, str] = {}
        for emotion, names in emotions.items():
            for name in names:
                if self._emotion_of.setdefault(name, emotion) != emotion:
                    raise ValueError(f"{name!r} names two emotions; keep one of them.")
        self._praise = frozenset(praise)
        self._abuse = frozenset(abuse)
        self._readings: dict[str, Reading] = {}
        self._words = functools.lru_cache(_MOST_READINGS)(_words)

    def read(self, text: str) -> Reading:
        """Return what `text`, any string, says."""
        key = text[:_MOST_CHARACTERS]
        reading = self._readings.get(key)
        if reading is None:
            if len(self._readings) >= _MOST_READINGS:
                self._readings.clear()
            reading = self._readings[key] = self._read(key)
        return reading

    def words(self, text: str) -> tuple[str, ...]:
        """Return the words of `text`, in lower case."""
        return self._words(text[:_MOST_CHARACTERS])

    def _read(self, text: str) -> Reading:
        tokens = _TOKEN.findall(text.lower().replace("\u2019", "'"))
        words = tuple([token for token in tokens if token not in _SIGNS])
        asked: set[str] = set()
        start = 0
        for end, token in enumerate(tokens):
            if token in _STOPS:
                asked |= _asked(tokens[start:end], token == "?")
                start = end + 1
        asked |= _asked(tokens[start:], False)
        pairs = {f"{one} {other}" for one, other in zip(words, words[1:])}
        return Reading(
            words=words,
            asked=frozenset(asked - _SIGNS),
            emotions=self._emotions(tokens),
            has_praise=not self._praise.isdisjoint(words),
            has_abuse=not self._abuse.isdisjoint(pairs.union(words)),
        )

    def _emotions(self, tokens: Sequence[str]) -> frozenset[str]:
        """Return the emotions that are said of another than the speaker."""
        found: set[str] = set()
        is_own = is_negated = False
        for token in tokens:
            if token in self._emotion_of:
                if not is_own and not is_negated:
                    found.add(self._emotion_of[token])
            elif token in _SIGNS:
                is_own = is_negated = False
            elif token in _SELF:
                is_own, is_negated = True, False
            elif token in _OTHERS or token in _OBSERVING:
                is_own = is_negated = False
            elif token in _NEGATIONS:
                is_negated = True
        return frozenset(found)


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.lower().replace("\u2019", "'")))


def _asked(sentence: Sequence[str], has_mark: bool) -> frozenset[str]:
    """Return the words of a sentence that asks, nothing of one that does not."""
    if has_mark:
        return frozenset(sentence)
    words = [token for token in sentence if token not in _SIGNS]
    while words and words[0] in _FILLERS:
        words = words[1:]
    is_question = words[:1] and (
        words[0] in _ASKING
        or (
            words[0] in _ASKING_WITH_AUXILIARY
            and words[1:2]
            and words[1] in _AUXILIARIES
        )
        or "wonder" in words
        or ("tell", "me") in zip(words, words[1:])
    )
    return frozenset(words) if is_question else frozenset()


def repetition(words: Sequence[str], earlier: Sequence[AbstractSet[str]]) -> float:
    """Return the overlap of a reply with the earlier reply that is most like it.

    Args:
        words: what the reply says, without words that every reply has.
        earlier: the sets of words of earlier replies.

    >>> repetition(["sad", "dog"], [{"sad", "cat"}, {"bus"}]), repetition([], [set()])
    (0.5, 1.0)
    """
    said = set(words)
    if not said:
        return float(any(not other for other in earlier))
    return max([len(said & other) for other in earlier], default=0) / len(said)


def relevance(
    words: Sequence[str],
    relevant: Collection[str],
    ignored: Collection[str],
    heard: Sequence[str],
) -> float:
    """Return the share of a reply's content words that belong to what the other talks about.

    A word said twice counts once, and words copied from the other, four or more in a row, are
    not one's own and count as beside the point.

    Args:
        words: the reply, in order.
        relevant: what the other talks about.
        ignored: words without content.
        heard: the other's words, in order.

    >>> relevance(["your", "dog"], {"dog"}, {"your"}, ["i", "like", "my", "dog"])
    1.0
    >>> relevance(["i", "like", "my", "dog"], {"dog"}, {"i", "my"}, ["i", "like", "my", "dog"])
    0.0
    """
    content = [k for k, word in enumerate(words) if word not in ignored]
    if not content:
        return 0.0
    hits = [k for k in content if words[k] in relevant]
    if hits and len(words) >= _COPIED_WORDS:
        copied = _copied(words, heard)
        hits = [k for k in hits if k not in copied]
    return len({words[k] for k in hits}) / len(content)


def _copied(words: Sequence[str], heard: Sequence[str]) -> set[int]:
    """Return the positions of words that stand in a run which `heard` has too."""
    size = _COPIED_WORDS
    runs = {tuple(heard[k : k + size]) for k in range(len(heard) - size + 1)}
    copied: set[int] = set()
    for k in range(len(words) - size + 1):
        if tuple(words[k : k + size]) in runs:
            copied.update(range(k, k + size))
    return copied
