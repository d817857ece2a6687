"""Users of `SocialChat` for tests: steady ones, drawn ones, and ones who feel what is wanted."""

from __future__ import annotations

import numpy as np

from chat_envs.envs._social_chat_language import language
from chat_envs.envs._social_chat_partner import TIERS, Partner
from chat_envs.simulators.stream import split_streams

__all__ = ["Steady", "drawn", "expecting", "hear", "say", "steady"]


class Steady:
    """A stream that always draws one value: 0.5 is no noise."""

    def __init__(self, value: float = 0.5) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


def steady(tier: str = "default", split: str = "train", draw: float = 0.5) -> Partner:
    half = Steady()
    return Partner(TIERS[tier], split, half, Steady(draw), half, half)


def drawn(tier: str, split: str, seed: int) -> Partner:
    streams = split_streams(np.random.default_rng(seed), 4)
    return Partner(TIERS[tier], split, *streams)


def say(partner: Partner, text: str) -> str:
    """Let the partner hear `text` and answer, whether or not it would leave."""
    reading = language("default", "train").reader.read(text)
    before = partner.affect
    partner.hear(reading)
    return partner.answer(reading, partner.affect.engagement - before.engagement)


def hear(partner: Partner, text: str) -> None:
    partner.hear(language("default", "train").reader.read(text))


def expecting(emotion: str, thing: str = "dog") -> Partner:
    """Return a partner who feels `emotion` about `thing` and said so."""
    partner = steady()
    partner.current.thing, partner.current.emotion = thing, emotion
    known = language("default", "train").thing_of
    partner.current.words = {w for w, meant in known.items() if meant == thing}
    partner._last_words = ("i", "could", "cry", "it", "is", "my", thing)
    partner.current.interest = 0.8
    return partner
