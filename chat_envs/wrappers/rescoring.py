"""Recorded episodes scored again, with another reward than the one they were played for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chat_envs.message import Message, Role
from chat_envs.record_file import (
    ON_BROKEN,
    as_messages,
    as_object,
    read_lines,
    report_broken,
)
from chat_envs.registration import find
from chat_envs.reward import RewardOutcome, RewardRequest, describe, make_scorer
from chat_envs.reward.registry import OWN_REWARD_IDS, PROXY

__all__ = ["rescore"]

_OPTIONAL = type(None)
# What a turn is made again from; `RecordTranscript` writes more, for people.
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "turn": (int,),
    "reply_index": (int,),
    "num_messages": (int,),
    "reply_ids": (list,),
    "terminated": (bool,),
    "success": (bool,),
    "termination_reason": (str,),
    "metrics": (dict,),
    "task_components": (dict, _OPTIONAL),
}


@dataclass(frozen=True, slots=True)
class _Episode:
    """A line and its turns as a reward function sees them."""

    line: dict[str, Any]
    requests: list[RewardRequest]

    def scored(self, outcomes: Iterator[RewardOutcome], reward: Any) -> dict[str, Any]:
        """Return the line with the outcomes of its turns in place of their old ones."""
        turns = []
        sums: dict[str, float] = {}
        for turn in self.line["turns"]:
            outcome = next(outcomes)
            turns.append(
                turn
                | {
                    "reward": outcome.total,
                    "reward_components": outcome.components,
                    "reward_valid": outcome.is_valid,
                }
            )
            for name, value in outcome.components.items():
                sums[name] = sums.get(name, 0.0) + value
        return self.line | {
            "return": sum((turn["reward"] for turn in turns), 0.0),
            "reward_components": sums,
            "turns": turns,
            "rescored_with": describe(reward),
        }


def rescore(
    source: str | Path | Iterable[str | Mapping[str, Any]],
    reward: Any,
    *,
    on_broken: str = "stop",
    on_error: str | float = "raise",
    timeout_s: float | None = None,
    proxies: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Return recorded episodes with the rewards that `reward` gives their turns.

    All turns are scored in one call of the reward function; with the environment's own reward or a
    proxy in it, in one call for each environment.

    Args:
        source: A file that `RecordTranscript` wrote, or its lines, as text or as they were read.
        reward: Anything that an environment takes: "gold", "proxy:NAME", an id, a function, ...
        on_broken: What a line that is no recorded episode does: "stop" raises, "skip" leaves it
            out with a warning in the log. Either names file and line.
        on_error, timeout_s: What a failing or slow reward does, as for an environment.
        proxies: What "proxy:NAME" stands for, for environments that are not registered.

    Returns:
        The lines, in their order, with new `return`, `reward_components` and `turns`; what the task
        itself paid stays in `gold_reward`. They can be scored again.

    Raises:
        ValueError: If a line is broken or too old, or the reward is unknown.
        RewardError: If the reward fails and its policy is to raise.

    >>> import gymnasium, tempfile, chat_envs
    >>> from chat_envs.wrappers import RecordTranscript
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "transcripts.jsonl"
    ...     with RecordTranscript(gymnasium.make("chat_envs/Echo-easy-v0"), path) as env:
    ...         _ = env.reset(seed=7)
    ...         _ = env.step(env.unwrapped.encode("hello you"))
    ...     [line] = rescore(path, lambda reply: len(reply.split()))
    >>> line["return"], line["turns"][0]["reward_components"]
    (2.0, {'reward': 2.0})
    """
    if on_broken not in ON_BROKEN:
        raise ValueError(f"on_broken must be one of {ON_BROKEN}, got {on_broken!r}.")
    episodes = list(_read(source, on_broken))
    lines: dict[int, dict[str, Any]] = {}
    for (env_id, task_names), indices in _groups(episodes, reward).items():
        scorer = make_scorer(
            reward,
            on_error=on_error,
            timeout_s=timeout_s,
            task_names=task_names,
            proxies=_proxies_for(reward, env_id) if proxies is None else proxies,
            owner=env_id,
        )
        requests = [r for index in indices for r in episodes[index].requests]
        outcomes = iter(scorer.score(requests))
        for index in indices:
            lines[index] = episodes[index].scored(outcomes, reward)
    return [lines[index] for index in range(len(episodes))]


