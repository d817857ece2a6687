"""The reader of `VoiceAssistant`: from words to a command of the house, and what a reply does.

A command is read from words in any order: a device, a verb and a value, of which two suffice where
they leave one command possible ("add milk", "kitchen light off"). Words that could mean two
commands mean none, so lists of every answer do nothing.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

__all__ = ["Command", "Intent", "Reader", "Reading", "num_seconds", "words_of"]

_MOST_CHARACTERS = 1000  # of a reply; what it does must stand within them
_MOST_READINGS = 4096  # kept; agents say the same things again and again
_MIN_EVIDENCE = 2  # of device, verb and value
_WORDS_PER_SECOND = 2.5

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_ACTION = re.compile(r"\baction\b[^.!?;\n]*")
_ACTION_WORD = re.compile(r"\baction\b")
_SILENCE = re.compile(r"[\s<\[(*\"']{0,8}silence[\s>\])*\"'.!]{0,8}")
# Markup, links, pictures, and lines that begin as those of a list do.
_UNSPEAKABLE = re.compile(
    r"[*_#`|~{}\[\]<>\\^@\u2022\u2190-\u2bff\ufe0f\u200d\U0001f000-\U0001faff]"
    r"|https?:|www\.|^[ \t]*(?:[-+]|[0-9]{1,3}[.)])[ \t]",
    re.MULTILINE,
)


class Command(NamedTuple):
    """Something to do with a device; `value` is "" where the verb says it all."""

    device: str
    verb: str
    value: str = ""

    def line(self) -> str:
        """Return the line by which an agent does it.

        >>> Command("timer", "set", "five").line()
        'ACTION timer set five'
        """
        return " ".join(part for part in ("ACTION", *self) if part)


class Intent(NamedTuple):
    """What can be done with a device, for several values.

    Attributes:
        device, verb: its name.
        words: words that mean the verb.
        values: what it takes, or nothing.
        key: what of the house's state it sets, with a field `{value}` where there is one for each.
        say: how a question or a confirmation names it.
        cores: how a user asks for it.
        is_irreversible: whether nobody can take it back.
        is_easy: whether the easy tier has it.
    """

    device: str
    verb: str
    words: frozenset[str]
    values: tuple[str, ...]
    key: str
    say: str
    cores: tuple[str, ...]
    is_irreversible: bool
    is_easy: bool

    @property
    def commands(self) -> list[Command]:
        """The commands of this intent, one a value."""
        return [Command(self.device, self.verb, v) for v in self.values or ("",)]


class Reading(NamedTuple):
    """What a reply does.

    Attributes:
        kind: "silence", "act", "malformed" (an ACTION line that is no command), "ask" (whether
            `command` was meant), "repeat" (asks to say it again), "tell" (says what was done) or
            "other".
        command: what is done, asked or told, if it was named.
        told: what the spoken part says was done: a command, or None.
        has_told: whether the spoken part says that something was done.
        error: what is wrong with a malformed line.
        num_words: words spoken; the ACTION line is not.
        is_unspeakable: whether a voice could not say the spoken part.
    """

    kind: str
    command: Command | None = None
    told: Command | None = None
    has_told: bool = False
    error: str = ""
    num_words: int = 0
    is_unspeakable: bool = False


class Reader:
    """Reads commands and replies.

    Args:
        document: what `data/voice_assistant.json` holds.

    >>> reader = Reader({
    ...     "devices": {"timer": ["timer"]}, "values": {"minutes": ["five"]},
    ...     "aliases": {"5": "five"},
    ...     "intents": [{"device": "timer", "verb": "set", "words": ["set"], "values": "minutes",
    ...                  "key": "timer", "say": "timer for {value}", "cores": []}],
    ...     "meanings": {"generic": ["done"], "repeat": ["repeat"]},
    ... })
    >>> reader.command("set the timer for 5 minutes".split())
    Command(device='timer', verb='set', value='five')
    >>> reader.read("ACTION timer set five. Done!").kind, reader.read("Timer for five?").kind
    ('act', 'ask')
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.intents = tuple(
            _intent(row, document["values"]) for row in document["intents"]
        )
        self._by_name = {(i.device, i.verb): i for i in self.intents}
        self._devices: dict[str, str] = {
            word: device
            for device, words in document["devices"].items()
            for word in words
        }
        self._values = {value: value for i in self.intents for value in i.values}
        self._values |= document["aliases"]
        self._verbs = frozenset(word for i in self.intents for word in i.words)
        self._generic = frozenset(document["meanings"]["generic"])
        self._repeat = frozenset(document["meanings"]["repeat"])
        self._readings: dict[str, Reading] = {}

    def intent(self, command: Command) -> Intent:
        """Return the intent of which `command` is one."""
        return self._by_name[command.device, command.verb]

    def say(self, command: Command) -> str:
        """Return how a question or a confirmation names `command`."""
        return self.intent(command).say.format(value=command.value)

    def key(self, command: Command) -> str:
        """Return what of the house's state `command` sets."""
        return self.intent(command).key.format(value=command.value)

    # Commands --------------------------------------------------------------------------------

    def command(self, words: Iterable[str]) -> Command | None:
        """Return the one command that lower-case `words` name, or None."""
        return self._find(words)[0]

    def evidence(self, words: Iterable[str]) -> tuple[set[str], set[str], set[str]]:
        """Return the devices, the words for verbs and the values among `words`."""
        devices: set[str] = set()
        verbs: set[str] = set()
        values: set[str] = set()
        for word in words:
            if word in self._devices:
                devices.add(self._devices[word])
            if word in self._values:
                values.add(self._values[word])
            if word in self._verbs:
                verbs.add(word)
        return devices, verbs, values

    def closest(self, words: Iterable[str]) -> Command:
        """Return the command that `words` speak for most, the first among equals."""
        devices, verbs, values = self.evidence(words)
        best, choice = -1, Command("", "")
        for intent in self.intents:
            shared = (intent.device in devices) + bool(intent.words & verbs)
            for command in intent.commands:
                score = shared + (command.value in values)
                if score > best:
                    best, choice = score, command
        return choice

    def _find(self, words: Iterable[str]) -> tuple[Command | None, str]:
        """Return a command, or None and what is wrong."""
        devices, verbs, values = self.evidence(words)
        if len(devices) > 1 or len(values) > 1:
            return None, "one thing a turn"
        intents: Sequence[Intent] = self.intents
        if devices:
            intents = [i for i in intents if i.device in devices]
        elif values:
            intents = [i for i in intents if values & {*i.values}]
        # Of "put milk on the list" only "put" is a verb for lists.
        has_verb = bool(verbs) and any(i.words & verbs for i in intents)
        if has_verb:
            intents = [i for i in intents if i.words & verbs]
            if len(intents) > 1:
                return None, self._advice(devices)
        if values:
            intents = [i for i in intents if values & {*i.values}]
        else:
            intents = [i for i in intents if not i.values and has_verb]
        num_evidence = bool(devices) + has_verb + bool(values)
        if len(intents) == 1 and num_evidence >= _MIN_EVIDENCE:
            (intent,) = intents
            return Command(intent.device, intent.verb, *values), ""
        return None, self._advice(devices)

    def _advice(self, devices: set[str]) -> str:
        """Return what can be said to a device, or which devices there are."""
        if not devices:
            return "name one of " + " , ".join(dict.fromkeys(self._devices.values()))
        (device,) = devices
        examples = [i.commands[0].line() for i in self.intents if i.device == device]
        return "say " + " or ".join(examples)

    # Replies ---------------------------------------------------------------------------------

    def read(self, reply: str) -> Reading:
        """Return what `reply` does, whatever text it is."""
        if len(reply) > _MOST_CHARACTERS:
            return self._read(reply)
        reading = self._readings.get(reply)
        if reading is None:
            if len(self._readings) >= _MOST_READINGS:
                self._readings.clear()
            reading = self._readings[reply] = self._read(reply)
        return reading

    def _read(self, reply: str) -> Reading:
        lowered = reply.lower()
        if _SILENCE.fullmatch(lowered):
            return Reading("silence")
        spoken = _ACTION.sub("\n", lowered)
        words = words_of(spoken)
        kept = lowered[:_MOST_CHARACTERS]
        reading = self._read_speech(_ACTION.sub("\n", kept))
        if _ACTION_WORD.search(kept):
            reading = self._read_action(kept, reading)
        return reading._replace(
            num_words=len(words),
            is_unspeakable=_UNSPEAKABLE.search(spoken) is not None,
        )

    def _read_action(self, text: str, speech: Reading) -> Reading:
        """Return the reading of a text with at least one ACTION line."""
        lines = _ACTION.findall(text)
        num_actions = len(_ACTION_WORD.findall(text))
        command, error = None, "one ACTION a turn"
        if num_actions == 1:
            command, error = self._find(words_of(lines[0]))
        if command is None:
            return Reading("malformed", error=error)
        is_claim = speech.kind == "tell"
        return Reading("act", command, speech.told, has_told=is_claim)

    def _read_speech(self, text: str) -> Reading:
        words = words_of(text)
        command = self.command(words)
        is_question = "?" in text
        if command is not None and is_question:
            return Reading("ask", command)
        if is_question or not self._repeat.isdisjoint(words):
            return Reading("repeat")
        if command is not None:
            return Reading("tell", command, told=command, has_told=True)
        is_vague = not any(self.evidence(words)[::2])  # no device and no value
        if is_vague and not self._generic.isdisjoint(words):
            return Reading("tell", has_told=True)
        return Reading("other")


def words_of(text: str) -> list[str]:
    """Return the words of `text`, as it is written."""
    return _WORD.findall(text)


def num_seconds(num_words: int) -> float:
    """Return how long a voice needs for so many words.

    >>> num_seconds(15)
    6.0
    """
    return num_words / _WORDS_PER_SECOND


def _intent(row: Mapping[str, Any], values: Mapping[str, Sequence[str]]) -> Intent:
    return Intent(
        device=row["device"],
        verb=row["verb"],
        words=frozenset(row["words"]),
        values=tuple(values[row["values"]]) if "values" in row else (),
        key=row["key"],
        say=row["say"],
        cores=tuple(row["cores"]),
        is_irreversible=row.get("is_irreversible", False),
        is_easy=row.get("is_easy", False),
    )
