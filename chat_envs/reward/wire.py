"""What travels between a run and the processes of its rewards: lines of JSON, both ways.

A worker's answer is as trustworthy as the reward function, which is not at all: it is parsed as
JSON and checked, and nothing of it is ever run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from chat_envs.message import Message, Role
from chat_envs.reward.failure import as_reward, error_kind, error_text, shorten, shown
from chat_envs.reward.request import FIELDS, RewardRequest

__all__ = [
    "ALL_FIELDS",
    "ProtocolError",
    "RemoteError",
    "Traits",
    "encode_answer",
    "encode_requests",
    "read_answer",
    "read_request",
    "read_traits",
]

ALL_FIELDS = (*FIELDS, "task_components")
"""What an object with `score(batch)` sees of a request."""


class ProtocolError(RuntimeError):
    """A worker wrote what is no answer."""


class RemoteError(RuntimeError):
    """An error that was raised in a worker; `kind` is its type's name there."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind, text)
        self.kind, self._text = kind, text

    def __str__(self) -> str:
        return self._text


@dataclass(frozen=True, slots=True)
class Traits:
    """What a caller must know of a reward function that lives elsewhere.

    Attributes:
        name: The component's name.
        names: The names of its parts, for a vector reward.
        fields: Which fields of a request it wants.
        needs_groups: Whether it is called with all replies to one prompt.
        is_streamed: Whether it answers one request after the other, each as soon as it is scored.
        options: Those that its author set.
    """

    name: str
    names: tuple[str, ...] | None
    fields: tuple[str, ...]
    needs_groups: bool
    is_streamed: bool
    options: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return what `read_traits` reads."""
        return {
            "name": self.name,
            "names": None if self.names is None else list(self.names),
            "fields": list(self.fields),
            "needs_groups": self.needs_groups,
            "is_streamed": self.is_streamed,
            "options": dict(self.options),
        }


def read_traits(record: Any) -> Traits:
    """Return the traits that a worker wrote.

    Raises:
        ProtocolError: If they are none.
    """
    try:
        names = record["names"]
        traits = Traits(
            name=_text(record["name"]),
            names=None if names is None else tuple(_text(name) for name in names),
            fields=tuple(_text(name) for name in record["fields"]),
            needs_groups=record["needs_groups"] is True,
            is_streamed=record["is_streamed"] is True,
            options=dict(record["options"]),
        )
        if set(traits.fields) - set(ALL_FIELDS):
            raise ValueError("asks for what no turn has")
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"described itself as {shown(record)}") from error
    return traits


def encode_requests(
    requests: Sequence[RewardRequest], wanted: Sequence[str]
) -> list[bytes | Exception]:
    """Return each request as JSON with the fields that are wanted, or why it cannot be."""
    encoded: list[bytes | Exception] = []
    for request in requests:
        record: dict[str, Any] = {name: getattr(request, name) for name in wanted}
        if "reply_ids" in record:
            record["reply_ids"] = np.asarray(request.reply_ids).tolist()
        if "messages" in record:
            record["messages"] = _encode_messages(request.messages)
        if "prompt" in record:
            num_messages = len(request.prompt)
            is_prefix = request.messages[:num_messages] == request.prompt
            if "messages" in record and is_prefix:
                record["prompt"] = num_messages
            else:
                record["prompt"] = _encode_messages(request.prompt)
        try:
            # Only ASCII: half of a surrogate pair in a reply must come through as it is.
            encoded.append(json.dumps(record, default=_plain).encode("ascii"))
        except (TypeError, ValueError, RecursionError) as error:
            message = f"the turn cannot be sent to another process: {error}"
            encoded.append(TypeError(message))
    return encoded


def read_request(record: Mapping[str, Any]) -> RewardRequest:
    """Return the request of a record that `encode_requests` wrote; what it lacks is empty."""
    messages = _read_messages(record.get("messages", ()))
    prompt = record.get("prompt", 0)
    return RewardRequest(
        prompt=(
            messages[:prompt] if isinstance(prompt, int) else _read_messages(prompt)
        ),
        messages=messages,
        reply=record.get("reply", ""),
        reply_ids=np.array(record.get("reply_ids", ()), dtype=np.int64),
        turn=record.get("turn", 0),
        terminated=record.get("terminated", False),
        task=record.get("task"),
        task_components=record.get("task_components", {}),
        info=record.get("info", {}),
    )


def encode_answer(index: int, result: float | tuple[float, ...] | Exception) -> bytes:
    """Return the line that answers request `index` of a call."""
    if isinstance(result, Exception):
        answer: list[Any] = [index, None, error_kind(result), error_text(result)]
    else:
        answer = [index, result]
    return json.dumps(answer).encode("ascii") + b"\n"


def read_answer(
    line: bytes, index: int, names: Sequence[str] | None
) -> float | tuple[float, ...] | Exception:
    """Return the result that `line` holds for request `index`.

    Raises:
        ProtocolError: If it holds none.
    """
    try:
        answer = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"its process wrote {shown(line[:80])}") from error
    if not isinstance(answer, list) or len(answer) not in (2, 4) or answer[0] != index:
        raise ProtocolError(f"its process wrote {shown(answer)} for answer {index}")
    value = answer[1]
    if len(answer) == 4:
        kind, text = answer[2:]
        if value is None and isinstance(kind, str) and isinstance(text, str):
            return RemoteError(shorten(kind), shorten(text, 400))
    elif names is None and type(value) in (int, float):
        return as_reward(value)
    elif isinstance(value, list) and names is not None and len(value) == len(names):
        numbers = [as_reward(n) if type(n) in (int, float) else None for n in value]
        if all(type(number) is float for number in numbers):
            return tuple(numbers)  # type: ignore[arg-type]
    raise ProtocolError(f"its process answered {shown(value)}, which is no reward")


def _encode_messages(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.role.value, message.content) for message in messages]


def _read_messages(pairs: Sequence[Sequence[str]]) -> tuple[Message, ...]:
    return tuple(Message(Role(role), content) for role, content in pairs)


def _plain(value: Any) -> Any:
    """Return what JSON knows for a mapping or anything of NumPy's."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 1000:
        raise ValueError(f"{shown(value)} is no name")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no reward")
