"""Anchors: what the expert, the blind and the random policy earn, so that scores compare.

The normalised score of a return R is (R - R_blind) / (R_expert - R_blind): 0 for a policy that
never read the user, 1 for the scripted expert; higher is better, for negative returns too.

Anchors are means over the first `NUM_EPISODES` seeds, separately on each split, because held-out
goals may be harder; a score must use the anchors of the split that it was measured on. They
are kept in `data/anchors.json` under a version, which is a hash of what they depend on.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Sequence, overload

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from chat_envs.core import SPLITS, ChatEnv
from chat_envs.fingerprint import fingerprint
from chat_envs.registration import find
from chat_envs.replier import make_replier, play_many

__all__ = [
    "Anchors",
    "NUM_EPISODES",
    "SplitAnchors",
    "check",
    "compute",
    "load",
    "measure",
    "normalised_score",
    "rescale",
    "save",
    "version",
]

NUM_EPISODES = 200
_RANDOM_SEED = 20_260_000
_TOLERANCE = 1e-9
_NOTE = (
    "Mean returns of scripted policies; written by `chat-envs anchors`, never by hand."
)


@dataclass(frozen=True, slots=True)
class SplitAnchors:
    """Mean undiscounted returns of the three anchor policies on one split."""

    expert: float
    blind: float
    random: float


@dataclass(frozen=True, slots=True)
class Anchors:
    """The anchors of one id.

    Attributes:
        version: Hash of source, data and keywords (see `chat_envs.fingerprint`).
        train: Mean returns on training goals.
        test: Mean returns on held-out goals.
    """

    version: str
    train: SplitAnchors
    test: SplitAnchors

    def on(self, split: str) -> SplitAnchors:
        """Return the anchors of `split`."""
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
        return self.train if split == "train" else self.test


def load(env_id: str, path: Path | None = None) -> Anchors:
    """Return the stored anchors of `env_id`.

    Args:
        env_id: A registered id; the namespace `chat_envs/` may be left out.
        path: A file that `save` wrote; the suite's own by default.

    Raises:
        LookupError: If there are none.
    """
    name = find(env_id).id
    stored = _read(path)
    if name not in stored:
        raise LookupError(
            f"{name} has no anchors; `chat-envs anchors {name}` computes them"
        )
    row = stored[name]
    return Anchors(
        version=row["version"],
        train=SplitAnchors(**row["train"]),
        test=SplitAnchors(**row["test"]),
    )


@overload
def normalised_score(env_id: str, returns: float, split: str = ...) -> float: ...


@overload
def normalised_score(
    env_id: str, returns: Sequence[float] | NDArray[Any], split: str = ...
) -> NDArray[np.float64]: ...


def normalised_score(env_id: str, returns: ArrayLike, split: str = "test") -> Any:
    """Return (R - R_blind) / (R_expert - R_blind) for every return R.

    Args:
        env_id: A registered id with anchors.
        returns: One undiscounted return, or an array of them of any shape.
        split: The split on which they were earned.

    Returns:
        A float for a float, else a float64 array of the same shape.
    """
    anchors = load(env_id).on(split)
    return rescale(returns, anchors)


def rescale(returns: ArrayLike, anchors: SplitAnchors) -> Any:
    """Return normalised scores from anchors at hand (see `normalised_score`)."""
    span = anchors.expert - anchors.blind
    if span <= 0:
        raise ValueError(
            f"the expert ({anchors.expert:g}) does not beat the blind policy "
            f"({anchors.blind:g}): no score can be normalised by them"
        )
    scores = (np.asarray(returns, dtype=np.float64) - anchors.blind) / span
    return float(scores) if scores.ndim == 0 else scores


def measure(
    env: gymnasium.Env[Any, Any], num_episodes: int = NUM_EPISODES
) -> SplitAnchors:
    """Return the mean returns of the three policies in `env`, for seeds 0 to `num_episodes` - 1."""
    means = {}
    for name in ("expert", "blind", "random"):
        rng = np.random.default_rng(_RANDOM_SEED)
        records = play_many(env, make_replier(name, rng), range(num_episodes))
        means[name] = math.fsum(r.episode_return for r in records) / num_episodes
    return SplitAnchors(**means)


def compute(env_id: str, num_episodes: int = NUM_EPISODES) -> Anchors:
    """Return freshly computed anchors of `env_id`: the same ones each time and everywhere."""
    registration = find(env_id)
    splits = {}
    for split in SPLITS:
        env = gymnasium.make(registration.id, split=split, disable_env_checker=True)
        splits[split] = measure(env, num_episodes)
        env.close()
    return Anchors(version=version(env_id), **splits)


def version(env_id: str) -> str:
    """Return the hash of what the anchors of `env_id` depend on, without playing an episode."""
    registration = find(env_id)
    env_class: type[ChatEnv] = registration.load()
    return fingerprint(env_class, registration.kwargs)


def check(env_id: str, path: Path | None = None) -> list[str]:
    """Return what no longer holds about the stored anchors; an empty list if all does.

    A version that changed while every return is the same is named too: the file must say what
    it was computed from.
    """
    name = find(env_id).id
    if name not in _read(path):
        return [f"{name}: no anchors are stored"]
    stored, fresh = load(name, path), compute(name)
    problems = []
    for split in SPLITS:
        old, new = asdict(stored.on(split)), asdict(fresh.on(split))
        problems += [
            f"{name}: {split} {policy} is {new[policy]!r}, stored is {old[policy]!r}"
            for policy in old
            if not math.isclose(
                old[policy], new[policy], rel_tol=_TOLERANCE, abs_tol=_TOLERANCE
            )
        ]
    if stored.version != fresh.version:
        problems.append(
            f"{name}: version is {fresh.version}, stored is {stored.version}"
        )
    return problems


def save(anchors: dict[str, Anchors], path: Path | None = None) -> None:
    """Write anchors by id, keeping those of other ids that the file has.

    Args:
        anchors: What to store, by id.
        path: The file; the suite's own by default.
    """
    rows = _read(path) | {find(name).id: asdict(row) for name, row in anchors.items()}
    document = {
        "version": 1,
        "licence": "Apache-2.0",
        "note": _NOTE,
        "num_episodes": NUM_EPISODES,
        "anchors": dict(sorted(rows.items())),
    }
    text = json.dumps(document, indent=1) + "\n"
    target = Path(str(_own_file())) if path is None else path
    target.write_text(text, encoding="utf-8")
    _read_file.cache_clear()


def _own_file() -> Any:
    return resources.files("chat_envs") / "data" / "anchors.json"


def _read(path: Path | None) -> dict[str, Any]:
    """Return the rows of a file by id; none where the file is not there yet."""
    source = _own_file() if path is None else path
    return _read_file(source) if source.is_file() else {}


@functools.lru_cache(maxsize=8)
def _read_file(source: Any) -> dict[str, Any]:
    document = json.loads(source.read_text(encoding="utf-8"))
    rows: dict[str, Any] = document["anchors"]
    return rows
