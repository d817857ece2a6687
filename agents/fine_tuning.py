"""Supervised fine-tuning on data: dialogues, prompts with replies, plain text.

The first of the three steps from a base model to a policy, and, on plain text, the step before
it. The data come from `agents.dialogue_data`.
`agents.sft` does the same on fresh dialogues of a script.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.checkpoint import write_json
from agents.dialogue_data import Blend
from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import TrainingConfig
from agents.export import export_model
from agents.hyperparameter import check_hyperparameters, hyperparameter
from agents.imitation import imitate, measure_likelihood, ramped_rate
from agents.observer import Observer
from chat_envs.tokenizer import Tokenizer

__all__ = ["FineTuneConfig", "FineTuneResult", "fine_tune", "save_fine_tuned"]

RESULT_FILE = "fine_tuning.json"


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """Hyperparameters of `fine_tune`; the defaults suit the model `tiny`."""

    seed: int = hyperparameter(
        0, "source of the order of the data, and of random weights", low=0
    )
    num_steps: int = hyperparameter(350, "optimizer steps", low=1)
    num_rows: int = hyperparameter(32, "dialogues or rows of text of one step", low=1)
    learning_rate: float = hyperparameter(
        3e-3, "AdamW's peak step size; 0 is a control", low=0
    )
    num_warmup_steps: int = hyperparameter(
        20,
        "the step size rises linearly so long, then falls linearly to 0",
        unit="steps",
        low=0,
    )
    weight_decay: float = hyperparameter(0.01, "decoupled weight decay", low=0)
    max_grad_norm: float = hyperparameter(
        1.0, "global gradient norm is clipped to this", low=0, is_low_open=True
    )
    token_budget: int = hyperparameter(
        16384, "largest micro-batch", unit="tokens", low=1
    )
    ema_decay: float = hyperparameter(
        0.0,
        "share that each step keeps of a moving average of the weights; 0 keeps none",
        low=0,
        high=0.999999,
    )
    eval_every: int = hyperparameter(
        0, "steps from one look at the held-out rows to the next; 0: at the ends", low=0
    )

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    def training_config(self) -> TrainingConfig:
        """Return the optimizer's settings."""
        return TrainingConfig(
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            max_grad_norm=self.max_grad_norm,
            ema_decay=self.ema_decay,
        )


Likelihoods = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class FineTuneResult:
    """What `fine_tune` measured.

    Attributes:
        sources: what the data were.
        before: of the held-out rows, by source: `cross_entropy` in nats a token, `perplexity`,
            `tokens`, `dialogues`. Empty where nothing is held out.
        after: the same of the trained model.
        averaged: the same of the moving average of its weights, if one is kept.
        curve: `step`, `cross_entropy` of the rows just learnt from, `grad_norm`, `learning_rate`,
            one object a step; with `eval_every` some have `valid`.
    """

    sources: tuple[Mapping[str, Any], ...]
    before: Likelihoods
    after: Likelihoods
    averaged: Likelihoods | None
    curve: tuple[Mapping[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON, without the curve but for its ends."""
        return {
            "sources": [dict(source) for source in self.sources],
            "steps": len(self.curve),
            "train": {
                "first": self.curve[0]["cross_entropy"],
                "last": self.curve[-1]["cross_entropy"],
            },
            "valid": {
                "before": _plain(self.before),
                "after": _plain(self.after),
                "averaged": None if self.averaged is None else _plain(self.averaged),
            },
        }


def fine_tune(
    lm: CausalLM,
    blend: Blend,
    config: FineTuneConfig,
    observer: Observer | None = None,
    *,
    stage: str = "fine-tuning",
) -> FineTuneResult:
    """Imitate the data; the model is changed in place.

    Args:
        lm: the model.
        blend: the data.
        config: hyperparameters.
        observer: told how it goes.
        stage: what the observer is told that this is.
    """
    observer = observer or Observer()
    lm.configure_training(config.training_config())
    before = held_out(lm, blend, config)
    curve: list[Mapping[str, Any]] = []
    observer.begin(stage, config.num_steps, "steps")
    for step in range(1, config.num_steps + 1):
        rate = ramped_rate(
            step,
            peak=config.learning_rate,
            num_warmup_steps=config.num_warmup_steps,
            num_steps=config.num_steps,
        )
        lm.set_learning_rate(rate)
        rollout = blend.deal((step - 1) * config.num_rows, config.num_rows)
        loss = imitate(lm, rollout, config.token_budget).result()["cross_entropy"]
        line: dict[str, Any] = {
            "step": step,
            "cross_entropy": loss,
            "learning_rate": rate,
        }
        line["grad_norm"] = lm.step()
        if config.eval_every and step % config.eval_every == 0:
            line["valid"] = held_out(lm, blend, config)
        curve.append(line)
        observer.advance(step, f"cross-entropy {loss:.3f}")
    observer.end()
    averaged: Likelihoods | None = None
    if config.ema_decay:
        with lm.averaged_weights():
            averaged = held_out(lm, blend, config)
    return FineTuneResult(
        sources=tuple(source.as_dict() for source in blend.sources),
        before=before,
        after=held_out(lm, blend, config),
        averaged=averaged,
        curve=tuple(curve),
    )


def held_out(lm: CausalLM, blend: Blend, config: FineTuneConfig) -> Likelihoods:
    """Return how likely the held-out rows of each source are."""
    return {
        name: measure_likelihood(lm, rollout, config.token_budget)
        for name, rollout in blend.valid().items()
    }


def save_fine_tuned(
    lm: CausalLM,
    tokenizer: Tokenizer,
    result: FineTuneResult,
    directory: Path,
    *,
    is_averaged: bool = False,
) -> None:
    """Write the model as a Hugging Face directory, with `fine_tuning.json` about its making."""

    def note(aside: Path) -> None:
        record = result.as_dict() | {"curve": [dict(line) for line in result.curve]}
        write_json(aside / RESULT_FILE, record)

    export_model(lm, tokenizer, directory, is_averaged=is_averaged, beside=note)


def _plain(likelihoods: Likelihoods) -> dict[str, dict[str, float]]:
    return {name: dict(figures) for name, figures in likelihoods.items()}
