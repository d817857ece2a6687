"""Sums of what happened, from which means and maxima are made at the end of an iteration."""

from __future__ import annotations

import json
import math

import torch

from agents.engine import process_group

__all__ = ["Tally"]


class Tally:
    """Named sums, counts and maxima; micro-batches add to them in any cut.

    >>> tally = Tally()
    >>> tally.add("kl", torch.tensor([1.0, 3.0, 9.0]), torch.tensor([True, True, False]))
    >>> tally.add_total("tokens", 2)
    >>> tally.result()
    {'kl': 2.0, 'tokens': 2.0}
    """

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, float] = {}
        self._maxima: dict[str, float] = {}
        self._totals: dict[str, float] = {}

    def add(self, name: str, values: torch.Tensor, mask: torch.Tensor) -> None:
        """Add the elements of `values` where `mask` is True to the mean `name`."""
        chosen = torch.where(mask, values, torch.zeros_like(values))
        self.add_ratio(name, float(chosen.detach().double().sum()), int(mask.sum()))

    def add_ratio(self, name: str, total: float, count: float) -> None:
        """Add a sum and its count to the mean `name`."""
        self._sums[name] = self._sums.get(name, 0.0) + float(total)
        self._counts[name] = self._counts.get(name, 0.0) + float(count)

    def add_max(self, name: str, values: torch.Tensor, mask: torch.Tensor) -> None:
        """Raise the maximum `name` to the largest masked element (0 at least: sizes only)."""
        chosen = torch.where(mask, values, torch.zeros_like(values))
        largest = float(chosen.detach().max()) if chosen.numel() else 0.0
        self._raise(name, largest)

    def add_total(self, name: str, amount: float) -> None:
        """Add to the plain sum `name`."""
        self._totals[name] = self._totals.get(name, 0.0) + float(amount)

    def merge(self, other: Tally) -> None:
        """Add everything that `other` holds."""
        for name, total in other._sums.items():
            self.add_ratio(name, total, other._counts[name])
        for name, maximum in other._maxima.items():
            self._raise(name, maximum)
        for name, total in other._totals.items():
            self.add_total(name, total)

    def over_processes(self) -> Tally:
        """Return what all processes that train together have added; the same in each of them."""
        own = [self._sums, self._counts, self._maxima, self._totals]
        total = Tally()
        for message in process_group.gather(json.dumps(own).encode("utf-8")):
            part = Tally()
            part._sums, part._counts, part._maxima, part._totals = json.loads(message)
            total.merge(part)
        return total

    def _raise(self, name: str, value: float) -> None:
        # `max` keeps or drops a NaN by the order of its arguments; here it sticks.
        known = self._maxima.get(name, 0.0)
        self._maxima[name] = (
            math.nan if math.isnan(known + value) else max(known, value)
        )

    def result(self) -> dict[str, float]:
        """Return every figure, sorted by name; a mean of nothing is NaN."""
        means = {
            name: total / self._counts[name] if self._counts[name] else float("nan")
            for name, total in self._sums.items()
        }
        figures = means | self._maxima | self._totals
        return {name: figures[name] for name in sorted(figures)}
