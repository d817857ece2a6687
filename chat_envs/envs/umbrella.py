"""`Umbrella`: the forecast says what to pack, and only the first reply packs it.

Then come turns of talk, each with a small random reward, until the last one tells whether the right
thing was packed. The umbrella tasks of bsuite (Osband et al. 2020, arXiv:1908.03568) in language:
what counts is to find the one reply among many that earned the reward.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import numpy as np

from chat_envs.context import as_count
from chat_envs.core import ChatEnv, Turn
from chat_envs.data_file import load_json
from chat_envs.envs._diagnostic import as_index, share_solved, told_turns
from chat_envs.message import Message, Role, system, user
from chat_envs.simulators.choice import ChoiceReader
from chat_envs.simulators.combination import draw_combination
from chat_envs.simulators.stream import Stream, split_streams
from chat_envs.vector import vector_entry_point

__all__ = ["SWEEP", "Umbrella", "make_vector", "score"]

_data = functools.partial(load_json, "umbrella.json")

SWEEP: tuple[dict[str, Any], ...] = (
    *({"max_turns": turns, "distractors": 0} for turns in (1, 2, 4, 8, 16, 32)),
    *({"max_turns": 4, "distractors": count} for count in (1, 2, 4, 8, 16)),
)
"""Keywords of `Umbrella`: longer dialogues, then more remarks around the forecast."""

_WORD = re.compile(r"\w+")
# Ids that a message may have on any tokenizer, to size the context so that no reply truncates.
_OPENING_IDS, _REMARK_IDS = 128, 32


@dataclass(frozen=True, kw_only=True)
class _Tier:
    max_turns: int
    distractors: int
    reward_noise: float


_TIERS: Mapping[str, _Tier] = {
    "easy": _Tier(max_turns=2, distractors=0, reward_noise=0.0),
    "default": _Tier(max_turns=6, distractors=1, reward_noise=0.25),
    "hard": _Tier(max_turns=12, distractors=4, reward_noise=0.25),
}


class Umbrella(ChatEnv):
    """Pack the thing that the forecast needs, in the first reply; the reward comes at the end.

    Tiers: "easy" ends in turn 2, "default" in turn 6, "hard" in turn 12, with none, one and four
    remarks around the forecast. There are eight kinds of weather and eight things, one for each:
    an umbrella for rain, a hat for sun. The last turn pays 1 if the right thing was packed and -1
    else, whatever was said since; that is success, too. Every other turn pays a random plus or
    minus `reward_noise`, the component "noise", which no reply changes. Held out are combinations
    of the weather and the words around it, all of which are seen in training.

    After the umbrella length and umbrella distract tasks of bsuite (Osband et al. 2020,
    arXiv:1908.03568), whose noise is 1.

    Args:
        tier: "easy", "default" or "hard".
        max_turns: the turn that pays; None for the tier's.
        distractors: remarks around the forecast, at least 0; None for the tier's.
        reward_noise: size of the random rewards, at least 0; None for the tier's.
        **kwargs: those of `ChatEnv`.

    Raises:
        ValueError: if the tier is unknown or a number is out of range.
    """

    component_names = ("task", "noise")

    def __init__(
        self,
        tier: str = "default",
        *,
        max_turns: int | None = None,
        distractors: int | None = None,
        reward_noise: float | None = None,
        **kwargs: Any,
    ) -> None:
        if tier not in _TIERS:
            raise ValueError(f"tier must be one of {sorted(_TIERS)}, got {tier!r}.")
        settings = _TIERS[tier]
        self.distractors = as_index(
            "distractors", settings.distractors if distractors is None else distractors
        )
        noise = settings.reward_noise if reward_noise is None else reward_noise
        if not (math.isfinite(noise) and noise >= 0.0):
            raise ValueError(
                f"reward_noise must be finite and at least 0, got {noise}."
            )
        self.reward_noise = noise
        self._data = _data()
        self._needs: Mapping[str, str] = self._data["needs"]
        self._reader = _reader()
        limit = settings.max_turns if max_turns is None else max_turns
        num_replies = as_count("max_turns", limit)
        room = as_count("reply_length", kwargs.get("reply_length", 24)) + _REMARK_IDS
        needed = _OPENING_IDS + self.distractors * _REMARK_IDS + num_replies * room
        kwargs.setdefault("context_length", max(384, needed))
        super().__init__(max_turns=limit, **kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal, behaviour, phrasing, self._noise = split_streams(rng, 4)
        beginnings, forecasts = self._data["beginnings"], self._data["forecasts"]
        sizes = (len(self._needs), len(beginnings), len(forecasts))
        draws = (goal.random(), phrasing.random(), phrasing.random())
        index, beginning, forecast = draw_combination(draws, sizes, self.split)
        weather = list(self._needs)[index]
        self._needed = self._needs[weather]
        self._is_packed = False
        self._talk = behaviour
        said = [self._remark(behaviour) for _ in range(self.distractors)]
        place = int(behaviour.random() * (len(said) + 1))
        said.insert(place, forecasts[forecast].format(weather=weather))
        return [
            system(_rules(self.max_turns)),
            user(" ".join([beginnings[beginning], *said]).strip()),
        ]

    def _respond(self, reply: str) -> Turn:
        said = []
        if self.turn == 1:
            thing = self._reader.read(reply)
            self._is_packed = thing == self._needed
            if thing is None:
                said.append(self._data["unread"])
        if not self.is_last_turn:
            said.append(self._remark(self._talk))
            sign = 1.0 if self._noise.random() < 0.5 else -1.0
            noise = sign * self.reward_noise if self.reward_noise else 0.0
            return Turn(
                messages=[user(" ".join(said))], reward={"task": 0.0, "noise": noise}
            )
        why = "right" if self._is_packed else "wrong"
        said.append(self._data[why].format(thing=self._needed))
        return Turn(
            messages=[user(" ".join(said))],
            reward={"task": 1.0 if self._is_packed else -1.0, "noise": 0.0},
            ended=True,
            success=self._is_packed,
            why=why,
        )

    def expert_reply(self) -> str:
        """Return what the forecast needs, and "ok" after the first turn."""
        if self.turn:
            return "ok"
        said = next(m for m in self.conversation if m.role is Role.USER)
        return next(
            self._needs[w] for w in _WORD.findall(said.content) if w in self._needs
        )

    def blind_reply(self) -> str:
        """Return one thing in the first turn: without the forecast all are equally likely."""
        return "ok" if self.turn else self.candidate_replies()[0]

    def candidate_replies(self) -> list[str]:
        """Return the things."""
        return list(self._needs.values())

    def _remark(self, rng: Stream) -> str:
        remarks: list[str] = self._data["remarks"]
        return remarks[int(rng.random() * len(remarks))]


def score(shares: Sequence[float]) -> float:
    """Return the share of `SWEEP` that is solved, in [0, 1].

    Args:
        shares: for each entry of `SWEEP`, the share of successes of a trained agent; one of at
            least 0.75 is solved.

    >>> score([1.0] * 11), score([0.125] * 11)
    (1.0, 0.0)
    """
    return share_solved(shares, len(SWEEP))


@functools.cache
def _rules(max_turns: int) -> str:
    data = _data()
    things = ", ".join(data["needs"].values())
    return str(data["rules"].format(things=things, turns=told_turns(max_turns)))


@functools.cache
def _reader() -> ChoiceReader:
    data = _data()
    return ChoiceReader(data["needs"].values(), data["frames"])


make_vector = vector_entry_point(Umbrella)
