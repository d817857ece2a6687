"""Episodes on their way between the processes that train together.

Each process plays a part of an iteration's episodes and then has all of them, so that baselines,
counts and metrics are those of the whole batch, however many processes played it. What is sent is
JSON and plain arrays.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from agents.engine import process_group
from agents.experience.rollout import Episode

__all__ = ["from_bytes", "gather_episodes", "to_bytes"]

_TOKEN_FIELDS = ("ids", "action_mask", "log_probs", "turn_index")  # each (S,)
_TURN_FIELDS = (  # each (T,)
    "rewards",
    "reward_valid",
    "gold_rewards",
    "reply_lengths",
    "reply_cut",
)
_PLAIN_FIELDS = (
    "seed",
    "group",
    "terminated",
    "truncated",
    "success",
    "termination_reason",
    "metrics",
    "messages",
)
_DTYPES = {
    "rewards": np.float64,
    "reward_valid": np.bool_,
    "gold_rewards": np.float64,
    "reply_lengths": np.int64,
    "reply_cut": np.bool_,
}


def gather_episodes(episodes: Mapping[int, Episode]) -> dict[int, Episode]:
    """Return the episodes of all processes, by number.

    Args:
        episodes: number -> an episode that this process played.

    Raises:
        RuntimeError: two processes played the same one.
    """
    if process_group.place()[1] == 1:
        return dict(episodes)
    everything: dict[int, Episode] = {}
    for message in process_group.gather(to_bytes(episodes)):
        part = from_bytes(message)
        if both := sorted(everything.keys() & part.keys()):
            raise RuntimeError(f"Episodes {both} were played by two processes.")
        everything |= part
    return everything


def to_bytes(episodes: Mapping[int, Episode]) -> bytes:
    """Return what `from_bytes` reads back, every bit of it; of a NaN, that it is one."""
    records = [_record(number, episode) for number, episode in episodes.items()]
    header = np.frombuffer(json.dumps(records).encode("utf-8"), dtype=np.uint8)
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(episode, name) for episode in episodes.values()])
        for name in (_TOKEN_FIELDS if episodes else ())
    }
    file = io.BytesIO()
    np.savez(file, **arrays, header=header)
    return file.getvalue()


def from_bytes(message: bytes) -> dict[int, Episode]:
    """Return the episodes that `to_bytes` wrote, by number."""
    with np.load(io.BytesIO(message), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    episodes: dict[int, Episode] = {}
    begin = 0
    for record in json.loads(arrays["header"].tobytes()):
        number, end = record.pop("number"), begin + record.pop("num_tokens")
        components = record.pop("reward_components")
        fields: dict[str, Any] = record
        fields |= {name: arrays[name][begin:end] for name in _TOKEN_FIELDS}
        fields |= {
            name: np.array(record[name], dtype=_DTYPES[name]) for name in _TURN_FIELDS
        }
        fields["messages"] = tuple(record["messages"])
        fields["reward_components"] = {
            name: np.array(values, dtype=np.float64)
            for name, values in components.items()
        }
        episodes[number] = Episode(**fields)
        begin = end
    return episodes


def _record(number: int, episode: Episode) -> dict[str, Any]:
    """Return all of an episode but its tokens, as JSON: floats keep every bit in it."""
    record: dict[str, Any] = {name: getattr(episode, name) for name in _PLAIN_FIELDS}
    record["messages"] = [dict(message) for message in episode.messages]
    record["metrics"] = dict(episode.metrics)
    record |= {name: getattr(episode, name).tolist() for name in _TURN_FIELDS}
    record["reward_components"] = {
        name: values.tolist() for name, values in episode.reward_components.items()
    }
    return record | {"number": number, "num_tokens": len(episode.ids)}
