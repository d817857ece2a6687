"""What a turn costs: our vector environments, all in, beside GEM's raw GuessNumber.

    python -m benchmarks.stepping

Ours: 64 dialogues of `ChatVectorEnv`, each turn with the reply's ids read and decoded, the
simulator, the user's words tokenised, observations, masks, reward components and `info`; the resets
between episodes are paid by the turns. Each round plays episodes that none before it has played,
with a tokenizer that has seen those of the earlier rounds alone. GEM's: 64
of its environments stepped one after the other, strings in and strings out, nothing else: no
tokens, no spaces, no masks. The difference is the price of the contract.
"""

from __future__ import annotations

import copy
import importlib
import itertools
import time
from typing import Any, Callable

import gymnasium
import numpy as np
import numpy.typing as npt

import chat_envs
from benchmarks.measurement import compare, pairs_parser, write_result
from chat_envs.tokenizer import load_tokenizer

__all__ = ["expert_steps", "gem_steps", "main"]

NUM_ENVS = 64
STEPS = 60


def expert_steps(env_id: str) -> Callable[[], float]:
    """Return a measurement of seconds a turn, with the expert's replies; each call plays new ones.

    The replies are scripted before the clock starts, in another environment: what an agent costs is
    not what we measure, and what it said is not in the measured tokenizer's cache.
    """
    tokenizer = copy.copy(load_tokenizer())  # with nothing in its cache
    scripted, env = _make(env_id), _make(env_id, tokenizer=tokenizer)
    seeds = itertools.count()

    def measure() -> float:
        seed = next(seeds)
        actions, num_turns = _script(scripted, seed)
        env.reset(seed=seed)
        start = time.perf_counter()
        for action in actions:
            env.step(action)
        return (time.perf_counter() - start) / num_turns

    return measure


def _make(env_id: str, **kwargs: Any) -> Any:
    return gymnasium.make_vec(
        env_id, NUM_ENVS, vectorization_mode="vector_entry_point", **kwargs
    ).unwrapped


def _script(env: Any, seed: int) -> tuple[list[npt.NDArray[np.int64]], int]:
    """Return the expert's actions from a seed on, and how many of them are turns."""
    env.reset(seed=seed)
    actions, num_turns = [], 0
    for _ in range(STEPS):
        # An environment whose episode is over is reset in this step: no turn.
        num_turns += sum(not e.is_over for e in env.envs)
        actions.append(
            np.stack(
                [e.encode("" if e.is_over else e.expert_reply()) for e in env.envs]
            )
        )
        env.step(actions[-1])
    return actions, num_turns


def gem_steps() -> Callable[[], float] | None:
    """Return the same measurement of GEM's GuessTheNumber, None if GEM is not installed."""
    try:
        module = importlib.import_module("gem.envs.game_env.guess_the_number")
    except ImportError:
        return None
    envs = [module.GuessTheNumberEnv(1, 50, 7) for _ in range(NUM_ENVS)]

    def measure() -> float:
        for env in envs:
            env.reset(seed=0)
        start = time.perf_counter()
        for step in range(STEPS):
            for env in envs:
                _, _, terminated, truncated, _ = env.step(f"\\boxed{{{step % 49 + 1}}}")
                if terminated or truncated:
                    env.reset()
        return (time.perf_counter() - start) / (STEPS * NUM_ENVS)

    return measure


def _row(name: str, measure: Callable[[], float], num_pairs: int) -> dict[str, float]:
    """Measure one side; print and return its microseconds a turn."""
    result = compare({name: measure}, num_pairs)
    seconds = result.seconds[name]
    row = {
        "microseconds_a_turn": round(1e6 * result.median(name), 2),
        "low": round(1e6 * min(seconds), 2),
        "high": round(1e6 * max(seconds), 2),
    }
    median = row["microseconds_a_turn"]
    print(
        f"{name:38s} {1e6 / median:7.0f} turns a second, {median:6.1f} us a turn "
        f"({row['low']:.1f} to {row['high']:.1f})",
        flush=True,
    )
    return row


def main() -> None:
    """Measure, print a table and write the dated result."""
    arguments = pairs_parser(__doc__).parse_args()
    gem = gem_steps()
    if gem is None:
        print("GEM is not installed (pip install gem-llm): its row is missing.")
    rows = {}
    # One after the other: with all of them alive, Python's garbage collector looks at millions of
    # objects, and what is measured is its work.
    for name in [r.id for r in chat_envs.registrations()]:
        rows[name] = _row(name, expert_steps(name), arguments.pairs)
    if gem is not None:
        name = "GEM GuessTheNumber (raw text)"
        rows[name] = _row(name, gem, arguments.pairs)
    if arguments.write:
        print(
            write_result(
                "stepping", {"num_envs": NUM_ENVS, "steps": STEPS, "rows": rows}
            )
        )


if __name__ == "__main__":
    main()
