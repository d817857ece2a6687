"""What a small policy sees of a token context.

Stable-Baselines3 casts every observation to float32 and gives it to an MLP, which learns nothing
from numbers that are names. Here the cast is undone and the ids are embedded.

Shape legend: B observations, C ids of a context, L last ids of it, V vocabulary, W width.
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
    """Embeds the last ids of a context and lets the last one attend to them.

    Ids and their distance from the end have embeddings; the last id, which says how far the reply
    has got, asks, and all of them answer (Vaswani et al. 2017, one layer of multi-head attention
    with one query). Features are what was found beside what was asked.

    Use it with any algorithm that takes a "MultiInputPolicy":
    `policy_kwargs={"features_extractor_class": TokenFeaturesExtractor}`.

    Args:
        observation_space: of a chat environment: `input_ids` and `attention_mask`.
        length: how many of the last ids are seen (L), at least 1; shorter contexts are all seen.
        width: of the embeddings (W), a multiple of `num_heads`.
        num_heads: places of the context that can be read at once.

    Raises:
        ValueError: if the space is another one, a number is out of range, or there are more ids
            than float32 can tell apart.

    >>> import chat_envs, gymnasium
    >>> space = gymnasium.make("chat_envs/Echo-easy-v0").observation_space
    >>> TokenFeaturesExtractor(space, length=16, width=32).features_dim
    64
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        *,
        length: int = 32,
        width: int = 64,
        num_heads: int = 4,
    ) -> None:
        num_ids = _num_ids(observation_space)
        if length < 1 or num_heads < 1 or width < 1 or width % num_heads:
            raise ValueError(
                "length, width and num_heads must be at least 1 and num_heads divide width, got "
                f"length={length}, width={width}, num_heads={num_heads}."
            )
        super().__init__(observation_space, 2 * width)
        self.length = length
        self.embedding = nn.Embedding(num_ids, width)
        self.position = nn.Embedding(length, width)
        self.attention = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.norm = nn.LayerNorm(2 * width)

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the (B, 2 W) features of observations as Stable-Baselines3 hands them on."""
        ids_BL, is_seen_BL = self.last_ids(observations)
        tokens_BLW = self.embedding(ids_BL) + self.position.weight[: ids_BL.shape[1]]
        last_B1W = tokens_BLW[:, :1]
        found_B1W, _ = self.attention(
            last_B1W,
            tokens_BLW,
            tokens_BLW,
            key_padding_mask=~is_seen_BL,
            need_weights=False,
        )
        features: torch.Tensor = self.norm(torch.cat([found_B1W, last_B1W], -1)[:, 0])
        return features

    def last_ids(
        self, observations: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the last ids from the end backwards, (B, L) int64, and which of them are there.

        The cast to float32 is undone exactly: there are fewer than 2**24 ids.
        """
        lengths_B = observations["attention_mask"].sum(-1).long()
        capacity = observations["input_ids"].shape[1]
        back_L = torch.arange(min(self.length, capacity), device=lengths_B.device)
        places_BL = lengths_B[:, None] - 1 - back_L
        ids_BL = observations["input_ids"].gather(1, places_BL.clamp(min=0)).long()
        # An empty context, which only a random sample of the space has, sees its first id.
        is_seen_BL = (places_BL >= 0) | (back_L == 0)
        return ids_BL, is_seen_BL


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
