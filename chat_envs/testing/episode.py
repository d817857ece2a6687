"""Clauses about episodes: determinism, limits, and replies that nobody expected."""

from __future__ import annotations

import json
import math
from typing import Any, Callable

import numpy as np
from numpy.typing import NDArray

from chat_envs.core import ChatEnv
from chat_envs.replier import HOSTILE_REPLIERS
from chat_envs.testing.subject import Subject, require
from chat_envs.testing.trajectory import (
    difference,
    lines,
    mixed_reply,
    resumed,
    trace,
)

__all__ = [
    "check_determinism",
    "check_first_step",
    "check_hostile_input",
    "check_interleaving",
    "check_state",
    "check_turn_limit",
]

_SEEDS = (0, 1, 2, 12345)

_TEXTS: dict[str, str] = {
    "empty": "",
    "a million characters": "a" * 1_000_000,
    "a million words": "yes " * 250_000,
    "lone surrogates": "\ud800 hello \udfff",
    "NULs": "\0\0 hello \0",
    "special tokens": "<|end|><|user|>hi<|im_end|></s>",
    "control characters": "\x1b[2J\r\n\t\u202e\ufeff",
    "digits": "9" * 400,
    "commands": "ACTION ACTION = ACTION refund order= order=\n",
    "format fields": "{} {0} {reply} %s %(x)s $x \\1",
    "brackets": "(" * 500 + "[" * 500 + "*+?" * 100,
}


def check_determinism(subject: Subject) -> None:
    """The same seed gives the same episode, in a new environment and in a used one."""
    used = subject.make()
    for seed in _SEEDS:
        first = trace(subject.make(), seed)
        gap = difference(first, trace(subject.make(), seed))
        require(
            gap == "",
            f"Two episodes of seed {seed} differ {gap}. Draw only from the generator that "
            "_opening receives; never from global state, clocks or the order of a set.",
        )
        gap = difference(first, trace(used, seed))
        require(
            gap == "",
            f"Seed {seed} gives another episode in an environment that was used before, {gap}. "
            "Set all state of an episode in _opening.",
        )


def check_interleaving(subject: Subject) -> None:
    """An episode does not depend on other environments of the process, nor on abandoned ones."""
    alone = [trace(subject.make(), seed) for seed in _SEEDS[:2]]
    one, other = (lines(subject.make(), seed) for seed in _SEEDS[:2])
    together: list[list[dict[str, object]]] = [[], []]
    for _ in range(max(len(a) for a in alone)):
        for kept, source in zip(together, (one, other)):
            kept += [line for line in [next(source, None)] if line is not None]
    for seed, expected, found in zip(_SEEDS, alone, together):
        gap = difference(expected, found)
        require(
            gap == "",
            f"Seed {seed} gives another episode beside a second environment, {gap}. Keep state "
            "on the instance, not on the class or the module.",
        )
    env = subject.make()
    env.reset(seed=99)
    env.step(env.encode(mixed_reply(env)))
    gap = difference(alone[0], trace(env, _SEEDS[0]))
    require(
        gap == "",
        f"Seed {_SEEDS[0]} gives another episode after an abandoned one, {gap}. Set all state "
        "of an episode in _opening.",
    )


def check_state(subject: Subject) -> None:
    """A saved episode goes on in another environment as it would have."""
    for seed in _SEEDS[:2]:
        whole = trace(subject.make(), seed)
        env, half = subject.make(), (len(whole) - 1) // 2
        env.reset(seed=seed)
        for _ in range(half):
            env.step(env.encode(mixed_reply(env)))
        saved = json.loads(json.dumps(env.state()))
        try:
            gap = difference(resumed(subject.make(), saved), whole[half:])
        except ValueError as error:  # a replay that came out otherwise
            gap = f"({error})"
        require(
            gap == "",
            f"The episode of seed {seed}, saved after {half} turns, goes on otherwise {gap}. A "
            "state is restored by playing it again: set all state of an episode in _opening and "
            "_respond, nowhere else.",
        )


def check_first_step(subject: Subject) -> None:
    """The first step never truncates, however long the reply."""
    env = subject.make()
    longest = np.full(env.reply_length, _plain_id(env), dtype=np.int64)
    for seed in range(30):
        env.reset(seed=seed)
        truncated = env.step(longest)[3]
        require(
            not truncated,
            f"The first step of seed {seed} truncates: the opening, a reply of "
            f"{env.reply_length} ids and the answer to it do not fit into context_length "
            f"{env.context_length}. Shorten the opening or raise context_length.",
        )


def check_turn_limit(subject: Subject) -> None:
    """The turn limit is told in the opening and ends the episode with `terminated`."""
    env = subject.make()
    for seed in range(5):
        env.reset(seed=seed)
        opening = " ".join(message.content for message in env.conversation)
        require(
            env.max_turns == 1 or str(env.max_turns) in opening,
            f"The opening {opening!r} does not tell that the agent has {env.max_turns} turns.",
        )
        for _ in range(env.max_turns):
            _, _, terminated, truncated, _ = env.step(env.encode("a"))
            if terminated or truncated:
                break
        require(
            terminated,
            f"After {env.turn} of {env.max_turns} turns with the reply 'a' the episode has "
            + ("been truncated" if truncated else "not ended")
            + "; the limit that the agent was told of must end it with terminated=True.",
        )


def check_hostile_input(subject: Subject) -> None:
    """Every reply, as text or as ids, gives a finite reward and a valid observation."""
    env = subject.make()
    actions: dict[str, Callable[[ChatEnv], NDArray[np.int64]]] = {
        name: lambda env, text=text: env.encode(text)  # type: ignore[misc]
        for name, text in _TEXTS.items()
    }
    for name, replier in HOSTILE_REPLIERS.items():
        actions[f"replier {name}"] = lambda env, r=replier: env.encode(r(env))  # type: ignore[misc]
    size, num_ids = env.reply_length, len(env.tokenizer)
    rng = np.random.default_rng(17)
    actions |= {
        "all pad": lambda env: np.full(size, env.tokenizer.pad_id, dtype=np.int64),
        "all the largest id": lambda env: np.full(size, num_ids - 1, dtype=np.int64),
        "control ids": lambda env: rng.choice(sorted(env.tokenizer.control_ids), size),
        "random ids": lambda env: rng.integers(0, num_ids, size),
    }
    for name, make_action in actions.items():
        for seed in range(2):
            _play_hostile(env, name, make_action, seed)


def _play_hostile(
    env: ChatEnv,
    name: str,
    make_action: Callable[[ChatEnv], NDArray[np.int64]],
    seed: int,
) -> None:
    env.reset(seed=seed)
    is_over = False
    while not is_over:
        try:
            step = env.step(make_action(env))
        except Exception as error:
            raise AssertionError(
                f"The reply {name!r} crashed turn {env.turn} of seed {seed}: "
                f"{type(error).__name__}: {error}"
            ) from error
        observation, terminated, truncated = step[0], step[2], step[3]
        reward: Any = step[1]  # its annotation is the claim under test
        require(
            isinstance(reward, float) and math.isfinite(reward),
            f"The reply {name!r} gave the reward {reward!r} at turn {env.turn}, expected a "
            "finite float.",
        )
        require(
            env.observation_space.contains(observation),
            f"The reply {name!r} led to an observation outside observation_space.",
        )
        is_over = terminated or truncated


def _plain_id(env: ChatEnv) -> int:
    """Return an id that is plain text."""
    control = env.tokenizer.control_ids
    return next(i for i in range(len(env.tokenizer)) if i not in control)
