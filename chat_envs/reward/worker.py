"""The program that scores replies for a run in a process of its own.

`python -m chat_envs.reward.worker` reads lines of JSON from its standard input and answers on its
standard output: first what the reward is, then calls. See `chat_envs.reward.worker_pool`, which
starts and kills it.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from chat_envs.reward.callable import RewardFunction, construct
from chat_envs.reward.failure import error_text
from chat_envs.reward.registry import resolve_reward
from chat_envs.reward.wire import encode_answer, read_request

__all__ = ["main"]

_WATCH_MS = 5000


def main() -> int:
    """Answer calls until the run closes the pipe."""
    with os.fdopen(os.dup(0), "rb") as calls, os.fdopen(os.dup(1), "wb", 0) as answers:
        # What the function prints, or reads, must not get between the lines.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)  # started by hand
        threading.Thread(target=_follow, args=(calls.fileno(),), daemon=True).start()
        spec = json.loads(calls.readline())
        _limit(spec)
        try:
            function = make_function(spec)
        except Exception as error:
            failure = [type(error).__name__, error_text(error)]
            _write(answers, json.dumps({"failed": failure}).encode() + b"\n")
            return 1
        ready = {"ready": function.traits.as_json()}
        _write(answers, json.dumps(ready).encode() + b"\n")
        for line in calls:
            _answer(function, json.loads(line), answers, spec["cpu_s"])
    return 0


def make_function(spec: Mapping[str, Any]) -> RewardFunction:
    """Return the reward that `spec` describes: its target, kwargs and name."""
    target = construct(resolve_reward(spec["target"]), spec["kwargs"], spec["target"])
    return RewardFunction.of(target, spec["name"])


def _answer(
    function: RewardFunction, call: Mapping[str, Any], answers: BinaryIO, cpu_s: int
) -> None:
    """Score the requests of a call, and write each answer as soon as it is known."""
    requests = [read_request(record) for record in call["requests"]]
    own_pid = os.getpid()
    is_streamed = function.traits.is_streamed
    batches = [[r] for r in requests] if is_streamed else [requests]
    index = 0
    for batch in batches:
        _allow_cpu(cpu_s)
        results = function.attempt(batch, call["timeout_s"], is_killable=True)
        if os.getpid() != own_pid:
            os._exit(0)  # the function forked and came back here: one process answers
        for result in results:
            _write(answers, encode_answer(index, result))
            index += 1


def _write(answers: BinaryIO, data: bytes) -> None:
    """Write all of `data`: a pipe takes as much as it has room for."""
    while data:
        data = data[answers.write(data) :]


def _limit(spec: Mapping[str, Any]) -> None:
    """Set the limits that hold for the life of this process and its children."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if spec["memory_mb"] is not None:
        num_bytes = _below_hard(resource.RLIMIT_AS, spec["memory_mb"] * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))
    if os.geteuid() != 0:  # the kernel does not count root's
        # It counts all threads of the user, whoever started them: a wall far out, behind the
        # run's own count of this session's processes.
        wall = num_tasks(os.geteuid()) + 8 * spec["max_processes"]
        wall = _below_hard(resource.RLIMIT_NPROC, wall)
        resource.setrlimit(resource.RLIMIT_NPROC, (wall, wall))


def _allow_cpu(seconds: int) -> None:
    """Let this process use so many more seconds of CPU time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(
        resource.RLIMIT_CPU, (_below_hard(resource.RLIMIT_CPU, limit), hard)
    )


def _below_hard(kind: int, limit: int) -> int:
    """Return `limit`, or the one that this process was started with if that is lower."""
    _, hard = resource.getrlimit(kind)
    return limit if hard == resource.RLIM_INFINITY else min(limit, hard)


def num_tasks(user_id: int) -> int:
    """Return how many threads a user has, as the kernel counts them for its limit."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid == user_id:
                count += len(os.listdir(folder / "task"))
        except OSError:
            continue  # it ended meanwhile
    return count


def _follow(fd: int) -> None:
    """End with the run, whatever the function is doing: its pipe hangs up when it is gone."""
    parent = os.getppid()
    poll = select.poll()
    poll.register(fd, 0)  # hang-up is always told
    while not poll.poll(_WATCH_MS) and os.getppid() == parent:
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
