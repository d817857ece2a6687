"""The scripted expert of `VoiceAssistant`, and two who never learnt when to ask.

They know the conversation alone. All three hear alike, by the reader; they differ in when a
command that was heard whole is done at once and when it is asked about.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple

from chat_envs.envs._voice_assistant_reader import Command, Reader, Reading, words_of
from chat_envs.message import Conversation, Role

__all__ = ["Butler", "SILENCE", "heard"]

SILENCE = "<silence>"
_REPEAT = "please repeat ."
_HEARD = re.compile(r"([0-9]{1,2})%?(?: |$)")


class Heard(NamedTuple):
    """A line of the user: how surely it was heard, in the tier's scale, and its words."""

    confidence: int
    words: list[str]


def heard(text: str, scale: int) -> Heard:
    """Return what a user's line says; one that shows no confidence is certain.

    >>> heard("87% kitchen light on", 100)
    Heard(confidence=87, words=['kitchen', 'light', 'on'])
    >>> heard("Sorry, I did not get that.", 10).confidence
    10
    """
    match = _HEARD.match(text)
    if match is None:
        return Heard(scale, words_of(text.lower()))
    return Heard(int(match[1]), words_of(text[match.end() :]))


class Butler:
    """Serves by a threshold on the confidence.

    Args:
        reader: reads the user's words and the butler's own.
        meanings: words that mean yes, no and a person's name, misheard ones too.
        scale: of the confidence that is shown.
    """

    def __init__(self, reader: Reader, meanings: Mapping[str, Any], scale: int) -> None:
        self._reader = reader
        self._scale = scale
        self._yes = frozenset(meanings["yes"])
        self._no = frozenset(meanings["no"])
        self._names = frozenset(meanings["names"])

    def reply(self, conversation: Conversation, ask_below: float) -> str:
        """Return what a butler says who asks about commands heard below a confidence.

        Args:
            conversation: up to the user's last line.
            ask_below: in the tier's scale; 0 acts on every command heard whole, and anything
                above the scale confirms each one first.
        """
        (confidence, words), last = self._situation(conversation)
        if confidence >= self._scale:
            return _REPEAT  # the user did not get what was said
        command = self._reader.command(words)
        if self._is_aside(words, command):
            return SILENCE
        asked = last.command if last is not None and last.kind == "ask" else None
        says_no = not self._no.isdisjoint(words)
        says_yes = not says_no and not self._yes.isdisjoint(words)
        if asked is not None and not says_no:
            if command == asked or (command is None and says_yes):
                return self.act(asked)
        if command is not None:
            return self.ask(command) if confidence < ask_below else self.act(command)
        if last is not None and last.kind == "act" and "done" in words:
            return self._tell(last)
        is_blank = not any(self._reader.evidence(words))
        if is_blank and "hello" not in words and not says_no:
            if 2 * confidence >= self._scale:
                return SILENCE  # clear words that are of no device: not for us
            if asked is not None:
                return self.ask(asked)
        return _REPEAT

    def reply_unasked(self, conversation: Conversation) -> str:
        """Return what a butler says who never asks: what it half heard it guesses."""
        (_, words), last = self._situation(conversation)
        command = self._reader.command(words)
        if self._is_aside(words, command) or not any(self._reader.evidence(words)):
            return SILENCE
        return self.act(command or self._reader.closest(words))

    def act(self, command: Command) -> str:
        """Return the line that does `command`, with a confirmation that names it."""
        return f"{command.line()} . {self._reader.say(command)} ."

    def ask(self, command: Command) -> str:
        """Return the question whether `command` is meant."""
        return f"{self._reader.say(command)} ?"

    def _tell(self, last: Reading) -> str:
        assert last.command is not None
        return f"{self._reader.say(last.command)} ."

    def _is_aside(self, words: list[str], command: Command | None) -> bool:
        """Whether a line names somebody, or says that the assistant was not meant."""
        if not self._names.isdisjoint(words):
            return True
        return command is None and "not" in words and "you" in words

    def _situation(self, conversation: Conversation) -> tuple[Heard, Reading | None]:
        """Return what was heard last, and what the assistant last said aloud."""
        last_heard: Heard | None = None
        for message in reversed(conversation.messages):
            if message.role is Role.USER and last_heard is None:
                last_heard = heard(message.content, self._scale)
            elif message.role is Role.ASSISTANT and last_heard is not None:
                reading = self._reader.read(message.content)
                if reading.kind != "silence":
                    return last_heard, reading
        assert last_heard is not None, "the user speaks first"
        return last_heard, None
