"""`VoiceAssistant`: run a house for a user whose words pass a speech recogniser.

The agent reads what was heard and how surely, and acts by a line such as
`ACTION light on kitchen`, with a spoken confirmation in the same reply. The user does not look
whether it was done right: a wrong act is noticed only at times, from the confirmation, and what
cannot be taken back stays. So whoever is unsure asks first, which costs one turn, and whoever is
sure does not.

Reward = [the house is as wanted at the end] - 0.05 a turn - 0.3 a wrong irreversible act
- 0.2 max(0, t - 6) / 6 for a reply of t seconds (2.5 words each) - 0.1 for one that no voice
can say.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Mapping

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.data_file import load_json
from chat_envs.envs._voice_assistant_butler import Butler
from chat_envs.envs._voice_assistant_goal import TIERS, Goals, Script, Tier, hearable
from chat_envs.envs._voice_assistant_reader import (
    Command,
    Reader,
    Reading,
    num_seconds,
)
from chat_envs.message import Message, system, user
from chat_envs.simulators.speech_channel import SpeechChannel
from chat_envs.simulators.stream import split_streams
from chat_envs.vector import vector_entry_point

__all__ = ["VoiceAssistant", "make_vector"]

_data = functools.partial(load_json, "voice_assistant.json")

ASIDE_RATE = 0.10
NOTICE_RATE = 0.3  # of reversible wrong acts, if the confirmation names what was done
_TURN_COST = 0.05
_WRONG_ACT_COST = 0.3
_LENGTH_COST = 0.2
_PATIENCE_S = 6.0
_UNSPEAKABLE_COST = 0.1
_ASIDE, _REBUKE = "aside", "rebuke"


@functools.cache
def _reader() -> Reader:
    return Reader(_data())


@functools.cache
def _goals(tier: str, split: str) -> Goals:
    return Goals(_reader().intents, TIERS[tier], split)


@functools.cache
def _script(tier: str, split: str) -> Script:
    return Script(_data(), _reader(), TIERS[tier], split)


@functools.cache
def _channel(tier: str, word_error_rate: float) -> SpeechChannel:
    data, settings = _data(), TIERS[tier]
    similar: Mapping[str, Any] = data["similar"]
    if settings.is_easy:
        words = {c.value for c in _goals(tier, "test").rest}
        for split in ("train", "test"):
            words |= _script(tier, split).words()
        similar = hearable(similar, words)
    return SpeechChannel(similar, data["fillers"][settings.language], word_error_rate)


class VoiceAssistant(ChatEnv):
    """Do in the house what the user said, asking where it was not heard well.

    The user asks for one thing after the other; each line passes a channel that mishears words
    and shows its confidence. One line in ten is for somebody else, and the right reply to it is
    `<silence>`: anything else is answered "not you" and costs a turn, as silence costs one where
    an answer was due. A reply that asks whether one command was meant is answered yes or no; other
    questions make the user say it again. An act without a spoken confirmation leaves the user
    asking whether it is done.

    Tiers: "easy" has seven intents, four values each, one request and 5 turns, and shows the
    confidence as a digit; "default" has all 15 intents over six devices, two requests and 12
    turns, and percentages; "hard" has three requests and 18 turns at a word error rate of .25
    instead of .15, and half of what is said to others are commands.

    Held-out goals are combinations of an intent and a value, held-out phrasings combinations of
    greeting, core and ending; every part of either occurs in training.

    The channel and its rates follow the word error rate of speech recognition; asking by a
    threshold on its confidence is the rule of Horvitz (1999, "Principles of mixed-initiative user
    interfaces", CHI): act above it, ask below it.

    Args:
        tier: "easy", "default" or "hard".
        word_error_rate: None for the tier's.
        **kwargs: those of `ChatEnv`; `max_turns` and `context_length` default to the tier's.

    Raises:
        ValueError: if the tier is unknown, or the rate is no probability.
    """

    component_names = ("state", "turn_cost", "wrong_act", "length", "unspeakable")
    metric_names = ("turns", "wrong_acts", "questions", "intrusions")

    def __init__(
        self,
        tier: str = "default",
        *,
        word_error_rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        if tier not in TIERS:
            raise ValueError(f"tier must be one of {sorted(TIERS)}, got {tier!r}.")
        self._tier: Tier = TIERS[tier]
        split = kwargs.get("split", "train")
        if split in ("train", "test"):  # else ChatEnv says what is wrong with it
            self._goals, self._script = _goals(tier, split), _script(tier, split)
        self._reader = _reader()
        rate = (
            self._tier.word_error_rate if word_error_rate is None else word_error_rate
        )
        self._channel = _channel(tier, rate)
        self._butler = Butler(self._reader, _data()["meanings"], self._tier.scale)
        kwargs.setdefault("max_turns", self._tier.max_turns)
        kwargs.setdefault("context_length", self._tier.context_length)
        super().__init__(**kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        streams = split_streams(rng, 4)
        goal_rng, self._behaviour_rng, self._phrasing_rng, self._channel_rng = streams
        self._requests = self._goals.draw(self._reader.key, goal_rng)
        self._goal = {self._reader.key(c): c for c in self._requests}
        self._state: dict[str, Command] = {}
        self._state_before: dict[str, Command] = {}
        self._num_served = 0
        self._acted: Command | None = None  # and the user has not been told
        self._num_wrong = self._num_questions = self._num_intrusions = 0
        rules = _data()["openings"][self._tier.language].format(turns=self.max_turns)
        return [system(rules), self._speak(self._request())]

    # The user ----------------------------------------------------------------------------------

    def _request(self) -> str:
        """Return the current request in words, new ones each time."""
        return self._script.request(
            self._requests[self._num_served], self._phrasing_rng
        )

    def _line(self, kind: str) -> str:
        return self._script.line(kind, self._phrasing_rng)

    def _speak(self, text: str) -> Message:
        """Let the user say `text`, or, one time in ten, something to somebody else first."""
        self._waiting, self._aside = text, ""
        if self._behaviour_rng.random() < ASIDE_RATE:
            self._aside = _ASIDE
            text = self._script.aside(self._phrasing_rng)
        return self._utter(text)

    def _utter(self, text: str) -> Message:
        """Return what is heard of `text`."""
        hearing = self._channel.hear(text.split(), self._channel_rng)
        scale = self._tier.scale
        shown = min(scale - 1, int(scale * hearing.confidence))
        mark = "%" if scale == 100 else ""
        return user(" ".join((f"{shown}{mark}", *hearing.words)))

    def _respond(self, reply: str) -> Turn:
        reading = self._reader.read(reply)
        messages: list[Message] = []
        num_wrong = 0
        if reading.kind == "malformed":  # the user waits and hears nothing
            messages.append(system(f"no such command : {reading.error}"))
        else:
            if reading.kind == "act":
                num_wrong = self._do(reading.command)
                messages.append(system(_data()["done"]))
            answer = self._answer(reading)
            if answer is not None:
                messages.append(answer)
        self._num_wrong += num_wrong
        ended = self._num_served == len(self._requests)
        if ended and not messages:
            messages.append(user(_data()["thanks"]))
        is_right = (ended or self.is_last_turn) and self._state == self._goal
        return Turn(
            messages=messages,
            reward=self._reward(reading, is_right, num_wrong),
            ended=ended,
            success=is_right,
            why="served" if ended else "",
            metrics={
                "turns": float(self.turn),
                "wrong_acts": float(self._num_wrong),
                "questions": float(self._num_questions),
                "intrusions": float(self._num_intrusions),
            },
        )

    def _do(self, command: Command | None) -> int:
        """Change the house; return 1 for a wrong act that cannot be taken back, else 0."""
        assert command is not None
        key = self._reader.key(command)
        if self._acted is None:
            self._state_before = dict(self._state)
        is_wanted = command == self._requests[self._num_served]
        is_wrong = not is_wanted or self._state.get(key) == command
        self._state[key] = command
        return int(is_wrong and self._reader.intent(command).is_irreversible)

    def _answer(self, reading: Reading) -> Message | None:
        """Return what the user says to a reply, None if there is nothing left to say."""
        if self._aside == _ASIDE:
            return self._answer_intrusion(reading)
        if self._aside == _REBUKE:
            return self._speak(self._waiting)
        if reading.kind == "act":
            self._acted = reading.command
        if self._acted is not None:
            if reading.has_told and reading.told in (None, self._acted):
                return self._serve(self._acted, is_named=reading.told is not None)
            return self._speak(self._line("is_done"))
        if reading.kind == "silence":
            return self._speak(self._line("hello"))
        if reading.kind == "ask":
            self._num_questions += 1
            if reading.command == self._requests[self._num_served]:
                return self._speak(self._line("yes"))
            return self._speak(f"{self._line('no')} {self._request()}")
        if reading.kind == "repeat":
            self._num_questions += 1
            return self._speak(self._request())
        return user(_data()["unread"])

    def _answer_intrusion(self, reading: Reading) -> Message:
        """Go on after silence; rebuke whoever takes for his what was said to another."""
        if reading.kind == "silence":
            return self._speak(self._waiting)
        self._num_intrusions += 1
        # What was to be said may answer a question that is no longer the last one.
        is_told = self._acted is None
        self._waiting = self._request() if is_told else self._line("is_done")
        self._aside = _REBUKE
        return self._utter(self._line("not_you"))

    def _serve(self, acted: Command, *, is_named: bool) -> Message | None:
        """Take a confirmed act for the wanted one, or notice that it is not."""
        self._acted = None
        is_reversible = not self._reader.intent(acted).is_irreversible
        is_wrong = acted != self._requests[self._num_served]
        if is_wrong and is_named and is_reversible:
            if self._behaviour_rng.random() < NOTICE_RATE:
                self._take_back()
                return self._speak(f"{self._line('no')} {self._request()}")
        self._num_served += 1
        if self._num_served == len(self._requests):
            return None
        return self._speak(self._request())

    def _take_back(self) -> None:
        """Put the house back to where it was before the last act, as far as that can be."""
        kept = {
            key: command
            for key, command in self._state.items()
            if self._reader.intent(command).is_irreversible
        }
        self._state = self._state_before | kept

    def _reward(
        self, reading: Reading, is_right: bool, num_wrong: int
    ) -> dict[str, float]:
        overtime = max(0.0, num_seconds(reading.num_words) - _PATIENCE_S)
        return {
            "state": float(is_right),
            "turn_cost": -_TURN_COST,
            "wrong_act": 0.0 - _WRONG_ACT_COST * num_wrong,
            "length": 0.0 - _LENGTH_COST * overtime / _PATIENCE_S,
            "unspeakable": 0.0 - _UNSPEAKABLE_COST * reading.is_unspeakable,
        }

    # Scripted policies -------------------------------------------------------------------------

    def expert_reply(self) -> str:
        """Act on what was heard surely, ask about the rest: a threshold on the confidence."""
        return self.threshold_reply(self._tier.ask_below)

    def threshold_reply(self, ask_below: float) -> str:
        """Return the expert's reply with another threshold, in the tier's scale."""
        return self._butler.reply(self.conversation, ask_below)

    def always_ask_reply(self) -> str:
        """Return what a butler says who confirms every command before doing it."""
        return self.threshold_reply(math.inf)

    def never_ask_reply(self) -> str:
        """Return what a butler says who does at once what it heard, or guesses it."""
        return self._butler.reply_unasked(self.conversation)

    def blind_reply(self) -> str:
        """Do something that can be taken back, and confirm it: to be done soon costs least.

        Which commands are of which split it does not know.
        """
        reversible = [
            c for c in self._goals.rest if not self._reader.intent(c).is_irreversible
        ]
        return self._butler.act(reversible[self.turn % len(reversible)])

    def candidate_replies(self) -> list[str]:
        """Return the lines that do each command of the tier."""
        return [self._butler.act(command) for command in self._goals.rest]


make_vector = vector_entry_point(VoiceAssistant)
