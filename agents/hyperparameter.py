"""Hyperparameters: dataclass fields that know their unit and their range.

An algorithm's settings are a frozen keyword-only dataclass whose fields are made by
`hyperparameter` and checked by `check_hyperparameters`; the command line builds its help from the
same metadata.
"""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any, Mapping, Sequence, TypeVar

__all__ = ["build_config", "check_hyperparameters", "hyperparameter"]

ConfigT = TypeVar("ConfigT")


def hyperparameter(
    default: Any,
    help: str,  # noqa: A002  (the word that argparse and tyro use)
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    is_low_open: bool = False,
    choices: Sequence[str] | None = None,
    is_optional: bool = False,
) -> Any:
    """Return a dataclass field that carries its documentation and its range.

    Args:
        default: used where the caller gives nothing.
        help: what it does, in a line.
        unit: what it is measured in.
        low: least value allowed.
        high: greatest value allowed.
        is_low_open: whether `low` itself is excluded.
        choices: the names allowed.
        is_optional: whether None is allowed (and turns the feature off).
    """
    metadata = {
        "help": help,
        "unit": unit,
        "low": low,
        "high": high,
        "is_low_open": is_low_open,
        "choices": tuple(choices) if choices is not None else None,
        "is_optional": is_optional,
    }
    return dataclasses.field(default=default, metadata=metadata)


def check_hyperparameters(config: Any) -> None:
    """Raise where a field of `config` has the wrong type or lies outside its range.

    Raises:
        TypeError: a value of the wrong type (a bool is no number, a float no integer).
        ValueError: a value out of range.
    """
    for field in dataclasses.fields(config):
        if "help" not in field.metadata:
            continue
        value, name = (
            getattr(config, field.name),
            f"{type(config).__name__}.{field.name}",
        )
        if value is None and field.metadata["is_optional"]:
            continue
        if field.metadata["choices"] is not None:
            _check_choice(name, value, field.metadata["choices"])
        elif isinstance(field.default, bool):
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be True or False, got {value!r}.")
        elif isinstance(field.default, str):
            if not isinstance(value, str):
                raise TypeError(f"{name} must be a string, got {value!r}.")
        else:
            _check_number(name, value, field.type, field.metadata)


def _check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"{name} must be one of {', '.join(choices)}; got {value!r}.{hint}"
        )


def _check_number(
    name: str, value: Any, type_: Any, metadata: Mapping[str, Any]
) -> None:
    is_integer = str(type_).startswith("int")
    allowed: tuple[type, ...] = (int,) if is_integer else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed):
        kind = "an integer" if is_integer else "a number"
        raise TypeError(
            f"{name} must be {kind}, got {value!r} ({type(value).__name__})."
        )
    low, high = metadata["low"], metadata["high"]
    is_low_ok = low is None or (
        value > low if metadata["is_low_open"] else value >= low
    )
    is_high_ok = high is None or value <= high
    if not (is_low_ok and is_high_ok):  # NaN fails both comparisons and lands here
        bound = "(" if metadata["is_low_open"] or low is None else "["
        end = ")" if high is None else "]"
        start, stop = ("-inf" if low is None else low), (
            "inf" if high is None else high
        )
        interval = f"{bound}{start}, {stop}{end}"
        unit = f" {metadata['unit']}" if metadata["unit"] else ""
        raise ValueError(
            f"{name} must lie in {interval}{unit}, got {value!r}. It is {metadata['help']}."
        )


def build_config(config_class: type[ConfigT], values: Mapping[str, Any]) -> ConfigT:
    """Return `config_class(**values)`, naming the nearest field where one is unknown.

    Raises:
        TypeError: on an unknown field, with the nearest right name.
    """
    names = [field.name for field in dataclasses.fields(config_class)]  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = (
                f" Did you mean {near[0]!r}?"
                if near
                else f" Known: {', '.join(names)}."
            )
            raise TypeError(f"{config_class.__name__} has no field {name!r}.{hint}")
    return config_class(**values)
