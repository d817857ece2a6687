"""Preference pairs: two replies to one prompt, of which one is better; read from any usual file.

A record (a line of JSON, or a row that `datasets` saved) is recognised by what it holds:

* ours: `{"prompt": text or messages, "chosen": text, "rejected": text, "margin": 0.5}`; a prompt
  of text is the user's, the margin may be left out;
* messages, as TRL and the UltraFeedback sets have them: `chosen` and `rejected` are lists of
  `{"role", "content"}` that end with the reply; what they share before it is the prompt, behind
  that of a field `prompt` if there is one and they do not begin with it;
* transcripts, as HH-RLHF has them (Bai et al. 2022, arXiv:2204.05862): text of paragraphs that
  begin with "Human:" and "Assistant:" in turns.

Fields of other names are passed over.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chat_envs.message import Message, Role, user
from chat_envs.record_file import (
    ON_BROKEN,
    as_messages,
    as_object,
    read_records,
    report_broken,
)

__all__ = ["PreferencePair", "divide_pairs", "read_pairs", "write_pairs"]

_SPLITS = (None, "train", "test")
_HELD_OUT = 10  # the last of every ten prompts is of the test split
_SPEAKER = re.compile(r"(?:\A|\n\n)[ \t]*(Human|Assistant):")
_ROLES = {"Human": Role.USER, "Assistant": Role.ASSISTANT}


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two replies to one prompt.

    Attributes:
        prompt: the messages before the reply.
        chosen: the better reply.
        rejected: the other one.
        margin: by how much, at least 0; 0 where nobody says.

    >>> PreferencePair((user("Hi"),), "Hello!", "Go away.").as_dict()["prompt"]
    [{'role': 'user', 'content': 'Hi'}]
    """

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    margin: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the pair as the JSON object that `read_pairs` reads back."""
        return {
            "prompt": [message.as_dict() for message in self.prompt],
            "chosen": self.chosen,
            "rejected": self.rejected,
            "margin": self.margin,
        }


def read_pairs(
    path: str | Path, *, split: str | None = None, on_broken: str = "stop"
) -> tuple[PreferencePair, ...]:
    """Return the pairs of a file, in their order.

    Args:
        path: a file of JSON lines, UTF-8, or a directory that `datasets` saved.
        split: None for all of a file, or what a directory calls "train". "train" and "test" are
            those of a directory that has both; anything else is divided by `divide_pairs`.
        on_broken: what a record that is no pair does: "stop" raises and names file and line,
            "skip" leaves it out with a warning in the log.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        ImportError: if a directory is given and `datasets` is not installed.
        ValueError: if a record is broken and `on_broken` is "stop", or there is no pair.
    """
    for name, value, known in (
        ("split", split, _SPLITS),
        ("on_broken", on_broken, ON_BROKEN),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {known}, got {value!r}.")
    rows, is_divided = read_records(path, split or "train", ())
    pairs = []
    for source, row in rows:
        try:
            pairs.append(_as_pair(as_object(row)))
        except (ValueError, RecursionError) as error:
            report_broken(source, str(error), on_broken)
    if not pairs:
        raise ValueError(f"{path} has no preference pairs.")
    if split is None or is_divided:
        return tuple(pairs)
    return divide_pairs(pairs)[split == "test"]


def divide_pairs(
    pairs: Sequence[PreferencePair],
) -> tuple[tuple[PreferencePair, ...], tuple[PreferencePair, ...]]:
    """Return the pairs to train on and those to test with: of no prompt are there both.

    The last of every ten distinct prompts, in the order in which they first come, is of the test.
    Pairs with fewer than ten prompts are all of both: they cannot be divided soundly.
    """
    numbers: dict[tuple[Message, ...], int] = {}
    for pair in pairs:
        numbers.setdefault(pair.prompt, len(numbers) + 1)
    if len(numbers) < _HELD_OUT:
        return tuple(pairs), tuple(pairs)
    held_out = {p for p, number in numbers.items() if number % _HELD_OUT == 0}
    return (
        tuple(pair for pair in pairs if pair.prompt not in held_out),
        tuple(pair for pair in pairs if pair.prompt in held_out),
    )


def write_pairs(
    path: str | Path,
    pairs: Iterable[PreferencePair],
    notes: Iterable[Mapping[str, Any]] | None = None,
) -> None:
    """Write a file of JSON lines, at once or not at all.

    Args:
        path: of the file; one that is there is replaced.
        pairs: what to write.
        notes: further fields of each line, which `read_pairs` passes over.

    Raises:
        ValueError: if there are not as many notes as pairs, or a number is not finite.
    """
    records = [pair.as_dict() for pair in pairs]
    if notes is not None:
        records = [
            {**note, **record} for record, note in zip(records, notes, strict=True)
        ]
    lines = [json.dumps(record, allow_nan=False) + "\n" for record in records]
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.writing")
    aside.write_text("".join(lines), encoding="utf-8")
    os.replace(aside, target)


def _as_pair(record: Mapping[str, Any]) -> PreferencePair:
    """Return the pair that a record holds, or raise a `ValueError` that says what is wrong."""
    sides = [_field(record, name) for name in ("chosen", "rejected")]
    margin = record.get("margin")
    margin = 0.0 if margin is None else margin
    if type(margin) not in (int, float) or not 0 <= margin < math.inf:
        raise ValueError(f"the margin is {margin!r:.60}, expected a number from 0 on.")
    prompt, (chosen, rejected) = _read_sides(record.get("prompt"), sides)
    if not prompt:
        raise ValueError(
            "the prompt is empty: there is no field 'prompt', and 'chosen' and 'rejected' share "
            "no message."
        )
    if prompt[-1].role is Role.ASSISTANT:
        raise ValueError("the last message of the prompt is the assistant's own.")
    if chosen.strip() == rejected.strip():
        raise ValueError(f"'chosen' and 'rejected' are equal: {chosen!r:.60}.")
    return PreferencePair(prompt, chosen, rejected, float(margin))


def _field(record: Mapping[str, Any], name: str) -> Any:
    value = record.get(name)
    if value is None:
        raise ValueError(f"there is no field {name!r}, only {sorted(record)}.")
    if not isinstance(value, (str, list)):
        raise ValueError(f"{name!r} is {value!r:.60}, expected a text or messages.")
    return value


def _read_sides(
    prompt: Any, sides: list[Any]
) -> tuple[tuple[Message, ...], tuple[str, str]]:
    """Return the prompt and the two replies of a record, whatever its format."""
    is_text = [isinstance(side, str) for side in sides]
    if is_text[0] != is_text[1]:
        raise ValueError("one of 'chosen' and 'rejected' is a text, the other a list.")
    before = _read_prompt(prompt)
    if not is_text[0]:
        names = ("'chosen'", "'rejected'")
        talks = [as_messages(s, n) for s, n in zip(sides, names, strict=True)]
        return _divide_talks(before, talks)
    if prompt is None and all(map(_SPEAKER.match, sides)):
        return _divide_talks((), list(map(_read_transcript, sides)))
    chosen, rejected = sides
    return before, (chosen, rejected)


def _read_prompt(prompt: Any) -> tuple[Message, ...]:
    if prompt is None:
        return ()
    if not isinstance(prompt, str):
        return as_messages(prompt, "the prompt")
    if not prompt.strip():
        raise ValueError("the prompt is empty.")
    if prompt.startswith("\n\nHuman:") and prompt.rstrip().endswith("\n\nAssistant:"):
        return _read_transcript(prompt)[:-1]
    return (user(prompt),)


def _divide_talks(
    before: tuple[Message, ...], talks: list[tuple[Message, ...]]
) -> tuple[tuple[Message, ...], tuple[str, str]]:
    """Return what two dialogues share and the reply in which they differ."""
    rests = [t[len(before) :] if t[: len(before)] == before else t for t in talks]
    shared = 0
    while shared < min(map(len, rests)) - 1 and rests[0][shared] == rests[1][shared]:
        shared += 1
    replies = [rest[shared:] for rest in rests]
    for name, reply in zip(("chosen", "rejected"), replies, strict=True):
        if len(reply) != 1 or reply[0].role is not Role.ASSISTANT:
            raise ValueError(
                f"behind what both share, {name!r} has {[m.role.value for m in reply]}; "
                "expected one reply of the assistant: the two must differ in their last alone."
            )
    return before + rests[0][:shared], (replies[0][0].content, replies[1][0].content)


def _read_transcript(text: str) -> tuple[Message, ...]:
    """Return the messages of HH-RLHF's text."""
    matches = list(_SPEAKER.finditer(text))
    ends = [match.start() for match in matches[1:]] + [len(text)]
    talk = []
    for match, end in zip(matches, ends, strict=True):
        content = text[match.end() : end].strip()
        talk.append(Message(_ROLES[match[1]], content))
    return tuple(talk)
