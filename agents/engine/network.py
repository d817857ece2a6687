"""The trained network: a causal language model, its vocabulary mask and its value head.

One `forward` serves the trainer and the decoder, so that they cannot drift apart.

Shape legend: B sequences, S tokens, N chosen places, W hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from agents.engine.kv_cache import KeyValueCache
from agents.engine.value_head import ValueHead

__all__ = [
    "CausalNetwork",
    "advance",
    "cast_parameters",
    "disable_dropout",
    "num_input_ids",
    "output_layer",
]


class CausalNetwork(nn.Module):
    """Masked float32 logits at chosen places, and values at all of them.

    The output layer sees only the chosen hidden states: a hook swaps its input, so the family's
    own forward still scales or caps the logits (Cohere, Gemma 2) and the logits of places that
    nobody asked for are never computed.

    Args:
        module: any transformers causal language model.
        vocab_size: ids at and past it have probability 0.
        value_head: the critic; None gives values of 0.
    """

    forbidden_V: torch.Tensor

    def __init__(
        self,
        module: PreTrainedModel,
        vocab_size: int,
        value_head: ValueHead | None = None,
    ) -> None:
        super().__init__()
        head = output_layer(module)
        self.language_model = module
        self.value_head = value_head
        self.hidden_width = int(head.weight.shape[1])
        self.num_ids = num_input_ids(module)
        num_logits = int(head.weight.shape[0])
        if not 0 < vocab_size <= min(num_logits, self.num_ids):
            raise ValueError(
                f"The tokenizer has {vocab_size} ids but {type(module).__name__} only "
                f"{min(num_logits, self.num_ids)}: they do not belong together. Resize the "
                "embeddings (module.resize_token_embeddings) or pass the right tokenizer."
            )
        forbidden_V = torch.arange(num_logits, device=head.weight.device) >= vocab_size
        self.register_buffer("forbidden_V", forbidden_V, persistent=False)
        self._chosen_N: torch.Tensor | None = None
        self._hidden_BSW: torch.Tensor | None = None
        head.register_forward_pre_hook(self._choose)

    def forward(
        self,
        input_ids_BS: torch.Tensor,
        chosen_N: torch.Tensor,
        position_ids_BS: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return (N, V) float32 logits and (B, S) float32 values.

        Args:
            input_ids_BS: ids, right-padded by any id: what comes later changes nothing earlier.
            chosen_N: places as b * S + s; the logits there are of the id that follows.
            position_ids_BS: positions; needed with a cache.
            cache: keys and values of what came before; decoding only, and values are then None.
        """
        extra: dict[str, Any] = {"use_cache": False}
        if cache is not None:
            extra = {
                "use_cache": True,
                "past_key_values": cache,
                "position_ids": position_ids_BS,
            }
        self._chosen_N = chosen_N
        try:
            output = self.language_model(input_ids=input_ids_BS, **extra)
            hidden_BSW = self._hidden_BSW
        finally:
            self._chosen_N = None
            self._hidden_BSW = None
        if hidden_BSW is None or output.logits.shape[:2] != (1, len(chosen_N)):
            raise NotImplementedError(
                f"{type(self.language_model).__name__} does not call its output embedding "
                "on the hidden states, so its logits cannot be chosen."
            )
        logits_NV = output.logits[0].float()
        logits_NV = logits_NV.masked_fill(self.forbidden_V, -torch.inf)
        if cache is not None:
            return logits_NV, None
        if self.value_head is None:
            shape = input_ids_BS.shape
            return logits_NV, torch.zeros(shape, device=input_ids_BS.device)
        return logits_NV, self.value_head(hidden_BSW)

    def forbid(self, ids: Sequence[int]) -> None:
        """Give `ids` probability 0 from now on."""
        allowed = int((~self.forbidden_V).sum())
        wrong = [i for i in ids if not 0 <= i < len(self.forbidden_V)]
        if wrong:
            raise ValueError(
                f"Cannot forbid ids {wrong}: the vocabulary has ids 0 to "
                f"{len(self.forbidden_V) - 1}."
            )
        fresh = {i for i in ids if not self.forbidden_V[i]}
        if len(fresh) >= allowed:
            raise ValueError(f"Forbidding {sorted(fresh)} would leave no id to say.")
        self.forbidden_V[list(fresh)] = True

    def _choose(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._chosen_N is None:  # someone else calls the module: leave it alone
            return None
        self._hidden_BSW = inputs[0]
        hidden_NW = inputs[0].reshape(-1, inputs[0].shape[-1])[self._chosen_N]
        return (hidden_NW.unsqueeze(0), *inputs[1:])


def output_layer(module: PreTrainedModel) -> nn.Linear:
    """Return the layer that turns hidden states into logits.

    Raises:
        ValueError: there is none.
    """
    head: nn.Linear | None = module.get_output_embeddings()  # type: ignore[no-untyped-call]
    if head is None:
        raise ValueError(
            f"{type(module).__name__} has no output embedding layer; "
            "only causal language models (AutoModelForCausalLM) can be trained."
        )
    return head


def num_input_ids(module: PreTrainedModel) -> int:
    """Return how many ids the input embedding knows."""
    return int(module.get_input_embeddings().weight.shape[0])  # type: ignore[index]


def cast_parameters(module: nn.Module, dtypes: Iterable[torch.dtype]) -> None:
    """Give each parameter its dtype, in order, and leave the buffers alone.

    `module.to(dtype)` would round the rotary frequencies too, which families keep in float32: in
    bfloat16 a position near 1,000 is then off by whole radians.
    """
    for parameter, dtype in zip(module.parameters(), dtypes, strict=True):
        parameter.data = parameter.data.to(dtype)


def disable_dropout(module: nn.Module) -> None:
    """Turn every dropout of `module` off, for training too.

    With dropout the trainer's log-probs would differ from the sampler's before any update, and
    PPO's ratio would measure noise.
    """
    for layer in module.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            layer.p = 0.0
        for name, value in vars(layer).items():
            if "drop" in name and isinstance(value, float):
                setattr(layer, name, 0.0)


def advance(
    network: CausalNetwork,
    cache: KeyValueCache,
    context_length: int,
    rows: slice,
    news: Sequence[np.ndarray],
    starts: Sequence[int],
) -> torch.Tensor:
    """Feed ragged new ids to rows of the cache; return (N, V) logits after each row's last.

    Args:
        network: in eval mode, attending raggedly.
        cache: holds what precedes the new ids.
        context_length: positions the model knows.
        rows: N rows of the cache.
        news: N arrays of at least one id.
        starts: positions of their first ids.
    """
    device = network.forbidden_V.device
    width = max(len(new) for new in news)
    ids_NQ = np.zeros((len(news), width), dtype=np.int64)
    for row, new in enumerate(news):
        ids_NQ[row, : len(new)] = new
    # Padding may stand past the last position that the model knows.
    positions_NQ = cache.begin(rows, starts, width).clamp(max=context_length - 1)
    last_N = torch.tensor([row * width + len(new) - 1 for row, new in enumerate(news)])
    logits_NV: torch.Tensor = network(
        torch.from_numpy(ids_NQ).to(device),
        last_N.to(device),
        positions_NQ.to(device),
        cache,
    )[0]
    return logits_NV
