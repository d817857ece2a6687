"""Decoding, side by side: ours and what else generates on a module of transformers.

Every side plays the same `Plan` on the same weights and samples at temperature 1. Ours keeps its
caches between turns; a peer has no such thing and reads each context again, left-padded.

Shape legend: N rows, C tokens of the longest context.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import GenerationConfig, PreTrainedModel

from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import Generation, Sampling
from benchmarks.workload import Ids, Plan

__all__ = [
    "Speak",
    "batch_speaker",
    "check_lengths",
    "generate_speaker",
    "now",
    "our_generations",
    "our_side",
    "peer_side",
]

Speak = Callable[[Sequence[Ids]], list[Ids]]  # contexts -> replies, cut after a stop id


def our_side(lm: CausalLM, plan: Plan) -> Callable[[], float]:
    """Return a measurement of our decoder: seconds a generated token.

    A decoder is opened for each measurement, as the collector does for each rollout.
    """
    generator = torch.Generator(device=lm.device).manual_seed(0)

    def measure() -> float:
        began = now(lm.device)
        lengths = [g.lengths for g in our_generations(lm, plan, generator)]
        seconds = now(lm.device) - began
        check_lengths("ours", plan, np.stack(lengths))
        return seconds / plan.num_tokens

    return measure


def our_generations(
    lm: CausalLM, plan: Plan, generator: torch.Generator
) -> list[Generation]:
    """Return the replies of every turn."""
    sampling = Sampling(max_new_tokens=plan.max_new_tokens, stop_ids=plan.stop_ids)
    slots = range(plan.num_rows)
    contexts: list[Ids] = []
    generations: list[Generation] = []
    with lm.decoder(plan.num_rows) as decoder:
        for news in plan.news:
            replies = [generations[-1].reply(n) for n in slots] if generations else []
            contexts = _continue(contexts, replies, news)
            generations.append(decoder.generate(contexts, slots, sampling, generator))
    return generations


def peer_side(
    name: str, speak: Speak, plan: Plan, device: torch.device
) -> Callable[[], float]:
    """Return the same measurement of a peer."""

    def measure() -> float:
        began = now(device)
        contexts: list[Ids] = []
        replies: list[Ids] = []
        lengths = []
        for news in plan.news:
            contexts = _continue(contexts, replies, news)
            replies = speak(contexts)
            lengths.append([len(reply) for reply in replies])
        seconds = now(device) - began
        check_lengths(name, plan, np.array(lengths))
        return seconds / plan.num_tokens

    return measure


def generate_speaker(
    model: PreTrainedModel, plan: Plan, *, engine: Any = None, **options: Any
) -> Speak:
    """Return `model.generate`, in batches padded on the left.

    Args:
        model: of transformers.
        plan: says when to stop.
        engine: its `generate` is called instead, where one is given.
        **options: of `generate`, e.g. cache_implementation="static".
    """
    config = _generation_config(model, plan, **options)
    device = next(model.parameters()).device
    generate: Any = (model if engine is None else engine).generate

    def speak(contexts: Sequence[Ids]) -> list[Ids]:
        width = max(map(len, contexts))
        ids_NC = np.zeros((len(contexts), width), dtype=np.int64)
        mask_NC = np.zeros((len(contexts), width), dtype=np.int64)
        for row, context in enumerate(contexts):
            ids_NC[row, width - len(context) :] = context
            mask_NC[row, width - len(context) :] = 1
        output = generate(
            input_ids=torch.from_numpy(ids_NC).to(device),
            attention_mask=torch.from_numpy(mask_NC).to(device),
            generation_config=config,
        )
        return [_cut(row, plan.stop_ids) for row in output[:, width:].cpu().numpy()]

    return speak


def batch_speaker(model: PreTrainedModel, plan: Plan) -> Speak:
    """Return `model.generate_batch`, transformers' continuous batching."""
    # It wants an id to stop at; -1 is none.
    config = _generation_config(model, plan)
    if not plan.stop_ids:
        config.eos_token_id = -1

    def speak(contexts: Sequence[Ids]) -> list[Ids]:
        generate: Any = model.generate_batch
        output = generate([c.tolist() for c in contexts], generation_config=config)
        # In the order in which they were asked for, whichever finished first.
        done = sorted(output.items(), key=lambda item: int(item[0].split("_")[-1]))
        replies = [np.array(reply.generated_tokens) for _, reply in done]
        return [_cut(reply, plan.stop_ids) for reply in replies]

    return speak


def now(device: torch.device) -> float:
    """Return the time when all that was asked of `device` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def check_lengths(name: str, plan: Plan, lengths: npt.NDArray[np.int64]) -> None:
    """Refuse a measurement whose replies are not those of the plan.

    Raises:
        RuntimeError: says which reply; the two sides would not have done the same work.
    """
    wrong = np.argwhere(lengths != plan.lengths)
    if len(wrong):
        turn, row = wrong[0].tolist()
        raise RuntimeError(
            f"{name}: {len(wrong)} replies of {plan.name!r} are not as long as planned; turn "
            f"{turn}, row {row} has {lengths[turn, row]} tokens instead of "
            f"{plan.lengths[turn, row]}."
        )


def _generation_config(
    model: PreTrainedModel, plan: Plan, **options: Any
) -> GenerationConfig:
    config_class: Any = GenerationConfig
    config: GenerationConfig = config_class(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=plan.max_new_tokens,
        eos_token_id=sorted(plan.stop_ids) or None,
        pad_token_id=0,
        **options,
    )
    # What the checkpoint says of itself would be filled in where ours says nothing.
    model.generation_config = config_class()
    return config


def _continue(
    contexts: Sequence[Ids], replies: Sequence[Ids], news: Sequence[Ids]
) -> list[Ids]:
    if not contexts:
        return list(news)
    parts = zip(contexts, replies, news, strict=True)
    return [np.concatenate(part) for part in parts]


def _cut(reply: npt.NDArray[Any], stop_ids: frozenset[int]) -> Ids:
    """Return `reply` up to its first stop id, that id included."""
    stops = np.flatnonzero(np.isin(reply, list(stop_ids)))
    return np.asarray(reply[: stops[0] + 1] if len(stops) else reply, dtype=np.int64)
