"""Replies that were really given in the suite's environments, as requests to score."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Sequence

import numpy as np

from chat_envs.core import ChatEnv
from chat_envs.message import assistant
from chat_envs.registration import find
from chat_envs.replier import make_replier, play
from chat_envs.reward import RewardRequest
from chat_envs.testing.hostile_reply import HOSTILE_REPLIES
from chat_envs.tokenizer import load_tokenizer

__all__ = ["hostile_requests", "record_requests"]

# A task, an application and a game: what is asked of a reply differs most between these.
_ENVIRONMENTS = (
    "CustomerService-easy-v0",
    "SocialChat-easy-v0",
    "GuessNumber-easy-v0",
    "Echo-v0",
)
_NUM_EPISODES = 6


class _Recorder:
    """A reward that pays nothing and keeps what it was asked to score."""

    def __init__(self) -> None:
        self.requests: list[RewardRequest] = []

    def score(self, batch: Sequence[RewardRequest]) -> list[float]:
        """Return zeros."""
        self.requests.extend(batch)
        return [0.0] * len(batch)


@functools.cache
def record_requests(replier: str) -> tuple[RewardRequest, ...]:
    """Return the turns of a few episodes: the same at each call.

    Args:
        replier: "expert", "random", or another name of `chat_envs.replier`.
    """
    recorder = _Recorder()
    for name in _ENVIRONMENTS:
        registration = find(name)
        env: ChatEnv = registration.load()(**registration.kwargs, reward=recorder)
        policy = make_replier(replier, np.random.default_rng(0))
        for seed in range(_NUM_EPISODES):
            play(env, policy, seed)
        env.close()
    return tuple(recorder.requests)


def hostile_requests(
    requests: Sequence[RewardRequest], num_prompts: int
) -> list[tuple[str, RewardRequest]]:
    """Return every hostile reply, with its name, to some of the prompts of `requests`.

    What followed in `messages` is left out, the task pays nothing, and no turn is a success: nobody
    played these replies, and none deserves anything.

    Args:
        requests: whose prompts are answered; at least one.
        num_prompts: how many of them, evenly spread.
    """
    places = np.linspace(0, len(requests) - 1, min(num_prompts, len(requests)))
    chosen = [requests[int(place)] for place in places]
    return [
        (name, _answer(request, write(request.prompt)))
        for name, write in HOSTILE_REPLIES.items()
        for request in chosen
    ]


def _answer(request: RewardRequest, reply: str) -> RewardRequest:
    """Return the request as if `reply` had been given."""
    return replace(
        request,
        messages=(*request.prompt, assistant(reply)),
        reply=reply,
        reply_ids=np.array(load_tokenizer().encode(reply), dtype=np.int64),
        terminated=False,
        task=0.0,
        task_components=dict.fromkeys(request.task_components, 0.0),
        info={
            "success": False,
            "termination_reason": "",
            "metrics": dict.fromkeys(request.info.get("metrics", {}), 0.0),
        },
    )
