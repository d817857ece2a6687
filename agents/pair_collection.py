"""Preference pairs without people: two policies answer the same context, the gold reward decides.

A dialogue goes on by the reply of one of its two policies, drawn evenly, so contexts are of both.
In each the two replies are tried from the same saved state: the rest of the episode is played
by the environment's expert, so that the same draws follow both, and whichever has more gold reward
is the better one. Pairs of equal replies, of equal gold, and pairs found already are left out.

Seeds: `split="test"` draws goals and phrasings that no pair of `split="train"` knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agents.experience.dialogue import Progress, make_env
from agents.experience.script import check_script
from agents.experience.seeding import episode_seed, numpy_generator
from agents.experience.speaker import (
    PERTURBED,
    Action,
    ModelPolicy,
    Speaker,
    make_speakers,
)
from chat_envs.core import ChatEnv
from chat_envs.preference_pair import PreferencePair
from chat_envs.vector import ChatVectorEnv

__all__ = [
    "CollectedPairs",
    "LABELS",
    "LabelledPair",
    "collect_pairs",
]

LABELS = ("return", "turn")
_LEAST_YIELD = 0.002  # pairs a context, below which the search is given up
_TIE = 1e-9


@dataclass(frozen=True)
class LabelledPair:
    """A pair and how it came about.

    Attributes:
        pair: the pair; a flipped one keeps its margin.
        gold: gold reward of the reply that is called better and of the other one.
        policies: who said them.
        seed: of the episode.
        turn: how many replies precede it.
        is_flipped: whether the worse reply is called better.
    """

    pair: PreferencePair
    gold: tuple[float, float]
    policies: tuple[str, str]
    seed: int
    turn: int
    is_flipped: bool

    def note(self) -> dict[str, Any]:
        """Return what a file says of the pair besides the pair, for `write_pairs`."""
        return {
            "gold": list(self.gold),
            "policies": list(self.policies),
            "seed": self.seed,
            "turn": self.turn,
            "is_flipped": self.is_flipped,
        }


@dataclass(frozen=True)
class CollectedPairs:
    """What `collect_pairs` found.

    Attributes:
        pairs: in the order in which they were found.
        num_contexts: contexts in which two replies were asked for.
        num_equal: of them, those with the same reply twice.
        num_ties: those with the same gold reward twice.
        num_repeated: those whose pair was found before.
        gold: policy -> mean gold reward of its replies, ties included.
    """

    pairs: tuple[LabelledPair, ...]
    num_contexts: int
    num_equal: int
    num_ties: int
    num_repeated: int
    gold: Mapping[str, float]

    @property
    def num_flipped(self) -> int:
        """How many labels were turned round."""
        return sum(pair.is_flipped for pair in self.pairs)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON: counts, shares and means."""
        tried = max(self.num_contexts - self.num_equal - self.num_repeated, 1)
        margins = [pair.pair.margin for pair in self.pairs]
        return {
            "num_pairs": len(self.pairs),
            "num_contexts": self.num_contexts,
            "num_equal": self.num_equal,
            "num_repeated": self.num_repeated,
            "num_ties": self.num_ties,
            "share_of_ties": self.num_ties / tried,
            "num_flipped": self.num_flipped,
            "mean_margin": float(np.mean(margins)),
            "mean_gold": dict(self.gold),
        }


