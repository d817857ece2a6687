"""Environments that break one clause of the contract each."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar, Sequence

import numpy as np
import numpy.typing as npt

from chat_envs.core import Turn
from chat_envs.message import Message, system, user
from tests.chat_envs.toy import WORDS, SayIt

__all__ = ["BROKEN"]

BROKEN: dict[type[SayIt], tuple[str, str]] = {}
"""Class -> the clause that must catch it, and a piece of its message."""


def breaks(clause: str, message: str) -> Any:
    """Return a decorator that files a class under the clause that it breaks."""

    def file(broken: type[SayIt]) -> type[SayIt]:
        BROKEN[broken] = (clause, message)
        return broken

    return file


# Interface ----------------------------------------------------------------------------------


@breaks("spaces", "leave it to ChatEnv.__init__")
class FloatActions(SayIt):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.action_space = type(self.action_space)([7] * self.reply_length)


@breaks("spaces", "positive render_fps")
class NoFrames(SayIt):
    metadata = {"render_modes": ["ansi"]}


@breaks("gymnasium", "different observations|not deterministic|seed|RNG|unequal")
class SeedIgnored(SayIt):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return super().reset(seed=None, options=options)


@breaks("info", "has the keys .*'answer'")
class Secret(SayIt):
    def describe(self) -> dict[str, Any]:
        return super().describe() | {"answer": self._wanted[0]}


@breaks("info", "is of type int at turn 1, expected bool")
class TypeChanges(SayIt):
    def describe(self) -> dict[str, Any]:
        info = super().describe()
        return info | {"success": int(info["success"])} if self.turn else info


@breaks("info", "before the end: outcomes are secrets")
class EarlySuccess(SayIt):
    def describe(self) -> dict[str, Any]:
        return super().describe() | {"success": self._num_said > 0}


@breaks("info", "declares .*'num_said'")
class MetricAppears(SayIt):
    def describe(self) -> dict[str, Any]:
        info = super().describe()
        return info | {
            "metrics": info["metrics"] | ({"late": 1.0} if self.turn else {})
        }


@breaks("info", "is 1 of type int, expected a float")
class IntegerComponent(SayIt):
    def describe(self) -> dict[str, Any]:
        info = super().describe()
        return info | {"reward_components": dict.fromkeys(info["reward_components"], 1)}


@breaks("info", "empty termination_reason")
class NoReason(SayIt):
    def _reason(self) -> str:
        return ""


@breaks("observations", "share memory with earlier ones")
class OneBuffer(SayIt):
    _buffer: dict[str, npt.NDArray[Any]] = {}

    def observe(self) -> dict[str, npt.NDArray[Any]]:
        observation = super().observe()
        if not self.turn:
            self._buffer = observation
        for name, row in observation.items():
            self._buffer[name][...] = row
        return dict(self._buffer)


@breaks("observations", "must hand out copies")
class SharedArrays(SayIt):
    def observe(self) -> dict[str, npt.NDArray[Any]]:
        return super().observe() | {"input_ids": self.context._row("input_ids")}


@breaks("observations", "changed after the caller wrote")
class SharedInfo(SayIt):
    _shared: dict[str, Any]

    def describe(self) -> dict[str, Any]:
        if not self.turn:
            self._shared = super().describe()
        if not self._shared:
            return {}
        self._shared.update(super().describe())
        return self._shared


@breaks("rendering", "expected the transcript")
class NoRender(SayIt):
    def render(self) -> str | None:  # type: ignore[override]
        return ""


# Tokens -------------------------------------------------------------------------------------


@breaks("append_only", "ids of earlier turns changed")
class RewritesHistory(SayIt):
    def _respond(self, reply: str) -> Turn:
        self.context._ids[1] = 40 + self.turn
        return super()._respond(reply)


@breaks("append_only", "action_mask of earlier turns changed")
class RewritesMask(SayIt):
    def _respond(self, reply: str) -> Turn:
        self.context._action_mask[: len(self.context) // 2] = self.turn % 2
        return super()._respond(reply)


@breaks("append_only", "Observation and env.context differ")
class TrimmedObservation(SayIt):
    def observe(self) -> dict[str, npt.NDArray[Any]]:
        observation = super().observe()
        observation["attention_mask"][len(self.context) - 1] = 0
        return observation


@breaks("tokens_kept", "never decoded and encoded again")
class EncodesAgain(SayIt):
    def _advance(self, ids: list[int]) -> Any:
        content, stop = self._read(ids)
        again = list(self.tokenizer.encode(self.tokenizer.decode(content)))
        return super()._advance(again + ([] if stop is None else [stop]))


@breaks("tokens_kept", "must mark exactly the agent's")
class MarksTheUser(SayIt):
    def _extend(self, messages: Sequence[Message]) -> bool:
        start = len(self.context)
        is_full = super()._extend(messages)
        self.context._action_mask[start : len(self.context)] = 1
        return is_full


@breaks("roles", "some text was read as control tokens")
class ForgedRoles(SayIt):
    def _respond(self, reply: str) -> Turn:
        turn = super()._respond(reply)
        # As if the template had taken the special tokens of an echoed reply at their word.
        self.context.append([1] * reply.count("<|"), is_action=False)
        return turn


# Episodes -----------------------------------------------------------------------------------


@breaks(
    "determinism", "differ at turn [0-2], 'input_ids'.*Draw only from the generator"
)
class ProcessRandomness(SayIt):
    _rng: ClassVar[np.random.Generator] = np.random.default_rng(0)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        return super()._opening(self._rng)


@breaks("determinism", "used before")
class KeepsState(SayIt):
    _num_episodes = 0

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        self._num_episodes += 1
        opening = super()._opening(rng)
        return [*opening, user("again" if self._num_episodes > 2 else "first")]


@breaks("interleaving", "beside a second environment")
class SharedState(SayIt):
    shared: ClassVar[list[str]] = []

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        opening = super()._opening(rng)
        self.shared[:] = self._wanted
        return opening

    def _ask(self) -> Message:
        return user(f"say {(self.shared if self.turn else self._wanted)[self.turn]}")


@breaks("interleaving", "after an abandoned one")
class ForgetsToReset(SayIt):
    _num_left = 0

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        opening = super()._opening(rng)
        return [*opening, *([user("still there?")] if self._num_left % 3 else [])]

    def _respond(self, reply: str) -> Turn:
        self._num_left += 1
        return super()._respond(reply)


@breaks("first_step", "Shorten the opening or raise context_length")
class LongAnswer(SayIt):
    def _ask(self) -> Message:
        return user("word " * (200 if self.turn == 1 else 1) + self._wanted[self.turn])


@breaks("turn_limit", "does not tell that the agent has 3 turns")
class UntoldLimit(SayIt):
    def _opening(self, rng: np.random.Generator) -> list[Message]:
        return [system("Say it."), *super()._opening(rng)[1:]]


@breaks("turn_limit", "not ended; the limit .* must end it")
class NoLimit(SayIt):
    def _settle(self, outcome: Any) -> tuple[float, bool, bool]:
        return super()._settle(outcome)[0], False, False


@breaks("hostile_input", "crashed turn 1 of seed 0: JSONDecodeError")
class Fragile(SayIt):
    def _respond(self, reply: str) -> Turn:
        if not reply.isalpha():
            json.loads(reply)
        return super()._respond(reply)


@breaks("hostile_input", "expected a finite float")
class InfiniteReward(SayIt):
    def _settle(self, outcome: Any) -> tuple[float, bool, bool]:
        reward, terminated, truncated = super()._settle(outcome)
        return (reward if self._reply_text else float("inf")), terminated, truncated


@breaks("hostile_input", "gave the reward 0, expected|gave the reward -?[0-9]+ at")
class IntegerReward(SayIt):
    def _settle(self, outcome: Any) -> tuple[Any, bool, bool]:  # type: ignore[override]
        reward, terminated, truncated = super()._settle(outcome)
        return round(reward), terminated, truncated


@breaks("vector", "differ at step 1: result\\[4\\]\\['reply_text'\\]")
class ScalarsDiffer(SayIt):
    def describe(self) -> dict[str, Any]:
        info = super().describe()
        return info | {"reply_text": info["reply_text"].upper()}


@breaks("state", "goes on otherwise .*cannot be restored.*nowhere else")
class BonusDrawnInReset(SayIt):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        begun = super().reset(seed=seed, options=options)
        self._bonus = float(self.np_random.random())
        return begun

    def _respond(self, reply: str) -> Turn:
        turn = super()._respond(reply)
        assert isinstance(turn.reward, dict)
        pace = getattr(self, "_bonus", 0.0) - 0.1
        return replace(turn, reward={"said": turn.reward["said"], "pace": pace})


@breaks("state", "goes on otherwise at turn 2, 'info.*nowhere else")
class SeedsItsOwnGenerator(SayIt):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self._own = np.random.default_rng(seed)
        return super().reset(seed=seed, options=options)

    def _respond(self, reply: str) -> Turn:
        turn = super()._respond(reply)
        return (
            replace(turn, reward={"pace": self._own.random()}) if turn.ended else turn
        )


# Returns ------------------------------------------------------------------------------------


@breaks("expert", "nothing is to be learnt")
class PoorExpert(SayIt):
    def expert_reply(self) -> str:
        return "purple"


@breaks("expert", "no room for a stop id")
class LongWindedExpert(SayIt):
    def expert_reply(self) -> str:
        return super().expert_reply() + " " * 50

    def _respond(self, reply: str) -> Turn:
        return super()._respond(reply.strip())


@breaks("expert", "are truncated; raise context_length")
class ShortContext(SayIt):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(num_turns=8, context_length=60, **kwargs)


@breaks("blind", "it sees the user")
class Peeks(SayIt):
    def blind_reply(self) -> str:
        return self._wanted[self.turn]

    def expert_reply(self) -> str:
        return self._wanted[self.turn]


@breaks("hostile_returns", "'list_answers': 1.0")
class PaysLists(SayIt):
    def _respond(self, reply: str) -> Turn:
        wanted = self._wanted[self.turn - 1]
        return super()._respond(wanted if wanted in reply.split() else "")

    def candidate_replies(self) -> list[str]:
        return list(WORDS)


@breaks("hostile_returns", "names \\['ehco'\\], which are no hostile repliers")
class MisspeltExemption(SayIt):
    exempt_hostiles = {"ehco": "echoing is the task"}
