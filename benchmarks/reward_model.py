"""How right is a reward model, and what do wrong labels cost it? Accuracy against label noise.

    python -m benchmarks.reward_model --write               # all, three seeds: half a CPU hour
    python -m benchmarks.reward_model --envs SocialChat-easy-v0 --kinds ngram --num-pairs 300
    python -m benchmarks.reward_model --rows rows --seeds 1   # beside another process, say

Pairs are the expert's reply against a guess, a blind reply, the expert's words of another context
and the expert's reply with one wrong word, labelled by the gold reward of the episode
(`agents.pair_collection`). A share of the training labels is turned round, of the same pairs; those
of the test, of goals and phrasings that no training pair knows, are all right. Both kinds of
`chat-envs reward-model` learn from them: n-grams, and `tiny` from random weights.

Beside it: what 64 replies cost in one call of `RewardModel.score` and one by one, of one prompt
(best of 64), of 8 prompts (groups of 8) and of 64 prompts.

A row is kept in the directory `--rows` when it has been measured, and is not computed again.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.engine.loading import load_lm
from agents.pair_collection import collect_pairs
from agents.reliability import Reliability, measure_reliability
from agents.reward_model import RewardModel
from agents.reward_modeling import ngram_margins, train_reward_model
from benchmarks.measurement import Comparison, compare, write_result
from benchmarks.seed_row import kept_row
from chat_envs.preference_pair import PreferencePair
from chat_envs.registration import find
from chat_envs.reward import RewardRequest
from chat_envs.simulators.preference_model import train_reward
from chat_envs.tokenizer import load_tokenizer

__all__ = ["ENVS", "FLIP_RATES", "KINDS", "batching", "measure", "pairs_of"]

ENVS = ("CustomerService-easy-v0", "SocialChat-easy-v0")
FLIP_RATES = (0.0, 0.1, 0.2, 0.3, 0.4)
POLICIES = ("expert", "guess+blind+misplaced+edited")
NUM_REPLIES = 64
NUM_PROMPTS = (1, 8, 64)

_Pairs = Sequence[PreferencePair]


@functools.cache  # every kind learns from them
def pairs_of(
    env: str, num_pairs: int, seed: int, *, split: str, flip_rate: float = 0.0
) -> tuple[PreferencePair, ...]:
    """Return labelled pairs; another flip rate turns labels of the same pairs round."""
    found = collect_pairs(
        find(env).id,
        POLICIES,
        num_pairs=num_pairs,
        seed=seed,
        split=split,
        flip_rate=flip_rate,
    )
    return tuple(labelled.pair for labelled in found.pairs)


def _ngram(train: _Pairs, test: _Pairs, seed: int) -> Reliability:
    reward = train_reward(train, seed=seed)
    return measure_reliability(ngram_margins(reward, test), seed=seed)


def _tiny(train: _Pairs, test: _Pairs, seed: int) -> Reliability:
    tokenizer = load_tokenizer()
    lm = load_lm(
        "tiny", tokenizer=tokenizer, seed=seed, engine="local", has_value_head=True
    )
    found = train_reward_model(lm, tokenizer, train, test, seed=seed).reliability
    assert found is not None  # there are test pairs
    return found


KINDS: Mapping[str, Callable[[_Pairs, _Pairs, int], Reliability]] = {
    "ngram": _ngram,
    "tiny": _tiny,
}
"""The kinds of reward model, by name."""


def measure(
    env: str, kind: str, flip_rate: float, seed: int, num_pairs: int, num_test: int
) -> dict[str, Any]:
    """Train one reward model; return what it is worth on held-out pairs."""
    train = pairs_of(env, num_pairs, seed, split="train", flip_rate=flip_rate)
    test = pairs_of(env, num_test, seed, split="test")
    began = time.process_time()
    found = KINDS[kind](train, test, seed)
    return {
        "env": find(env).id,
        "kind": kind,
        "flip_rate": flip_rate,
        "seed": seed,
        "num_pairs": num_pairs,
        "cpu_seconds": round(time.process_time() - began, 1),
        "held_out": found.as_dict(),
    }


def batching(env: str, num_prompts: int, num_rounds: int = 7) -> dict[str, Any]:
    """Return what 64 replies to so many prompts cost in one call, and one by one.

    Args:
        env: where prompts and replies are from.
        num_prompts: a divisor of 64.
        num_rounds: interleaved measurements of both.
    """
    tokenizer = load_tokenizer()
    lm = load_lm("tiny", tokenizer=tokenizer, engine="local", has_value_head=True)
    model = RewardModel.of(lm, tokenizer)
    pairs = pairs_of(env, NUM_REPLIES, 0, split="test")
    batch = [
        RewardRequest(
            prompt=pairs[n % num_prompts].prompt,
            messages=pairs[n % num_prompts].prompt,
            reply=pairs[n].chosen,
            reply_ids=np.zeros(0, dtype=np.int64),
            turn=1,
            terminated=False,
            task=None,
        )
        for n in range(NUM_REPLIES)
    ]

    def together() -> float:
        began = time.perf_counter()
        model.score(batch)
        return time.perf_counter() - began

    def alone() -> float:
        began = time.perf_counter()
        for request in batch:
            model.score([request])
        return time.perf_counter() - began

    measured = compare({"together": together, "alone": alone}, num_rounds)
    encoded = [model.encode(r.prompt, r.reply) for r in batch]
    return {
        "env": find(env).id,
        "num_replies": NUM_REPLIES,
        "num_prompts": num_prompts,
        "prompt_tokens": float(np.mean([start for _, start in encoded])),
        "reply_tokens": float(np.mean([len(ids) - start for ids, start in encoded])),
        "device": str(lm.device),
        **_ratio(measured),
    }


def _ratio(measured: Comparison) -> dict[str, Any]:
    middle, least, greatest = measured.ratio("alone", "together")
    return {
        "seconds_together": measured.median("together"),
        "seconds_alone": measured.median("alone"),
        "alone_over_together": {"median": middle, "low": least, "high": greatest},
    }


def _line(row: Mapping[str, Any]) -> str:
    held_out = row["held_out"]
    right, error = held_out["accuracy"], held_out["calibration_error"]
    return (
        f"{row['env'].removeprefix('chat_envs/'):25s} {row['kind']:6s} flipped "
        f"{row['flip_rate']:.1f}: right {right['mean']:.3f} [{right['low']:.3f}, "
        f"{right['high']:.3f}], calibration error {error['mean']:.3f} [{error['low']:.3f}, "
        f"{error['high']:.3f}], {row['cpu_seconds']:.0f} CPU seconds"
    )


def main() -> None:
    """Measure, print a line a model and write the dated result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--envs", nargs="+", default=list(ENVS))
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--flip-rates", nargs="+", type=float, default=list(FLIP_RATES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--num-pairs", type=int, default=3000)
    parser.add_argument("--num-test", type=int, default=1000)
    parser.add_argument("--rows", type=Path, help="where measured rows are kept")
    parser.add_argument(
        "--write", action="store_true", help="leave benchmarks/results/DATE_..."
    )
    arguments = parser.parse_args()
    speeds = [batching(arguments.envs[0], number) for number in NUM_PROMPTS]
    for speed in speeds:
        ratio = speed["alone_over_together"]
        print(
            f"64 replies to {speed['num_prompts']} prompts: one by one takes "
            f"{ratio['median']:.1f} [{ratio['low']:.1f}, {ratio['high']:.1f}] times as long",
            flush=True,
        )
    rows = []
    cases = itertools.product(
        arguments.envs, arguments.kinds, arguments.flip_rates, arguments.seeds
    )
    sizes = (arguments.num_pairs, arguments.num_test)
    with tempfile.TemporaryDirectory() as scratch:
        kept = arguments.rows or Path(scratch)
        for case in cases:
            name = "-".join(str(part) for part in (*case, *sizes))
            measured = functools.partial(measure, *case, *sizes)
            rows.append(kept_row(kept / f"{name}.json", measured))
            print(_line(rows[-1]), flush=True)
    if arguments.write:
        print(write_result("reward_model", {"rows": rows, "batching": speeds}))


if __name__ == "__main__":
    main()
