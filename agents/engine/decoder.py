"""Batched generation on the training module's own weights, with caches that outlive a turn.

A call goes: compare each context with what its slot has stored, find the beginnings that several
contexts share, seat dialogues in the first rows of the cache, prefill only new ids, then decode
one token a row and step. Rows that are done are moved behind the running ones, cost nothing more,
and dialogues that wait take their place.

Shape legend: N running rows, B contexts of a call, R tokens of a reply, V vocabulary.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch

from agents.engine.attention import ragged_attention_of
from agents.engine.kv_cache import KeyValueCache
from agents.engine.lane import Fact, Lanes
from agents.engine.language_model import Generation, Sampling
from agents.engine.network import CausalNetwork
from agents.engine.prefix import shared_prefixes
from agents.engine.request import Request, check_contexts, check_slots
from agents.engine.slot import SlotTable, common_prefix_length
from agents.engine.step_loop import StepLoop, StepRunner

__all__ = ["CachedDecoder"]

_LOGGER = logging.getLogger(__name__)

# Padded tokens of one prefill forward, unless a single row needs more.
_PREFILL_TOKENS = 4096
_MAX_ROWS = 256  # dialogues decoded at once; the others wait for a free row
_LEAST_SAVING = 32  # ids: to share prefixes costs one more forward
# Waiting dialogues are seated when this share of the rows is free: a forward for each would
# cost more than rows that idle a few steps.
_FREE_SHARE = 0.25


class CachedDecoder:
    """Fulfils `agents.engine.language_model.Decoder` for any family that `probe` accepts.

    Attributes:
        num_slots: dialogues whose caches are kept.
        num_prefilled: ids so far that the cache of their slot did not hold.
        num_copied: those of them that were taken over from another slot instead of computed.

    Args:
        network: the trained network; its parameters are read where they lie, never copied.
        num_slots: dialogues whose caches are kept.
        context_length: positions the model can attend to.
        version: returns something that changes whenever the weights do; caches filled
            under another version are dropped.
        max_rows: dialogues decoded at once; more slots wait their turn.
        runner: makes what runs the steps (`agents.engine.runner`); None takes them as they are.
    """

    def __init__(
        self,
        network: CausalNetwork,
        num_slots: int,
        *,
        context_length: int,
        version: Callable[[], Hashable],
        max_rows: int = _MAX_ROWS,
        runner: Callable[[StepLoop], StepRunner] | None = None,
    ) -> None:
        if num_slots < 1 or max_rows < 1:
            raise ValueError(
                f"num_slots and max_rows must be at least 1, got {num_slots} and {max_rows}."
            )
        self.num_slots = num_slots
        self.num_prefilled = 0
        self.num_copied = 0
        self._network = network
        self._context_length = context_length
        self._version = version
        self._max_rows = min(max_rows, num_slots)
        self._num_stored = num_slots  # rows of the cache; halved when memory runs out
        self._num_layers: int = (
            network.language_model.config.get_text_config().num_hidden_layers
        )
        self._runner_of = runner
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
        the batch, on `max_rows` or on what the caches hold. Where memory runs out, fewer rows
        run at once from then on, and the log says so.

        Raises:
            ValueError: bad slots or contexts, a context too long for the model, no generator.
            FloatingPointError: the model's logits are not finite.
            RuntimeError: the block of `LanguageModel.decoder` has ended.
            torch.OutOfMemoryError: not even one row fits.
        """
        if not self._is_open:
            raise RuntimeError(
                "This decoder is closed: its `with lm.decoder(...)` block has ended."
            )
        check_slots(slots, self.num_slots)
        check_contexts(contexts, slots, self._context_length, self._network.num_ids)
        if generator is None and not sampling.is_greedy:
            raise ValueError(
                "Sampling needs a torch.Generator on the model's device; "
                "pass generator= or set is_greedy=True."
            )
        requests = self._requests(contexts, slots, sampling)
        try:
            noise_BR = self._noise(len(contexts), sampling, generator)
            self._lanes.begin(sampling, noise_BR)
            with torch.no_grad(), ragged_attention_of(self._network.language_model):
                while not self._fits(requests):
                    self._halve()
            return self._lanes.generation(
                np.array([request.num_tokens for request in requests]),
                np.array([request.has_stopped for request in requests]),
            )
        except BaseException:
            # Rows may be half moved, and one NaN in a column that nobody reads spoils its row.
            self._start_over()
            raise

    def reset(self, slots: Sequence[int] | None = None) -> None:
        """Forget the caches of `slots` (all when None)."""
        check_slots(slots or (), self.num_slots)
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
        num_logits = len(self._network.forbidden_V)
        self._lanes = Lanes(self._max_rows, self.num_slots, num_logits, self._device)
        self._forget_all()

    def _forget_all(self) -> None:
        self._slots = SlotTable(self.num_slots, self._num_stored)
        self._cache = KeyValueCache(self._num_stored, self._num_layers)
        self._loop = StepLoop(
            self._network, self._cache, self._lanes, self._context_length
        )
        self._runner = self._runner_of(self._loop) if self._runner_of else self._loop

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

    def _requests(
        self, contexts: Sequence[np.ndarray], slots: Sequence[int], sampling: Sampling
    ) -> list[Request]:
        version = self._version()
        if version != self._filled_under:
            self.reset()
            self._filled_under = version
        requests = []
        for index, (context, slot) in enumerate(zip(contexts, slots, strict=True)):
            ids = np.array(context, dtype=np.int64)  # a copy: the caller may write on
            limit = min(sampling.max_new_tokens, self._context_length - len(ids))
            requests.append(Request(index, slot, ids, limit, 0))
        return requests

    def _fits(self, requests: Sequence[Request]) -> bool:
        """Complete the replies; return False if memory ran out on the way.

        Raises:
            torch.OutOfMemoryError: it ran out with a single row.
        """
        try:
            self._run([request for request in requests if not request.num_tokens])
        except torch.OutOfMemoryError:
            if self._max_rows == 1:
                raise
            return False
        return True

    def _halve(self) -> None:
        """Go on with half the rows; replies that are complete are kept, the others begin anew."""
        rows, self._max_rows = self._max_rows, self._max_rows // 2
        self._num_stored = max(self._num_stored // 2, self._max_rows)
        self._forget_all()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        _LOGGER.warning(
            "Out of memory with %d dialogues decoded at once: going on with %d, and with the "
            "caches of at most %d kept.",
            rows,
            self._max_rows,
            self._num_stored,
        )

    def _run(self, requests: Sequence[Request]) -> None:
        """Seat, prefill and step until every reply is complete."""
        self._plan(requests)
        # Who is waited for first; then like lengths: a prefill is as wide as its longest row.
        queue = deque(
            sorted(
                requests,
                key=lambda r: (r.wave, r.num_new, self._slots.row(r.slot)),
            )
        )
        running: list[Request] = []
        facts_FN = self._lanes.look(0)
        while queue or running:
            free = self._max_rows - len(running)
            worthwhile = min(len(queue), max(1, int(self._max_rows * _FREE_SHARE)))
            if queue and (not running or free >= worthwhile):
                fresh = [queue.popleft() for _ in range(min(free, len(queue)))]
                running += self._admit(fresh, len(running))
            else:
                reach = int(facts_FN[Fact.POSITION].max()) + 1
                most_left = int((facts_FN[Fact.LIMIT] - facts_FN[Fact.COUNT]).max())
                num_steps = min(self._runner.steps_per_look, most_left)
                self._runner.run(len(running), reach, num_steps)
            running, facts_FN = self._settle(running)

    def _plan(self, requests: Sequence[Request]) -> None:
        """Note what each request can reuse: of its slot, and of other requests."""
        for request in requests:
            # The last id is always computed anew: its logits begin the reply.
            request.num_cached = common_prefix_length(
                self._slots.ids(request.slot), request.context[:-1]
            )
            kept = request.context[: request.num_cached]
            self._slots.remember(request.slot, kept)
            request.leader, request.num_shared = None, 0
            request.is_prefilled = False
        shared = shared_prefixes(
            [request.context for request in requests],
            [request.num_cached for request in requests],
            _LEAST_SAVING,
        )
        for place, prefix in shared.items():
            requests[place].leader = requests[prefix.leader]
            requests[place].num_shared = prefix.length

    def _admit(self, fresh: Sequence[Request], first: int) -> list[Request]:
        """Seat `fresh` in rows `first`, ... and draw their first ids; return them in that order."""
        for request in fresh:
            # Its row may have been taken from it while it waited: not all slots are stored.
            held = len(self._slots.ids(request.slot))
            request.num_cached = min(request.num_cached, held)
        late = [r for r in fresh if r.leader is not None and not r.leader.is_prefilled]
        early = sorted(set(fresh).difference(late), key=lambda r: (r.num_new, r.index))
        late.sort(key=lambda r: (r.wave, r.num_new, r.index))
        partial = [r for r in late if not r.is_twin]
        computed, twins = [*early, *partial], late[len(partial) :]
        order = [*computed, *twins]
        rows = range(first, first + len(order))
        moves = self._slots.seat([request.slot for request in order], rows)
        self._cache.arrange(*moves)
        self._lanes.seat(
            first,
            [len(request.context) - 1 for request in order],
            [request.limit for request in order],
            [request.index for request in order],
        )
        self.num_prefilled += sum(len(r.context) - r.num_cached for r in order)
        self._take_over(early)
        logits_NV = self._compute(early, first)
        self._take_over(partial)
        partial_NV = self._compute(partial, first + len(early))
        self._take_over(twins)
        place_of = {request.index: place for place, request in enumerate(computed)}
        leaders = [place_of[r.leader.index] for r in twins if r.leader is not None]
        logits_NV = torch.cat([logits_NV, partial_NV])
        logits_NV = torch.cat([logits_NV, logits_NV[leaders]])
        for request in twins:
            self._know(request)
        self.num_copied += len(twins)  # their last ids, which were not computed either
        self._loop.draw(slice(first, first + len(order)), logits_NV)
        return order

    def _take_over(self, requests: Sequence[Request]) -> None:
        """Copy the prefixes that leaders have computed to the rows of `requests`."""
        rows, sources, columns = [], [], 0
        for request in requests:
            leader = request.leader
            if leader is None or len(self._slots.ids(leader.slot)) < request.num_shared:
                request.num_shared = 0
                continue
            rows.append(self._slots.row(request.slot))
            sources.append(self._slots.row(leader.slot))
            columns = max(columns, request.num_shared)
            known = len(request.context) - request.num_new
            self.num_copied += known - request.num_cached
            request.num_cached = known
        self._cache.arrange(rows, sources, columns)

    def _compute(self, requests: Sequence[Request], first: int) -> torch.Tensor:
        """Compute the new ids of rows `first`, ...; return (N, V) logits after the last of each."""
        logits = [torch.empty(0, len(self._network.forbidden_V), device=self._device)]
        start = 0
        while start < len(requests):
            # Sorted by length, so the next request is the widest of its group.
            end = start + 1
            while (
                end < len(requests)
                and (end + 1 - start) * requests[end].num_new <= _PREFILL_TOKENS
            ):
                end += 1
            group = requests[start:end]
            news = [request.context[request.num_cached :] for request in group]
            starts = [request.num_cached for request in group]
            rows = slice(first + start, first + end)
            logits.append(self._loop.prefill(rows, news, starts))
            for request in group:
                self._know(request)
            start = end
        return torch.cat(logits)

    def _know(self, request: Request) -> None:
        """Record that the row of a request holds its whole context."""
        request.is_prefilled = True
        self._slots.remember(request.slot, request.context)

    def _settle(self, running: Sequence[Request]) -> tuple[list[Request], np.ndarray]:
        """Return the requests that go on, in their new rows, and the facts of these.

        Raises:
            FloatingPointError: a log-prob of a running row is not finite.
        """
        facts_FN = self._lanes.look(len(running))
        if facts_FN[Fact.IS_BAD].any():
            wrong = [
                running[n].slot for n in np.flatnonzero(facts_FN[Fact.IS_BAD]).tolist()
            ]
            raise FloatingPointError(
                f"The logits of slots {wrong[:5]} at temperature "
                f"{self._lanes.sampling.temperature} are not finite. Look for weights that are "
                "not (a learning rate too high?), or raise the temperature."
            )
        done_N = facts_FN[Fact.IS_DONE].astype(bool)
        if not done_N.any():
            return list(running), facts_FN
        self._complete(running, facts_FN, np.flatnonzero(done_N).tolist())
        # The last of those that go on move into the places of the done ones; to keep the order
        # instead would move almost every row each time one is done.
        num_left = int((~done_N).sum())
        holes = np.flatnonzero(done_N[:num_left]).tolist()
        spare = (num_left + np.flatnonzero(~done_N[num_left:])).tolist()
        left = list(running)
        for hole, source in zip(holes, spare, strict=True):
            left[hole] = running[source]
        moves = self._slots.seat([left[hole].slot for hole in holes], holes)
        self._cache.arrange(*moves)
        self._lanes.move(holes, spare)
        facts_FN[:, holes] = facts_FN[:, spare]
        return left[:num_left], facts_FN[:, :num_left]

    def _complete(
        self, running: Sequence[Request], facts_FN: np.ndarray, done: Sequence[int]
    ) -> None:
        """Note the replies of the done rows, and which ids these rows hold."""
        requests = [running[lane] for lane in done]
        ids_NR = (
            self._lanes.ids_BR[[request.index for request in requests]].cpu().numpy()
        )
        for request, lane, ids_R in zip(requests, done, ids_NR, strict=True):
            request.num_tokens = int(facts_FN[Fact.COUNT, lane])
            request.has_stopped = bool(facts_FN[Fact.HAS_STOPPED, lane])
            # The last id was drawn but never fed: its keys are not in the cache.
            fed = ids_R[: request.num_tokens - 1]
            self._slots.remember(request.slot, np.concatenate([request.context, fed]))
