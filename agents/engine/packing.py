"""Dialogues laid end to end: no padding, and the prompt that several share laid down once.

A batch of dialogues is padded to its longest, and the dialogues of a group begin with the same
prompt. Neither needs computing twice: embedding, projections and feed-forward layers see one row of
T real tokens; only attention, which mixes tokens, sees dialogues as rows (`packed_attention`).

Shape legend: B dialogues, S tokens of a dialogue (right-padded), T packed tokens, P groups with a
shared prompt, L tokens of the longest shared prompt, Q tokens of the longest part of a dialogue
that it does not share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agents.engine.language_model import TokenBatch

__all__ = ["PackedTokens", "Sequences", "pack_tokens"]

_Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sequences:
    """The layout for kernels that take sequences of any length, end to end, without padding.

    There is a sequence for each dialogue, of the queries that it has alone and all of its keys, and
    one for each shared prompt. Queries are the last of their keys.

    Attributes:
        queries: (T,) int64, packed places in the order of the sequences.
        order: (T,) int64, its inverse: where each packed place is among the queries.
        keys: (U,) int64, packed places.
        query_ends: (N + 1,) int32, where each sequence's queries begin, and the end.
        key_ends: (N + 1,) int32, likewise.
        longest_query: most queries of a sequence.
        longest_key: most keys of a sequence.
    """

    queries: torch.Tensor
    order: torch.Tensor
    keys: torch.Tensor
    query_ends: torch.Tensor
    key_ends: torch.Tensor
    longest_query: int
    longest_key: int


@dataclass(frozen=True)
class PackedTokens:
    """Where each token of a batch lies in the packed row, and which tokens see which.

    Attributes:
        ids: (1, T) int64.
        positions: (1, T) int64, place of each token in its dialogue.
        place: (B, S) int64, where token s of dialogue b lies; 0 past its end.
        own: (B, Q) int64, where the tokens of b that it does not share lie, padded by 0.
        own_positions: (B, Q) int64, their positions; padding has a real position, so that it
            attends to something and stays finite.
        shared: (P, L) int64, where the tokens of each shared prompt lie, padded by 0.
        source: (T,) int64: token t is computed at place source[t] of `own`, flattened, with
            `shared`, flattened, behind it.
        sequences: the same layout without padding.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    place: torch.Tensor
    own: torch.Tensor
    own_positions: torch.Tensor
    shared: torch.Tensor
    source: torch.Tensor
    sequences: Sequences

    def __len__(self) -> int:
        return self.ids.shape[1]


