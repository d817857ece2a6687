"""What a reply must be, worked out one row, one token and one id at a time.

Nothing here is shared with the decoder: the module's plain forward on an unpadded row, then float64
and loops. `check_generation` accepts a reply if each id is the one that its noise picks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import Generation, Sampling
from agents.engine.slot import common_prefix_length

TOLERANCE = 2e-5  # of log-probs and of cumulative probabilities, float32 weights


def plain_logits(lm: CausalLM, ids: np.ndarray) -> np.ndarray:
    """(S, V) float64 logits of one unpadded row without a cache, forbidden ids at -inf."""
    with torch.no_grad():
        output = lm.module(torch.from_numpy(ids)[None], use_cache=False)
    logits = output.logits[0].double().numpy()
    logits[:, lm.network.forbidden_V.numpy()] = -np.inf
    return logits


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def distribution(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """(V,) probabilities that ids are drawn with: temperature, then top-k, then top-p."""
    probs = softmax(logits / sampling.temperature)
    # Likeliest first; of equals the lower id first.
    order = sorted(range(len(probs)), key=lambda i: (-probs[i], i))
    if sampling.top_k:
        probs[order[sampling.top_k :]] = 0
        probs /= probs.sum()
    mass, kept = 0.0, np.zeros(len(probs), dtype=bool)
    for i in order:
        if mass < sampling.top_p:
            kept[i] = True
        mass += probs[i]
    probs = np.where(kept, probs, 0.0)
    return probs / probs.sum()


def uniforms(rows: int, sampling: Sampling, seed: int) -> np.ndarray:
    """The noise that a decoder takes from `torch.Generator().manual_seed(seed)`."""
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, sampling.max_new_tokens)
    return torch.rand(shape, dtype=torch.float64, generator=generator).numpy()


def check_shape(
    lm: CausalLM,
    contexts: Sequence[np.ndarray],
    generation: Generation,
    sampling: Sampling,
) -> None:
    """Replies end at their first stop id or at their limit, and nothing comes after."""
    assert generation.ids.dtype == generation.lengths.dtype == np.int64
    assert generation.log_probs.dtype == np.float32
    assert generation.ids.shape == generation.log_probs.shape
    assert generation.ids.shape == (len(contexts), generation.lengths.max())
    for row, context in enumerate(contexts):
        reply = generation.reply(row).tolist()
        room = lm.context_length - len(context)
        stops = [token in sampling.stop_ids for token in reply]
        assert 1 <= len(reply) <= min(sampling.max_new_tokens, room)
        assert not any(stops[:-1])
        assert generation.finished[row] == stops[-1]
        assert stops[-1] or len(reply) == min(sampling.max_new_tokens, room)
        assert not generation.ids[row, len(reply) :].any()
        assert not generation.log_probs[row, len(reply) :].any()


def check_generation(
    lm: CausalLM,
    contexts: Sequence[np.ndarray],
    generation: Generation,
    sampling: Sampling,
    seed: int | None = None,
) -> None:
    """Every id is the one its noise picks (greedy: the likeliest), with its true log-prob."""
    check_shape(lm, contexts, generation, sampling)
    if not sampling.is_greedy:
        assert seed is not None
        noise = uniforms(len(contexts), sampling, seed)
    for row, context in enumerate(contexts):
        reply = generation.reply(row)
        logits = plain_logits(lm, np.concatenate([context, reply]))
        for step, token in enumerate(reply):
            at_step = logits[len(context) - 1 + step]
            if sampling.is_greedy:
                probs = softmax(at_step / sampling.temperature)
                assert at_step[token] >= at_step.max() - TOLERANCE
            else:
                probs = distribution(at_step, sampling)
                start = probs[:token].sum()
                assert start - TOLERANCE <= noise[row, step]
                assert noise[row, step] <= start + probs[token] + TOLERANCE
            assert probs[token] > 0
            gap = np.log(probs[token]) - generation.log_probs[row, step]
            assert abs(gap) <= TOLERANCE


class CacheModel:
    """Which ids each slot may reuse, and so how many a decoder must compute."""

    def __init__(self, num_slots: int) -> None:
        self._known = [np.zeros(0, dtype=np.int64)] * num_slots
        self.num_prefilled = 0

    def generate(
        self,
        contexts: Sequence[np.ndarray],
        slots: Sequence[int],
        generation: Generation,
    ) -> None:
        for row, (context, slot) in enumerate(zip(contexts, slots, strict=True)):
            # The last id's logits are always wanted, and a reply's last id was never fed.
            shared = common_prefix_length(self._known[slot], context[:-1])
            self.num_prefilled += len(context) - shared
            self._known[slot] = np.concatenate([context, generation.reply(row)[:-1]])

    def forget(self, slots: Sequence[int] | None = None) -> None:
        for slot in range(len(self._known)) if slots is None else slots:
            self._known[slot] = np.zeros(0, dtype=np.int64)
