"""Processes that score replies: killed when they hang, replaced, and nothing else is lost.

This isolates faults, it is no sandbox: a reward that means harm has all rights of its user. What
it does by accident (a loop without end, a crash, a leak, a flood of processes) stays in its own
process, session and process group, under limits, and costs its own reply alone.

Calls and answers are lines of JSON (`chat_envs.reward.wire`). A function that scores one reply at a
time answers each as soon as it has it, so when its process is killed the reply to blame is the
first that has no answer; the others go on in a new process. A batched function's replies are then
tried one by one.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from chat_envs.reward.failure import NotCalledError
from chat_envs.reward.request import RewardRequest, groups_of
from chat_envs.reward.wire import Traits, encode_requests, read_answer
from chat_envs.reward.worker_process import (
    StartError,
    WorkerDiedError,
    WorkerError,
    WorkerProcess,
)

__all__ = ["WorkerPool", "WorkerSpec", "shared_pool"]

Result = float | tuple[float, ...] | Exception

_POOLS: weakref.WeakValueDictionary[WorkerSpec, WorkerPool] = (
    weakref.WeakValueDictionary()
)
_POOLS_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker runs, and under which limits; pools of the same spec are one.

    Attributes:
        target: The reward's `"package.module:name"`.
        kwargs: What it is called with once, as JSON; `"null"` for no call.
        name: The component's name, None for the reward's own.
        memory_mb: Most memory that a process may map, in MiB; None for no limit.
        cpu_s: CPU seconds that a call may use.
        max_processes: How many processes a worker may be, with its children.
        workers: How many workers share the replies of a call.
    """

    target: str
    kwargs: str
    name: str | None
    memory_mb: int | None
    cpu_s: int
    max_processes: int
    workers: int = 1

    def as_line(self) -> bytes:
        """Return the line that tells a worker what it is."""
        record = asdict(self) | {"kwargs": json.loads(self.kwargs)}
        return json.dumps(record).encode("ascii") + b"\n"


