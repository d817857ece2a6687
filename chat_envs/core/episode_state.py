"""An episode as plain JSON: the generator that it began with, and what the agent has said since.

An episode is a function of the two. Whoever rebuilds the generator and plays the replies again
stands where the episode stood, in another object or process too, and an environment's author
writes nothing for it. A digest of the dialogue tells whether the replay came out the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

if TYPE_CHECKING:
    from chat_envs.core.chat_env import ChatEnv

__all__ = [
    "EpisodeState",
    "GeneratorNote",
    "note_generator",
    "restore_episode",
    "save_episode",
]

GeneratorNote = tuple[Any, Any, int]
"""What a generator was at some moment: its bits' state, its seeds, children spawned by then."""

_BIT_GENERATORS: Mapping[str, Any] = {
    bits.__name__: bits
    for bits in (
        np.random.MT19937,
        np.random.PCG64,
        np.random.PCG64DXSM,
        np.random.Philox,
        np.random.SFC64,
    )
}
_FORMAT = 1
# Integers of this size and above are written in hexadecimal: see `_plain`.
_EXACT = 2**53
_OWN_KEYS = (
    "generator",
    "replies",
    "reward_components",
    "reward_valid",
    "gold_reward",
    "digest",
)


def save_episode(env: ChatEnv) -> dict[str, Any]:
    """Return the state of `env`'s episode: see `ChatEnv.state`."""
    beginning = env._beginning
    if beginning is None:
        raise gymnasium.error.ResetNeeded(
            "There is no episode to save yet: call reset() before state()."
        )
    return _identity_of(env) | {
        "generator": _save_generator(beginning, env._np_random_seed),
        "replies": [list(ids) for ids in env._reply_log],
        "reward_components": dict(env._components),
        "reward_valid": env._reward_valid,
        "gold_reward": env._gold_reward,
        "digest": _digest_of(env),
    }


def restore_episode(env: ChatEnv, state: Any, seed: int | None = None) -> None:
    """Begin with the generator of `state` and play its replies again, unscored.

    Raises:
        ValueError: if there is a seed beside the state, or the state is another environment's, or
            broken. After the last no episode is left to step; else nothing is changed.
    """
    if seed is not None:
        raise ValueError(
            f"reset takes a seed ({seed}) or options['state'], not both: a state has its own "
            "generator. Leave the seed out."
        )
    saved = _read_state(
        state,
        _identity_of(env),
        env.scorer.component_names,
        len(env.tokenizer),
        env.reply_length,
    )
    before = env._np_random, env._np_random_seed
    env._np_random, env._np_random_seed = saved.rng, saved.seed
    try:
        env._begin(saved.rng)
        for ids in saved.replies:
            env._advance(ids)
        saved.require_same(_digest_of(env), env._gold_reward)
    except Exception as error:
        env._np_random, env._np_random_seed = before
        env._leave()
        raise ValueError(
            f"The state cannot be restored in this {type(env).__name__}: {error}. Make the "
            "environment as it was where the state was saved; call reset() to go on here."
        ) from error
    env._components = saved.reward_components
    env._reward_valid = saved.reward_valid


