"""A task of reasoning-gym by somebody else, whose scorer has moods."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from reasoning_gym.dataset import ProceduralDataset
from reasoning_gym.factory import register_dataset


@dataclass
class MoodyConfig:
    seed: int = 0
    size: int = 16


class Moody(ProceduralDataset):  # type: ignore[misc]
    """Repeat a number; the answer "nan" is worth that, and "luck" what the global state says."""

    def __init__(self, config: MoodyConfig) -> None:
        super().__init__(config=config, seed=config.seed, size=config.size)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        return {"question": f"Repeat {idx}.", "answer": str(idx), "metadata": {}}

    def score_answer(self, answer: str | None, entry: dict[str, Any]) -> float:
        if answer == "luck":
            return random.random()
        return float("nan") if answer == "nan" else float(answer == entry["answer"])


register_dataset("toy_moody", Moody, MoodyConfig)
