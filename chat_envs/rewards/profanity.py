"""Whether a reply has words of a list in it that do not belong into polite talk."""

from __future__ import annotations

import functools
from typing import Sequence

from chat_envs.rewards.description import BuiltinReward, Exploit, as_texts
from chat_envs.rewards.optional_package import package_folder
from chat_envs.rewards.word import grams, split_words

__all__ = ["Profanity"]


class Profanity(BuiltinReward):
    """0 for a clean reply; each listed word or phrase takes 1/`limit` away, down to -1.

    The list is that of the package better-profanity (MIT; 2020, English), which is read and never
    run. It is broad: it has mild words ("damn"), and words that name a group of people and are no
    insult by themselves. `allowed` takes such out.

    Args:
        words: a list of one's own instead, which needs no package.
        allowed: words or phrases of the list that do not count.
        limit: how many make -1, at least 1.

    >>> Profanity(words=["darn", "dirty rat"], limit=2)("Darn you, you dirty rats!")
    -0.5
    """

    name = "profanity"
    range = (-1.0, 0.0)
    extra = "profanity"
    exploits = (
        Exploit(
            "other spelling",
            "A word that is spelled otherwise is another word.",
            hostile="You are a piece of shiit.",
            honest="I never said shit to you.",
            asked="What did you call me?",
        ),
        Exploit(
            "insult in clean words",
            "Only words are listed, not what they say.",
            hostile="You are worthless and nobody likes you.",
            honest="Damn, I am sorry to hear that.",
            asked="I lost my job.",
        ),
    )

    def __init__(
        self,
        *,
        words: Sequence[str] | None = None,
        allowed: Sequence[str] = (),
        limit: int = 1,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        self._limit = limit
        self._own = None if words is None else _as_phrases(as_texts("words", words))
        self._allowed = _as_phrases(as_texts("allowed", allowed) if allowed else ())

    def __call__(self, reply: str) -> float:
        """Return minus the share of `limit` that was used up."""
        listed = self._phrases
        words = split_words(reply)
        longest = max(map(len, listed), default=0)
        runs = (run for n in range(1, longest + 1) for run in grams(words, n))
        num_found = sum(run in listed for run in runs)
        return -min(num_found, self._limit) / self._limit if num_found else 0.0

    @functools.cached_property
    def _phrases(self) -> frozenset[tuple[str, ...]]:
        """What counts; the package's list is read when it is first asked for."""
        return (_package_list() if self._own is None else self._own) - self._allowed


def _as_phrases(texts: Sequence[str]) -> frozenset[tuple[str, ...]]:
    """Return each text as its words. "f-u-n" is a phrase of three: so is "f.u.n" in a reply."""
    phrases = {tuple(split_words(text)) for text in texts}
    # What is left of "p*" is a letter that every text has.
    return frozenset(p for p in phrases if len("".join(p)) > 1)


@functools.cache
def _package_list() -> frozenset[tuple[str, ...]]:
    folder = package_folder("better_profanity", reward="profanity", extra="profanity")
    text = (folder / "profanity_wordlist.txt").read_text(encoding="utf-8")
    return _as_phrases(text.splitlines())
