"""Sources of training data, and blends of them by weight.

A source is a file of JSON lines, a directory that `datasets` saved, or what a script says in an
environment. Each has a part that is trained on and a held-out part that never is. A `Blend` deals
from several sources in fixed proportions, as DeepSpeed-Chat's data blending does; what it deals is
a function of the seed and the position alone, so whoever resumes goes on with the same dialogues.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import numpy.typing as npt

from agents.dialogue_record import (
    as_dialogue,
    as_episode,
    cut_to,
    describe,
    encode_dialogue,
    pack_texts,
)
from agents.experience.dialogue import make_env, play_script, script_of
from agents.experience.rollout import Episode, Rollout
from agents.experience.script import check_script
from agents.experience.seeding import episode_seed, numpy_generator
from chat_envs.chat_template import load_template
from chat_envs.message import Message
from chat_envs.record_file import ON_BROKEN, read_records, report_broken
from chat_envs.registration import find
from chat_envs.spelling import nearest
from chat_envs.tokenizer import Tokenizer

__all__ = ["Blend", "DataSource", "ON_LONG", "SourceName", "load_blend", "read_source"]

ON_LONG = ("skip", "cut", "stop")
"""What a dialogue does that is longer than the model's context."""

_LOGGER = logging.getLogger(__name__)
_WEIGHT = re.compile(r":(\d+\.?\d*|\.\d+)$")
_ENV = "env:"
_HELD_OUT = 10  # the last of every ten records is held out
_NUM_EPISODES = 1000
# Fractional parts of multiples of the golden ratio fill [0, 1) more evenly than random numbers.
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class SourceName:
    """A source as it is written: `PLACE[?key=value&...][:WEIGHT]`.

    Attributes:
        place: a path, or "env:ID".
        options: of a path `valid`, a file whose records are held out instead of every tenth; of an
            environment `script`, `episodes`, `seed`, and its own keywords.
        weight: its share of the blend, before all are scaled to 1.

    >>> SourceName.parse("env:Echo-easy-v0?script=expert&episodes=50:0.3")
    SourceName(place='env:Echo-easy-v0', options={'script': 'expert', 'episodes': 50}, weight=0.3)
    """

    place: str
    options: Mapping[str, Any]
    weight: float

    @classmethod
    def parse(cls, text: str) -> SourceName:
        """Return what `text` names.

        Raises:
            ValueError: it names nothing, or weighs nothing.
        """
        match = _WEIGHT.search(text)
        weight = 1.0 if match is None else float(match[1])
        place, _, query = (text if match is None else text[: match.start()]).partition(
            "?"
        )
        if not place or place == _ENV or not weight > 0:
            raise ValueError(
                f"{text!r} is no source of data: expected FILE[:WEIGHT] or "
                "env:ID?script=NAME[:WEIGHT], with a weight above 0."
            )
        pairs = parse_qsl(query, keep_blank_values=True)
        return cls(place, {key: _value(value) for key, value in pairs}, weight)


@dataclass(frozen=True)
class DataSource:
    """What was read from one place.

    Attributes:
        name: the place.
        weight: see `SourceName`.
        train: rows that are learnt from; at least one.
        valid: rows that are held out; empty where there were fewer than ten.
        num_broken: records that were skipped because they are none.
        num_long: dialogues longer than the limit, skipped or cut.
    """

    name: str
    weight: float
    train: tuple[Episode, ...]
    valid: tuple[Episode, ...]
    num_broken: int
    num_long: int

    def as_dict(self) -> dict[str, Any]:
        """Return what there is, as plain JSON."""
        return {
            "source": self.name,
            "weight": self.weight,
            "train": dict(describe(self.train)),
            "valid": dict(describe(self.valid)),
            "broken": self.num_broken,
            "too_long": self.num_long,
        }


