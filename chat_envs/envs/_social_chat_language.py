"""The words of `SocialChat`, by tier and split, from its template file."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from chat_envs.data_file import load_json
from chat_envs.simulators.reply_reader import ReplyReader

__all__ = ["Language", "combine", "data", "language"]

data = functools.partial(load_json, "social_chat.json")
"""The template file."""

_HELD_OUT_PHRASES = 3  # one combination of parts in so many is of the test split


@dataclass(frozen=True, kw_only=True)
class Language:
    """The words of a tier in one split.

    Attributes:
        reader: reads replies, and the user's own words.
        things: what may be on a user's mind.
        thing_of: word -> the thing that it means.
        words_of: thing -> the words that mean it.
        emotions: what a user may feel.
        names: emotion -> the words that the expert uses for it.
        pleasant: emotions that praise does not contradict.
        cues: emotion -> what users say who feel it.
        bodies: emotion -> templates with a {thing}.
        openings: templates with {turns}.
        aspects: what may be asked about every thing: its `question`, `keys`, `answers`.
        facts: every choice of one answer an aspect.
        rivals: templates about others, with {cue}, {person} or {thing}.
        glue: words that say nothing.
        ignored: words that do not count in relevance: `glue`, frames of questions, emotions.
    """

    reader: ReplyReader
    things: tuple[str, ...]
    thing_of: Mapping[str, str]
    words_of: Mapping[str, frozenset[str]]
    emotions: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    pleasant: frozenset[str]
    cues: Mapping[str, tuple[str, ...]]
    bodies: Mapping[str, tuple[str, ...]]
    openings: tuple[str, ...]
    reactions: Mapping[str, tuple[str, ...]]
    aspects: Mapping[str, Mapping[str, Any]]
    facts: tuple[Mapping[str, str], ...]
    rivals: tuple[str, ...]
    people: tuple[str, ...]
    farewells: Mapping[str, str]
    unread: str
    glue: frozenset[str]
    ignored: frozenset[str]

    def content(self, words: Sequence[str]) -> frozenset[str]:
        """Return the words that say something."""
        return frozenset(words).difference(self.glue)

    def aspects_of(self, words: frozenset[str]) -> list[str]:
        """Return the aspects that a question with `words` asks about."""
        return [
            name
            for name, aspect in self.aspects.items()
            if not words.isdisjoint(aspect["keys"])
        ]


def combine(parts: Sequence[Sequence[str]], split: str) -> tuple[str, ...]:
    """Return the phrases of `split` among all combinations of parts.

    A third is held out; each part also occurs in training.

    >>> combine([["a", "b"], ["1", "2"]], "test"), combine([["a", "b"], ["1", "2"]], "train")
    (('a1',), ('a2', 'b1', 'b2'))
    """
    found = []
    for picks in itertools.product(*(range(len(part)) for part in parts)):
        if (sum(picks) % _HELD_OUT_PHRASES == 0) == (split == "test"):
            found.append("".join([part[k] for part, k in zip(parts, picks)]))
    return tuple(found)


@functools.cache
def language(name: str, split: str) -> Language:
    """Return the language `name` in one split; the reader understands the same in both."""
    document = data()
    words = document["tiers"][name]
    emotions = {emotion: document["emotions"][emotion] for emotion in words["cues"]}
    aspects = words.get("aspects", {})
    named = itertools.chain.from_iterable(emotions.values())
    return Language(
        reader=ReplyReader(emotions, document["praise"], document["abuse"]),
        things=tuple(words["things"]),
        thing_of={w: thing for thing, ws in words["things"].items() for w in ws},
        words_of={thing: frozenset(ws) for thing, ws in words["things"].items()},
        emotions=tuple(words["cues"]),
        names={emotion: tuple(names) for emotion, names in words["names"].items()},
        pleasant=frozenset(document["pleasant"]),
        cues={emotion: tuple(cues) for emotion, cues in words["cues"].items()},
        bodies={
            emotion: _bodies(words["bodies"], cues, split)
            for emotion, cues in words["cues"].items()
        },
        openings=combine(words["openings"], split),
        reactions={kind: tuple(texts) for kind, texts in words["reactions"].items()},
        aspects=aspects,
        facts=tuple(
            dict(zip(aspects, answers))
            for answers in itertools.product(*(a["answers"] for a in aspects.values()))
        ),
        rivals=tuple(words.get("rivals", ())),
        people=tuple(document["people"]),
        farewells=words["farewells"],
        unread=document["unread"],
        glue=frozenset(document["glue"]),
        ignored=frozenset(document["glue"]).union(document["frame"], named),
    )


def _bodies(
    parts: Sequence[Sequence[str]], cues: Sequence[str], split: str
) -> tuple[str, ...]:
    """Return templates that say `cues`; which cue counts as a part of the combination."""
    number = range(len(cues))
    phrases = combine([*parts, [f"\0{k}" for k in number]], split)
    filled = []
    for phrase in phrases:
        template, _, cue = phrase.partition("\0")
        filled.append(template.replace("{cue}", cues[int(cue)]))
    return tuple(filled)
