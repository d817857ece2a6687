"""The keywords that a constructor takes, those that it hands on to its bases included."""

from __future__ import annotations

import inspect

from chat_envs.spelling import nearest

__all__ = ["keywords", "unknown_keywords"]


def keywords(owner: type) -> dict[str, str]:
    """Return every keyword of `owner`'s constructor with its default, its own first.

    The values are source text of the defaults, "required" where there is none.

    >>> class Base:
    ...     def __init__(self, *, size: int = 3) -> None: ...
    >>> class Derived(Base):
    ...     def __init__(self, name: str, **kwargs: int) -> None: ...
    >>> keywords(Derived)
    {'name': 'required', 'size': '3'}
    """
    found: dict[str, str] = {}
    for base in owner.__mro__:
        if base is object or "__init__" not in vars(base):
            continue
        _, *parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                continue
            has_default = parameter.default is not parameter.empty
            default = repr(parameter.default) if has_default else "required"
            found.setdefault(parameter.name, default)
    return found


def unknown_keywords(owner: type, unknown: list[str]) -> TypeError:
    """Return the error that names the known keyword nearest to the first of `unknown`.

    >>> class Base:
    ...     def __init__(self, *, size: int = 3) -> None: ...
    >>> unknown_keywords(Base, ["sizes"])
    TypeError("Base has no keyword 'sizes'. Did you mean 'size'?")
    """
    hint = nearest(unknown[0], keywords(owner))
    return TypeError(f"{owner.__name__} has no keyword {unknown[0]!r}.{hint}")