@dataclass
class _Reader:
    """Turns records into rows, and counts those that do not become one."""

    tokenizer: Tokenizer
    max_length: int
    on_broken: str
    on_long: str
    num_broken: int = 0
    num_long: int = 0

    def records(
        self, path: str, split: str = "train"
    ) -> tuple[list[tuple[str, Any]], bool]:
        """Return the good records of a file, and whether it was divided already."""
        rows, is_divided = read_records(path, split, [])
        good = []
        for source, row in rows:
            try:
                good.append((source, as_dialogue(row)))
            except (ValueError, RecursionError) as error:
                report_broken(source, str(error), self.on_broken)
                self.num_broken += 1
        return good, is_divided

    def rows(self, records: Sequence[tuple[str, Any]]) -> tuple[Episode, ...]:
        """Return dialogues as rows, and after them all plain texts, packed."""
        template = load_template(self.tokenizer)
        found: list[Episode] = []
        texts = [value for _, value in records if isinstance(value, str)]
        for source, value in records:
            if isinstance(value, str):
                continue
            try:
                ids, turns = encode_dialogue(value, self.tokenizer, template)
            except ValueError as error:  # a template that knows no such order of roles
                report_broken(source, str(error), self.on_broken)
                self.num_broken += 1
                continue
            self.add(found, source, ids, turns, value)
        packed = pack_texts(texts, self.tokenizer, template, self.max_length)
        for ids, turns in packed:
            found.append(as_episode(len(found), ids, turns))
        return tuple(found)

    def add(
        self,
        found: list[Episode],
        source: str,
        ids: Sequence[int],
        turns: Sequence[int],
        messages: Sequence[Message] = (),
    ) -> None:
        """Append a dialogue that fits, or do with it as was told."""
        if len(ids) > self.max_length:
            self.num_long += 1
            words = f"{source}: the dialogue has {len(ids)} tokens, of at most {self.max_length}"
            if self.on_long == "stop":
                raise ValueError(f"{words}; pass on_long='skip' or 'cut'.")
            kept = (
                cut_to(ids, turns, self.max_length) if self.on_long == "cut" else None
            )
            _LOGGER.warning(
                "%s. It is %s.", words, "skipped" if kept is None else "cut"
            )
            if kept is None:
                return
            ids, turns = kept
        found.append(as_episode(len(found), ids, turns, messages))


def read_source(
    name: str | SourceName,
    tokenizer: Tokenizer,
    max_length: int,
    *,
    on_broken: str = "stop",
    on_long: str = "skip",
) -> DataSource:
    """Return the rows of a source, divided into those to learn from and those held out.

    Held out are the records of its own file (`?valid=FILE`), the split "test" of a saved dataset,
    or else the last of every ten.

    Args:
        name: see `SourceName`.
        tokenizer: the model's.
        max_length: most tokens of a row.
        on_broken: of `chat_envs.record_file.ON_BROKEN`.
        on_long: of `ON_LONG`.

    Raises:
        FileNotFoundError: there is nothing at the place.
        ValueError: a broken record or a long dialogue (unless told to go on), nothing to learn
            from, or an option that is unknown; the message names it.
    """
    name = SourceName.parse(name) if isinstance(name, str) else name
    for words, value, known in (
        ("on_broken", on_broken, ON_BROKEN),
        ("on_long", on_long, ON_LONG),
    ):
        if value not in known:
            raise ValueError(f"{words} must be one of {known}, got {value!r}.")
    reader = _Reader(tokenizer, max_length, on_broken, on_long)
    if name.place.startswith(_ENV):
        train, valid = _divided(_scripted(name, reader))
    else:
        train, valid = _from_file(name, reader)
    if not train:
        raise ValueError(
            f"{name.place} leaves nothing to learn from: {reader.num_broken} records are broken, "
            f"{reader.num_long} longer than {max_length} tokens."
        )
    return DataSource(
        name.place, name.weight, train, valid, reader.num_broken, reader.num_long
    )


