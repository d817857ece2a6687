"""Batched generation on the training module's own weights, with caches that outlive a turn.

A call goes: compare each context with what its slot has stored, seat the slots in the first rows
of the cache, prefill only new ids, then decode one token a row until every row has stopped.
Rows that stop are moved behind the running ones and cost nothing more.

Shape legend: N running rows, Q new tokens, R tokens of a reply, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from agents.engine.attention import ragged_attention_of
from agents.engine.kv_cache import KeyValueCache
from agents.engine.language_model import Generation, Sampling
from agents.engine.network import CausalNetwork, advance
from agents.engine.sampling import sample
from agents.engine.slot import SlotTable, common_prefix_length

__all__ = ["CachedDecoder"]

_PREFILL_TOKENS = (
    4096  # padded tokens of one prefill forward, unless a single row needs more
)
_MAX_ROWS = 256  # dialogues decoded at once; the others wait for the next block


@dataclass
class _Request:
    """One reply in the making."""

    index: int  # place in the caller's batch
    slot: int
    context: np.ndarray
    num_cached: int
    limit: int  # tokens that the reply may have
    reply: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    is_finished: bool = False

    @property
    def num_new(self) -> int:
        return len(self.context) - self.num_cached


class CachedDecoder:
    """Fulfils `agents.engine.language_model.Decoder` for any family that `probe` accepts.

    Args:
        network: the trained network; its parameters are read where they lie, never copied.
        num_slots: dialogues whose caches are kept.
        context_length: positions the model can attend to.
        version: returns something that changes whenever the weights do; caches filled
            under another version are dropped.
        max_rows: dialogues decoded at once; more slots wait their turn.
    """

    def __init__(
        self,
        network: CausalNetwork,
        num_slots: int,
        *,
        context_length: int,
        version: Callable[[], Hashable],
        max_rows: int = _MAX_ROWS,
    ) -> None:
        if num_slots < 1 or max_rows < 1:
            raise ValueError(
                f"num_slots and max_rows must be at least 1, got {num_slots} and {max_rows}."
            )
        self.num_slots = num_slots
        self.num_prefilled = (
            0  # real tokens prefilled so far: what caching saves shows here
        )
        self._network = network
        self._context_length = context_length
        self._version = version
        self._max_rows = max_rows
        self._num_layers: int = (
            network.language_model.config.get_text_config().num_hidden_layers
        )
        self._start_over()
        self._filled_under = version()
        self._is_open = True

    def generate(
        self,
        contexts: Sequence[np.ndarray],
        slots: Sequence[int],
        sampling: Sampling,
        generator: torch.Generator | None = None,
    ) -> Generation:
        """Return one reply for each context; see `Decoder.generate`.

        Row b draws from its own stretch of noise, so its reply does not depend on who else is in
        the batch, on `max_rows` or on what the caches hold.

        Raises:
            ValueError: bad slots or contexts, a context too long for the model, no generator.
            FloatingPointError: the model's logits are not finite.
            RuntimeError: the block of `LanguageModel.decoder` has ended.
        """
        if not self._is_open:
            raise RuntimeError(
                "This decoder is closed: its `with lm.decoder(...)` block has ended."
            )
        self._check(contexts, slots)
        if generator is None and not sampling.is_greedy:
            raise ValueError(
                "Sampling needs a torch.Generator on the model's device; "
                "pass generator= or set is_greedy=True."
            )
        noise_BR = self._noise(len(contexts), sampling, generator)
        requests = self._plan(contexts, slots, sampling)
        # Like lengths together: a prefill forward is as wide as its longest row.
        queue = sorted(requests, key=lambda r: (r.num_new, self._slots.row(r.slot)))
        try:
            with torch.no_grad(), ragged_attention_of(self._network.language_model):
                for first in range(0, len(queue), self._max_rows):
                    block = queue[first : first + self._max_rows]
                    self._seat(block)
                    self._decode(block, self._prefill(block), sampling, noise_BR)
        except BaseException:
            # Rows may be half moved, and one NaN in a column that nobody reads spoils its row.
            self._start_over()
            raise
        return _collect(requests)

    def reset(self, slots: Sequence[int] | None = None) -> None:
        """Forget the caches of `slots` (all when None)."""
        self._check_slots(slots or ())
        self._slots.forget(slots)
        if slots is None:
            self._cache.clear()

    def close(self) -> None:
        """Refuse further calls and give the caches' memory back."""
        self._is_open = False
        self._start_over()

    @property
    def _device(self) -> torch.device:
        return self._network.forbidden_V.device

    def _start_over(self) -> None:
        self._slots = SlotTable(self.num_slots)
        self._cache = KeyValueCache(self.num_slots, self._num_layers)

    def _check_slots(self, slots: Sequence[int]) -> None:
        wrong = [slot for slot in slots if not 0 <= slot < self.num_slots]
        if wrong:
            raise ValueError(
                f"Slots {wrong} do not exist: this decoder has slots 0 to {self.num_slots - 1}."
            )
        if len(set(slots)) != len(slots):
            twice = sorted({slot for slot in slots if list(slots).count(slot) > 1})
            raise ValueError(
                f"Slots {twice} are named twice in one call; a slot is one dialogue."
            )

    def _check(self, contexts: Sequence[np.ndarray], slots: Sequence[int]) -> None:
        self._check_slots(slots)
        if len(contexts) != len(slots) or not len(slots):
            raise ValueError(
                f"Got {len(contexts)} contexts for {len(slots)} slots; give one slot a context, "
                "and at least one."
            )
        for context, slot in zip(contexts, slots, strict=True):
            if context.ndim != 1 or not np.issubdtype(context.dtype, np.integer):
                raise ValueError(
                    f"The context of slot {slot} must be a 1-D array of ids, got "
                    f"{context.dtype} of shape {context.shape}."
                )
            if not 0 < len(context) < self._context_length:
                raise ValueError(
                    f"The context of slot {slot} has {len(context)} tokens; the model attends "
                    f"to {self._context_length}, so 1 to {self._context_length - 1} leave room "
                    "for a reply. Shorten the dialogue or take a model with a longer context."
                )
            if context.min() < 0 or context.max() >= self._network.num_ids:
                raise ValueError(
                    f"The context of slot {slot} has id {context.min()} to {context.max()}; the "
                    f"model knows 0 to {self._network.num_ids - 1}. Is its tokenizer another's?"
                )

    def _noise(
        self, num_rows: int, sampling: Sampling, generator: torch.Generator | None
    ) -> torch.Tensor | None:
        if sampling.is_greedy:
            return None
        return torch.rand(
            (num_rows, sampling.max_new_tokens),
            dtype=torch.float64,
            device=self._device,
            generator=generator,
        )

    def _plan(
        self, contexts: Sequence[np.ndarray], slots: Sequence[int], sampling: Sampling
    ) -> list[_Request]:
        version = self._version()
        if version != self._filled_under:
            self.reset()
            self._filled_under = version
        requests = []
        for index, (context, slot) in enumerate(zip(contexts, slots, strict=True)):
            ids = np.array(context, dtype=np.int64)  # a copy: the caller may write on
            # The last id is always computed anew: its logits begin the reply.
            shared = common_prefix_length(self._slots.ids(slot), ids[:-1])
            self._slots.remember(slot, ids[:shared])
            room = self._context_length - len(ids)
            limit = min(sampling.max_new_tokens, room)
            requests.append(_Request(index, slot, ids, shared, limit))
        return requests

    def _seat(self, block: Sequence[_Request]) -> None:
        rows, sources = self._slots.seat([request.slot for request in block])
        self._cache.arrange(rows, sources)

    def _prefill(self, block: Sequence[_Request]) -> torch.Tensor:
        """Compute the new ids of rows 0, 1, ... and return (N, V) logits after the last."""
        logits = []
        first = 0
        while first < len(block):
            # Sorted by length, so the next request is the widest of its group.
            last = first + 1
            while (
                last < len(block)
                and (last + 1 - first) * block[last].num_new <= _PREFILL_TOKENS
            ):
                last += 1
            group = block[first:last]
            news = [request.context[request.num_cached :] for request in group]
            starts = [request.num_cached for request in group]
            logits.append(self._advance(slice(first, last), news, starts))
            for request in group:
                self._slots.remember(request.slot, request.context)
                self.num_prefilled += request.num_new
            first = last
        return torch.cat(logits)

    def _advance(
        self, rows: slice, news: Sequence[np.ndarray], starts: Sequence[int]
    ) -> torch.Tensor:
        return advance(
            self._network, self._cache, self._context_length, rows, news, starts
        )

    def _decode(
        self,
        block: Sequence[_Request],
        logits_NV: torch.Tensor,
        sampling: Sampling,
        noise_BR: torch.Tensor | None,
    ) -> None:
        """Sample and feed one token a row until no row of the block is left."""
        running = list(block)
        step = 0
        while True:
            noise_N = None
            if noise_BR is not None:
                noise_N = noise_BR[[request.index for request in running], step]
            ids_N, log_probs_N = sample(logits_NV, sampling, noise_N)
            left = self._settle(running, ids_N, log_probs_N, sampling)
            if not left:
                return
            if len(left) < len(running):
                self._seat(left)
            running = left
            news = [np.array(request.reply[-1:]) for request in running]
            starts = [len(request.context) + step for request in running]
            logits_NV = self._advance(slice(0, len(running)), news, starts)
            step += 1

    def _settle(
        self,
        running: Sequence[_Request],
        ids_N: torch.Tensor,
        log_probs_N: torch.Tensor,
        sampling: Sampling,
    ) -> list[_Request]:
        """Append the sampled ids and return the requests that go on, in their new rows."""
        is_done = []
        log_probs = log_probs_N.tolist()
        if not math.isfinite(sum(log_probs)):
            wrong = [r.slot for r, p in zip(running, log_probs) if not math.isfinite(p)]
            raise FloatingPointError(
                f"The logits of slots {wrong[:5]} at temperature {sampling.temperature} are not "
                "finite. Look for weights that are not (a learning rate too high?), or raise the "
                "temperature."
            )
        sampled = zip(running, ids_N.tolist(), log_probs, strict=True)
        for request, token, log_prob in sampled:
            request.reply.append(token)
            request.log_probs.append(log_prob)
            request.is_finished = token in sampling.stop_ids
            is_done.append(request.is_finished or len(request.reply) == request.limit)
            if is_done[-1]:
                # The last id was sampled but never fed: its keys are not in the cache.
                fed = np.array(request.reply[:-1], dtype=np.int64)
                ids = np.concatenate([request.context, fed])
                self._slots.remember(request.slot, ids)
        return _fill_holes(running, is_done)


def _fill_holes(running: Sequence[_Request], is_done: Sequence[bool]) -> list[_Request]:
    """Return those not done, the last of them moved into the places of the done ones.

    Keeping the order instead would move almost every row each time one finishes.
    """
    num_left = len(running) - sum(is_done)
    spare = [r for r, done in zip(running[num_left:], is_done[num_left:]) if not done]
    return [
        spare.pop() if done else request
        for request, done in zip(running[:num_left], is_done[:num_left])
    ]


def _collect(requests: Sequence[_Request]) -> Generation:
    lengths_B = np.array([len(request.reply) for request in requests], dtype=np.int64)
    shape = (len(requests), int(lengths_B.max()))
    ids_BR = np.zeros(shape, dtype=np.int64)
    log_probs_BR = np.zeros(shape, dtype=np.float32)
    for row, request in enumerate(requests):
        ids_BR[row, : lengths_B[row]] = request.reply
        log_probs_BR[row, : lengths_B[row]] = request.log_probs
    finished_B = np.array([request.is_finished for request in requests])
    return Generation(ids_BR, lengths_B, log_probs_BR, finished_B)
