"""The simulated user of `SocialChat`: what is on their mind, how they feel, and what they say."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field
from typing import Mapping

from chat_envs.envs._social_chat_language import Language, language
from chat_envs.simulators.affect import (
    Affect,
    ReplyFeatures,
    draw_noise,
    fade,
    leave_probability,
    update,
)
from chat_envs.simulators.reply_reader import Reading, relevance, repetition
from chat_envs.simulators.stream import Uniform

__all__ = [
    "Partner",
    "REMEMBERED_REPLIES",
    "TIERS",
    "Tier",
    "Topic",
    "draw_topics",
    "is_held_out",
]

REMEMBERED_REPLIES = 5
_HELD_OUT_PAIRS = (
    4  # one pair of a thing and an emotion in so many is of the test split
)
_WARM_GAIN = 0.15
_RIVAL_RATE = 0.6
_MOODS = (-0.5, 0.0)


@dataclass(frozen=True, kw_only=True)
class Tier:
    """How hard a tier is.

    Attributes:
        language: which words it uses.
        max_turns: replies of the agent.
        context_length: room for the longest replies in every turn.
        num_topics: things on the user's mind.
        engagement: bounds of the engagement at the start.
        interest: bounds of the interest in a topic at the start.
        switch_rate: how often the user goes on to a new thing by itself.
        has_rivals: whether the user also tells what others feel and have, or felt before.
    """

    language: str
    max_turns: int
    context_length: int
    num_topics: int
    engagement: tuple[float, float]
    interest: tuple[float, float]
    switch_rate: float
    has_rivals: bool = False


TIERS: Mapping[str, Tier] = {
    "easy": Tier(
        language="easy",
        max_turns=4,
        context_length=256,
        num_topics=4,
        engagement=(0.05, 0.15),
        interest=(1.0, 1.0),
        switch_rate=1.0,
    ),
    "default": Tier(
        language="default",
        max_turns=8,
        context_length=768,
        num_topics=3,
        engagement=(0.2, 0.3),
        interest=(0.6, 1.0),
        switch_rate=0.5,
    ),
    "hard": Tier(
        language="default",
        max_turns=8,
        context_length=1024,
        num_topics=4,
        engagement=(0.2, 0.3),
        interest=(0.3, 1.0),
        switch_rate=0.5,
        has_rivals=True,
    ),
}


@dataclass(slots=True)
class Topic:
    """A thing on the user's mind.

    Attributes:
        thing: what it is.
        emotion: what the user feels about it.
        interest: in [0, 1].
        facts: aspect -> what is true.
        told: the aspects that the user told of.
        words: what it can be asked about by: its names, and what was told.
    """

    thing: str
    emotion: str
    interest: float
    facts: Mapping[str, str]
    told: list[str] = field(default_factory=list)
    words: set[str] = field(default_factory=set)


def is_held_out(thing: int, emotion: int) -> bool:
    """Whether the pair, by its numbers, is of the test split."""
    return (thing + emotion) % _HELD_OUT_PAIRS == 0


def draw_topics(tier: Tier, words: Language, split: str, rng: Uniform) -> list[Topic]:
    """Return things and emotions that belong to `split`; none of them twice."""
    emotions = list(range(len(words.emotions)))
    used: set[int] = set()
    names, low, width = (
        words.emotions,
        tier.interest[0],
        tier.interest[1] - tier.interest[0],
    )
    topics = []
    for _ in range(tier.num_topics):
        emotion = emotions.pop(int(rng.random() * len(emotions)))
        allowed = _things_of(len(words.things), emotion, split)
        choices = [thing for thing in allowed if thing not in used]
        thing = choices[int(rng.random() * len(choices))]
        used.add(thing)
        topics.append(
            Topic(
                thing=words.things[thing],
                emotion=names[emotion],
                interest=low + width * rng.random(),
                facts=words.facts[int(rng.random() * len(words.facts))],
                words=set(words.words_of[words.things[thing]]),
            )
        )
    return topics


@functools.cache
def _things_of(num_things: int, emotion: int, split: str) -> tuple[int, ...]:
    """Return the things that `split` has together with `emotion`."""
    things = range(num_things)
    return tuple(t for t in things if is_held_out(t, emotion) == (split == "test"))


class Partner:
    """A user who has things on their mind.

    Args:
        tier: how hard it is.
        split: which things and phrases it draws.
        goal, behaviour, phrasing, channel: streams of randomness: what is on its mind; what it
            feels and does; its words; what it tells of others.
    """

    def __init__(
        self,
        tier: Tier,
        split: str,
        goal: Uniform,
        behaviour: Uniform,
        phrasing: Uniform,
        channel: Uniform,
    ) -> None:
        self._tier = tier
        self._words = language(tier.language, split)
        self._behaviour, self._phrasing, self._channel = behaviour, phrasing, channel
        self.topics = draw_topics(tier, self._words, split, goal)
        low, high = tier.engagement
        sad, content = _MOODS
        self.affect = Affect(
            mood=sad + (content - sad) * goal.random(),
            engagement=low + (high - low) * goal.random(),
        )
        self.current = self.topics[0]
        self._num_mentioned = 1
        self.features = ReplyFeatures()
        self._asked: Topic | None = None
        self._last_words: tuple[str, ...] = ()
        self._earlier: list[frozenset[str]] = []

    @property
    def mentioned(self) -> list[Topic]:
        """Return the topics that the user spoke of, in the order of `topics`."""
        return self.topics[: self._num_mentioned]

    def begin(self) -> str:
        """Return the user's first words."""
        return self._say("", "")

    def hear(self, reading: Reading) -> bool:
        """Take in a reply; return whether the user leaves."""
        self._asked = self._find_asked(reading)
        self.features = self._features(reading)
        engagement_noise = draw_noise(self._behaviour)
        mood_noise = draw_noise(self._behaviour)
        self.affect = update(self.affect, self.features, engagement_noise, mood_noise)
        self.current.interest = fade(self.current.interest)
        draw = self._behaviour.random()
        return draw < leave_probability(self.affect.engagement)

    def answer(self, reading: Reading, gain: float) -> str:
        """Return what the user, who stays, says to a reply.

        Args:
            reading: the reply.
            gain: by how much it raised the engagement.
        """
        asked = self._asked
        reaction = self._react(reading, gain)
        fact = "" if asked is None else self._tell(asked, reading)
        self._move_on(asked)
        return self._say(reaction, fact)

    def _features(self, reading: Reading) -> ReplyFeatures:
        words, asked = self._words, self._asked
        content = words.content(reading.words)
        relevant = set(self._last_words).union(*(t.words for t in self.mentioned))
        features = ReplyFeatures(
            question=0.0 if asked is None else asked.interest,
            validation=float(self._is_validated(reading)),
            relevance=relevance(
                reading.words, relevant, words.ignored, self._last_words
            ),
            repetition=repetition(tuple(content), self._earlier),
            num_words=len(reading.words),
            toxicity=float(reading.has_abuse),
        )
        self._earlier = [*self._earlier[1 - REMEMBERED_REPLIES :], content]
        return features

    def _is_validated(self, reading: Reading) -> bool:
        """Whether the right emotion was named, and nothing that contradicts it."""
        emotion = self.current.emotion
        if reading.emotions != {emotion}:
            return False
        return emotion in self._words.pleasant or not reading.has_praise

    def _find_asked(self, reading: Reading) -> Topic | None:
        """Return the one topic that the reply asks about.

        Who asks about two of them, or about a thing that is not the user's, asks about none.
        """
        asked = reading.asked
        if not asked:
            return None
        topics = [
            topic for topic in self.mentioned if not asked.isdisjoint(topic.words)
        ]
        if len(topics) != 1:
            return None
        thing_of = self._words.thing_of
        foreign = {thing_of[w] for w in asked if w in thing_of} - {topics[0].thing}
        return None if foreign else topics[0]

    def _react(self, reading: Reading, gain: float) -> str:
        draw = self._phrasing.random()
        if not reading.words:
            return self._words.unread
        if reading.has_praise:
            kind = "praised"
        elif gain >= _WARM_GAIN:
            kind = "warm"
        else:
            kind = "mild" if gain >= 0.0 else "cold"
        texts = self._words.reactions.get(kind, ("",))
        return texts[int(draw * len(texts))]

    def _tell(self, topic: Topic, reading: Reading) -> str:
        """Return the fact that was asked for, else one that is new."""
        wanted = self._words.aspects_of(reading.asked) or list(topic.facts)
        untold = [aspect for aspect in wanted if aspect not in topic.told]
        aspect = next(iter(untold or wanted), "")
        if not aspect:
            return ""
        if untold:
            topic.told.append(aspect)
            said = self._words.reader.words(topic.facts[aspect])
            topic.words |= set(said).difference(self._words.ignored)
        return topic.facts[aspect]

    def _move_on(self, asked: Topic | None) -> None:
        """Choose what the user speaks of next."""
        draw = self._behaviour.random()
        fresh = self.topics[self._num_mentioned :]
        if fresh and draw < self._tier.switch_rate:
            self.current = fresh[0]
            self._num_mentioned += 1
        elif asked is not None:
            self.current = asked
        else:
            self.current = max(self.mentioned, key=lambda topic: topic.interest)

    def _say(self, reaction: str, fact: str) -> str:
        bodies = self._words.bodies[self.current.emotion]
        body = bodies[int(self._phrasing.random() * len(bodies))]
        rival = self._rival() if self._tier.has_rivals else ""
        parts = [reaction, fact, rival, body.format(thing=self.current.thing)]
        read = self._words.reader.words
        # Part by part: they come again and again, the whole hardly ever.
        self._last_words = tuple(itertools.chain.from_iterable(map(read, parts)))
        return " ".join([part for part in parts if part])

    def _rival(self) -> str:
        """Return something about another's emotion or thing, or about an emotion of the past."""
        words, draw = self._words, self._channel.random
        is_said, form, emotion, cue, thing, person = [draw() for _ in range(6)]
        if is_said >= _RIVAL_RATE:
            return ""
        others = [e for e in words.emotions if e != self.current.emotion]
        cues = words.cues[others[int(emotion * len(others))]]
        own = {topic.thing for topic in self.topics}
        things = [t for t in words.things if t not in own]
        return words.rivals[int(form * len(words.rivals))].format(
            cue=cues[int(cue * len(cues))],
            thing=things[int(thing * len(things))],
            person=words.people[int(person * len(words.people))],
        )
