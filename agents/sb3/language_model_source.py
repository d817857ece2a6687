"""The language model of a policy: shared in this process, its shape alone in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from agents.engine.adapter import has_adapter
from agents.engine.causal_lm import CausalLM
from agents.engine.loading import load_lm
from agents.engine.local import LocalLM
from agents.engine.network import cast_parameters

__all__ = ["LMSource"]


class LMSource:
    """Where an `LMActorCriticPolicy` gets its language model.

    Stable-Baselines3 pickles `policy_kwargs` into each of its files, beside the weights of the
    policy. A bare model in there would be stored twice; this stores what it takes to build one of
    the same shape, whose weights then come from the file's own tensors. A copy, deep or not,
    means the same model.

    Args:
        lm: a model of the local engine, which the policy then shares and trains; or what
            `load_lm` takes for one: a name, a directory.
        **options: further keywords of `load_lm`, where `lm` is a name or a directory.

    Raises:
        TypeError: if it is none of these, or options come with a model.
        ValueError: if the model cannot be built again from its configuration.

    >>> source = LMSource("tiny", seed=3)
    >>> source.load(vocab_size=300) is source.load(vocab_size=300)
    True
    """

    def __init__(self, lm: CausalLM | str | Path, **options: Any) -> None:
        self._lm: CausalLM | None = None
        self._name = ""
        self._options = options
        self._shape: Mapping[str, Any] | None = None
        if isinstance(lm, (str, Path)):
            self._name = str(lm)
            return
        if not isinstance(lm, LocalLM):
            raise TypeError(
                f"LMSource takes a model of the local engine, a name or a directory, got {lm!r}; "
                "Stable-Baselines3 has an optimizer of its own and trains in one process."
            )
        if options:
            raise TypeError(
                f"The model is loaded already: {sorted(options)} can no longer be set."
            )
        if has_adapter(lm.module):
            raise ValueError(
                f"{lm.name} has adapters, which are no part of its configuration: train it by "
                "agents.ppo, or merge them first (save_pretrained) and load the directory."
            )
        self._lm = lm

    def load(self, vocab_size: int) -> CausalLM:
        """Return the model, always the same one, with a critic.

        Args:
            vocab_size: ids of the environment's tokenizer.

        Raises:
            ValueError: if the model says other ids.
        """
        if self._lm is None:
            self._lm = self._build(vocab_size)
        if self._lm.vocab_size != vocab_size:
            raise ValueError(
                f"{self._lm.name} says {self._lm.vocab_size} ids and the environment has "
                f"{vocab_size} actions: LMActorCriticPolicy needs TokenActions with "
                "vocabulary='all', and load_lm(..., tokenizer=env.unwrapped.tokenizer)."
            )
        return self._lm

    def shape(self) -> Mapping[str, Any]:
        """Return what it takes to build a model like this one, as plain JSON, without weights."""
        if self._lm is None:
            return self._shape or {"name": self._name, "options": self._options}
        config = self._lm.module.config.to_diff_dict()
        return {
            "name": self._lm.name,
            "vocab_size": self._lm.vocab_size,
            "dtype": str(self._lm.module.dtype).removeprefix("torch."),
            "model_type": config.pop("model_type"),
            "config": config,
        }

    @classmethod
    def of_shape(cls, shape: Mapping[str, Any]) -> LMSource:
        """Return the source of a model of that shape, with random weights."""
        source = cls(shape["name"], **shape.get("options", {}))
        source._shape = shape if "config" in shape else None
        return source

    def _build(self, vocab_size: int) -> CausalLM:
        if self._shape is None:
            kwargs: dict[str, Any] = {"engine": "local", "vocab_size": vocab_size}
            kwargs |= self._options | {"has_value_head": True}
            return load_lm(self._name, **kwargs)
        shape = self._shape
        config = AutoConfig.for_model(shape["model_type"], **shape["config"])
        with torch.random.fork_rng(devices=[]):
            module = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                config
            )
        dtype = getattr(torch, shape["dtype"])
        cast_parameters(module, (dtype for _ in module.parameters()))
        return LocalLM(
            module,
            name=shape["name"],
            vocab_size=shape["vocab_size"],
            has_value_head=True,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return LMSource.of_shape, (dict(self.shape()),)

    def __copy__(self) -> LMSource:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> LMSource:
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LMSource):
            return NotImplemented
        return self.shape() == other.shape()

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"LMSource({self._lm.name if self._lm else self._name!r})"
