"""Names of scripts, checked before anything is played or written."""

from __future__ import annotations

import difflib

from chat_envs.registration import find
from chat_envs.replier import RANDOM_REPLIERS, REPLIERS

__all__ = ["check_script"]

_SUFFIX = "_reply"  # of the method that plays a script of an environment's own


def check_script(name: str, env: str) -> None:
    """Make sure that a script can play an environment.

    Args:
        name: a replier of the suite, or the stem of a method (`careless` for
            `careless_reply`); or several of them with "+" between.
        env: id of the environment.

    Raises:
        ValueError: there is no such script; the message names the nearest.
    """
    env_class = find(env).load()
    methods = [
        attribute.removesuffix(_SUFFIX)
        for attribute in dir(env_class)
        if attribute.endswith(_SUFFIX) and not attribute.startswith("_")
    ]
    known = sorted({*REPLIERS, *RANDOM_REPLIERS, *methods})
    for part in name.split("+"):
        if part not in known:
            near = difflib.get_close_matches(part, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"There is no script {part!r} for {env_class.__name__}.{hint} There are "
                f"{', '.join(known)}."
            )
