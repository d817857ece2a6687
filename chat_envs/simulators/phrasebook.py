"""From acts to words, by templates that are split into those seen in training and held-out ones."""

from __future__ import annotations

from typing import Mapping, Sequence

from chat_envs.simulators.agenda import Act
from chat_envs.simulators.stream import Uniform

__all__ = ["Phrasebook"]


class Phrasebook:
    """Templates for acts.

    A template's key is `kind`, `kind.slot`, or `kind.slot.value`, the longest that exists; a key
    of several joined by `+` phrases these acts together. Fields in braces are slots;
    `{value}` is the act's own value.

    Args:
        templates: key -> split -> templates.
        split: which ones to use: "train" or "test".

    >>> templates = {"inform.name": {"train": ["I am {name} ."]}, "bye": {"train": ["Bye ."]}}
    >>> book = Phrasebook(templates)
    >>> from chat_envs.simulators.stream import Stream
    >>> book.phrase([Act("inform", "name", "Kim"), Act("bye")], Stream([0.5, 0.5]))
    'I am Kim . Bye .'
    """

    def __init__(
        self, templates: Mapping[str, Mapping[str, Sequence[str]]], split: str = "train"
    ) -> None:
        self._templates: dict[str, tuple[str, ...]] = {}
        for key, by_split in templates.items():
            if not by_split.get(split):
                raise ValueError(
                    f"The phrasebook has no {split!r} template for {key!r}."
                )
            self._templates[key] = tuple(by_split[split])

    def phrase(self, acts: Sequence[Act], rng: Uniform, **fields: str) -> str:
        """Return `acts` in words.

        Args:
            acts: what is said.
            rng: chooses among templates.
            **fields: further values that templates may name.

        Raises:
            KeyError: if an act has no template.
        """
        keys = [self._key(act) for act in acts]
        together = "+".join(keys)
        if len(keys) > 1 and together in self._templates:
            values = {act.slot: act.value for act in acts}
            return self._fill(together, fields | values, rng)
        return " ".join(
            [
                self._fill(key, fields | {act.slot: act.value, "value": act.value}, rng)
                for key, act in zip(keys, acts)
            ]
        )

    def _fill(self, key: str, fields: Mapping[str, str], rng: Uniform) -> str:
        choices = self._templates[key]
        template = (
            choices[int(rng.random() * len(choices))]
            if len(choices) > 1
            else choices[0]
        )
        return template.format_map(fields)

    def _key(self, act: Act) -> str:
        parts = [part for part in act if part]
        for length in range(len(parts), 0, -1):
            key = ".".join(parts[:length])
            if key in self._templates:
                return key
        raise KeyError(
            f"The phrasebook has no template for {act}; add {'.'.join(parts)!r}."
        )
