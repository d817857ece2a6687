"""How fast we generate and train, beside everything else that does.

    python -m benchmarks.throughput --parts decode end_to_end --shapes 1m 5m --write

Three parts. `decode`: replies of one length, of varied lengths, four-turn dialogues. `train`: one
update on replies that are there. `end_to_end`: generate, score, update, beside TRL's GRPO and RLOO,
with the peak memory of each side in a process of its own. All on the same weights, prompts, lengths
and dtype, in interleaved pairs; a ratio above 1 means that ours is faster. Environment steps are
measured by `benchmarks.stepping`.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils import logging

from agents.engine.causal_lm import CausalLM
from agents.engine.local import LocalLM
from benchmarks.choice import choose
from benchmarks.comparison_row import (
    OURS,
    Row,
    limit_lines,
    memory_lines,
    missing_row,
    rows_of,
    table,
)
from benchmarks.decoding import our_side
from benchmarks.limit import DeviceRate, decode_bound, measure_rate, training_flops
from benchmarks.measurement import check_pairs, compare, write_result
from benchmarks.peak import SIDES, measure_peak
from benchmarks.peer import DECODE_PEERS, Measure, start_peers
from benchmarks.shape import (
    CUDA_SHAPES,
    SHAPES,
    Shape,
    build_model,
    count_parameters,
    countdown_model,
)
from benchmarks.training import (
    Replies,
    algorithm_of,
    interleave,
    our_update,
    plain_update,
    trl_update,
    twin,
)
from benchmarks.workload import (
    LENGTHS_ENV,
    Plan,
    fixed_plan,
    log_prob_gap,
    turns_plan,
    varied_plan,
)

__all__ = ["PARTS", "Setting", "main"]

PARTS = ("decode", "train", "end_to_end")
SCENARIOS = ("fixed", "varied", "turns")
_TRL = "trl 1.16 is not installed: pip install 'chat-envs[peers]'"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all measurements of a run have in common.

    Attributes:
        device: where models lie.
        dtype: of their weights.
        num_pairs: rounds that count, at least five.
        weights: "real" where a shape has them, or "random".
        peers: names of decode peers.
        scenarios: of decoding.
        lengths_env: environment whose scripted replies give the varied lengths.
        patience: seconds that one call of a peer may take to be paired.
        rate: of the device.
    """

    device: torch.device
    dtype: torch.dtype
    num_pairs: int
    weights: str
    peers: Sequence[str]
    scenarios: Sequence[str]
    lengths_env: str
    patience: float
    rate: DeviceRate

    def model(self, shape: Shape) -> PreTrainedModel:
        """Return the model of `shape`."""
        has_real_weights = self.weights == "real" and shape.has_weights
        return build_model(
            shape,
            seed=0,
            device=self.device,
            dtype=self.dtype,
            has_real_weights=has_real_weights,
        )


def decode(shape: Shape, setting: Setting) -> list[Row]:
    """Measure generation; return a row for each scenario and side."""
    rows: list[Row] = []
    for scenario in setting.scenarios:
        plan, model = _scene(scenario, shape, setting)
        lm = LocalLM(model, name=shape.name)
        labels: dict[str, Any] = {
            "part": "decode",
            "shape": shape.name,
            "num_rows": shape.num_rows,
            "scenario": scenario,
        }
        names = list(setting.peers)
        peers, reasons = start_peers(
            names, model, plan, setting.device, setting.patience
        )
        sides = {OURS: our_side(lm, plan), **peers}
        found = rows_of(compare(sides, setting.num_pairs), **labels)
        found[0] |= {"parameters": count_parameters(model)}
        if scenario == "fixed":
            found[0] |= _decode_limit(lm, model, shape, setting, found[0])
        rows += found
        rows += [missing_row(name, why, **labels) for name, why in reasons.items()]
        _release()
    return rows


