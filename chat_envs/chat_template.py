"""From messages to ids, forwards only.

A template encodes the messages that are *new*; what is already in a context is never written
again, so the ids that a policy sampled stay the ids that it is trained on.
"""

from __future__ import annotations

from typing import Protocol, Sequence

from chat_envs.message import Message, Role
from chat_envs.tokenizer import (
    ASSISTANT,
    END,
    SYSTEM,
    USER,
    BuiltinTokenizer,
    Tokenizer,
)

__all__ = ["BuiltinTemplate", "ChatTemplate", "load_template"]


class ChatTemplate(Protocol):
    """How one model family writes a dialogue. All methods return plain lists of ids."""

    stop_ids: frozenset[int]  # a reply ends with one of these
    max_closing: int  # most ids that `closing` returns

    def opening(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of the first messages and of the header that invites a reply."""

    def closing(self, stop_id: int | None) -> list[int]:
        """Return the ids that must follow a reply.

        Args:
            stop_id: the stop id that the reply ended with, None for one that was cut.
        """

    def extension(
        self, messages: Sequence[Message], *, invite: bool = True
    ) -> list[int]:
        """Return the ids of messages that follow a closed reply.

        Args:
            messages: the new messages, none of them the assistant's.
            invite: append the header that invites the next reply.
        """


class BuiltinTemplate:
    """`<|role|> text <|end|>`: two control ids a message.

    >>> from chat_envs.message import user
    >>> from chat_envs.tokenizer import load_tokenizer
    >>> template = BuiltinTemplate(load_tokenizer())
    >>> ids = template.opening([user("Hi")])
    >>> ids[0], ids[-2:], sorted(template.stop_ids)
    (3, [1, 4], [1])
    """

    _HEADERS = {Role.SYSTEM: SYSTEM, Role.USER: USER, Role.ASSISTANT: ASSISTANT}

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.stop_ids = frozenset([END])
        self.max_closing = 1

    def opening(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of the first messages and of the header that invites a reply."""
        return self.extension(messages)

    def closing(self, stop_id: int | None) -> list[int]:
        """Return `<|end|>` for a reply that was cut, nothing for one that ended itself."""
        return [END] if stop_id is None else []

    def extension(
        self, messages: Sequence[Message], *, invite: bool = True
    ) -> list[int]:
        """Return the ids of messages that follow a closed reply."""
        ids: list[int] = []
        for message in messages:
            ids.append(self._HEADERS[message.role])
            ids.extend(self._tokenizer.encode(message.content))
            ids.append(END)
        if invite:
            ids.append(ASSISTANT)
        return ids


def load_template(tokenizer: Tokenizer) -> ChatTemplate:
    """Return the template of `tokenizer`: its own `make_template()`, else the built-in one.

    Raises:
        TypeError: if it has neither a template nor the built-in control ids.
    """
    make = getattr(tokenizer, "make_template", None)
    if make is not None:
        template: ChatTemplate = make()
        return template
    if not isinstance(tokenizer, BuiltinTokenizer):
        raise TypeError(
            f"{type(tokenizer).__name__} needs a method make_template() that returns its "
            "ChatTemplate: its dialogues are not written with the built-in control ids."
        )
    return BuiltinTemplate(tokenizer)
