"""Whether a regular expression matches the reply."""

from __future__ import annotations

import re

from chat_envs.rewards.description import BuiltinReward, Exploit

__all__ = ["RegexMatch", "has_nested_repeats"]

_MODES = ("search", "fullmatch", "match")
# `*`, `+`, `{2,}`, `{2,5}`: more than once. `?` and `{1}` are not.
_REPEAT = re.compile(r"[*+]|\{\d*,\d*\}|\{(?!1\})\d+\}")
# An escape, a class of characters, what opens or closes a group, or any other one.
_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(|\)|.", re.DOTALL)


class RegexMatch(BuiltinReward):
    """1 if the pattern matches the reply, else 0.

    Python's matcher backtracks, and some patterns take a time that doubles with each character. It
    also holds the interpreter's lock meanwhile, so that no `timeout_s` inside the process can end
    it: a pattern that is not your own needs a process of its own (`isolation="process"`). Against
    accidents, a pattern with a repeat inside a repeat, such as `(a+)+`, is refused, and a reply is
    cut.

    Args:
        pattern: a regular expression of Python's `re`; `(?i)` at its start ignores the case.
        mode: "search" anywhere, "match" at the start, or "fullmatch".
        most_characters: of the reply; the rest is not looked at.
        allows_nested_repeats: take a pattern with a repeat inside a repeat.

    >>> RegexMatch(pattern="(?i)order number")("May I have the Order Number?")
    1.0
    """

    name = "regex_match"
    range = (0.0, 1.0)
    exploits = (
        Exploit(
            "list of answers",
            "A search finds the right answer among all others.",
            hostile="1 2 3 4 5 6 7 8 9",
            honest="Four.",
            asked="What is 2 + 2?",
            kwargs={"pattern": r"\b4\b"},
        ),
        Exploit(
            "bare keyword",
            "The rest of the reply is not looked at.",
            hostile="order number order number",
            honest="May I have the number of your order?",
            asked="My parcel is late.",
            kwargs={"pattern": "(?i)order number"},
        ),
    )

    def __init__(
        self,
        *,
        pattern: str,
        mode: str = "search",
        most_characters: int = 2000,
        allows_nested_repeats: bool = False,
    ) -> None:
        if mode not in _MODES:
            raise ValueError(f"mode must be one of {_MODES}, got {mode!r}")
        try:
            compiled = re.compile(pattern)
        except (re.error, TypeError, RecursionError, OverflowError) as error:
            raise ValueError(
                f"pattern {pattern!r:.80} is no regular expression: {error}"
            ) from error
        if has_nested_repeats(pattern) and not allows_nested_repeats:
            raise ValueError(
                f"pattern {pattern!r:.80} repeats a repeat, which may take forever; write it "
                "otherwise, or pass allows_nested_repeats=True and isolate the reward in a process"
            )
        self._find = getattr(compiled, mode)
        self._most_characters = most_characters

    def __call__(self, reply: str) -> float:
        """Return 1.0 or 0.0."""
        return float(self._find(reply[: self._most_characters]) is not None)


def has_nested_repeats(pattern: str) -> bool:
    r"""Whether a group that is repeated has a repeat inside.

    It knows groups and classes of characters, and no more: `(a|a)*` is as slow and passes.

    >>> [has_nested_repeats(p) for p in ("(a+)+", "(?:(a*)b){2,}", "a+b*", "([a+]b)*", r"(a\+)*")]
    [True, True, False, False, False]
    """
    has_repeat = [False]  # of each group that is open
    place = 0
    while place < len(pattern):
        piece = _PIECE.match(pattern, place)
        assert piece is not None  # any character is one
        place = piece.end()
        is_close = piece.group() == ")" and len(has_repeat) > 1
        if piece.group() == "(":
            has_repeat.append(False)
            continue  # the "?" after it is no repeat
        inner = has_repeat.pop() if is_close else False
        repeat = _REPEAT.match(pattern, place)
        if repeat is not None:
            if inner:
                return True
            place = repeat.end()
        has_repeat[-1] |= inner or repeat is not None
    return False
