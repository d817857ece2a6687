"""One reply in the making, and what is refused before any compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Request", "check_contexts", "check_slots"]


@dataclass(eq=False)
class Request:
    """One reply in the making.

    Attributes:
        index: place in the caller's batch.
        slot: whose cache it uses.
        context: (S,) int64 ids to reply to.
        limit: tokens that the reply may have.
        num_cached: leading ids of the context whose keys and values its row holds.
        leader: whose prefix it takes over when that is computed.
        num_shared: ids of that prefix.
        is_prefilled: its row holds its whole context.
        num_tokens: length of the reply; 0 until it is complete.
        has_stopped: it ended by a stop id.
    """

    index: int
    slot: int
    context: np.ndarray
    limit: int
    num_cached: int
    leader: Request | None = None
    num_shared: int = 0
    is_prefilled: bool = False
    num_tokens: int = 0
    has_stopped: bool = False

    @property
    def num_new(self) -> int:
        """Ids to compute, once what is shared has been taken over."""
        length = len(self.context)
        return length - max(self.num_cached, min(self.num_shared, length - 1))

    @property
    def wave(self) -> int:
        """Whom it waits for: nobody (0), a leader (1), or one who may wait for a leader (2)."""
        return 0 if self.leader is None else 1 + self.is_twin

    @property
    def is_twin(self) -> bool:
        """Whether its context is its leader's, so that even the logits are known."""
        length = len(self.context)
        return self.leader is not None and (
            length == self.num_shared == len(self.leader.context)
        )


def check_slots(slots: Sequence[int], num_slots: int) -> None:
    """Refuse slots that do not exist or are named twice.

    Raises:
        ValueError: there are some; names them.
    """
    wrong = [slot for slot in slots if not 0 <= slot < num_slots]
    if wrong:
        raise ValueError(
            f"Slots {wrong} do not exist: this decoder has slots 0 to {num_slots - 1}."
        )
    if len(set(slots)) != len(slots):
        twice = sorted({slot for slot in slots if list(slots).count(slot) > 1})
        raise ValueError(
            f"Slots {twice} are named twice in one call; a slot is one dialogue."
        )


def check_contexts(
    contexts: Sequence[np.ndarray],
    slots: Sequence[int],
    context_length: int,
    num_ids: int,
) -> None:
    """Refuse contexts that the model cannot read or reply to.

    Raises:
        ValueError: one is not a 1-D array of known ids, or leaves no room for a reply.
    """
    if len(contexts) != len(slots) or not len(slots):
        raise ValueError(
            f"Got {len(contexts)} contexts for {len(slots)} slots; give one slot a context, "
            "and at least one."
        )
    for context, slot in zip(contexts, slots, strict=True):
        if context.ndim != 1 or not np.issubdtype(context.dtype, np.integer):
            raise ValueError(
                f"The context of slot {slot} must be a 1-D array of ids, got "
                f"{context.dtype} of shape {context.shape}."
            )
        if not 0 < len(context) < context_length:
            raise ValueError(
                f"The context of slot {slot} has {len(context)} tokens; the model attends "
                f"to {context_length}, so 1 to {context_length - 1} leave room "
                "for a reply. Shorten the dialogue or take a model with a longer context."
            )
        if context.min() < 0 or context.max() >= num_ids:
            raise ValueError(
                f"The context of slot {slot} has id {context.min()} to {context.max()}; the "
                f"model knows 0 to {num_ids - 1}. Is its tokenizer another's?"
            )
