"""One record of training data as tokens: a dialogue, a prompt with its reply, or plain text.

A dialogue is written turn by turn with the model's own chat template, exactly as an environment
would have written it, and what the assistant says is marked: the loss is on that alone. Plain text
is packed to whole contexts and learnt throughout.

What comes out is an `Episode`, which nobody has scored: its rewards are unknown.

Shape legend: S tokens of a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from agents.experience.rollout import Episode
from chat_envs.chat_template import ChatTemplate
from chat_envs.message import Message, Role, assistant, user
from chat_envs.record_file import as_messages, as_object
from chat_envs.tokenizer import Tokenizer

__all__ = [
    "as_dialogue",
    "as_episode",
    "cut_to",
    "describe",
    "encode_dialogue",
    "pack_texts",
    "stop_id_of",
]

_REPLIES = ("completion", "response")


def as_dialogue(row: Any) -> tuple[Message, ...] | str:
    """Return what a record holds: messages, or the plain text of one that has no roles.

    Args:
        row: a line or a row of `chat_envs.record_file.read_records`. Of its fields the first of
            these that is there counts: `messages`; `prompt` with `completion` or `response` (each
            a text or messages); `text`.

    Raises:
        ValueError: it has none of them, or nothing for the assistant to say; the message says so.
    """
    record = as_object(row)
    if record.get("messages") is not None:
        return _checked(as_messages(record["messages"], "messages"))
    if record.get("prompt") is not None:
        names = [name for name in _REPLIES if record.get(name) is not None]
        if not names:
            raise ValueError("there is a prompt, but no 'completion' or 'response'.")
        prompt = _as_part(record["prompt"], "prompt", user)
        reply = _as_part(record[names[0]], names[0], assistant)
        return _checked((*prompt, *reply))
    text = record.get("text")
    if not isinstance(text, str) or not text.strip():
        raise ValueError(
            f"the fields are {sorted(record)}; expected 'messages', 'prompt' with 'completion' "
            "or 'response', or a 'text' that is not empty."
        )
    return text


def encode_dialogue(
    messages: Sequence[Message], tokenizer: Tokenizer, template: ChatTemplate
) -> tuple[list[int], list[int]]:
    """Return the ids of a dialogue, and of each the turn that it is a reply of (-1 for none).

    What follows the last reply is left out: there is nothing to learn from it.
    """
    stop_id = stop_id_of(template)
    ids: list[int] = []
    turns: list[int] = []
    heard: list[Message] = []  # since the last reply
    num_turns = 0
    for message in messages:
        if message.role is not Role.ASSISTANT:
            heard.append(message)
            continue
        if ids:
            new = [*template.closing(stop_id), *template.extension(heard)]
        else:
            new = template.opening(heard)
        reply = [*tokenizer.encode(message.content), stop_id]
        ids += [*new, *reply]
        turns += [-1] * len(new) + [num_turns] * len(reply)
        heard = []
        num_turns += 1
    return ids, turns


def pack_texts(
    texts: Sequence[str], tokenizer: Tokenizer, template: ChatTemplate, max_length: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield rows of plain text as `encode_dialogue` returns dialogues, one turn each.

    Texts follow one another, each with a stop id behind it, in rows of `max_length` tokens; the
    last row may be shorter. The first token of a row, which nothing precedes, is not learnt.
    """
    stop_id = stop_id_of(template)
    ids = [i for text in texts for i in (*tokenizer.encode(text), stop_id)]
    for begin in range(0, len(ids), max_length):
        row = ids[begin : begin + max_length]
        if len(row) > 1:
            yield row, [-1] + [0] * (len(row) - 1)


def as_episode(
    number: int,
    ids: Sequence[int],
    turns: Sequence[int],
    messages: Sequence[Message] = (),
) -> Episode:
    """Return tokens as an episode that nobody has scored.

    Args:
        number: of the record, its seed and its group.
        ids: (S,) of the whole dialogue.
        turns: (S,) which turn each token is a reply of, -1 for none; at least one is.
        messages: the transcript.
    """
    turn_index = np.array(turns, dtype=np.int64)
    lengths = np.bincount(turn_index[turn_index >= 0])
    return Episode(
        seed=number,
        group=number,
        ids=np.array(ids, dtype=np.int64),
        action_mask=turn_index >= 0,
        log_probs=np.zeros(len(turn_index), dtype=np.float32),
        turn_index=turn_index,
        rewards=np.full(len(lengths), np.nan),
        reward_valid=np.zeros(len(lengths), dtype=np.bool_),
        terminated=True,
        truncated=False,
        success=False,
        messages=tuple(message.as_dict() for message in messages),
        reply_lengths=lengths.astype(np.int64),
        reply_cut=np.zeros(len(lengths), dtype=np.bool_),
    )


def cut_to(
    ids: Sequence[int], turns: Sequence[int], max_length: int
) -> tuple[Sequence[int], Sequence[int]] | None:
    """Return the first `max_length` tokens; None where no reply is left among them."""
    is_empty = max(turns[:max_length], default=-1) < 0
    return None if is_empty else (ids[:max_length], turns[:max_length])


def stop_id_of(template: ChatTemplate) -> int:
    """Return the id that ends a reply and needs nothing more to close it."""
    own = [i for i in sorted(template.stop_ids) if not template.closing(i)]
    return own[0] if own else min(template.stop_ids)


def _as_part(value: Any, name: str, make: Any) -> tuple[Message, ...]:
    """Return a prompt or a reply, a text or messages, as messages."""
    if isinstance(value, str):
        return (make(value),)
    return as_messages(value, name)


def _checked(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return messages of which each of the assistant's answers something."""
    is_reply = [message.role is Role.ASSISTANT for message in messages]
    if not any(is_reply):
        raise ValueError(
            "there is no message of the assistant, so nothing to learn from."
        )
    if is_reply[0]:
        raise ValueError(
            "the assistant speaks first; a reply needs a message that it answers."
        )
    for number, pair in enumerate(zip(is_reply[:-1], is_reply[1:], strict=True), 1):
        if all(pair):
            raise ValueError(
                f"messages {number} and {number + 1} are both the assistant's; write them as one."
            )
    return messages


def describe(episodes: Sequence[Episode]) -> Mapping[str, int]:
    """Return how much there is: rows, tokens, and those of them that are learnt."""
    return {
        "rows": len(episodes),
        "tokens": sum(len(episode.ids) for episode in episodes),
        "learnt_tokens": sum(int(episode.action_mask.sum()) for episode in episodes),
    }
