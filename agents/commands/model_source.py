"""Models by the names that people give them: a run, a Hugging Face directory, a known name."""

from __future__ import annotations

from pathlib import Path

from agents.engine.causal_lm import CausalLM
from agents.engine.loading import MODEL_NAMES
from agents.export import load_model as load_plain
from agents.export import tokenizer_name
from agents.observer import Observer
from agents.tracking import find_run
from agents.train import RUNS, load_run

__all__ = ["is_model", "load_model"]

_CHECKPOINTS = "checkpoints"  # what a run has and a model's directory has not


def is_model(name: str) -> bool:
    """Return whether there is a model of that name, as far as a look tells."""
    return name in MODEL_NAMES or Path(name).is_dir() or (RUNS / name).is_dir()


def load_model(
    name: str,
    *,
    engine: str = "auto",
    seed: int = 0,
    observer: Observer | None = None,
) -> tuple[CausalLM, str]:
    """Return a model, with a value head, and the name of its tokenizer.

    Args:
        name: one of `MODEL_NAMES`, which wins; a run below runs/ or its path; a Hugging Face
            directory.
        engine: runs the model.
        seed: of random weights.
        observer: told of checkpoints that were skipped because they are not whole.

    Raises:
        ValueError, OSError, RunError: there is no such model, or it is damaged.
    """
    places = () if name in MODEL_NAMES else (RUNS / name, Path(name))
    if any((place / _CHECKPOINTS).is_dir() for place in places):
        config, lm, _ = load_run(find_run(name, RUNS), engine=engine, observer=observer)
        return lm, config.full_env_kwargs()["tokenizer"]
    lm, _ = load_plain(name, engine=engine, seed=seed, has_value_head=True)
    return lm, tokenizer_name(name)
