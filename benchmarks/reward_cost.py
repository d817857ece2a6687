"""What a reward function costs: inline, and in a process of its own.

    python -m benchmarks.reward_cost --write

- inline: the same rollout of `tiny` in 64 environments with the task's own reward, and with a
  trivial Python function mixed in; and the time inside the function's calls as a share of the
  rollout.
- process: microseconds a reply of the same function inline and with isolation="process", in calls
  of 64.

What a reward model costs is measured by `benchmarks.reward_model`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from agents.engine.loading import load_lm
from agents.experience.collector import Collector
from benchmarks.measurement import compare, pairs_parser, write_result
from chat_envs.reward import StatefulScorer, make_scorer
from chat_envs.testing.recorded_reply import record_requests
from chat_envs.tokenizer import load_tokenizer

__all__ = ["concise", "inline", "process"]

ENV = "chat_envs/CustomerService-easy-v0"
NUM_ENVS = 64
NUM_CALLS = 20
CONCISE = "benchmarks.reward_cost:concise"


def concise(reply: str) -> float:
    """Return the trivial reward that is measured."""
    return -0.01 * len(reply)


def inline(num_pairs: int) -> dict[str, Any]:
    """Return how much longer a rollout takes with the function, and the share that is its own."""
    lm = load_lm("tiny", tokenizer=load_tokenizer(), engine="local")
    collectors = {
        name: Collector(
            lm, ENV, num_envs=NUM_ENVS, env_kwargs={"reward": reward}, group_size=8
        )
        for name, reward in (("task", None), ("function", {"task": 1.0, concise: 0.1}))
    }

    def side(name: str) -> Callable[[], float]:
        def measure() -> float:
            began = time.perf_counter()
            collectors[name].collect(NUM_ENVS, 0)
            return time.perf_counter() - began

        return measure

    result = compare({name: side(name) for name in collectors}, num_pairs)
    ratio, low, high = result.ratio("function", "task")
    scorer = collectors["function"].env.scorer
    assert isinstance(scorer, StatefulScorer)  # what a mixture makes
    counts = scorer.statistics()["concise"]
    spent = counts["mean_seconds"] * counts["requests"]
    total = sum(result.seconds["function"])
    # One more round than those that count was played, to warm up.
    share = spent / (total * (num_pairs + 1) / num_pairs)
    return {"ratio": ratio, "low": low, "high": high, "share_of_rollout": share}


def process(num_pairs: int) -> dict[str, Any]:
    """Return microseconds a reply, inline and in a process, in calls of 64."""
    batch = [*record_requests("expert"), *record_requests("random")][:NUM_ENVS]
    scorers = {
        "inline": make_scorer(concise),
        "process": make_scorer({CONCISE: {"isolation": "process"}}),
    }

    def side(name: str) -> Callable[[], float]:
        def measure() -> float:
            began = time.perf_counter()
            for _ in range(NUM_CALLS):
                scorers[name].score(batch)
            return (time.perf_counter() - began) / (NUM_CALLS * len(batch))

        return measure

    result = compare({name: side(name) for name in scorers}, num_pairs)
    return {name: 1e6 * result.median(name) for name in scorers}


def main() -> None:
    """Measure, print a line each, and write the dated result."""
    arguments = pairs_parser(__doc__).parse_args()
    rollout, isolated = inline(arguments.pairs), process(arguments.pairs)
    print(
        f"inline: a rollout of {NUM_ENVS} takes {rollout['ratio']:.3f} "
        f"({rollout['low']:.3f} to {rollout['high']:.3f}) times as long; "
        f"{100 * rollout['share_of_rollout']:.2f}% of it in the function's calls"
    )
    print(
        f"process: {isolated['process']:.0f} microseconds a reply, inline "
        f"{isolated['inline']:.1f}"
    )
    if arguments.write:
        result = {"num_envs": NUM_ENVS, "inline": rollout, "process": isolated}
        print(write_result("reward_cost", result))


if __name__ == "__main__":
    main()
