"""What the agent said in a `Negotiation`: an offer, a yes, or neither.

Strict where it pays: an offer is exactly one price (or one value an issue), and one that is denied
("45 is too low", "I will not pay 45") is none. Every pattern runs once over a short text, so
reading takes linear time.
"""

from __future__ import annotations

import enum
import re
from typing import Mapping, NamedTuple

__all__ = ["Kind", "Reading", "read_package", "read_price"]

_MAX_CHARACTERS = 300
_MAX_DIGITS = 6


class Kind(str, enum.Enum):
    """What sort of reply it is."""

    OFFER = "offer"
    ACCEPT = "accept"
    DECLINE = "decline"
    QUIT = "quit"
    SEVERAL = "several"
    UNREAD = "unread"


class Reading(NamedTuple):
    """A reply, read.

    Attributes:
        kind: what it is.
        values: the offer: one price, or one value an issue in the order of the issues.
        is_fair: whether it speaks of fairness.
        is_rude: whether it insults.
    """

    kind: Kind
    values: tuple[int, ...] = ()
    is_fair: bool = False
    is_rude: bool = False


_UNREAD = Reading(Kind.UNREAD)
# A number, with commas between thousands.
_NUMBER = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+")
# A price may stand beside a currency sign or punctuation, and not inside a word or a fraction.
_BEFORE = re.compile(r"[\w.,\u2212%#/-]\Z")
_AFTER = re.compile(r"[^\W\d_]|[_%/]|[.,:][0-9]")
_WORDS_OR_NUMBERS = re.compile(r"[a-z]+|[0-9]+(?:[.,][0-9]+)*")
# "not less than 45" offers 45.
_AT_LEAST = re.compile(
    r"\b(?:not|no|never|cannot|[a-z]{2,6}n't)\s+(?:[a-z]+\s+){0,3}"
    r"(?:less|lower|below|under|more|higher|above|over)\b"
)
_DENIAL = re.compile(
    r"\b(?:not|never|cannot|refuse|reject|nor|[a-z]{2,6}n't)\b"
    r"|\btoo (?:low|high|much|little|cheap|expensive|few|many|long|short)\b"
    r"|\bno way\b|\bno deal\b"
)
_ACCEPT = re.compile(
    r"\b(?:deal|accept|accepted|agree|agreed|sold|shake on it|take (?:it|that|the offer))\b"
)
_CONDITION = re.compile(r"\b(?:if|unless|but|until|when|no|would|could)\b|\?")
_YES = frozenset(
    "yes|yes please|yes ok|yes okay|ok|okay|ok then|okay then|fine|fine then|sure|all right".split(
        "|"
    )
)
_QUIT = re.compile(
    r"\b(?:goodbye|good bye|bye|walk away|walking away|i leave|i am leaving|i'm leaving"
    r"|forget it|i quit|i give up)\b"
)
_DECLINE = re.compile(r"\b(?:no|lower|higher|better|more|less|cheaper)\b")
_FAIR = re.compile(
    r"\b(?:fair|fairly|fairness|reasonable|half way|halfway|middle|honest|honestly|equal|equally"
    r"|both of us)\b"
)
_RUDE = re.compile(
    r"\b(?:stupid|idiot|idiots|crook|thief|liar|cheat|cheater|greedy|robbery|ridiculous|fool"
    r"|shut up|insult|insulting)\b"
)


def read_price(text: str) -> Reading:
    """Return what a reply about one price says.

    >>> read_price("I ask $45, that is fair.")
    Reading(kind=<Kind.OFFER: 'offer'>, values=(45,), is_fair=True, is_rude=False)
    >>> [read_price(t).kind.value for t in ("Deal!", "40 or 45", "40 is too low", "hm")]
    ['accept', 'several', 'decline', 'unread']
    """
    if len(text) > _MAX_CHARACTERS:
        return _UNREAD
    text = _plain(text)
    matches = list(_NUMBER.finditer(text))
    if not matches:
        return _read_words(text)
    if len(matches) > 1:
        return Reading(Kind.SEVERAL)
    start, end = matches[0].span()
    if _BEFORE.search(text[max(0, start - 1) : start]) or _AFTER.match(text[end:]):
        return _UNREAD
    digits = matches[0].group().replace(",", "")
    if len(digits) > _MAX_DIGITS or int(digits) < 1:
        return _UNREAD
    if _is_denied(text):
        return Reading(Kind.DECLINE)
    return _offer(text, (int(digits),))


def read_package(text: str, issues: Mapping[str, int], num_issues: int) -> Reading:
    """Return what a reply about several issues says.

    Args:
        text: the reply.
        issues: word -> issue, counted from 0; several words may name one issue.
        num_issues: how many there are; an offer names a value for each, once.

    >>> issues = {"price": 0, "days": 1, "delivery": 1}
    >>> read_package("Delivery in 2 days for the price of 4", issues, 2).values
    (4, 2)
    """
    if len(text) > _MAX_CHARACTERS:
        return _UNREAD
    text = _plain(text)
    # Issues and numbers in their order; an issue is named once though it may take two words.
    parts: list[tuple[bool, int]] = []
    num_numbers = 0
    for word in _WORDS_OR_NUMBERS.findall(text):
        if word[0].isdigit():
            if len(word) > 1:
                return _UNREAD
            parts.append((True, int(word)))
            num_numbers += 1
        elif word in issues:
            issue = (False, issues[word])
            if issue not in (parts[-1:] + parts[-2:-1]):
                parts.append(issue)
    if not num_numbers:
        return _read_words(text)
    if len(parts) > 2 * num_issues:
        return Reading(Kind.SEVERAL)
    values: dict[int, int] = {}
    for one, other in zip(parts[::2], parts[1::2]):
        if one[0] == other[0]:
            return _UNREAD
        (_, issue_index), (_, value) = sorted((one, other))
        values[issue_index] = value
    if len(values) != num_issues or len(parts) != 2 * num_issues:
        return _UNREAD
    if _is_denied(text):
        return Reading(Kind.DECLINE)
    return _offer(text, tuple(values[i] for i in range(num_issues)))


def _plain(text: str) -> str:
    return text.lower().replace("\u2019", "'")


def _offer(text: str, values: tuple[int, ...]) -> Reading:
    return Reading(
        Kind.OFFER, values, bool(_FAIR.search(text)), bool(_RUDE.search(text))
    )


def _is_denied(text: str) -> bool:
    return _DENIAL.search(_AT_LEAST.sub(" ", text)) is not None


def _read_words(text: str) -> Reading:
    """Return what a reply without a number says."""
    if " ".join(re.findall(r"[a-z']+", text)) in _YES and "?" not in text:
        return Reading(Kind.ACCEPT)
    is_denied = _DENIAL.search(text) is not None
    if _QUIT.search(text):
        return Reading(Kind.QUIT)
    if _ACCEPT.search(text) and not is_denied and not _CONDITION.search(text):
        return Reading(Kind.ACCEPT)
    if is_denied or _DECLINE.search(text):
        return Reading(Kind.DECLINE)
    return _UNREAD