def _scene(
    scenario: str, shape: Shape, setting: Setting
) -> tuple[Plan, PreTrainedModel]:
    if scenario == "fixed":
        return fixed_plan(shape, seed=0), setting.model(shape)
    make = varied_plan if scenario == "varied" else turns_plan
    model = countdown_model(shape, seed=0, device=setting.device, dtype=setting.dtype)
    return make(shape, 0, setting.lengths_env), model


def _decode_limit(
    lm: CausalLM, model: PreTrainedModel, shape: Shape, setting: Setting, row: Row
) -> Row:
    """Return how well decoder and trainer agree, and the share of the bandwidth bound."""
    replies = Replies(lm, shape)
    mean, largest = log_prob_gap(lm, replies.contexts, replies.generation)
    bound = decode_bound(model, shape, setting.rate)
    return {
        "log_prob_gap": {"mean": mean, "largest": largest},
        "bound_tokens_per_second": bound,
        "share_of_bound": row["tokens_per_second"] / bound,
    }


def train(shape: Shape, setting: Setting) -> list[Row]:
    """Measure one update on given replies; return a row for each side."""
    labels: dict[str, Any] = {
        "part": "train",
        "shape": shape.name,
        "num_rows": shape.num_rows,
        "scenario": "update",
    }
    model = setting.model(shape)
    lm = LocalLM(twin(model), name=shape.name)
    replies = Replies(lm, shape)
    peers: dict[str, Measure] = {"plain loop": plain_update(twin(model), replies)}
    reasons: dict[str, str] = {}
    if _has_trl():
        peers["trl-grpo loss"] = trl_update(twin(model), shape, replies)
    else:
        reasons["trl-grpo loss"] = _TRL
    sides = {OURS: our_update(algorithm_of(lm, shape), replies)}
    for name, peer in peers.items():
        try:
            peer()
        except torch.OutOfMemoryError as error:
            reasons[name] = _first_line(error)
        else:
            sides[name] = peer
    rows = rows_of(compare(sides, setting.num_pairs), **labels)
    flops = training_flops(model, shape)
    for row in rows:
        rate = flops / shape.num_tokens * row["tokens_per_second"]
        row["share_of_matmul_rate"] = rate / setting.rate.flops_per_second
    rows += [missing_row(name, why, **labels) for name, why in reasons.items()]
    _release()
    return rows


def end_to_end(shape: Shape, setting: Setting) -> list[Row]:
    """Measure whole steps beside each of TRL's trainers, and the memory of each side."""
    rows: list[Row] = []
    has_trl = _has_trl()
    memory = {
        side: _memory(side, shape, setting) for side in (SIDES if has_trl else [OURS])
    }
    for name in SIDES[1:]:
        labels: dict[str, Any] = {
            "part": "end_to_end",
            "shape": shape.name,
            "num_rows": shape.num_rows,
            "scenario": f"beside {name}",
        }
        if not has_trl:
            rows.append(missing_row(name, _TRL, **labels))
            continue
        model = setting.model(shape)
        lm = LocalLM(twin(model), name=shape.name)
        try:
            result = interleave(name, lm, model, shape, setting.num_pairs)
        except torch.OutOfMemoryError as error:
            # Both models are on the device: which of them asked for too much is not said.
            rows.append(missing_row(name, _first_line(error), **labels))
            continue
        rows += [{**row, **memory[row["side"]]} for row in rows_of(result, **labels)]
        _release()
    return rows


