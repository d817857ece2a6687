"""Rewards that misbehave on command, for processes of their own: a reply says what to do."""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from chat_envs.message import Message
from chat_envs.reward import RewardRequest, reward_function

__all__ = ["NUM_CHILDREN", "Judge", "obey"]

NUM_CHILDREN = 40
LONG_S = 30.0  # what outlives a failing test ends by itself


def obey(reply: str) -> Any:
    """Do what the reply says; score any other by its length."""
    if reply in _ACTS:
        return _ACTS[reply]()
    return float(len(reply))


def _loop() -> None:
    while True:
        pass


def _leave_children() -> None:
    """Start children that do nothing, more than a worker may have, and wait."""
    _litter()
    time.sleep(LONG_S)


def _litter() -> float:
    """Start as many, and answer."""
    for _ in range(NUM_CHILDREN):
        if os.fork() == 0:
            time.sleep(LONG_S)
            os._exit(0)
    return 1.0


def _flee() -> None:
    """Start a child that leaves the process group, and hang."""
    if os.fork() == 0:
        os.setpgid(0, 0)
        time.sleep(LONG_S)
        os._exit(0)
    time.sleep(LONG_S)


def _announce() -> None:
    """Tell the process's id on the standard error, and hang."""
    print(os.getpid(), file=sys.stderr, flush=True)
    time.sleep(LONG_S)


def _fork_and_return() -> float:
    os.fork()
    return 7.0


def _raise_at_length() -> None:
    raise ValueError("x" * 10**6)


def _raise_mutely() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    raise Mute


def _talk() -> float:
    print('[0, 1.0]\n{"ready": 1}')
    os.write(1, b"[1, 2.0]\n")
    sys.stdin.read()
    return 4.0


def _write_everywhere() -> float:
    """Write what is no answer to every pipe that there is."""
    for fd in range(3, 64):
        try:
            os.write(fd, b"[0, NaN]\n")
        except OSError:
            continue
    return 1.0


_ACTS = {
    "loop": _loop,
    "sleep": lambda: time.sleep(1e9),
    "exit": lambda: os._exit(3),
    "quit": lambda: sys.exit(4),
    "crash": lambda: ctypes.string_at(0),
    "hoard": lambda: [0] * (10 * 2**27),
    "children": _leave_children,
    "litter": _litter,
    "flee": _flee,
    "announce": _announce,
    "fork": _fork_and_return,
    "nan": lambda: math.nan,
    "inf": lambda: -math.inf,
    "none": lambda: None,
    "text": lambda: "1.0",
    "array": lambda: [1.0, 2.0],
    "raise": _raise_at_length,
    "mute": _raise_mutely,
    "talk": _talk,
    "garbage": _write_everywhere,
    "pid": lambda: float(os.getpid()),
    "fds": lambda: float(len(os.listdir("/proc/self/fd"))),
}


@reward_function(batched=True, on_error="mask")
def obey_all(reply: list[str]) -> Any:
    """Return as many values as replies, or what the last reply asks for."""
    if "short" in reply:
        return [1.0]
    return [obey(text) for text in reply]


@reward_function(group=True)
def rank(reply: list[str]) -> list[float]:
    """Score each reply by how many in its group are shorter; fail if one says so."""
    if "exit" in reply:
        os._exit(3)
    return [float(sum(len(other) < len(text) for other in reply)) for text in reply]


@reward_function(names=("length", "words"))
def measures(reply: str) -> dict[str, float]:
    """Return two numbers by name."""
    return {"words": float(len(reply.split())), "length": float(len(reply))}


@reward_function(isolation="process", timeout_s=5.0)
def everything(**turn: Any) -> float:
    """Score a turn by all of it, to show that all of it arrives."""
    prompt, messages = turn["prompt"], turn["messages"]
    assert all(isinstance(message, Message) for message in (*prompt, *messages))
    assert messages[: len(prompt)] == prompt
    assert turn["info"]["metrics"] == {"mood": 0.25}
    assert turn["reply_ids"].dtype == "int64"
    numbers = [len(prompt), len(messages), turn["turn"], turn["terminated"]]
    return float(sum(numbers) + turn["reply_ids"].sum() + turn["task"])


async def wait(reply: str) -> float:
    """Answer after a while, never, or only when the loop is free."""
    if reply == "never":
        await asyncio.sleep(1e9)
    if reply == "block":
        time.sleep(1e9)
    await asyncio.sleep(0)
    return float(len(reply))


class Judge:
    """Scores batches; made from arguments."""

    def __init__(self, scale: float = 1.0, name: str = "judge_of_tests") -> None:
        if scale < 0:
            raise ValueError("scale must be at least 0")
        self.scale, self.name = scale, name

    def score(self, batch: Sequence[RewardRequest]) -> list[float]:
        """Return each reply's scaled length, plus the task's own parts."""
        return [
            self.scale * len(r.reply) + r.task_components.get("bonus", 0.0)
            for r in batch
        ]


def make_judge(scale: float) -> Any:
    """Return a reward with options of its author."""

    @reward_function(name="made", on_error=-1.0)
    def judge(reply: str) -> float:
        if reply == "bad":
            raise OSError("down")
        return scale * len(reply)

    return judge