class Blend:
    """Several sources, dealt in proportion to their weights.

    Each source is dealt in an order of its own, anew each time it has been through. Every prefix
    of what is dealt has the proportions, to within a row or two.

    Args:
        sources: at least one.
        seed: source of the orders.
    """

    def __init__(self, sources: Sequence[DataSource], seed: int = 0) -> None:
        if not sources:
            raise ValueError("A blend needs at least one source of data.")
        self.sources = tuple(sources)
        self.seed = seed
        weights = np.array([source.weight for source in sources])
        self._bounds = np.cumsum(weights / weights.sum())

    def deal(self, first: int, num_rows: int) -> Rollout:
        """Return the rows at positions `first`, `first + 1`, ... of an endless deal.

        Args:
            first: position of the first one, at least 0.
            num_rows: how many; at least 1.
        """
        chosen = self._chosen(first + num_rows)
        dealt = np.bincount(chosen[:first], minlength=len(self.sources))
        rows = []
        for number in chosen[first:]:
            source = self.sources[number].train
            lap, place = divmod(int(dealt[number]), len(source))
            order = _order(self.seed, int(number), lap, len(source))
            rows.append(source[order[place]])
            dealt[number] += 1
        return Rollout(rows)

    def valid(self) -> dict[str, Rollout]:
        """Return the rows that are held out, by the name of their source; only where any are."""
        rows: dict[str, list[Episode]] = {}
        for source in self.sources:
            if source.valid:
                rows.setdefault(source.name, []).extend(source.valid)
        return {name: Rollout(some) for name, some in rows.items()}

    def _chosen(self, num_positions: int) -> npt.NDArray[np.int64]:
        """Return which source each of the first positions is dealt from."""
        points = (np.arange(1, num_positions + 1) * _GOLDEN) % 1.0
        found = np.searchsorted(self._bounds, points, side="right")
        return np.minimum(found, len(self.sources) - 1)


@functools.lru_cache(maxsize=8)
def _order(seed: int, number: int, lap: int, num_rows: int) -> npt.NDArray[np.int64]:
    """Return the order in which a source is dealt when it has been through `lap` times."""
    return numpy_generator(seed, "blend", number, lap).permutation(num_rows)


def load_blend(
    names: Sequence[str],
    tokenizer: Tokenizer,
    max_length: int,
    *,
    seed: int = 0,
    on_broken: str = "stop",
    on_long: str = "skip",
) -> Blend:
    """Return a blend of the sources called `names`; see `read_source` and `Blend`."""
    sources = [
        read_source(name, tokenizer, max_length, on_broken=on_broken, on_long=on_long)
        for name in names
    ]
    return Blend(sources, seed)


def _from_file(
    name: SourceName, reader: _Reader
) -> tuple[tuple[Episode, ...], tuple[Episode, ...]]:
    """Return the rows of a file or a saved dataset, and those of them that are held out."""
    unknown = [key for key in name.options if key != "valid"]
    if unknown:
        raise ValueError(
            f"{name.place} has no option {unknown[0]!r}.{nearest(unknown[0], ['valid'])}"
        )
    records, is_divided = reader.records(name.place)
    if "valid" in name.options:
        held_out, _ = reader.records(str(name.options["valid"]))
    elif is_divided:
        held_out, _ = reader.records(name.place, "test")
    else:
        records, held_out = _divided(records)
    return reader.rows(records), reader.rows(held_out)


def _scripted(name: SourceName, reader: _Reader) -> tuple[Episode, ...]:
    """Return what a script says in an environment."""
    env = find(name.place.removeprefix(_ENV)).id
    options = dict(name.options)
    script = str(options.pop("script", "expert"))
    num_episodes = options.pop("episodes", _NUM_EPISODES)
    seed = options.pop("seed", 0)
    if type(num_episodes) is not int or num_episodes < 1 or type(seed) is not int:
        raise ValueError(
            f"{name.place}: episodes must be a number of at least 1 and seed one of at least 0, "
            f"got {num_episodes!r} and {seed!r}."
        )
    check_script(script, env)
    made = make_env(
        env, min(32, num_episodes), **({"tokenizer": reader.tokenizer} | options)
    )
    seeds = [episode_seed(seed, 0, number) for number in range(num_episodes)]
    replier = script_of(script, numpy_generator(seed, "script", 0))
    found: list[Episode] = []
    for number, episode in enumerate(play_script(made, seeds, replier)):
        source = f"{name.place} dialogue {number}"
        reader.add(found, source, episode.ids.tolist(), episode.turn_index.tolist())
    made.close()
    return tuple(found)


def _divided(rows: Sequence[Any]) -> tuple[Any, Any]:
    """Return rows without the last of every ten, and those."""
    held_out = tuple(rows[_HELD_OUT - 1 :: _HELD_OUT])
    train = [row for n, row in enumerate(rows, 1) if n % _HELD_OUT]
    return tuple(train), held_out


def _value(text: str) -> Any:
    """Return an option as JSON where it is some, else as the text that it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text
