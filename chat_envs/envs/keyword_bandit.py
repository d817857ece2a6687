"""`KeywordBandit`: the user says a cue, and one keyword is the right one for it.

Which keyword is right for which cue is a fixed mapping that nobody tells; only the reward does. It
is the bandit of bsuite (Osband et al. 2020, arXiv:1908.03568), with a context so that the user's
words matter: whoever does not read them is right once in eight times.
"""

from __future__ import annotations

import functools
import math
import re
import statistics
from typing import Any, Mapping, Sequence

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.data_file import load_json
from chat_envs.envs._diagnostic import as_index, check_shares, told_turns
from chat_envs.message import Message, Role, system, user
from chat_envs.simulators.choice import ChoiceReader
from chat_envs.simulators.combination import draw_combination
from chat_envs.simulators.permutation import draw_permutation
from chat_envs.simulators.stream import split_streams
from chat_envs.vector import vector_entry_point

__all__ = [
    "KeywordBandit",
    "NOISE_SWEEP",
    "SCALE_SWEEP",
    "SWEEP",
    "make_vector",
    "score",
    "sensitivity_score",
]

_data = functools.partial(load_json, "keyword_bandit.json")

_MAPPINGS_A_LEVEL = 4

SWEEP: tuple[dict[str, Any], ...] = tuple({"mapping": mapping} for mapping in range(20))
"""Keywords of `KeywordBandit`: twenty mappings, all equally hard."""

NOISE_SWEEP: tuple[dict[str, Any], ...] = tuple(
    {"reward_noise": sigma, "mapping": mapping}
    for sigma in (0.1, 0.3, 1.0, 3.0, 10.0)
    for mapping in range(_MAPPINGS_A_LEVEL)
)
"""Keywords of `KeywordBandit`: five levels of noise, four mappings a level."""

SCALE_SWEEP: tuple[dict[str, Any], ...] = tuple(
    {"reward_scale": scale, "mapping": mapping}
    for scale in (0.001, 0.03, 1.0, 30.0, 1000.0)
    for mapping in range(_MAPPINGS_A_LEVEL)
)
"""Keywords of `KeywordBandit`: five levels of scale, four mappings a level."""

_WORD = re.compile(r"\w+")
_NORMAL = statistics.NormalDist()
_LEAST = 2.0**-54  # below any draw but 0, whose normal value would be minus infinity


