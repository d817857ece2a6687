"""Scripted experts of textarena's games; they read what the agent reads, and nothing else."""

from __future__ import annotations

import itertools
import re
from typing import Callable, Iterator, Mapping, Sequence

from chat_envs.message import Conversation, Role

__all__ = ["EXPERTS", "guess_code", "guess_number", "pegs"]

_RANGE = re.compile(r"number between (\d+) and (\d+)")
_CODE = re.compile(
    r"code that is (\d+) digits long, each digit from 1 to (\d+), (with \w+)"
)
_GUESS = re.compile(r"\[([\d ]+)\]")
_MAX_CODES = 100_000  # more than may be tried in a turn
_PEGS = re.compile(r"(\d+) black peg\(s\), (\d+) white peg")


def _rounds(conversation: Conversation) -> Iterator[tuple[str, str]]:
    """Yield each move that had a number in brackets, and what the game said to it."""
    move = ""
    for message in conversation:
        if message.role is Role.ASSISTANT:
            match = _GUESS.search(message.content)
            move = match[1] if match else ""
        elif message.role is Role.USER and move:
            yield move, message.content


def _rules(conversation: Conversation, pattern: re.Pattern[str]) -> re.Match[str]:
    for message in conversation:
        if match := pattern.search(message.content):
            return match
    raise ValueError(f"No message says {pattern.pattern!r}: is it another game?")


def guess_number(conversation: Conversation) -> str:
    """Return the middle of the numbers that are left.

    >>> from chat_envs.message import assistant, user
    >>> guess_number(Conversation.of(user("Guess the number between 1 and 20."),
    ...     assistant("[10]"), user("The target number is higher.")))
    '[15]'
    """
    low, high = map(int, _rules(conversation, _RANGE).groups())
    for move, answer in _rounds(conversation):
        if "is higher" in answer:
            low = max(low, int(move) + 1)
        elif "is lower" in answer:
            high = min(high, int(move) - 1)
    return f"[{(low + high) // 2}]"


def guess_code(conversation: Conversation) -> str:
    """Return the first code that agrees with all pegs so far.

    Raises:
        NotImplementedError: if there are too many codes to try them all.
    """
    length, highest, repeats = _rules(conversation, _CODE).groups()
    digits = range(1, int(highest) + 1)
    if len(digits) ** int(length) > _MAX_CODES:
        raise NotImplementedError(
            f"The expert tries every code, and {len(digits)}^{length} are too many."
        )
    codes: Iterator[tuple[int, ...]]
    if repeats == "with possible":
        codes = itertools.product(digits, repeat=int(length))
    else:
        codes = itertools.permutations(digits, int(length))
    rounds = [
        (tuple(map(int, move.split())), (int(match[1]), int(match[2])))
        for move, answer in _rounds(conversation)
        if (match := _PEGS.search(answer))
    ]
    code = next(c for c in codes if all(pegs(c, g) == p for g, p in rounds))
    return f"[{' '.join(map(str, code))}]"


def pegs(code: Sequence[int], guess: Sequence[int]) -> tuple[int, int]:
    """Return how many pegs are black (right digit and place) and white (right digit alone).

    >>> pegs((1, 2, 3, 4), (1, 3, 2, 6)), pegs((1, 1, 2, 2), (2, 1, 1, 1))
    ((1, 2), (1, 2))
    """
    black = sum(a == b for a, b in zip(code, guess))
    common = sum(min(code.count(d), guess.count(d)) for d in set(guess))
    return black, common - black


EXPERTS: Mapping[str, Callable[[Conversation], str]] = {
    "GuessTheNumber": guess_number,
    "Mastermind": guess_code,
}
"""The kind of a game -> what its expert says next."""
