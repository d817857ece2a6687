"""What each of several processes runs in `test_hybrid_ranks`, and how they are started."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepspeed.runtime.hybrid_engine import DeepSpeedHybridEngine

from agents.engine.causal_lm import CausalLM
from agents.engine.hybrid import HybridEngineLM
from agents.engine.language_model import Generation, Sampling, TrainingConfig
from tests.agents.engine.toy import (
    batch_after,
    noise,
    packed_log_probs,
    random_contexts,
    replies,
    toy_model,
)

CONFIG = TrainingConfig(
    learning_rate=3e-3,
    weight_decay=0.1,
    max_grad_norm=0.7,
    # Some gradients are 0 but for rounding (key biases), which Adam would blow up to whole steps.
    epsilon=1e-6,
)
SAMPLING = Sampling(max_new_tokens=5, stop_ids=frozenset(range(10)))
NUMBERS = (1, 2)  # of the updates; the contexts and the noise follow
# The dialogues of all processes together. Lengths differ, and so do the processes' shares.
LENGTHS = [4, 9, 3, 6]


def update(
    lm: CausalLM, number: int, rank: int = 0, num_ranks: int = 1
) -> tuple[float, float]:
    """One update on this process's share of the same replies; the norm, and the worst gap.

    The replies are written by every process alike, so that any number of them can share them out.
    """
    contexts = random_contexts(LENGTHS, number)
    slots = list(range(len(contexts)))
    gap = 0.0
    with lm.decoder(len(contexts)) as decoder:
        for turn in range(2):
            generation = decoder.generate(
                contexts, slots, SAMPLING, noise(9 * number + turn)
            )
            batch = batch_after(contexts, generation)
            with torch.no_grad():
                trained = lm.evaluate(batch).log_probs[batch.action_mask].numpy()
            gap = max(gap, float(np.abs(trained - packed_log_probs(generation)).max()))
            context = contexts
            contexts = [
                np.concatenate([ids, generation.reply(row)])
                for row, ids in enumerate(contexts)
            ]
    for row in slots[rank::num_ranks]:  # a micro-batch each
        batch = batch_after([context[row]], row_of(generation, row))
        out = lm.evaluate(batch)
        error = (out.values - 1.0).square().sum()
        lm.backward((out.log_probs.sum() + 0.1 * error) / 20)
    return lm.step(), gap


def row_of(generation: Generation, row: int) -> Generation:
    """Return one reply of a generation, as a generation."""
    here = slice(row, row + 1)
    return Generation(
        generation.ids[here],
        generation.lengths[here],
        generation.log_probs[here],
        generation.finished[here],
    )


def addresses(lm: CausalLM) -> list[int]:
    return [parameter.data_ptr() for parameter in lm.network.parameters()]


def first_log_prob(lm: CausalLM) -> float:
    with lm.decoder(1) as decoder:
        generation = decoder.generate(random_contexts([5]), [0], SAMPLING, noise())
    return float(generation.log_probs[0, 0])


def run(stage: int, start: Path, out: Path) -> None:
    """Go on from a saved state, save another, and report what was seen on the way."""
    lm = HybridEngineLM(
        toy_model("llama-grouped", seed=5),
        name="toy",
        has_value_head=True,
        deepspeed_config={"zero_optimization": {"stage": stage}},
    )
    lm.configure_training(CONFIG)
    rank, num_ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    lm.load(start)
    report: dict[str, Any] = {
        "is_hybrid": isinstance(lm.engine, DeepSpeedHybridEngine),
        "stage": lm.engine.zero_optimization_stage(),
        "num_ranks": num_ranks,
    }
    before = addresses(lm)
    updates = [update(lm, number, rank, num_ranks) for number in NUMBERS]
    report["norms"], report["gaps"] = zip(*updates)
    report["stayed"] = addresses(lm) == before
    with lm.decoder(2) as decoder:
        own = noise(100 + rank)  # as a run seeds it: by rank
        generation = decoder.generate(random_contexts([5, 5]), [0, 1], SAMPLING, own)
    report["replies"] = replies(generation)
    lm.save(out / "saved")
    lm.save_pretrained(out / "pretrained")
    # NaN in one process alone is refused by all of them, and training goes on.
    loss = lm.evaluate(batch_after(random_contexts([5, 5]), generation)).log_probs.sum()
    lm.backward(loss * (torch.nan if rank == num_ranks - 1 else 1.0))
    try:
        lm.step()
        report["refused"] = ""
    except FloatingPointError as error:
        report["refused"] = str(error)
    report["norm_after"] = update(lm, 3, rank, num_ranks)[0]
    if rank == 0:
        (out / "saved" / "training.json").rename(out / "hidden.json")
    torch.distributed.barrier()
    try:
        lm.load(out / "saved")
    except (OSError, RuntimeError) as error:
        report["missing"] = str(error)
    torch.distributed.barrier()
    if rank == 0:
        (out / "hidden.json").rename(out / "saved" / "training.json")
    (out / f"rank{rank}.json").write_text(json.dumps(report))


def launch(program: list[str], num_ranks: int) -> list[str]:
    """Run `python *program` in `num_ranks` processes as a launcher would; return their output."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank in range(num_ranks):
        environment = os.environ | {
            "WORLD_SIZE": str(num_ranks),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "DS_ACCELERATOR": "cpu",
            "OMP_NUM_THREADS": "1",
        }
        processes.append(
            subprocess.Popen(
                [sys.executable, *program],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    codes = [process.returncode for process in processes]
    assert codes == [0] * num_ranks, "\n".join(outputs)[-6000:]
    return outputs


def run_ranks(
    stage: int, num_ranks: int, start: Path, out: Path
) -> list[dict[str, Any]]:
    """Return the report of each process."""
    program = ["-m", "tests.agents.engine.rank_program", str(stage)]
    launch([*program, str(start), str(out)], num_ranks)
    return [
        json.loads((out / f"rank{rank}.json").read_text()) for rank in range(num_ranks)
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
