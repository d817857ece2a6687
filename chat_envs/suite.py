"""The suite's own environments: one `Family` a class, with what each tier is about.

A family's module is its name in small letters with underscores, below `chat_envs.envs`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Mapping

__all__ = ["FAMILIES", "Family"]

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True)
class Family:
    """One class and its tiers.

    Attributes:
        name: the class.
        tags: what it probes or where it belongs.
        summaries: one line a tier, by "easy", "default" and "hard".
        keywords: keywords of a tier beside `tier` itself; JSON-able.
    """

    name: str
    tags: tuple[str, ...]
    summaries: Mapping[str, str]
    keywords: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def entry_point(self) -> str:
        """The class as "module:Class".

        >>> Family("GuessNumber", (), {}).entry_point
        'chat_envs.envs.guess_number:GuessNumber'
        """
        return f"chat_envs.envs.{_CAPITAL.sub('_', self.name).lower()}:{self.name}"

    def id(self, tier: str) -> str:
        """Return the id of a tier.

        >>> Family("Echo", (), {}).id("easy"), Family("Echo", (), {}).id("default")
        ('chat_envs/Echo-easy-v0', 'chat_envs/Echo-v0')
        """
        infix = "" if tier == "default" else f"-{tier}"
        return f"chat_envs/{self.name}{infix}-v0"

    def kwargs(self, tier: str) -> dict[str, Any]:
        """Return the keywords of a tier; the default tier is what the class does unasked."""
        named = {} if tier == "default" else {"tier": tier}
        return named | dict(self.keywords.get(tier, {}))


_APPLICATION, _GAME = ("application",), ("game",)
_PREFERENCE, _DIAGNOSTIC = ("preference",), ("diagnostic",)

FAMILIES = (
    Family(
        "CustomerService",
        _APPLICATION,
        {
            "easy": "Verify a customer, then refund, exchange or cancel by the policy",
            "default": "Six intents, a shop's records, a written policy, a user who pushes",
            "hard": "Several errands in one dialogue, and a noisier channel",
        },
        {
            "easy": {"context_length": 192, "reply_length": 12},
            "default": {"context_length": 512},
            "hard": {"context_length": 768},
        },
    ),
    Family(
        "VoiceAssistant",
        _APPLICATION,
        {
            "easy": "Do one thing in a house, and ask when it was not heard well",
            "default": "Six devices behind a speech recogniser: act when sure, ask when not",
            "hard": "Three requests in more noise, and commands meant for somebody else",
        },
        {"easy": {"reply_length": 16}},
    ),
    Family(
        "SocialChat",
        _APPLICATION,
        {
            "easy": "Name one feeling and ask about one thing, before the user leaves",
            "default": "Keep company: mood, engagement, topics, facts; a bored user leaves",
            "hard": "The same, with other people's feelings and things in between",
        },
        {"easy": {"reply_length": 16}},
    ),
    Family(
        "Tutoring",
        _APPLICATION,
        {
            "easy": "Diagnose and remediate a student's misconceptions of two skills",
            "default": "Quiz four skills, find each misconception and correct it",
            "hard": "The same with six skills, and mistakes described without their names",
        },
    ),
    Family(
        "Negotiation",
        _APPLICATION,
        {
            "easy": "Sell for a client, with prices of one ten, in 4 turns",
            "default": "Sell or buy at a price against a side that concedes only if you do",
            "hard": "Agree on price, days and years with private weights on either side",
        },
    ),
    Family(
        "TwentyQuestions",
        _GAME,
        {
            "easy": "Find one of a few listed objects by yes/no questions",
            "default": "Find an object by at most twenty yes/no questions",
            "hard": "The same, but no question about an object's kind is answered",
        },
    ),
    Family(
        "GuessPlace",
        _GAME,
        {
            "easy": "Find one of a few listed countries by yes/no questions",
            "default": "Find a country by at most twenty yes/no questions",
            "hard": "The same, but no question about a country's region is answered",
        },
    ),
    Family(
        "GuessNumber",
        _GAME,
        {
            "easy": "Find a number from 1 to 10 in 4 guesses",
            "default": "Find a number from 1 to 50 in 7 guesses",
            "hard": "Find a number from 1 to 1000 in 12 guesses",
        },
    ),
    Family(
        "Wordle",
        _GAME,
        {
            "easy": "Find a word of 3 letters in 6 tries; each letter is marked",
            "default": "Find a word of 5 letters in 6 tries; each letter is marked",
            "hard": "The same, but no hint is given twice",
        },
    ),
    Family(
        "Mastermind",
        _GAME,
        {
            "easy": "Find a code of 3 pegs and 4 colours in 6 tries",
            "default": "Find a code of 3 pegs and 6 colours in 7 tries",
            "hard": "The classic game: 4 pegs, 6 colours, 8 tries",
        },
    ),
    Family(
        "Preference",
        _PREFERENCE,
        {"default": "One prompt, one reply, scored by a preference model"},
    ),
    Family(
        "Echo",
        _DIAGNOSTIC,
        {
            "easy": "Repeat one or two words",
            "default": "Repeat a few words",
            "hard": "Repeat many words",
        },
    ),
    Family(
        "CopyBack",
        _DIAGNOSTIC,
        {
            "easy": "Say the user's one or two words back in a sentence",
            "default": "Say the user's value back in a sentence",
            "hard": "The same, longer, beside another person's value",
        },
    ),
    Family(
        "KeywordBandit",
        _DIAGNOSTIC,
        {"default": "Learn which keyword is right for which cue"},
    ),
    Family(
        "Recall",
        _DIAGNOSTIC,
        {
            "easy": "Keep a fact for one turn",
            "default": "Keep a fact over turns of other talk",
            "hard": "Keep a fact over twelve turns with lures",
        },
    ),
    Family(
        "RecallMany",
        _DIAGNOSTIC,
        {
            "easy": "Keep two facts, one of which is asked for",
            "default": "Keep four facts, one of which is asked for",
            "hard": "Keep eight facts, one of which is asked for",
        },
    ),
    Family(
        "Umbrella",
        _DIAGNOSTIC,
        {
            "easy": "The first of two replies earns the last one's reward",
            "default": "Only the first reply counts, among turns of noisy talk",
            "hard": "The same over twelve turns, with more distractors",
        },
    ),
    Family(
        "Passphrase",
        _DIAGNOSTIC,
        {
            "easy": "Find four right words by the reward for all of them",
            "default": "Find six right words by the reward for all of them",
            "hard": "Find ten right words by the reward for all of them",
        },
    ),
    Family(
        "Paraphrase",
        _DIAGNOSTIC,
        {
            "easy": "Understand a wish; a quarter of the templates is withheld",
            "default": "Understand a wish; half of the templates is withheld",
            "hard": "Understand a wish; all but twelve templates are withheld",
        },
    ),
    Family(
        "ProxyFlaw",
        _DIAGNOSTIC,
        {
            "easy": "A reward that misses a clause; two words",
            "default": "A reward that misses a clause; gold is measured, never paid",
            "hard": "A reward that misses a clause; five words",
        },
    ),
    Family(
        "Drift",
        _DIAGNOSTIC,
        {
            "easy": "A reward that ignores fluency; two facts",
            "default": "A reward that ignores fluency; perplexity is measured",
            "hard": "A reward that ignores fluency; four facts",
        },
    ),
)
