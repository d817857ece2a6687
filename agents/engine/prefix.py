"""Which contexts of one call begin alike, so that their beginning is computed once.

A group of replies to one prompt has the same context many times over, and dialogues of one
environment the same instructions. Pure bookkeeping on ids, no tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.engine.slot import common_prefix_length

__all__ = ["SharedPrefix", "shared_prefixes"]


@dataclass(frozen=True)
class SharedPrefix:
    """What one context takes over from another.

    Attributes:
        leader: place of the context that computes the prefix.
        length: ids that both begin with.
    """

    leader: int
    length: int


def shared_prefixes(
    contexts: Sequence[np.ndarray], num_cached: Sequence[int], least_saving: int
) -> dict[int, SharedPrefix]:
    """Return, for each context that should take over a prefix, whose and how long.

    Equal contexts are twins of the one whose cache holds the most, which costs no forward at all.
    Of different ones some take over what they have in common with a leader, and leaders of these
    never take over anything themselves: one pass computes all leaders and a second the rest.
    Sorted by their ids, contexts that begin alike are neighbours; one becomes a leader where the
    next begins more like it than it begins like the leader before.

    Args:
        contexts: 1-D arrays of int64 ids.
        num_cached: for each, how many of its ids need not be computed anyway.
        least_saving: ids that those who are no twins must save together, else they take over
            nothing: a second pass costs one more forward.

    >>> prompt = np.arange(5)
    >>> shared_prefixes([prompt, np.array([7]), prompt], [0, 0, 0], 1)
    {2: SharedPrefix(leader=0, length=5)}
    """
    # Big-endian bytes sort as the ids do.
    keys = [context.astype(">i8").tobytes() for context in contexts]
    equal: dict[bytes, list[int]] = {}
    for place, key in enumerate(keys):
        equal.setdefault(key, []).append(place)
    twins: dict[int, SharedPrefix] = {}
    different: list[int] = []
    for key in sorted(equal):
        leader = max(equal[key], key=lambda place: num_cached[place])
        prefix = SharedPrefix(leader, len(contexts[leader]))
        twins |= {place: prefix for place in equal[key] if place != leader}
        different.append(leader)
    return _beginnings(contexts, num_cached, different, least_saving) | twins


def _beginnings(
    contexts: Sequence[np.ndarray],
    num_cached: Sequence[int],
    order: Sequence[int],
    least_saving: int,
) -> dict[int, SharedPrefix]:
    """Return who of different contexts takes over a beginning; `order` sorts them by their ids."""
    pairs = zip(order, order[1:])
    # What each shares with the one before it; the first and one past the last, nothing.
    common = [common_prefix_length(contexts[i], contexts[j]) for i, j in pairs]
    common = [0, *common, 0]
    taken = {}
    cached = [num_cached[i] for i in order]
    for place, leader in enumerate(_elect(common, cached, _leaders(common))):
        length = _least(common, place, leader) if place != leader else 0
        if length > num_cached[order[place]]:
            taken[order[place]] = SharedPrefix(order[leader], length)
    saving = sum(prefix.length - num_cached[i] for i, prefix in taken.items())
    return taken if saving >= least_saving else {}


def _least(common: Sequence[int], first: int, second: int) -> int:
    """Return what two places share: of sorted sequences, as the least alike between them do."""
    low, high = sorted((first, second))
    return min(common[low + 1 : high + 1])


def _leaders(common: Sequence[int]) -> list[int]:
    """Return, for each place of a sorted list, that of its leader: its own for a leader.

    Args:
        common: what each shares with the one before it, and a 0 at the end.
    """
    leader_at = [0]
    for place in range(1, len(common) - 1):
        length = _least(common, leader_at[-1], place)
        is_leader = length == 0 or common[place + 1] > length
        leader_at.append(place if is_leader else leader_at[-1])
    leaders = [place for place, leader in enumerate(leader_at) if place == leader]
    followed = {leader for place, leader in enumerate(leader_at) if place != leader}
    # One whom nobody follows may follow a neighbour: it began a group and stayed alone.
    for k, place in enumerate(leaders):
        around = [leader_at[other] for other in leaders[max(k - 1, 0) : k]]
        around += leaders[k + 1 : k + 2]
        if place not in followed and around:
            best = max(around, key=lambda other: _least(common, place, other))
            if _least(common, place, best):
                leader_at[place] = best
                followed.add(best)
    return leader_at


def _elect(
    common: Sequence[int], cached: Sequence[int], leader_at: Sequence[int]
) -> list[int]:
    """Return the leaders once those who have the most of their group's prefix already lead it."""
    members: dict[int, list[int]] = {leader: [] for leader in leader_at}
    for place, leader in enumerate(leader_at):
        if place != leader:
            members[leader].append(place)
    elected = list(leader_at)
    for leader, group in members.items():
        if not group:
            continue
        has = {
            place: min(cached[place], _least(common, place, leader)) for place in group
        }
        best = max(group, key=lambda place: has[place])
        if has[best] > cached[leader]:
            for place in (leader, *group):
                elected[place] = best
    return elected