class WorkerPool:
    """The workers of one spec, started when they are first needed.

    They end with the pool, with the run, and with a `kill -9` of the run. After a `fork` the child
    has workers of its own.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self._seats = [_Seat(spec) for _ in range(spec.workers)]
        self._closer = weakref.finalize(self, _close, self._seats)

    @property
    def num_kills(self) -> int:
        """Return how many workers were killed or died."""
        return sum(seat.num_kills for seat in self._seats)

    def traits(self) -> Traits:
        """Return what the reward says of itself, from a worker that has made it.

        Raises:
            WorkerError: If it cannot be made.
        """
        return self._seats[0].traits()

    def attempt(
        self,
        requests: Sequence[RewardRequest],
        traits: Traits,
        timeout_s: float,
        patience: int | None = None,
    ) -> list[Result]:
        """Return one result a request: its value, or why it has none.

        Args:
            requests: The replies to score.
            traits: What the function is.
            timeout_s: Time limit of one call of the function in seconds.
            patience: How many processes in a row may be killed before the rest is left.
        """
        shares = _shares(requests, traits.needs_groups, len(self._seats))
        if len(shares) < 2:
            return self._seats[0].attempt(requests, traits, timeout_s, patience)
        results: list[Result] = [0.0] * len(requests)
        with ThreadPoolExecutor(len(shares)) as threads:
            futures = [
                threads.submit(
                    seat.attempt,
                    [requests[i] for i in share],
                    traits,
                    timeout_s,
                    patience,
                )
                for seat, share in zip(self._seats, shares)
            ]
            for share, future in zip(shares, futures):
                for index, result in zip(share, future.result()):
                    results[index] = result
        return results

    def close(self) -> None:
        """End the workers; the next attempt starts new ones."""
        _close(self._seats)

    def forget(self) -> None:
        """Let go of workers that belong to the process that this one was forked from."""
        for seat in self._seats:
            seat.forget()


class _Seat:
    """A place for one worker at a time."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._worker: WorkerProcess | None = None
        self._lock = threading.RLock()
        self.num_kills = 0

    def traits(self) -> Traits:
        with self._lock:
            return self._ready_worker().traits

    def attempt(
        self,
        requests: Sequence[RewardRequest],
        traits: Traits,
        timeout_s: float,
        patience: int | None,
    ) -> list[Result]:
        with self._lock:
            call = _Call(self, requests, traits, timeout_s, patience)
            call.run()
            return call.results

    def exchange(self, lines: Sequence[bytes], call: _Call, indices: list[int]) -> None:
        """Have the worker answer requests; the answers land in the call as they come.

        Raises:
            WorkerError: If it failed to; it is gone then.
        """
        try:
            worker = self._ready_worker()
            worker.send(
                b'{"timeout_s": %s, "requests": [%s]}\n'
                % (json.dumps(call.timeout_s).encode(), b",".join(lines)),
                call.limit_s,
            )
            for position, index in enumerate(indices):
                line = worker.read_line(call.limit_s)
                call.results[index] = read_answer(line, position, call.traits.names)
                call.waiting.discard(index)
        except BaseException as error:
            # Interrupted or not: what the worker writes next would answer nobody.
            self.num_kills += self._worker is not None
            self.close()
            if isinstance(error, RuntimeError) and not isinstance(error, WorkerError):
                raise WorkerError(str(error)) from error
            raise

    def _ready_worker(self) -> WorkerProcess:
        if self._worker is None:
            try:
                worker = WorkerProcess(self._spec.as_line(), self._spec.max_processes)
            except OSError as error:
                raise StartError(f"could not be started: {error}") from error
            try:
                worker.wait_until_ready()
            except BaseException:
                self.num_kills += 1
                worker.kill()
                raise
            self._worker = worker
        return self._worker

    def close(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()

    def forget(self) -> None:
        self._lock = threading.RLock()  # another thread may have held it
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.forget()


class _Call:
    """The replies of one attempt, and which of them still wait for an answer."""

    def __init__(
        self,
        seat: _Seat,
        requests: Sequence[RewardRequest],
        traits: Traits,
        timeout_s: float,
        patience: int | None,
    ) -> None:
        self._seat = seat
        self._requests = requests
        self._encoded = encode_requests(requests, traits.fields)
        self._patience = patience
        self._num_kills = 0  # in a row
        self.traits = traits
        self.timeout_s = timeout_s
        # A coroutine is cancelled in its process, which then still has to answer.
        self.limit_s = timeout_s if traits.is_streamed else timeout_s + 0.5
        self.results: list[Result] = [
            code if isinstance(code, Exception) else 0.0 for code in self._encoded
        ]
        self.waiting = {
            i for i, code in enumerate(self._encoded) if isinstance(code, bytes)
        }

    def run(self) -> None:
        if self.traits.needs_groups:
            self._run_groups()
        elif self.traits.is_streamed:
            self._run_streamed()
        else:
            failure = self._ask(sorted(self.waiting))
            is_alone = len(self.waiting) == 1
            if failure is not None and (is_alone or isinstance(failure, StartError)):
                self._fail(self.waiting, failure)
            for index in sorted(self.waiting):
                self._try(index)

    def _run_groups(self) -> None:
        """Each group is one call, and fails as one: its function must see all of it."""
        for group in groups_of(self._requests):
            broken = [self.results[i] for i in group if i not in self.waiting]
            if broken:
                self._fail(group, broken[0])
            elif self._is_patient(group):
                failure = self._ask(group)
                if failure is not None:
                    self._num_kills += 1
                    self._fail(group, failure)

    def _run_streamed(self) -> None:
        """Go on after the reply that its process died of, as often as it takes."""
        while self.waiting and self._is_patient(list(self.waiting)):
            failure = self._ask(sorted(self.waiting))
            if failure is None:
                return
            if isinstance(failure, StartError):
                self._fail(self.waiting, failure)
                return
            culprit = min(self.waiting)
            if isinstance(failure, WorkerDiedError):
                # What it died of may be an earlier reply's doing: hear it alone.
                self._try(culprit)
            else:
                self._num_kills += 1
                self._fail([culprit], failure)

    def _try(self, index: int) -> None:
        """Score one reply alone."""
        if self._is_patient([index]):
            failure = self._ask([index])
            if failure is not None:
                self._num_kills += 1
                self._fail([index], failure)

    def _ask(self, indices: list[int]) -> WorkerError | None:
        """Have these answered; return why the process is gone, if it is."""
        if not indices:
            return None
        num_waiting = len(self.waiting)
        lines = [code for i in indices if isinstance(code := self._encoded[i], bytes)]
        try:
            self._seat.exchange(lines, self, indices)
        except WorkerError as error:
            return error
        finally:
            if len(self.waiting) < num_waiting:
                self._num_kills = 0
        return None

    def _is_patient(self, indices: Sequence[int]) -> bool:
        """Return whether to go on; if not, these fail."""
        if self._patience is None or self._num_kills < self._patience:
            return True
        reason = NotCalledError(
            f"was not called: {self._num_kills} replies in a row ended its process"
        )
        self._fail(indices, reason)
        return False

    def _fail(self, indices: Sequence[int] | set[int], error: Result) -> None:
        for index in list(indices):
            self.results[index] = error
            self.waiting.discard(index)


def shared_pool(spec: WorkerSpec) -> WorkerPool:
    """Return the pool of this spec: all environments of a run share it."""
    with _POOLS_LOCK:
        pool = _POOLS.get(spec)
        if pool is None:
            pool = _POOLS[spec] = WorkerPool(spec)
        return pool


def _shares(
    requests: Sequence[RewardRequest], keeps_groups: bool, num_workers: int
) -> list[list[int]]:
    """Return which requests each worker gets: equal shares, groups kept whole."""
    whole = groups_of(requests) if keeps_groups else [[i] for i in range(len(requests))]
    num_shares = min(num_workers, len(whole))
    shares: list[list[int]] = [[] for _ in range(num_shares)]
    for number, group in enumerate(whole):
        shares[number * num_shares // len(whole)] += group
    return shares


def _close(seats: Sequence[_Seat]) -> None:
    for seat in seats:
        seat.close()


def _forget_all() -> None:
    global _POOLS_LOCK
    _POOLS_LOCK = threading.Lock()
    for pool in list(_POOLS.values()):
        pool.forget()


with contextlib.suppress(AttributeError):  # where there is no fork
    os.register_at_fork(after_in_child=_forget_all)
