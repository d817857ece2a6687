"""Is it still language? What the replies of a policy look like, whatever they are paid.

A word is what stands between spaces; a model that repeats one word is as broken as one that ends no
reply.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

__all__ = ["HEALTH_FIELDS", "LanguageHealth", "measure_language"]

HEALTH_FIELDS = {
    "distinct_1": "distinct words, share of all words of all replies",
    "distinct_2": "distinct pairs of words, share of all pairs",
    "repetition": "mean share of a reply's pairs of words that came before in it",
    "reply_length": "mean tokens a reply",
    "share_cut": "share of replies cut at the limit, without a stop token",
    "share_empty": "share of replies without a word",
    "perplexity": "of the replies under the start model",
}
"""Field -> what it is."""


@dataclass(frozen=True, kw_only=True)
class LanguageHealth:
    """The health of one policy's replies (see `HEALTH_FIELDS`); None where it is not known."""

    distinct_1: float | None = None
    distinct_2: float | None = None
    repetition: float | None = None
    reply_length: float | None = None
    share_cut: float | None = None
    share_empty: float | None = None
    perplexity: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Return plain JSON."""
        return asdict(self)


def measure_language(
    replies: Sequence[str],
    num_tokens: Sequence[int],
    is_cut: Sequence[bool],
    mean_log_prob: float | None = None,
) -> LanguageHealth:
    """Return the health of some replies.

    distinct-1 and distinct-2 are of Li et al. 2016 (arXiv:1510.03055); they fall with the number of
    replies, so compare them at equal numbers.

    Args:
        replies: their texts; at least one.
        num_tokens: of each, the stop token included.
        is_cut: whether each was cut before a stop token.
        mean_log_prob: of their tokens under the start model, in nats; None if unknown.

    >>> found = measure_language(["yes yes yes", ""], [4, 1], [False, False])
    >>> found.distinct_1, found.repetition, found.share_empty
    (0.3333333333333333, 0.5, 0.5)
    """
    if not replies or not len(replies) == len(num_tokens) == len(is_cut):
        raise ValueError(
            f"Expected replies with a length and a flag each, got {len(replies)}, "
            f"{len(num_tokens)} and {len(is_cut)}."
        )
    words = [reply.split() for reply in replies]
    pairs = [list(zip(said, said[1:], strict=False)) for said in words]
    ones = [word for said in words for word in said]
    twos = [pair for said in pairs for pair in said]
    repeated = [1.0 - len(set(said)) / len(said) for said in pairs if said]
    return LanguageHealth(
        distinct_1=len(set(ones)) / len(ones) if ones else None,
        distinct_2=len(set(twos)) / len(twos) if twos else None,
        repetition=sum(repeated) / len(repeated) if repeated else None,
        reply_length=sum(num_tokens) / len(replies),
        share_cut=sum(map(bool, is_cut)) / len(replies),
        share_empty=sum(not said for said in words) / len(replies),
        perplexity=None if mean_log_prob is None else math.exp(-mean_log_prob),
    )
