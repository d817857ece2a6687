"""What every built-in reward says of itself: range, what it sees, and how it is cheated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Mapping, Sequence

import numpy as np

from chat_envs.message import Message, assistant, user
from chat_envs.reward import RewardRequest
from chat_envs.tokenizer import load_tokenizer

__all__ = ["BuiltinReward", "Exploit", "as_texts", "last_user", "make_request"]


@dataclass(frozen=True)
class Exploit:
    """A known way to be paid for nothing, as a pair of replies.

    Attributes:
        name: what it is called.
        why: why it pays.
        hostile: a reply that deserves less, and is paid more.
        honest: a reply to the same prompt that deserves more.
        asked: what the user said before.
        kwargs: keywords of the reward with which it shows.
        needs: what it takes beside the reward, "" for nothing: a model that falls for it.
    """

    name: str
    why: str
    hostile: str
    honest: str
    asked: str = "Can you help me?"
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""

    def requests(self) -> tuple[RewardRequest, RewardRequest]:
        """Return the hostile reply and the honest one as requests."""
        prompt = (user(self.asked),)
        return make_request(self.hostile, prompt), make_request(self.honest, prompt)


class BuiltinReward:
    """What the built-in rewards have in common: they are told apart by class attributes.

    Attributes:
        name: the id, and the component's name.
        range: smallest and largest value with the default keywords.
        sees: the fields of a `RewardRequest` that it reads.
        extra: the extra of chat-envs that it needs, "" for none.
        exploits: known ways to cheat it; a test shows each to work.
    """

    name: ClassVar[str]
    range: ClassVar[tuple[float, float]]
    sees: ClassVar[tuple[str, ...]] = ("reply",)
    extra: ClassVar[str] = ""
    exploits: ClassVar[tuple[Exploit, ...]]


def make_request(reply: str, prompt: Sequence[Message] = ()) -> RewardRequest:
    """Return a request for a reply that no environment played: its task pays nothing.

    >>> make_request("Hello there", [user("Hi")]).messages[-1]
    Message(role=<Role.ASSISTANT: 'assistant'>, content='Hello there')
    """
    return RewardRequest(
        prompt=tuple(prompt),
        messages=(*prompt, assistant(reply)),
        reply=reply,
        reply_ids=np.array(load_tokenizer().encode(reply), dtype=np.int64),
        turn=1,
        terminated=False,
        task=0.0,
        task_components={"task": 0.0},
        info={"success": False, "termination_reason": "", "metrics": {}},
    )


def last_user(messages: Sequence[Message]) -> str:
    """Return what the user said last, "" if nothing.

    >>> last_user([user("Hi"), assistant("Hello")])
    'Hi'
    """
    said = (m.content for m in reversed(messages) if m.role.value == "user")
    return next(said, "")


def as_texts(name: str, value: str | Sequence[str]) -> tuple[str, ...]:
    """Return one text, or several, as a tuple.

    Args:
        name: the keyword, for the error.
        value: what was given for it.

    Raises:
        ValueError: if it is neither, or is empty.
    """
    texts = (value,) if isinstance(value, str) else tuple(value)
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} must be a text or a list of texts, got {value!r:.80}")
    return texts
