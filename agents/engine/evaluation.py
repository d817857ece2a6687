"""Log-probs, entropy and values of dialogues that are already written.

Shape legend: B sequences, S tokens of a sequence (right-padded), N action tokens, T packed tokens.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from agents.engine.language_model import Evaluation, TokenBatch
from agents.engine.network import CausalNetwork
from agents.engine.packing import pack_tokens

__all__ = ["check_batch", "evaluate"]


def check_batch(batch: TokenBatch, context_length: int, network: CausalNetwork) -> None:
    """Refuse a batch whose log-probs would be meaningless.

    Raises:
        ValueError: says which row, which value and what was expected.
    """
    shape = tuple(batch.input_ids.shape)
    if len(shape) != 2 or tuple(batch.action_mask.shape) != shape:
        raise ValueError(
            f"input_ids {shape} and action_mask {tuple(batch.action_mask.shape)} "
            "must both be (B, S)."
        )
    if tuple(batch.lengths.shape) != shape[:1]:
        raise ValueError(
            f"lengths is {tuple(batch.lengths.shape)}, expected {shape[:1]}."
        )
    if shape[1] > context_length:
        raise ValueError(
            f"The batch is {shape[1]} tokens long, the model attends to {context_length}; "
            "shorten the dialogues or take a model with a longer context."
        )
    if batch.action_mask.dtype is not torch.bool:
        raise ValueError(
            f"action_mask must be bool, got {batch.action_mask.dtype}; "
            "integers would be taken for indices."
        )
    if not ((batch.lengths >= 1) & (batch.lengths <= shape[1])).all():
        raise ValueError(
            f"lengths must lie in [1, {shape[1]}], got {batch.lengths.tolist()}."
        )
    _check_ids(batch, network)


def _check_ids(batch: TokenBatch, network: CausalNetwork) -> None:
    ids_BS = batch.input_ids
    if not ((ids_BS >= 0) & (ids_BS < network.num_ids)).all():
        raise ValueError(
            f"input_ids reach from {int(ids_BS.min())} to {int(ids_BS.max())}; the model knows 0 "
            f"to {network.num_ids - 1}. Padding must be a known id too: 0 will do."
        )
    place_S = torch.arange(ids_BS.shape[1], device=ids_BS.device)
    outside = batch.action_mask & (place_S >= batch.lengths[:, None])
    if outside.any() or batch.action_mask[:, :1].any():
        raise ValueError(
            "action_mask marks a row's first token, which nothing precedes, or tokens past its "
            "length."
        )
    said = ids_BS[batch.action_mask]
    # An output layer may be smaller than the input embedding.
    is_known = said < len(network.forbidden_V)
    wrong = said[~is_known] if not is_known.all() else said[network.forbidden_V[said]]
    if len(wrong):
        raise ValueError(
            f"The agent's tokens include {sorted(set(wrong.tolist()))[:5]}, which the model "
            "cannot say (past its vocabulary, or forbidden): their log-prob would be -inf."
        )


def evaluate(network: nn.Module, batch: TokenBatch, temperature: float) -> Evaluation:
    """Return what `network` says of `batch`; logits exist at the agent's tokens only.

    Args:
        network: a `CausalNetwork`, or an engine around one.
        batch: passed `check_batch`.
        temperature: divides the logits, finite and above 0.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be finite and above 0, got {temperature}.")
    row_N, token_N = batch.action_mask.nonzero(as_tuple=True)
    tokens = pack_tokens(batch)
    log_probs_N, entropy_N, values_1T = network(
        tokens,
        # Token s was drawn in the state that ends with token s - 1.
        tokens.place[row_N, token_N - 1],
        said_N=batch.input_ids[row_N, token_N],
        temperature=temperature,
    )
    column_S = torch.arange(batch.input_ids.shape[1], device=batch.input_ids.device)
    is_padding_BS = column_S >= batch.lengths[:, None]
    return Evaluation(
        log_probs=_scatter(log_probs_N, batch),
        entropy=_scatter(entropy_N, batch),
        values=values_1T[0][tokens.place].masked_fill(is_padding_BS, 0.0),
    )


def _scatter(values_N: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    zeros_BS = torch.zeros(batch.input_ids.shape, device=values_N.device)
    return zeros_BS.masked_scatter(batch.action_mask, values_N)
