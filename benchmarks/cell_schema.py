"""What the file of a cell must hold, as a JSON Schema, and a checker of what the schema uses.

`SCHEMA` is a plain JSON Schema document: any validator of another language can read it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from benchmarks.language_health import HEALTH_FIELDS

__all__ = ["CELL_VERSION", "MalformedRecordError", "SCHEMA", "validate"]

CELL_VERSION = 1

_NUMBER = {"type": ["number", "null"]}
_FLAG = {"type": "integer", "minimum": 0, "maximum": 1}
_NUMBERS = {"type": "array", "items": _NUMBER}
_COUNT = {"type": "integer", "minimum": 0}
_STEPS = {"type": "array", "items": {"type": "number", "minimum": 0}}


def _object(properties: Mapping[str, Any], *optional: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


_SPLIT_ANCHORS = _object(
    {name: {"type": "number"} for name in ("expert", "blind", "random")}
)
_EVALUATION = _object(
    {
        "split": {"enum": ["train", "test"]},
        "first_seed": _COUNT,
        "repeats": {"type": "integer", "minimum": 1},
        "returns": _NUMBERS | {"minItems": 1},
        "successes": {"type": "array", "items": _FLAG},
        "reply_tokens": _NUMBERS,
    },
    "reply_tokens",
)
_CURVE = _object(
    {
        "split": {"enum": ["train", "test"]},
        "turns": _STEPS,
        "tokens": _STEPS,
        "seconds": _STEPS,
        "mean_return": _NUMBERS,
        "kl": _NUMBERS,
        "gold": _NUMBERS,
        "proxy": _NUMBERS,
    },
    "kl",
    "gold",
    "proxy",
)
_TRANSCRIPT = _object(
    {
        "kind": {"enum": ["best", "worst", "random"]},
        "seed": _COUNT,
        "return": _NUMBER,
        "success": {"type": "boolean"},
        "termination_reason": {"type": "string"},
        "rewards": _NUMBERS,
        "components": {"type": "object", "additionalProperties": _NUMBERS},
        "messages": {
            "type": "array",
            "items": _object(
                {"role": {"type": "string"}, "content": {"type": "string"}}
            ),
        },
    }
)
SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "One trained run of a benchmark",
    **_object(
        {
            "version": {"enum": [CELL_VERSION]},
            "kind": {"enum": ["learner", "control", "script"]},
            "agent": {"type": "string", "minLength": 1},
            "env": {"type": "string", "minLength": 1},
            "seed": _COUNT,
            "status": {"enum": ["done", "failed", "killed", "malformed"]},
            "error": {"type": "string"},
            "budget": {"type": "object", "additionalProperties": {"type": "number"}},
            "config": {"type": "object"},
            "command": {"type": "string"},
            "anchors": _object(
                {
                    "version": {"type": "string"},
                    "train": _SPLIT_ANCHORS,
                    "test": _SPLIT_ANCHORS,
                }
            )
            | {"type": ["object", "null"]},
            "curve": _CURVE | {"type": ["object", "null"]},
            "evaluations": {"type": "object", "additionalProperties": _EVALUATION},
            "language": {
                "type": "object",
                "additionalProperties": _object(
                    {name: _NUMBER for name in HEALTH_FIELDS}, *HEALTH_FIELDS
                ),
            },
            "transcripts": {"type": "array", "items": _TRANSCRIPT},
            "provenance": {"type": "object"},
        }
    ),
}
"""The schema of `RESULTS/cells/AGENT/ENV/SEED.json`."""


class MalformedRecordError(ValueError):
    """A record is not of its schema; the message names the field and what was expected."""


_MOST = 1e300
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def validate(
    value: Any, schema: Mapping[str, Any] = SCHEMA, where: str = "record"
) -> None:
    """Check a value against a schema: its types, enums, bounds, properties and items.

    A number must be finite, which JSON itself takes for granted and Python's reader does not.

    Raises:
        MalformedRecordError: it does not fit; the message names where.

    >>> validate({"a": 1}, {"type": "object", "properties": {"a": {"type": "string"}}})
    Traceback (most recent call last):
    benchmarks.cell_schema.MalformedRecordError: record.a is 1; expected string
    """
    if "enum" in schema:
        # 1 == True == 1.0 in Python, not in JSON.
        if not any(value == x and type(value) is type(x) for x in schema["enum"]):
            choices = ", ".join(map(repr, schema["enum"]))
            raise _misfit(where, value, f"one of {choices}")
        return
    _check_type(value, schema, where)
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        raise _misfit(where, value, "a text that is not empty")
    if isinstance(value, dict):
        _check_object(value, schema, where)
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            raise _misfit(where, value, f"at least {schema['minItems']} items")
        if _are_plain_numbers(value, schema.get("items", {})):
            return
        for number, item in enumerate(value):
            validate(item, schema.get("items", {}), f"{where}[{number}]")


def _are_plain_numbers(values: list[Any], schema: Mapping[str, Any]) -> bool:
    """Return True only of numbers that fit: most of a file, and soon seen to be right."""
    kinds = schema.get("type", ())
    allowed = (
        {int, float} if "number" in kinds else {int} if "integer" in kinds else set()
    )
    if not set(map(type, values)) <= allowed:
        return False
    least, most = schema.get("minimum", -_MOST), schema.get("maximum", _MOST)
    return all(least <= value <= most for value in values)  # False of NaN


def _check_type(value: Any, schema: Mapping[str, Any], where: str) -> None:
    if "type" not in schema:
        return
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    allowed = tuple(kind for name in names for kind in _TYPES[name])
    is_boolean = isinstance(value, bool) and "boolean" not in names
    if not isinstance(value, allowed) or is_boolean:
        raise _misfit(where, value, " or ".join(names))
    if isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, float) and not math.isfinite(value):
            raise _misfit(where, value, "a finite number")
        if abs(value) > _MOST:  # an integer of JSON may be too large for any float
            raise _misfit(where, value, "a number below 1e300")
        if value < schema.get("minimum", value):
            raise _misfit(where, value, f"at least {schema['minimum']}")
        if value > schema.get("maximum", value):
            raise _misfit(where, value, f"at most {schema['maximum']}")


def _check_object(
    value: Mapping[str, Any], schema: Mapping[str, Any], where: str
) -> None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            raise MalformedRecordError(f"{where} lacks {name!r}")
    others = schema.get("additionalProperties", True)
    for name, item in value.items():
        if name in properties:
            validate(item, properties[name], f"{where}.{name}")
        elif others is False:
            raise MalformedRecordError(
                f"{where} has an unknown field {name!r:.60}; it knows {', '.join(properties)}"
            )
        elif others is not True:
            validate(item, others, f"{where}[{name!r:.60}]")


def _misfit(where: str, value: Any, expected: str) -> MalformedRecordError:
    return MalformedRecordError(f"{where} is {value!r:.80}; expected {expected}")
