"""The trained network: a causal language model, its vocabulary mask and its value head.

One `forward` serves the trainer and the decoder, so that they cannot drift apart.

Shape legend: B sequences, S tokens, T packed tokens, N chosen places, W hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from agents.engine.kv_cache import KeyValueCache
from agents.engine.likelihood import likelihood
from agents.engine.packed_attention import PackedLayout, packed_attention_of
from agents.engine.packing import PackedTokens
from agents.engine.sampling import scale_logits
from agents.engine.value_head import ValueHead

__all__ = [
    "CausalNetwork",
    "advance",
    "cast_parameters",
    "disable_dropout",
    "num_input_ids",
    "output_layer",
]

MAX_LOGITS = (
    2**26
)  # that are held at once in training: 256 MiB, as much again for the gradient


class CausalNetwork(nn.Module):
    """Masked float32 logits at chosen places, or what a trainer makes of them; and values.

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
        self._wanted_N: torch.Tensor | None = None
        self.max_logits = MAX_LOGITS
        self._hidden_BSW: torch.Tensor | None = None
        head.register_forward_pre_hook(self._choose)

    def forward(
        self,
        tokens: torch.Tensor | PackedTokens,
        chosen_N: torch.Tensor,
        position_ids_BS: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
        *,
        said_N: torch.Tensor | None = None,
        temperature: float = 1.0,
    ) -> tuple[torch.Tensor, ...]:
        """Return what the trainer or the decoder wants to know of the chosen places.

        Args:
            tokens: packed dialogues, of which the T tokens are one row (B is 1, S is T); or (B, S)
                ids, right-padded by any id: what comes later changes nothing earlier.
            chosen_N: places as b * S + s; what is told of a place is about the id that follows.
            position_ids_BS: of ids; needed with a cache.
            cache: of ids: keys and values of what came before.
            said_N: of packed dialogues: the ids that follow the chosen places.
            temperature: of packed dialogues: divides the logits.

        Returns:
            Of packed dialogues the (N,) log-probs of `said_N`, the (N,) entropies and the (B, S)
            values, float32. Of ids the (N, V) float32 logits and the (B, S, W) hidden states.
        """
        if isinstance(tokens, PackedTokens):
            assert said_N is not None
            return self._judge(tokens, chosen_N, said_N, temperature)
        extra: dict[str, Any] = {"use_cache": False}
        if cache is not None:
            extra = {
                "use_cache": True,
                "past_key_values": cache,
                "position_ids": position_ids_BS,
            }
        return self._run(tokens, chosen_N, **extra)

    def _judge(
        self,
        tokens: PackedTokens,
        chosen_N: torch.Tensor,
        said_N: torch.Tensor,
        temperature: float,
    ) -> tuple[torch.Tensor, ...]:
        """Return log-probs, entropies and values; never more than `max_logits` logits at once."""
        chunk = max(self.max_logits // len(self.forbidden_V), 1)
        is_chunked = len(chosen_N) > chunk
        num_layers = self.language_model.config.get_text_config().num_hidden_layers
        with packed_attention_of(self.language_model):
            logits_NV, hidden_1TW = self._run(
                tokens.ids,
                chosen_N[:1] if is_chunked else chosen_N,
                use_cache=False,
                past_key_values=PackedLayout(tokens, num_layers),
                position_ids=tokens.positions,
            )
        if is_chunked:
            hidden_NW = hidden_1TW[0][chosen_N]
            parts = [
                checkpoint(self._judge_states, *part, temperature, use_reentrant=False)
                for part in zip(
                    torch.split(hidden_NW, chunk),
                    torch.split(said_N, chunk),
                    strict=True,
                )
            ]
            log_probs_N, entropy_N = (torch.cat(column) for column in zip(*parts))
        else:
            scaled_NV = scale_logits(logits_NV, temperature)
            log_probs_N, entropy_N = likelihood(scaled_NV, said_N)
        if self.value_head is None:
            return log_probs_N, entropy_N, hidden_1TW.new_zeros(1, len(tokens)).float()
        return log_probs_N, entropy_N, self.value_head(hidden_1TW)

    def _judge_states(
        self, hidden_NW: torch.Tensor, said_N: torch.Tensor, temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-probs and entropies after hidden states; the logits live only in here."""
        any_id = said_N[:1].view(1, 1)
        logits_NV, _ = self._run(any_id, hidden_NW, use_cache=False)
        return likelihood(scale_logits(logits_NV, temperature), said_N)

    def _run(
        self, input_ids_BS: torch.Tensor, wanted_N: torch.Tensor, **extra: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (N, V) masked logits and (B, S, W) last hidden states.

        `wanted_N` are places, or (N, W) hidden states that the output layer is to see instead of
        the input's own.
        """
        self._wanted_N = wanted_N
        try:
            output = self.language_model(input_ids=input_ids_BS, **extra)
            hidden_BSW = self._hidden_BSW
        finally:
            self._wanted_N = None
            self._hidden_BSW = None
        if hidden_BSW is None or output.logits.shape[:2] != (1, len(wanted_N)):
            raise NotImplementedError(
                f"{type(self.language_model).__name__} does not call its output embedding "
                "on the hidden states, so its logits cannot be chosen."
            )
        logits_NV = output.logits[0].float()
        return logits_NV.masked_fill(self.forbidden_V, -torch.inf), hidden_BSW

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
        if self._wanted_N is None:  # someone else calls the module: leave it alone
            return None
        self._hidden_BSW = inputs[0]
        hidden_NW = self._wanted_N
        if not hidden_NW.is_floating_point():
            hidden_NW = inputs[0].reshape(-1, inputs[0].shape[-1])[self._wanted_N]
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
