"""`OwnAgent`: what an agent from outside must have to be run on a suite, and how one is found.

It joins as `module:Class`, or by a name of its own as an entry point of the group
`chat_envs.agents`:

    [options.entry_points]
    chat_envs.agents =
        my-agent = my_package.agent:MyAgent
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from chat_envs.spelling import nearest

__all__ = ["GROUP", "OwnAgent", "find_own_agent", "own_agent_names"]

GROUP = "chat_envs.agents"


class OwnAgent(Protocol):
    """An agent from outside.

    It makes what environments it learns in by itself, from their id. The runner calls `learn`
    once, then `predict` on held-out goals; what it raises fails this run alone, and a run that
    hangs is killed at the time limit. Everything random must come from `seed`: a run is repeated
    by it.

    Args:
        env_id: of the chat environment.
        seed: of the run.
        env_kwargs: keywords of the environment in training, JSON; the split is "train".
        **settings: what `AGENT@KEY=VALUE` or the suite says; plain JSON.
    """

    def __init__(
        self, env_id: str, seed: int, env_kwargs: Mapping[str, Any], **settings: Any
    ) -> None: ...

    def learn(self, total_tokens: int) -> object:
        """Learn until about `total_tokens` tokens of replies were generated; return anything.

        The number is a promise, since nobody else can count them. An agent that does not learn
        returns at once, and is scored as it is.
        """

    def predict(
        self,
        observation: Mapping[str, npt.NDArray[Any]],
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[np.int64], object]:
        """Return a reply for each of a batch of contexts, and anything (it is not kept).

        Args:
            observation: `input_ids` (N, C) and `attention_mask` (N, C), padded on the right. The
                rows are dialogues in the middle of different episodes; a row does not keep its
                place from call to call, and N changes.
            deterministic: take the likeliest reply instead of drawing one.

        Returns:
            (N, R) integers in the environment's vocabulary, as its action space has them: read up
            to the first stop id; R may be less than the environment's. Anything else makes the run
            "malformed".
        """


def own_agent_names() -> list[str]:
    """Return the names of the installed agents."""
    return sorted({point.name for point in metadata.entry_points(group=GROUP)})


def find_own_agent(name: str) -> type[OwnAgent]:
    """Return the class of an agent.

    Args:
        name: of an entry point, or `module:Class`.

    Raises:
        ValueError: there is none, or it lacks `learn` or `predict`.
    """
    points = [p for p in metadata.entry_points(group=GROUP) if p.name == name]
    if len({point.value for point in points}) > 1:
        values = ", ".join(sorted({point.value for point in points}))
        raise ValueError(
            f"Several packages call an agent {name!r}: {values}. Say which."
        )
    path = points[0].value if points else name
    module_name, _, class_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"The agent {name!r} cannot be imported: {error}") from error
    found = getattr(module, class_name, None)
    if found is None:
        classes = [n for n, v in vars(module).items() if inspect.isclass(v)]
        raise ValueError(
            f"{module_name} has no class {class_name!r}.{nearest(class_name, classes)}"
        )
    lacking = [m for m in ("learn", "predict") if not callable(getattr(found, m, None))]
    if not inspect.isclass(found) or lacking:
        told = " and ".join(lacking) if lacking else "a class to be made"
        raise ValueError(f"{path} is no agent: it lacks {told}.")
    return cast(type[OwnAgent], found)