def collect_pairs(
    env: str,
    policies: Sequence[str | ModelPolicy],
    *,
    num_pairs: int,
    seed: int = 0,
    split: str = "train",
    label: str = "return",
    flip_rate: float = 0.0,
    num_envs: int = 16,
    env_kwargs: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> CollectedPairs:
    """Return pairs labelled by the gold reward of an environment.

    Args:
        env: id of a chat environment.
        policies: two or more; two different ones answer in each dialogue. A name is one for
            `script_of`, "misplaced" (what the expert said in another context), or "edited" (what it
            would say here, with a word of another of its replies in it); several with "+" between
            them take turns by dialogue.
        num_pairs: how many.
        seed: of everything that is drawn.
        split: "train" or "test": goals and phrasings of the dialogues.
        label: "return" compares the gold reward of the turn and of what follows, played by the
            expert; "turn" that of the turn alone.
        flip_rate: how likely the label of a pair is turned round, in [0, 1].
        num_envs: dialogues at a time.
        env_kwargs: further keywords of the environment.
        progress: told how many pairs there are.

    Raises:
        ValueError: an argument out of range, an unknown policy or a model that does not fit; or
            the policies hardly ever differ in gold reward.
    """
    _check_arguments(env, policies, num_pairs, label, flip_rate)
    kwargs = dict(env_kwargs or {}) | {"split": split}
    table = make_env(env, num_envs, **kwargs)
    (trial,) = make_env(env, 1, **kwargs | {"tokenizer": table.tokenizer}).envs
    draws = numpy_generator(seed, "shuffle")
    search = _Search(trial, label, flip_rate, draws)
    with ExitStack() as stack:
        speakers = make_speakers(policies, table, seed, stack)
        seats = [_Seat() for _ in table.envs]
        num_episodes = 0
        while len(search.found) < num_pairs:
            for place, dialogue in enumerate(table.envs):
                if dialogue.is_over:
                    number = episode_seed(seed, 0, num_episodes)
                    dialogue.reset(seed=number)
                    pair = draws.permutation(len(speakers))[:2].tolist()
                    seats[place] = _Seat(number, pair)
                    num_episodes += 1
            _take_turn(table, seats, speakers, search)
            if progress is not None:
                progress(min(len(search.found), num_pairs))
            search.check_yield(num_pairs)
    names = [_name_of(policy) for policy in policies]
    return search.result(names, num_pairs)


def _check_arguments(
    env: str,
    policies: Sequence[str | ModelPolicy],
    num_pairs: int,
    label: str,
    flip_rate: float,
) -> None:
    if len(policies) < 2:
        raise ValueError(f"Pairs need two policies, got {[*map(_name_of, policies)]}.")
    if num_pairs < 1 or not 0 <= flip_rate <= 1:
        raise ValueError(
            f"num_pairs must be at least 1 and flip_rate in [0, 1], got {num_pairs} and "
            f"{flip_rate}."
        )
    if label not in LABELS:
        raise ValueError(f"label must be one of {LABELS}, got {label!r}.")
    for policy in policies:
        if isinstance(policy, str):
            for part in policy.split("+"):
                if part not in PERTURBED:
                    check_script(part, env)


def _name_of(policy: str | ModelPolicy) -> str:
    return policy if isinstance(policy, str) else policy.name


@dataclass(frozen=True)
class _Seat:
    """A dialogue's episode seed and which two policies answer in it."""

    seed: int = 0
    speakers: Sequence[int] = ()


def _take_turn(
    table: ChatVectorEnv,
    seats: Sequence[_Seat],
    speakers: Sequence[Speaker],
    search: _Search,
) -> None:
    """Let both policies of every dialogue answer, note the pairs, and go on by one of them."""
    replies: dict[tuple[int, int], Action] = {}
    for number, speaker in enumerate(speakers):
        places = [i for i, seat in enumerate(seats) if number in seat.speakers]
        said = speaker(places) if places else []
        replies |= {(i, number): ids for i, ids in zip(places, said, strict=True)}
    for place, seat in enumerate(seats):
        dialogue = table.envs[place]
        said = [replies[place, number] for number in seat.speakers]
        search.note(dialogue, said, seat)
        dialogue.step(said[int(search.draws.integers(2))])


class _Search:
    """The pairs found so far, and what was passed over on the way."""

    def __init__(
        self, trial: ChatEnv, label: str, flip_rate: float, draws: np.random.Generator
    ) -> None:
        self.found: list[tuple[LabelledPair, tuple[int, int]]] = []
        self.draws = draws
        self._trial = trial
        self._label = label
        self._flip_rate = flip_rate
        self._seen: set[tuple[Any, ...]] = set()
        self._counts: Counter[str] = Counter()
        self._gold: dict[int, list[float]] = {}

    def note(self, dialogue: ChatEnv, said: Sequence[Action], seat: _Seat) -> None:
        """Try both replies to the present context of `dialogue`; keep the pair if it is one."""
        self._counts["contexts"] += 1
        prompt = dialogue.conversation.messages
        texts = [dialogue.decode(ids) for ids in said]
        if texts[0].strip() == texts[1].strip():
            self._counts["equal"] += 1
            return
        key = (prompt, *sorted(texts))
        if key in self._seen:
            self._counts["repeated"] += 1
            return
        self._seen.add(key)
        state = dialogue.state()
        gold = [self._gold_of(state, ids) for ids in said]
        for number, amount in zip(seat.speakers, gold, strict=True):
            self._gold.setdefault(number, []).append(amount)
        if abs(gold[0] - gold[1]) <= _TIE:
            self._counts["ties"] += 1
            return
        is_flipped = bool(self.draws.random() < self._flip_rate)
        first = int((gold[1] > gold[0]) != is_flipped)
        order = (first, 1 - first)
        margin = round(abs(gold[0] - gold[1]), 9)
        pair = PreferencePair(prompt, texts[order[0]], texts[order[1]], margin)
        labelled = LabelledPair(
            pair=pair,
            gold=(gold[order[0]], gold[order[1]]),
            policies=("", ""),
            seed=seat.seed,
            turn=dialogue.turn,
            is_flipped=is_flipped,
        )
        numbers = seat.speakers[order[0]], seat.speakers[order[1]]
        self.found.append((labelled, numbers))

    def _gold_of(self, state: Mapping[str, Any], action: Action) -> float:
        """Return the gold reward of a reply in a saved context, and of what follows it."""
        trial = self._trial
        trial.reset(options={"state": dict(state)})
        total, is_turn = 0.0, self._label == "turn"
        while not trial.is_over:
            *_, info = trial.step(action)
            total += float(info["gold_reward"])
            if is_turn:
                break
            if not trial.is_over:
                action = trial.encode(trial.expert_reply())
        return total

    def check_yield(self, num_pairs: int) -> None:
        """Give up where next to nothing is found, instead of searching for ever."""
        num_contexts = self._counts["contexts"]
        if num_contexts * _LEAST_YIELD > 10 + len(self.found):
            raise ValueError(
                f"Only {len(self.found)} of {num_pairs} pairs were found in {num_contexts} "
                f"contexts: {self._counts['equal']} had the same reply twice, "
                f"{self._counts['ties']} the same gold reward twice, {self._counts['repeated']} "
                "were found before. Take other policies (or label='return'), or fewer pairs."
            )

    def result(self, names: Sequence[str], num_pairs: int) -> CollectedPairs:
        """Return what was found, the policies named."""
        pairs = [
            replace(labelled, policies=(names[one], names[other]))
            for labelled, (one, other) in self.found[:num_pairs]
        ]
        return CollectedPairs(
            pairs=tuple(pairs),
            num_contexts=self._counts["contexts"],
            num_equal=self._counts["equal"],
            num_ties=self._counts["ties"],
            num_repeated=self._counts["repeated"],
            gold={names[n]: float(np.mean(v)) for n, v in sorted(self._gold.items())},
        )
