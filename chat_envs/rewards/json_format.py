"""Whether the reply is JSON, with the fields that were asked for."""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping, NoReturn, Sequence

from chat_envs.rewards.description import BuiltinReward, Exploit
from chat_envs.spelling import nearest

__all__ = ["JSONFormat"]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "any": lambda value: True,
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and value % 1 == 0,
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}


class JSONFormat(BuiltinReward):
    """0 for what is no JSON; else, of 1 for being JSON and 1 a required field, the share earned.

    The whole reply must be one document: text around it, or a fence of backticks, makes it none.
    `NaN` and `Infinity`, which Python would read, are no JSON either.

    Args:
        required: names of fields that an object must have, or a mapping of their names to types:
            "string", "number", "integer", "boolean", "array", "object", "null" or "any".

    >>> rate = JSONFormat(required={"city": "string", "year": "integer"})
    >>> rate('{"city": "Rome", "year": 2024}'), rate('{"city": 7}'), rate("Rome, 2024")
    (1.0, 0.3333333333333333, 0.0)
    """

    name = "json_format"
    range = (0.0, 1.0)
    exploits = (
        Exploit(
            "empty fields",
            "The form is checked, not what stands in it.",
            hostile='{"answer": "", "reason": ""}',
            honest="Paris, since the government sits there.",
            asked="What is the capital of France? Answer in JSON.",
            kwargs={"required": ["answer", "reason"]},
        ),
        Exploit(
            "bare number",
            "Without required fields any document will do, and a number is one.",
            hostile="0",
            honest='Here it is: {"answer": "Paris"}',
            asked="What is the capital of France? Answer in JSON.",
        ),
    )

    def __init__(self, *, required: Sequence[str] | Mapping[str, str] = ()) -> None:
        if isinstance(required, str):
            raise ValueError(f"required must be a list or a mapping, got {required!r}")
        fields = (
            dict(required)
            if isinstance(required, Mapping)
            else dict.fromkeys(required, "any")
        )
        for field, kind in fields.items():
            if kind not in _TYPES:
                raise ValueError(
                    f"required[{field!r}] is {kind!r}, which is no type of JSON."
                    f"{nearest(str(kind), _TYPES)}"
                )
        self._fields = fields

    def __call__(self, reply: str) -> float:
        """Return the share, 0 for no JSON."""
        try:
            value = json.loads(reply, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return 0.0
        found = value if isinstance(value, dict) else {}
        num_right = sum(
            name in found and _TYPES[kind](found[name])
            for name, kind in self._fields.items()
        )
        return (1 + num_right) / (1 + len(self._fields))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