def _proxies_for(reward: Any, env_id: str) -> Mapping[str, Any]:
    """Return the environment's proxies, if the reward names any."""
    names_proxy = any(name.startswith(PROXY) for name in _names_in(reward))
    return find(env_id).load().proxies if names_proxy else {}


def _names_in(reward: Any) -> list[str]:
    """Return the names that a reward is made of, functions and objects left out."""
    parts = reward if isinstance(reward, Mapping) else [reward]
    return ["task" if part is None else part for part in parts if _is_name(part)]


def _is_name(part: Any) -> bool:
    return part is None or isinstance(part, str)


def _groups(
    episodes: list[_Episode], reward: Any
) -> dict[tuple[str, tuple[str, ...]], list[int]]:
    """Return which episodes share a call, by environment: all, if none matters."""
    depends = any(
        name in OWN_REWARD_IDS or name.startswith(PROXY) for name in _names_in(reward)
    )
    groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for index, episode in enumerate(episodes):
        line = episode.line
        own = str(line["id"]), tuple(line["task_names"])
        groups.setdefault(own if depends else ("", ("task",)), []).append(index)
    return groups


def _read(
    source: str | Path | Iterable[str | Mapping[str, Any]], on_broken: str
) -> Iterator[_Episode]:
    """Yield the episodes of the lines that are sound."""
    rows = read_lines(source) if isinstance(source, str | Path) else _given(source)
    for place, row in rows:
        try:
            yield _episode(as_object(row))
        except (OverflowError, RecursionError, TypeError, ValueError) as error:
            report_broken(place, f"{str(error).rstrip('.')}.", on_broken)


def _given(lines: Iterable[str | Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield lines that were read already, as `read_lines` yields those of a file."""
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, str) or line.strip():
            row = dict(line) if isinstance(line, Mapping) else line
            yield f"line {number}", row


def _episode(record: dict[str, Any]) -> _Episode:
    """Return the episode of one line.

    Raises:
        ValueError: if it is none; the message says why.
    """
    if "messages" not in record:
        raise ValueError(
            f"there is no field 'messages', only {sorted(record)}: it is no episode of "
            "RecordTranscript."
        )
    for key in ("turns", "task_names", "id"):
        if key not in record:
            raise ValueError(
                f"the line was written before turns were recorded (it has no {key!r}): its "
                "messages can be read, but it cannot be scored again; play the episode anew under "
                "RecordTranscript."
            )
    messages = as_messages(record["messages"], "'messages'")
    return _Episode(record, [_request(t, messages) for t in record["turns"]])


def _request(turn: Any, messages: tuple[Message, ...]) -> RewardRequest:
    """Return what a reward function is told of a recorded turn."""
    for key, kinds in _FIELDS.items():
        if not isinstance(turn, Mapping) or not isinstance(turn.get(key, ...), kinds):
            raise ValueError(f"there is a turn without a right {key!r}: {turn!r:.60}.")
    reply_index, num_messages = turn["reply_index"], turn["num_messages"]
    if not 0 <= reply_index < num_messages <= len(messages):
        raise ValueError(
            f"there is a turn of messages {reply_index} to {num_messages}, of "
            f"{len(messages)}."
        )
    reply = messages[reply_index]
    if reply.role is not Role.ASSISTANT:
        raise ValueError(
            f"there is a turn whose reply is a message of the {reply.role.value}."
        )
    components = turn["task_components"]
    return RewardRequest(
        prompt=messages[:reply_index],
        messages=messages[:num_messages],
        reply=reply.content,
        reply_ids=np.array(turn["reply_ids"], dtype=np.int64),
        turn=turn["turn"],
        terminated=turn["terminated"],
        task=None if components is None else sum(components.values(), 0.0),
        task_components=components or {},
        info={
            "success": turn["success"],
            "termination_reason": turn["termination_reason"],
            "metrics": dict(turn["metrics"]),
        },
    )