def _identity_of(env: ChatEnv) -> dict[str, Any]:
    """Return what a state must share with the environment that it is restored in."""
    return {
        "format": _FORMAT,
        "environment": f"{type(env).__module__}:{type(env).__qualname__}",
        "tokenizer": [
            env.tokenizer.name,
            len(env.tokenizer),
            env._tokenizer_fingerprint,
        ],
        "context_length": env.context_length,
        "reply_length": env.reply_length,
        "max_turns": env.max_turns,
        "split": env.split,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeState:
    """A state that was read and found sound.

    Attributes:
        rng: the generator as it was when the episode began; a new one.
        seed: what `env.np_random_seed` said.
        replies: the ids of every reply, one list a turn.
        reward_components: what the last turn's reward consisted of.
        reward_valid: whether it counts.
        gold_reward: the task's own reward of the last turn.
        digest: of the dialogue.
    """

    rng: np.random.Generator
    seed: int
    replies: list[list[int]]
    reward_components: dict[str, float]
    reward_valid: bool
    gold_reward: float
    digest: str

    def require_same(self, digest: str, gold_reward: float) -> None:
        """Raise a `ValueError` unless the replayed episode is the one that was saved."""
        is_same = digest == self.digest and (
            gold_reward == self.gold_reward
            # The last bit of a logarithm may differ from machine to machine.
            or math.isclose(gold_reward, self.gold_reward, rel_tol=1e-6, abs_tol=1e-9)
        )
        if not is_same:
            raise ValueError(
                "the replies led to another dialogue: the environment was made with other "
                "keywords, or its code has changed since"
            )


def note_generator(rng: np.random.Generator) -> GeneratorNote:
    """Return what `rng` is now: all that every `reset` pays for states."""
    bits = rng.bit_generator
    seeds = bits.seed_seq
    # Not read from the seeds later: whoever spawns children counts up there.
    return bits.state, seeds, getattr(seeds, "n_children_spawned", 0)


def _save_generator(note: GeneratorNote, seed: int | None) -> dict[str, Any]:
    """Return a noted generator as plain JSON.

    Raises:
        ValueError: if it did not come from a NumPy `SeedSequence`: its children are unknown then.
    """
    state, seeds, num_spawned = note
    name = state["bit_generator"]
    if name not in _BIT_GENERATORS or not isinstance(seeds, np.random.SeedSequence):
        raise ValueError(
            f"An episode is saved with one of NumPy's generators ({', '.join(_BIT_GENERATORS)}) "
            f"that was made from a SeedSequence, got {name} made from a {type(seeds).__name__}; "
            "reset(seed=...) makes a right one."
        )
    record: dict[str, Any] = _plain(
        {
            "bits": state,
            "entropy": seeds.entropy,
            "spawn_key": seeds.spawn_key,
            "pool_size": seeds.pool_size,
            "num_spawned": num_spawned,
            "seed": seed,
        }
    )
    return record


def _load_generator(record: Mapping[str, Any]) -> tuple[np.random.Generator, int]:
    """Return a new generator like the one that was saved, and its seed."""
    known = _exact(record)
    seeds = np.random.SeedSequence(
        known["entropy"],
        spawn_key=known["spawn_key"],
        pool_size=known["pool_size"],
        n_children_spawned=known["num_spawned"],
    )
    bits = _BIT_GENERATORS[known["bits"]["bit_generator"]](seeds)
    bits.state = known["bits"]
    return np.random.Generator(bits), operator.index(known["seed"])


def _read_state(
    state: Any,
    identity: Mapping[str, Any],
    component_names: Sequence[str],
    num_ids: int,
    reply_length: int,
) -> EpisodeState:
    """Return what `state` says, checked as far as it can be without playing.

    Args:
        state: what `ChatEnv.state` returned, here or elsewhere, through JSON or not.
        identity: what a state must share with the environment that it is restored in.
        component_names: those of the environment's reward.
        num_ids: size of its vocabulary.
        reply_length: most ids of a reply.

    Raises:
        ValueError: if it is another environment's, or broken.
    """
    _require_own(state, identity)
    _require_sound(state, component_names)
    try:
        rng, seed = _load_generator(state["generator"])
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise _broken("generator", state) from error
    return EpisodeState(
        rng=rng,
        seed=seed,
        replies=_read_replies(state, num_ids, reply_length),
        # In the environment's own order, which JSON may have changed.
        reward_components={
            name: float(state["reward_components"][name]) for name in component_names
        },
        reward_valid=state["reward_valid"],
        gold_reward=float(state["gold_reward"]),
        digest=state["digest"],
    )


def _require_own(state: Any, identity: Mapping[str, Any]) -> None:
    """Raise a `ValueError` unless `state` is a whole state of an environment like this one."""
    if not isinstance(state, Mapping):
        raise ValueError(
            f"options['state'] is what env.unwrapped.state() returned, got {state!r}."
        )
    for key, own in identity.items():
        if key in state and state[key] != own:
            raise ValueError(
                f"The state's {key} is {state[key]!r}, this environment's is {own!r}: a state "
                "is restored only in an environment made as the one that it was saved in."
            )
    wrong = {*identity, *_OWN_KEYS} ^ set(state)
    if wrong:
        raise ValueError(
            f"The state is broken: it lacks, or should not have, {sorted(map(str, wrong))}; "
            "save it whole, as env.unwrapped.state() returned it."
        )


def _require_sound(state: Mapping[str, Any], component_names: Sequence[str]) -> None:
    """Raise a `ValueError` unless what `state` says of the last turn can be true here."""
    components = state["reward_components"]
    if not isinstance(components, Mapping) or not all(
        map(_is_number, components.values())
    ):
        raise _broken("reward_components", state)
    if set(components) != set(component_names):
        raise ValueError(
            f"The state was saved under a reward with the components {sorted(components)}, this "
            f"environment's has {sorted(component_names)}: make it with the same reward."
        )
    is_sound = {
        "reward_valid": isinstance(state["reward_valid"], bool),
        "gold_reward": _is_number(state["gold_reward"]),
        "digest": isinstance(state["digest"], str),
    }
    for key in is_sound:
        if not is_sound[key]:
            raise _broken(key, state)


def _read_replies(
    state: Mapping[str, Any], num_ids: int, reply_length: int
) -> list[list[int]]:
    replies = state["replies"]
    is_sound = isinstance(replies, list) and all(
        isinstance(ids, list)
        and len(ids) <= reply_length
        and all(type(i) is int and 0 <= i < num_ids for i in ids)
        for ids in replies
    )
    if not is_sound:
        raise _broken("replies", state)
    return [list(ids) for ids in replies]


def _is_number(value: Any) -> bool:
    # An integer too: some writers of JSON write 1.0 as 1.
    return type(value) in (int, float) and math.isfinite(value)


def _broken(key: str, state: Mapping[str, Any]) -> ValueError:
    text = repr(state[key])
    shown = text if len(text) < 120 else f"{text[:117]}..."
    return ValueError(
        f"The state is broken: {key} is {shown}; save it whole, as env.unwrapped.state() "
        "returned it."
    )


def _digest_of(env: ChatEnv) -> str:
    """Return 16 hexadecimal digits that change with any message, id, mask bit or outcome."""
    said: list[Any] = [message.as_dict() for message in env.conversation]
    said += [env._reason(), bool(env._last_turn.success)]
    digest = hashlib.sha256(json.dumps(said).encode("ascii"))
    digest.update(env.context.ids.astype("<i8").tobytes())
    digest.update(env.context.action_mask.tobytes())
    return digest.hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Return `value` as JSON that every reader keeps exactly: many know no large integers."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value) if -_EXACT < value < _EXACT else hex(value)
    return value


def _exact(value: Any) -> Any:
    """Return what `_plain` was given, with lists for arrays and tuples."""
    if isinstance(value, Mapping):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_exact(item) for item in value]
    if isinstance(value, str) and value.startswith("0x"):
        return int(value, 16)
    return value
