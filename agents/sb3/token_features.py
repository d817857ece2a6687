"""What a small policy sees of a token context.

Stable-Baselines3 casts every observation to float32 and gives it to an MLP, which learns nothing
from numbers that are names. Here the cast is undone and the ids are embedded.

Shape legend: B observations, C ids of a context, L last ids of it, W width.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

__all__ = ["MAX_EXACT_IDS", "TokenFeaturesExtractor"]

MAX_EXACT_IDS = 2**24
"""float32 holds every integer below it."""


class TokenFeaturesExtractor(BaseFeaturesExtractor):
    """Embeds the last ids of a context, the newest first, and hands them on side by side.

    What Stable-Baselines3 does with pixels of a game, for words: the policy's own first layer
    weighs each of the last places by itself, and counts them from the end, where the reply grows.
    (A layer of attention over the same ids learnt to repeat a word more slowly, and took more time
    for each step.)

    Use it with any algorithm that takes a "MultiInputPolicy":
    `policy_kwargs={"features_extractor_class": TokenFeaturesExtractor}`.

    Args:
        observation_space: of a chat environment: `input_ids` and `attention_mask`.
        length: how many of the last ids are seen (L), at least 1; shorter contexts are all seen.
        width: of the embeddings (W).

    Raises:
        ValueError: if the space is another one, a number is out of range, or there are more ids
            than float32 can tell apart.

    >>> import chat_envs, gymnasium
    >>> space = gymnasium.make("chat_envs/Echo-easy-v0").observation_space
    >>> TokenFeaturesExtractor(space, length=16, width=8).features_dim
    128
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        *,
        length: int = 32,
        width: int = 8,
    ) -> None:
        self._num_ids = _num_ids(observation_space)
        if length < 1 or width < 1:
            raise ValueError(
                f"length and width must be at least 1, got length={length}, width={width}."
            )
        super().__init__(observation_space, length * width)
        self.length = length
        # The row behind the last id is that of a place where nothing is.
        self.embedding = nn.Embedding(self._num_ids + 1, width)

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the (B, L W) features of observations as Stable-Baselines3 hands them on."""
        ids_BL, is_there_BL = self.last_ids(observations)
        ids_BL = ids_BL.masked_fill(~is_there_BL, self._num_ids)
        features: torch.Tensor = self.embedding(ids_BL).flatten(1)
        return features

    def last_ids(
        self, observations: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the last ids from the end backwards, (B, L) int64, and which of them are there.

        The cast to float32 is undone exactly: there are fewer than 2**24 ids.
        """
        lengths_B = observations["attention_mask"].sum(-1).long()
        back_L = torch.arange(self.length, device=lengths_B.device)
        places_BL = lengths_B[:, None] - 1 - back_L
        ids_BL = observations["input_ids"].gather(1, places_BL.clamp(min=0)).long()
        return ids_BL, places_BL >= 0


def _num_ids(space: gymnasium.Space[Any]) -> int:
    """Return how many ids the observations of a chat environment have."""
    if not isinstance(space, spaces.Dict) or set(space.spaces) != {
        "attention_mask",
        "input_ids",
    }:
        raise ValueError(
            "TokenFeaturesExtractor reads the observations of a chat environment, a Dict of "
            f"input_ids and attention_mask; got {space}. Take the environment before wrappers "
            "that flatten it, and 'MultiInputPolicy'."
        )
    ids = space["input_ids"]
    assert isinstance(ids, spaces.Box)
    num_ids = int(ids.high.max()) + 1
    if num_ids > MAX_EXACT_IDS:
        raise ValueError(
            f"The vocabulary has {num_ids} ids; Stable-Baselines3 casts them to float32, which "
            f"tells {MAX_EXACT_IDS} apart."
        )
    return num_ids
