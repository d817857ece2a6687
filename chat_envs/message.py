"""Messages: the units from which every dialogue is written.

A `Message` is who spoke and what was said, a `Turn` what follows a reply. Environments think in
messages; tokens exist only from `chat_envs.chat_template` downwards.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "Conversation",
    "Message",
    "Role",
    "Turn",
    "assistant",
    "system",
    "user",
]


# Whatever `str.splitlines` ends a line at.
_LINE_END = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_INDENTED = r"\g<0>  "


class Role(str, enum.Enum):
    """Who wrote a message. The values are the names that Hugging Face chat templates use."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Message:
    """One message: a role and its plain text.

    >>> Message(Role.USER, "Hello").as_dict()
    {'role': 'user', 'content': 'Hello'}
    """

    role: Role
    content: str

    def as_dict(self) -> dict[str, str]:
        """Return the message as the `{"role", "content"}` mapping of the Hugging Face API."""
        return {"role": self.role.value, "content": self.content}


def system(content: str) -> Message:
    """Return a message that the environment itself writes: rules, results of actions."""
    return Message(Role.SYSTEM, content)


def user(content: str) -> Message:
    """Return a message of the simulated user."""
    return Message(Role.USER, content)


def assistant(content: str) -> Message:
    """Return a message of the agent."""
    return Message(Role.ASSISTANT, content)


@dataclass(frozen=True, slots=True)
class Conversation:
    """An immutable sequence of messages.

    >>> talk = Conversation.of(system("Be brief."), user("Hi"))
    >>> len(talk + [assistant("Hello")]), len(talk)
    (3, 2)
    """

    messages: tuple[Message, ...] = ()

    @classmethod
    def of(cls, *messages: Message) -> Conversation:
        """Return the conversation that consists of `messages`."""
        return cls(tuple(messages))

    def __add__(self, messages: Iterable[Message]) -> Conversation:
        return Conversation(self.messages + tuple(messages))

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)

    def __getitem__(self, index: int) -> Message:
        return self.messages[index]

    def last(self, role: Role) -> Message | None:
        """Return the newest message of `role`, or None where it never spoke."""
        return next((m for m in reversed(self.messages) if m.role is role), None)

    def render(self) -> str:
        """Return the transcript as plain text, one `role: content` paragraph a message.

        Lines of a content after its first are indented, so that none can pass for a message.
        """
        return "\n".join(
            f"{m.role.value}: {_LINE_END.sub(_INDENTED, m.content)}"
            for m in self.messages
        )


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What happens after a reply.

    Attributes:
        messages: what the world and the user say next; may be empty at the end.
        reward: the task's own: a float, one float a name of `ChatEnv.component_names`, or None
            to leave it to the plugged reward.
        ended: the task is over (the turn limit ends it without this).
        success: the task was done.
        why: `info["termination_reason"]`, if ended.
        metrics: one float a name of `ChatEnv.metric_names`; those left out are 0.
    """

    messages: Sequence[Message] = ()
    reward: float | Mapping[str, float] | None = None
    ended: bool = False
    success: bool = False
    why: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
