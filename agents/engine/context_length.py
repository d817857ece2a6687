"""How many positions a model attends to, by its config."""

from __future__ import annotations

import math
from typing import Any

from transformers import PreTrainedModel

__all__ = ["context_length_of"]


def context_length_of(module: PreTrainedModel) -> int:
    """Return the number of positions that `module` knows.

    Raises:
        ValueError: its config does not say.
    """
    config = module.config.get_text_config()
    length = getattr(config, "max_position_embeddings", None)
    if not isinstance(length, int) or not 1 < length < math.inf:
        raise ValueError(
            f"The config of {type(module).__name__} does not say how many positions it attends to "
            f"(max_position_embeddings is {length!r}); set it before loading."
        )
    rotary: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    for part in (rotary, *rotary.values()):  # one for the model, or one a kind of layer
        if isinstance(part, dict) and part.get("rope_type") == "longrope":
            # Past this, every position is rotated anew: what is cached would no longer fit.
            length = min(length, int(part["original_max_position_embeddings"]))
    return length