def pack_tokens(batch: TokenBatch, *, is_sharing: bool = True) -> PackedTokens:
    """Return the layout of a batch.

    A prompt is what precedes the agent's first token; dialogues with equal prompts share it.

    Args:
        batch: passed `check_batch`.
        is_sharing: whether to lay down equal prompts once; off, only padding is saved.

    >>> ids = torch.tensor([[5, 6, 7], [5, 6, 8]])
    >>> mask = torch.tensor([[False, False, True]] * 2)
    >>> pack_tokens(TokenBatch(ids, torch.tensor([3, 3]), mask)).ids.tolist()
    [[5, 6, 7, 8]]
    """
    ids_BS = batch.input_ids.cpu().numpy()
    lengths_B = batch.lengths.cpu().numpy()
    starts_B = np.zeros(len(ids_BS), dtype=np.int64)  # of what a dialogue has alone
    groups: list[list[int]] = [[row] for row in range(len(ids_BS))]
    if is_sharing:
        groups = _groups(ids_BS, _prompt_lengths(batch, lengths_B), starts_B)
    place_BS, shared, end = _places(groups, starts_B, lengths_B, ids_BS.shape)
    column_S = np.arange(ids_BS.shape[1])
    is_real_BS = column_S < lengths_B[:, None]
    ids_T, positions_T = np.zeros(end, dtype=np.int64), np.zeros(end, dtype=np.int64)
    ids_T[place_BS[is_real_BS]] = ids_BS[is_real_BS]
    positions_T[place_BS[is_real_BS]] = np.nonzero(is_real_BS)[1]
    own_BQ, own_positions_BQ, shared_PL, source_T = _lanes(
        place_BS, starts_B, lengths_B, shared, end
    )
    sequences = _sequences(place_BS, starts_B, lengths_B, shared)
    device = batch.input_ids.device

    def tensor(array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    return PackedTokens(
        ids=tensor(ids_T[None]),
        positions=tensor(positions_T[None]),
        place=tensor(place_BS),
        own=tensor(own_BQ),
        own_positions=tensor(own_positions_BQ),
        shared=tensor(shared_PL),
        source=tensor(source_T),
        sequences=Sequences(
            **{name: tensor(array) for name, array in sequences.items()},
            longest_query=int(np.diff(sequences["query_ends"]).max()),
            longest_key=int(np.diff(sequences["key_ends"]).max()),
        ),
    )


def _prompt_lengths(batch: TokenBatch, lengths_B: _Index) -> _Index:
    mask_BS = batch.action_mask.cpu().numpy()
    return np.where(mask_BS.any(1), mask_BS.argmax(1), lengths_B)


def _groups(ids_BS: _Index, prompts_B: _Index, starts_B: _Index) -> list[list[int]]:
    """Return the rows by their prompt; sets where those that share one go on alone."""
    found: dict[bytes, list[int]] = {}
    for row, length in enumerate(prompts_B):
        found.setdefault(ids_BS[row, :length].tobytes(), []).append(row)
    for rows in found.values():
        if len(rows) > 1:
            starts_B[rows] = prompts_B[rows[0]]
    return list(found.values())


def _places(
    groups: list[list[int]],
    starts_B: _Index,
    lengths_B: _Index,
    shape: tuple[int, ...],
) -> tuple[_Index, list[_Index], int]:
    """Return `place`, where each shared prompt lies, and how many tokens there are."""
    place_BS = np.zeros(shape, dtype=np.int64)
    shared: list[_Index] = []
    end = 0
    for group in groups:
        start = int(starts_B[group[0]])
        if start:
            shared.append(np.arange(end, end + start))
            place_BS[group, :start] = shared[-1]
            end += start
        for row in group:
            width = int(lengths_B[row]) - start
            place_BS[row, start : lengths_B[row]] = np.arange(end, end + width)
            end += width
    return place_BS, shared, end


def _lanes(
    place_BS: _Index,
    starts_B: _Index,
    lengths_B: _Index,
    shared: list[_Index],
    num_tokens: int,
) -> tuple[_Index, _Index, _Index, _Index]:
    """Return `own`, `own_positions`, `shared` and `source` of `PackedTokens`."""
    widths_B = lengths_B - starts_B
    column_Q = np.arange(max(int(widths_B.max()), 1))
    wanted_BQ = starts_B[:, None] + column_Q
    positions_BQ = np.minimum(wanted_BQ, lengths_B[:, None] - 1)
    is_own_BQ = column_Q < widths_B[:, None]
    own_BQ = np.where(is_own_BQ, np.take_along_axis(place_BS, positions_BQ, 1), 0)
    longest = max((len(tokens) for tokens in shared), default=0)
    shared_PL = np.zeros((len(shared), longest), dtype=np.int64)
    is_shared_PL = np.zeros(shared_PL.shape, dtype=np.bool_)
    for lane, tokens in enumerate(shared):
        shared_PL[lane, : len(tokens)] = tokens
        is_shared_PL[lane, : len(tokens)] = True
    source_T = np.zeros(num_tokens, dtype=np.int64)
    source_T[own_BQ[is_own_BQ]] = np.flatnonzero(is_own_BQ)
    source_T[shared_PL[is_shared_PL]] = own_BQ.size + np.flatnonzero(is_shared_PL)
    return own_BQ, positions_BQ, shared_PL, source_T


def _sequences(
    place_BS: _Index, starts_B: _Index, lengths_B: _Index, shared: list[_Index]
) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors of `Sequences`, as arrays."""
    keys = [place[:end] for place, end in zip(place_BS, lengths_B, strict=True)]
    queries = [own[start:] for own, start in zip(keys, starts_B, strict=True)]
    keys, queries = keys + shared, queries + shared
    queries_T = np.concatenate(queries)
    query_ends, key_ends = (
        np.cumsum([0, *map(len, parts)], dtype=np.int32) for parts in (queries, keys)
    )
    return {
        "queries": queries_T,
        "order": np.argsort(queries_T),
        "keys": np.concatenate(keys),
        "query_ends": query_ends,
        "key_ends": key_ends,
    }