def _memory(side: str, shape: Shape, setting: Setting) -> Row:
    """Return what `measure_peak` says; of a peer whose process fails, its exit code."""
    try:
        return measure_peak(
            side,
            shape,
            device=str(setting.device),
            dtype=str(setting.dtype).removeprefix("torch."),
            num_threads=torch.get_num_threads(),
            weights=setting.weights,
        )
    except subprocess.CalledProcessError as error:
        if side == OURS:
            raise
        return {"peak_why": f"its process failed with exit code {error.returncode}"}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _has_trl() -> bool:
    return importlib.util.find_spec("trl") is not None


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    is_cuda = torch.cuda.is_available()
    small = ["1m", "5m", "smollm2-135m"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--parts", nargs="+", default=list(PARTS), help=", ".join(PARTS))
    shapes = ["smollm2-135m", *CUDA_SHAPES] if is_cuda else small
    add("--shapes", nargs="+", default=shapes, help=", ".join(SHAPES))
    add("--rows", nargs="+", type=int, help="rows of a batch; default: the shape's")
    add("--scenarios", nargs="+", default=list(SCENARIOS), help=", ".join(SCENARIOS))
    add("--peers", nargs="*", default=list(DECODE_PEERS), help="who decodes beside us")
    add("--lengths", default=LENGTHS_ENV, help="environment of the varied lengths")
    add("--pairs", type=int, default=7, help="rounds that count (at least 5)")
    add("--patience", type=float, default=30.0, help="seconds of one call of a peer")
    add("--threads", type=int, help="default: torch's own")
    add("--device", default="cuda" if is_cuda else "cpu")
    add("--dtype", default="bfloat16" if is_cuda else "float32")
    add("--weights", choices=("real", "random"), default="real")
    add("--write", action="store_true", help="leave DATE_throughput_DEVICE.json")
    add("--results", type=Path, help="where; default: benchmarks/results")
    arguments = parser.parse_args(argv)
    try:
        choose(arguments.parts, PARTS, "part")
        choose(arguments.shapes, list(SHAPES), "shape")
        choose(arguments.scenarios, SCENARIOS, "scenario")
        choose(arguments.peers, list(DECODE_PEERS), "peer")
        choose([arguments.dtype], ("float32", "bfloat16"), "dtype")
        check_pairs(arguments.pairs)
        large = [shape for shape in arguments.shapes if shape in CUDA_SHAPES]
        if large and arguments.device == "cpu":
            raise ValueError(f"The shapes {large} are measured on a CUDA device only.")
        if arguments.threads is not None and arguments.threads < 1:
            raise ValueError(f"--threads must be at least 1, got {arguments.threads}.")
        for rows in arguments.rows or ():
            for name in arguments.shapes:
                SHAPES[name].with_rows(rows)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print tables and write the dated result."""
    arguments = _parse(argv)
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    # DeepSpeed and accelerate would guess it, and say so.
    os.environ.setdefault("DS_ACCELERATOR", arguments.device)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device, dtype = torch.device(arguments.device), getattr(torch, arguments.dtype)
    setting = Setting(
        device=device,
        dtype=dtype,
        num_pairs=arguments.pairs,
        weights=arguments.weights,
        peers=arguments.peers,
        scenarios=arguments.scenarios,
        lengths_env=arguments.lengths,
        patience=arguments.patience,
        rate=measure_rate(device, dtype),
    )
    rows = _measure(arguments, setting)
    print("\n".join(["", *memory_lines(rows), *limit_lines(rows, setting.rate)]))
    if arguments.write:
        record = {
            "device": _device_name(device),
            "dtype": arguments.dtype,
            "threads": torch.get_num_threads(),
            "weights": arguments.weights,
            "seed": 0,
            "lengths_env": arguments.lengths,
            "bytes_per_second": setting.rate.bytes_per_second,
            "flops_per_second": setting.rate.flops_per_second,
            "rows": rows,
        }
        print(write_result(f"throughput_{device.type}", record, arguments.results))


def _measure(arguments: argparse.Namespace, setting: Setting) -> list[Row]:
    """Print each table as soon as it is there; return all rows."""
    parts = {"decode": decode, "train": train, "end_to_end": end_to_end}
    rows: list[Row] = []
    for name in arguments.shapes:
        for num_rows in arguments.rows or [SHAPES[name].num_rows]:
            for part in arguments.parts:
                found = parts[part](SHAPES[name].with_rows(num_rows), setting)
                print(table(found), flush=True)
                rows += found
    return rows


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


if __name__ == "__main__":
    main()
