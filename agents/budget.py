"""When a run ends: after so many turns, iterations or generated tokens, whichever comes first."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["Budget"]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Totals, each counted from the beginning of the run; None is no such end.

    Attributes:
        timesteps: turns that are played.
        iterations: updates.
        tokens: reply tokens that the policy generates, those of episodes that are not trained on
            among them.

    Raises:
        TypeError: a total that is no integer.
        ValueError: a total below 0.
    """

    timesteps: int | None = None
    iterations: int | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            total = getattr(self, field.name)
            if total is None:
                continue
            if isinstance(total, bool) or not isinstance(total, int):
                raise TypeError(
                    f"total_{field.name} must be an integer, got {total!r}."
                )
            if total < 0:
                raise ValueError(f"total_{field.name} must be at least 0, got {total}.")

    @property
    def is_endless(self) -> bool:
        """Whether nothing is limited."""
        return all(getattr(self, field.name) is None for field in fields(self))

    def share_left(self, *, timesteps: int, iterations: int, tokens: int) -> float:
        """Return how much is still to do: 1 at the beginning, 0 or less at the end.

        >>> Budget(timesteps=100, tokens=400).share_left(timesteps=25, iterations=3, tokens=200)
        0.5
        """
        left = 1.0
        for done, total in (
            (timesteps, self.timesteps),
            (iterations, self.iterations),
            (tokens, self.tokens),
        ):
            if total is not None:
                left = min(left, 1.0 - done / total if total > 0 else 0.0)
        return left

    def progress(
        self, *, timesteps: int, iterations: int, tokens: int
    ) -> tuple[int, int | None]:
        """Return what a progress bar shows: done, of how many, by the total nearest its end.

        >>> Budget(timesteps=100, tokens=400).progress(timesteps=25, iterations=3, tokens=200)
        (200, 400)
        """
        pairs = (
            (timesteps, self.timesteps),
            (iterations, self.iterations),
            (tokens, self.tokens),
        )
        limited = [(done, total) for done, total in pairs if total is not None]
        if not limited:
            return iterations, None
        return max(limited, key=lambda pair: pair[0] / max(pair[1], 1))