class KeywordBandit(ChatEnv):
    """Learn which keyword is right for which cue: one turn, eight cues, eight keywords.

    The opening lists the keywords, and the user says a cue. The reward is 1 for the right keyword
    and 0 else, plus noise, times a scale; success is the right keyword. Each keyword is right for
    one cue, and the mapping is never told, so the expert is one who has learnt it. Held out are
    combinations of a cue and the words around it, all of which are seen in training.

    After the bandit of bsuite (Osband et al. 2020, arXiv:1908.03568) and its variants with reward
    noise and reward scale.

    Args:
        mapping: which of the mappings, an integer of at least 0.
        reward_noise: standard deviation of the normal noise that is added to each reward; the
            component "noise" holds it.
        reward_scale: factor of the reward, its noise included.
        **kwargs: those of `ChatEnv`. With more than one turn, a reply that could not be read
            may be said again.

    Raises:
        TypeError: if the mapping is no integer.
        ValueError: if a number is out of range.
    """

    component_names = ("task", "noise")
    metric_names = ("regret",)

    def __init__(
        self,
        *,
        mapping: int = 0,
        reward_noise: float = 0.0,
        reward_scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        self.mapping = as_index("mapping", mapping)
        if not (math.isfinite(reward_noise) and reward_noise >= 0.0):
            raise ValueError(
                f"reward_noise must be finite and at least 0, got {reward_noise}."
            )
        if not (math.isfinite(reward_scale) and reward_scale > 0.0):
            raise ValueError(
                f"reward_scale must be finite and above 0, got {reward_scale}."
            )
        self.reward_noise = reward_noise
        self.reward_scale = reward_scale
        self._data = _data()
        self._reader = _reader()
        self._right = _mapping(self.mapping)
        kwargs.setdefault("max_turns", 1)
        super().__init__(**kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal, phrasing, self._noise = split_streams(rng, 3)
        cues, beginnings, cores = (
            self._data[key] for key in ("cues", "beginnings", "cores")
        )
        sizes = (len(cues), len(beginnings), len(cores))
        draws = (goal.random(), phrasing.random(), phrasing.random())
        cue, beginning, core = draw_combination(draws, sizes, self.split)
        self._cue: str = cues[cue]
        said = beginnings[beginning] + cores[core].format(cue=self._cue)
        return [system(_rules(self.max_turns)), user(said)]

    def _respond(self, reply: str) -> Turn:
        keyword = self._reader.read(reply)
        is_right = keyword == self._right[self._cue]
        why = "right" if is_right else "wrong" if keyword else "unread"
        noise = 0.0
        if self.reward_noise:
            draw = max(self._noise.random(), _LEAST)
            noise = self.reward_noise * _NORMAL.inv_cdf(draw)
        return Turn(
            messages=[user(self._data[why])],
            reward={
                "task": self.reward_scale * is_right,
                "noise": self.reward_scale * noise,
            },
            ended=keyword is not None or self.is_last_turn,
            success=is_right,
            why=why,
            metrics={"regret": 1.0 - is_right},
        )

    def expert_reply(self) -> str:
        """Return the right keyword, as one who has learnt the mapping."""
        said = next(m for m in self.conversation if m.role is Role.USER)
        return next(
            self._right[w] for w in _WORD.findall(said.content) if w in self._right
        )

    def blind_reply(self) -> str:
        """Return one keyword: without the cue all are equally likely."""
        return self.candidate_replies()[0]

    def candidate_replies(self) -> list[str]:
        """Return the keywords."""
        return list(self._data["keywords"])


def score(shares: Sequence[float]) -> float:
    """Return what was saved of the regret of guessing, in [0, 1]: 1 if no reply was ever wrong.

    The regret of an episode is 1 minus its success; a guess has 7/8. The score is
    1 - regret / (7/8), from the mean regret over `SWEEP`, and 0 if that is negative.

    Args:
        shares: for each entry of `SWEEP`, the share of successes among all episodes of a run,
            those at the start of its training too.

    >>> score([1.0] * 20), score([1 / 8] * 20), score([9 / 16] * 20), score([0.0] * 20)
    (1.0, 0.0, 0.5, 0.0)
    """
    check_shares(shares, len(SWEEP))
    return _saved_regret(shares)


def sensitivity_score(shares: Sequence[float]) -> float:
    """Return how well learning stands noise or scale, in [0, 1].

    Each level of the sweep has a score as in `score`. With their mean m and their standard
    deviation s (of a population), the result is m / 2 + max(m - s, 0) / 2: half for learning, and
    half for learning alike at all levels.

    Args:
        shares: for each entry of `NOISE_SWEEP`, or of `SCALE_SWEEP`, the share of successes
            among all episodes of a run. Reward does not matter, so noise and scale do not either.

    >>> sensitivity_score([1.0] * 20), sensitivity_score([1.0] * 10 + [0.0] * 10) < 0.5
    (1.0, True)
    """
    check_shares(shares, len(NOISE_SWEEP))
    levels = [
        _saved_regret(shares[start : start + _MAPPINGS_A_LEVEL])
        for start in range(0, len(shares), _MAPPINGS_A_LEVEL)
    ]
    mean = statistics.fmean(levels)
    return 0.5 * mean + 0.5 * max(mean - statistics.pstdev(levels), 0.0)


def _saved_regret(shares: Sequence[float]) -> float:
    guess_regret = 1.0 - 1.0 / len(_data()["keywords"])
    return max(0.0, 1.0 - (1.0 - statistics.fmean(shares)) / guess_regret)


@functools.cache
def _mapping(mapping: int) -> Mapping[str, str]:
    """Return the right keyword of each cue."""
    cues, keywords = _data()["cues"], _data()["keywords"]
    order = draw_permutation(np.random.default_rng(mapping), len(keywords))
    return {cue: keywords[i] for cue, i in zip(cues, order, strict=True)}


@functools.cache
def _rules(max_turns: int) -> str:
    data = _data()
    listed = ", ".join(data["keywords"])
    return str(data["rules"].format(keywords=listed, turns=told_turns(max_turns)))


@functools.cache
def _reader() -> ChoiceReader:
    data = _data()
    return ChoiceReader(data["keywords"], data["frames"], data["aliases"])


make_vector = vector_entry_point(KeywordBandit)
