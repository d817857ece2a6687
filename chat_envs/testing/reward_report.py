"""What `check_reward` found, as values and as text."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Mapping, Sequence

import numpy as np

__all__ = ["FailedReply", "FoundExploit", "RewardReport", "Spread"]

_MOST_SHOWN = 8  # failures, and exploits, in the text


@dataclass(frozen=True)
class Spread:
    """The values of one kind of replies.

    Attributes:
        num_replies: how many there are.
        low: smallest.
        mean: their mean.
        percentile_95: 95% are not above it.
        high: largest.
    """

    num_replies: int
    low: float
    mean: float
    percentile_95: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Return the spread of `values`, None if there are none.

        >>> Spread.of([0.0, 1.0, 1.0])
        Spread(num_replies=3, low=0.0, mean=0.66..., percentile_95=1.0, high=1.0)
        """
        if not values:
            return None
        # One of the values, never one between two: "as good as" is then exact.
        top = np.percentile(values, 95, method="higher")
        return cls(
            len(values), min(values), float(np.mean(values)), float(top), max(values)
        )


@dataclass(frozen=True)
class FailedReply:
    """A reply for which the reward gave no number.

    Attributes:
        kind: "expert", "random", "hostile", or "batch" for all at once.
        name: which one.
        reply: its text, shortened.
        error: the error's type and message.
    """

    kind: str
    name: str
    reply: str
    error: str


@dataclass(frozen=True)
class FoundExploit:
    """A hostile reply that is paid like the best 5% of the ordinary ones.

    Attributes:
        name: which one.
        reply: its text, shortened.
        score: what it is paid.
        is_above: whether it is paid more than they, and not the same.
    """

    name: str
    reply: str
    score: float
    is_above: bool


@dataclass(frozen=True, kw_only=True)
class RewardReport:
    """What a reward did with ordinary and hostile replies.

    Attributes:
        name: of the reward.
        problem: why it cannot be used at all; "" if it can.
        spreads: its values by kind: "expert" (or those that were given), "random", "hostile".
        failures: replies for which it gave no number.
        num_skipped: replies not tried any more, after it had not answered in time for three.
        exploits: hostile replies that are paid like the best ordinary ones, best first.
        repeat_difference: largest difference between the same replies scored twice.
        order_difference: the same for another order.
        batch_difference: the same between one call for all and one a reply.
        batched_us: microseconds an ordinary reply, all in one call; NaN where it was not measured.
        single_us: microseconds an ordinary reply, one call each.
        tolerance: largest difference that counts as none.
    """

    name: str
    problem: str = ""
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    failures: tuple[FailedReply, ...] = ()
    num_skipped: int = 0
    exploits: tuple[FoundExploit, ...] = ()
    repeat_difference: float = float("nan")
    order_difference: float = float("nan")
    batch_difference: float = float("nan")
    batched_us: float = float("nan")
    single_us: float = float("nan")
    tolerance: float = 1e-5

    @property
    def range(self) -> tuple[float, float] | None:
        """Smallest and largest value of all replies; None if there was none."""
        if not self.spreads:
            return None
        spreads = self.spreads.values()
        return min(s.low for s in spreads), max(s.high for s in spreads)

    @property
    def mean(self) -> float | None:
        """Mean over the ordinary replies; None if all of them failed."""
        return self.spreads["expert"].mean if "expert" in self.spreads else None

    @property
    def is_sound(self) -> bool:
        """Whether it can be used, and gave a number for every reply."""
        return not (self.problem or self.failures or self.num_skipped)

    @property
    def is_deterministic(self) -> bool | None:
        """Whether the same replies get the same values; None where it was not measured."""
        return self._is_same(self.repeat_difference)

    @property
    def depends_on_order(self) -> bool | None:
        """Whether another order of the replies changes their values."""
        return _negated(self._is_same(self.order_difference))

    @property
    def depends_on_batch(self) -> bool | None:
        """Whether a reply's value depends on those that are scored with it."""
        return _negated(self._is_same(self.batch_difference))

    def _is_same(self, difference: float) -> bool | None:
        return None if np.isnan(difference) else difference <= self.tolerance

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values; None for what was not measured."""
        values = {
            key: None if isinstance(value, float) and np.isnan(value) else value
            for key, value in asdict(self).items()
        }
        names = (
            "mean is_sound is_deterministic depends_on_order depends_on_batch".split()
        )
        own_range = None if self.range is None else list(self.range)
        return values | {"range": own_range} | {n: getattr(self, n) for n in names}

    def render(self) -> str:
        """Return the report as text."""
        if self.problem:
            return f"reward {self.name}: cannot be used: {self.problem}"
        lines = [f"reward {self.name}", *_table(self.spreads)]
        if not np.isnan(self.batched_us):
            lines += [
                _same("determinism", "scored again", self.repeat_difference, self),
                _same("order", "in another order", self.order_difference, self),
                _same("batch", "one by one", self.batch_difference, self),
                f"  speed        {self.batched_us:.1f} us a reply in one call for all, "
                f"{self.single_us:.1f} us in a call each",
            ]
        lines += _failure_lines(self) + _exploit_lines(self)
        return "\n".join(lines)


def _negated(value: bool | None) -> bool | None:
    return None if value is None else not value


def _table(spreads: Mapping[str, Spread]) -> list[str]:
    if not spreads:
        return ["  no reply got a value"]
    lines = [f"  {'replies':12} {'':>5} {'low':>9} {'mean':>9} {'95%':>9} {'high':>9}"]
    for kind, s in spreads.items():
        cells = (s.low, s.mean, s.percentile_95, s.high)
        shown = " ".join(f"{cell:9.4g}" for cell in cells)
        lines.append(f"  {kind:12} {s.num_replies:5d} {shown}")
    return lines


def _same(what: str, how: str, difference: float, report: RewardReport) -> str:
    if difference <= report.tolerance:
        return f"  {what:12} ok: the same replies {how} get the same values"
    return (
        f"  {what:12} NOT KEPT: the same replies {how} get values up to {difference:.3g} "
        "away"
    )


def _failure_lines(report: RewardReport) -> list[str]:
    lines = [f"  failures     {len(report.failures) or 'none'}"]
    for failure in report.failures[:_MOST_SHOWN]:
        what = f"{failure.kind} {failure.name}"
        lines.append(f"    {what}, {failure.reply!r}: {failure.error}")
    lines += _more(len(report.failures))
    if report.num_skipped:
        lines.append(
            f"    {report.num_skipped} replies were not tried: it did not answer in time"
        )
    return lines


def _exploit_lines(report: RewardReport) -> list[str]:
    if not report.exploits:
        return ["  exploits     none among the hostile replies tried"]
    top = report.spreads["expert"].percentile_95
    lines = [
        f"  exploits     {len(report.exploits)} hostile replies are paid like the best 5% of the "
        f"ordinary ones ({top:.4g}):"
    ]
    for exploit in report.exploits[:_MOST_SHOWN]:
        sign = ">" if exploit.is_above else "="
        lines.append(
            f"    {sign} {exploit.score:<9.4g} {exploit.name}: {exploit.reply!r}"
        )
    return lines + _more(len(report.exploits))


def _more(number: int) -> list[str]:
    return [f"    and {number - _MOST_SHOWN} more"] if number > _MOST_SHOWN else []
