"""Does the demo's model really learn? Five training seeds, and two negative controls.

    python -m benchmarks.demo_seeds                      # all three, about ten minutes
    python -m benchmarks.demo_seeds --arms learning --seeds 0 1

Arms: `learning` is `make demo` as it is; `shuffled` deals the returns of an update out anew among
its episodes; `frozen` has a learning rate of zero. Each runs from the same warm starts. The gain of
a seed is the rise in held-out success (sampled replies, the same goals before and after); its
interval over seeds is a percentile bootstrap, runs resampled, 10,000 replicates.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from agents.commands.demo import DEMO, demo_config
from agents.evaluation import bootstrap_interval
from agents.train import train
from benchmarks.measurement import write_result

__all__ = ["ARMS", "run_arm"]

ARMS: Mapping[str, Mapping[str, Any]] = {
    "learning": {},
    "shuffled": {"has_shuffled_rewards": True},
    "frozen": {"learning_rate": 0.0, "value_learning_rate": 0.0},
}


def run_arm(arm: str, seeds: Sequence[int], root: Path) -> dict[str, Any]:
    """Train once a seed; return each seed's figures and their means with intervals."""
    rows = []
    for seed in seeds:
        config = demo_config(
            seed=seed,
            run=f"{arm}-{seed}",
            hyperparameters={**DEMO["hyperparameters"], **ARMS[arm]},
        )
        result = train(config, root=root)
        assert result.before is not None and result.after is not None
        before = result.before.sampled.as_dict()
        after = result.after.sampled.as_dict()
        row = {
            "seed": seed,
            "before": before["success"]["mean"],
            "after": after["success"]["mean"],
            "score": after["normalised_score"]["mean"],
            "greedy_after": result.after.greedy.as_dict()["success"]["mean"],
        }
        rows.append(row)
        print(
            f"{arm:9s} seed {seed}: success {row['before']:.3f} -> {row['after']:.3f}, "
            f"normalised score {row['score']:.3f}",
            flush=True,
        )
    rng = np.random.default_rng(0)
    gains = [row["after"] - row["before"] for row in rows]
    scores = [row["score"] for row in rows]
    return {
        "rows": rows,
        "gain": bootstrap_interval(gains, rng).as_dict(),
        "score": bootstrap_interval(scores, rng).as_dict(),
    }


def main() -> None:
    """Run the arms, print their intervals and write the dated result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--write", action="store_true", help="leave benchmarks/results/DATE_..."
    )
    arguments = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as root:
        for arm in arguments.arms:
            results[arm] = run_arm(arm, arguments.seeds, Path(root))
    for arm, result in results.items():
        gain, score = result["gain"], result["score"]
        print(
            f"{arm:9s} gain {gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}], "
            f"score {score['mean']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
        )
    if arguments.write:
        print(write_result("demo_seeds", {"config": DEMO, "arms": results}))


if __name__ == "__main__":
    main()
