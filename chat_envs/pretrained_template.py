"""A Hugging Face chat template, read once and then written forwards only.

A Jinja template is a program that renders a whole conversation. Here it renders conversations
whose contents are markers; its text is cut at the markers, and what lies between them, the
*pieces*, is all that is kept. A piece is tokenised with control tokens recognised, a content as
plain text, so no content can open or close a role.

What a template cannot do, a system message or two messages of one role in a row, is *folded*: the
messages between two replies become one user message, in their order, a blank line between
them, system messages behind `[system] `. A template that would rewrite what is written already
is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Protocol, Sequence

from chat_envs.message import Message, Role, user

__all__ = ["Markup", "Piece", "PretrainedTemplate", "Render", "fold", "render_pieces"]

Render = Callable[[list[dict[str, str]], bool], str]
"""From messages, and whether to invite a reply, to the template's text."""

Roles = tuple[Role, ...]

SYSTEM_PREFIX = "[system] "
_SEPARATOR = "\n\n"
_MARKER = re.compile("\ue000(\\d+)\ue001")
_LEFT, _RIGHT = "\n ", " \n"
# What may stand before a reply; what is written after the reply must be the same for each.
_HISTORIES: tuple[Roles, ...] = (
    (Role.USER,),
    (Role.USER, Role.ASSISTANT, Role.USER),
)


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of the template: plain text, ids from the first to the last control id, plain text."""

    head: str
    ids: tuple[int, ...]
    tail: str


class Markup(Protocol):
    """What a template needs of its tokenizer."""

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the ids of plain text."""

    def encode_piece(self, text: str) -> Piece:
        """Return the template's text, its control tokens recognised."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    """How messages of some roles are written: one piece more than there are contents."""

    pieces: tuple[Piece, ...]
    strips: tuple[
        tuple[bool, bool], ...
    ]  # is a content stripped on its left, its right?
    is_folded: bool = False


class _RefusalError(ValueError):
    """The template does not write these roles in this order."""


def fold(messages: Sequence[Message]) -> list[Message]:
    r"""Return `messages` with each run that is not the agent's as one message of the user.

    >>> from chat_envs.message import system
    >>> fold([system("Be brief."), user("Hi")])[0].content
    '[system] Be brief.\n\nHi'
    """
    folded: list[Message] = []
    for message in messages:
        if message.role is Role.ASSISTANT:
            folded.append(message)
            continue
        text = message.content
        if message.role is Role.SYSTEM:
            text = SYSTEM_PREFIX + text
        if folded and folded[-1].role is Role.USER:
            text = folded.pop().content + _SEPARATOR + text
        folded.append(user(text))
    return folded


def render_pieces(
    render: Render, roles: Roles, *, invite: bool, padding: tuple[str, str] = ("", "")
) -> list[str]:
    """Return the template's text around contents of `roles`: one string more than there are roles.

    Args:
        render: the template.
        roles: of the messages, in order.
        invite: whether it ends with the header of a reply.
        padding: white space to the left and right of each content, which becomes part of the
            result where the template does not strip it.

    Raises:
        ValueError: if the template fails, or does not write each content once and in order.
    """
    names = [role.value for role in roles]
    contents = [f"{padding[0]}\ue000{k}\ue001{padding[1]}" for k in range(len(roles))]
    messages = [
        {"role": name, "content": content}
        for name, content in zip(names, contents, strict=True)
    ]
    try:
        text = render(messages, invite)
    except Exception as error:  # a template is a program, which may raise anything
        raise _RefusalError(
            f"the roles {names} raise {type(error).__name__}: {error}"
        ) from error
    parts = _MARKER.split(text)
    written = [int(k) for k in parts[1::2]]
    if written != list(range(len(roles))):
        raise _RefusalError(
            f"of the contents of the roles {names} it writes those numbered {written}, where "
            "each should stand once and in order"
        )
    return parts[::2]


def _strips(
    render: Render, roles: Roles, pieces: list[str], *, invite: bool
) -> tuple[tuple[bool, bool], ...]:
    """Return for each content whether the template strips its left and its right end."""
    padded = render_pieces(render, roles, invite=invite, padding=(_LEFT, _RIGHT))
    return tuple(
        (
            not padded[k].endswith(pieces[k] + _LEFT),
            not padded[k + 1].startswith(_RIGHT + pieces[k + 1]),
        )
        for k in range(len(roles))
    )


class PretrainedTemplate:
    """The chat template of a pretrained tokenizer (fulfils `chat_envs.chat_template.ChatTemplate`).

    Each order of roles is rendered when it first occurs; later a call joins known pieces.

    Args:
        render: the template.
        markup: the tokenizer.
        name: of the tokenizer, for errors.
        eos_id: its end-of-sequence id, which ends a reply too.

    Raises:
        ValueError: if the template rewrites what is written already, or a role ends with text
            that any content could contain.
    """

    def __init__(
        self, render: Render, markup: Markup, *, name: str, eos_id: int | None
    ) -> None:
        self._render = render
        self._markup = markup
        self._name = name
        self._openings: dict[Roles, _Pattern] = {}
        self._extensions: dict[tuple[Roles, bool], _Pattern] = {}
        self._closing = ""
        # What follows every reply, whatever comes next, begins with the id that closes it.
        try:
            tail, _ = self._read_tail((Role.USER,), True)
        except _RefusalError as error:
            raise self._error(f"It cannot write a plain dialogue: {error}.") from error
        closing = self._piece(tail[0])
        self.end_id = closing.ids[0]
        self._closing = closing.head
        self._closing_ids = (*markup.encode(closing.head), self.end_id)
        self.max_closing = len(self._closing_ids)
        self.stop_ids = frozenset([self.end_id] + ([] if eos_id is None else [eos_id]))
        self._extensions[(), False] = _Pattern((Piece("", (), ""),), ())
        for roles in ((Role.USER,), (Role.SYSTEM,), (Role.SYSTEM, Role.USER)):
            for invite in (True, False):
                self._extensions[roles, invite] = self._learn_extension(roles, invite)
        self._openings[(Role.USER,)] = self._learn_opening((Role.USER,))

    def opening(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of the first messages and of the header that invites a reply."""
        roles = tuple(message.role for message in messages)
        pattern = self._openings.get(roles)
        if pattern is None:
            pattern = self._openings[roles] = self._learn_opening(roles)
        return self._write(pattern, messages)

    def closing(self, stop_id: int | None) -> list[int]:
        """Return what closes a reply: nothing for one that did so itself.

        A reply that ended with another stop id than the template's own gets that one too.
        """
        if stop_id is None:
            return list(self._closing_ids)
        return [] if stop_id == self.end_id else [self.end_id]

    def extension(
        self, messages: Sequence[Message], *, invite: bool = True
    ) -> list[int]:
        """Return the ids of messages that follow a closed reply."""
        key = tuple(message.role for message in messages), invite
        pattern = self._extensions.get(key)
        if pattern is None:
            pattern = self._extensions[key] = self._learn_extension(*key)
        return self._write(pattern, messages)

    # Writing -----------------------------------------------------------------------------

    def _write(self, pattern: _Pattern, messages: Sequence[Message]) -> list[int]:
        if pattern.is_folded:
            messages = fold(messages)
        encode = self._markup.encode
        before = pattern.pieces[0]
        ids = [*encode(before.head), *before.ids] if before.head else list(before.ids)
        contents = zip(messages, pattern.strips, pattern.pieces[1:], strict=True)
        for message, (is_left, is_right), after in contents:
            text = message.content
            if is_left:
                text = text.lstrip()
            if is_right:
                text = text.rstrip()
            ids += encode(before.tail + text + after.head)
            ids += after.ids
            before = after
        if before.tail:
            ids += encode(before.tail)
        return ids

    # Learning ----------------------------------------------------------------------------

    def _learn_opening(self, roles: Roles) -> _Pattern:
        """Return how a dialogue with messages of `roles` begins."""
        try:
            pieces = render_pieces(self._render, roles, invite=True)
            strips = _strips(self._render, roles, pieces, invite=True)
        except _RefusalError as error:
            return self._folded(self._learn_opening, roles, error)
        later = (*roles, Role.ASSISTANT, Role.USER)
        try:
            self._require_extends(pieces, later)
            tail = render_pieces(self._render, later, invite=True)[len(roles) + 1 :]
        except _RefusalError as error:
            raise self._error(f"It rewrites its past: {error}.") from error
        if tail != self._read_tail((Role.USER,), True)[0]:
            raise self._error(
                f"After the roles {[r.value for r in roles]} and a reply it writes a user's "
                "message otherwise than after a user's message and a reply, so what is new "
                "depends on all that is old."
            )
        first = Piece("", (), pieces[0])
        if self._markup.encode_piece(pieces[0]).ids:
            first = self._piece(pieces[0])
        return _Pattern((first, *map(self._piece, pieces[1:])), strips)

    def _learn_extension(self, roles: Roles, invite: bool) -> _Pattern:
        """Return how messages of `roles` follow a closed reply."""
        try:
            tail, strips = self._read_tail(roles, invite)
            closing = self._piece(tail[0])
            if (closing.head, closing.ids[0]) != (self._closing, self.end_id):
                raise _RefusalError(
                    f"a reply is closed otherwise before the roles {[r.value for r in roles]}"
                )
        except _RefusalError as error:
            return self._folded(
                lambda r: self._learn_extension(r, invite), roles, error
            )
        first = Piece("", closing.ids[1:], closing.tail)
        # At the end nothing follows that the last content could be taken for.
        last = [self._piece(text) for text in tail[1:-1]]
        if len(tail) > 1:
            last.append(self._piece(tail[-1], is_end=not invite))
        return _Pattern((first, *last), strips)

    def _read_tail(
        self, roles: Roles, invite: bool
    ) -> tuple[list[str], tuple[tuple[bool, bool], ...]]:
        """Return the pieces that follow a reply, and which contents are stripped."""
        found = []
        for history in _HISTORIES:
            past = render_pieces(self._render, history, invite=True)
            whole = (*history, Role.ASSISTANT, *roles)
            self._require_extends(past, whole, invite=invite)
            pieces = render_pieces(self._render, whole, invite=invite)
            strips = _strips(self._render, whole, pieces, invite=invite)
            num_past = len(history) + 1
            found.append((pieces[num_past:], strips[num_past:]))
        if found[0] != found[1]:
            raise self._error(
                f"It writes the roles {[r.value for r in roles]} otherwise after a second reply "
                "than after a first, so what is new depends on all that is old."
            )
        return found[0]

    def _require_extends(
        self, past: list[str], whole: Roles, *, invite: bool = True
    ) -> None:
        """Raise unless the text of `whole` begins with the past as it was written."""
        num_contents = len(past) - 1
        now = render_pieces(self._render, whole, invite=invite)
        if now[:num_contents] != past[:-1] or not now[num_contents].startswith(
            past[-1]
        ):
            raise self._error(
                f"It rewrites its past: before a reply it had written {past}, once the roles "
                f"{[r.value for r in whole]} are there it writes {now}."
            )

    def _folded(
        self, learn: Callable[[Roles], _Pattern], roles: Roles, error: Exception
    ) -> _Pattern:
        folded = tuple(m.role for m in fold([Message(role, "") for role in roles]))
        if folded == roles:
            raise self._error(f"It cannot write a plain dialogue: {error}.") from error
        pattern = learn(folded)
        return _Pattern(pattern.pieces, pattern.strips, is_folded=True)

    def _piece(self, text: str, *, is_end: bool = False) -> Piece:
        piece = self._markup.encode_piece(text)
        if not piece.ids and not is_end:
            raise self._error(
                f"Between two messages it writes {text!r}, in which there is no control token: "
                "any message could contain that text and forge a role."
            )
        return piece

    def _error(self, message: str) -> ValueError:
        return ValueError(
            f"The chat template of {self._name!r} cannot be used. {message} Give the tokenizer's "
            "directory a chat_template.jinja that writes every message once, in order, between "
            "control tokens."
        )
