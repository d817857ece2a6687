"""How the rewards themselves fare: failures and time, from one iteration to the next."""

from __future__ import annotations

from typing import Any

from agents.experience.tally import Tally

__all__ = ["RewardLog"]


class RewardLog:
    """Reads a scorer's counts, which go on for ever, and tells what was new.

    Args:
        scorer: of the environment; one without `statistics` has nothing to tell.
    """

    def __init__(self, scorer: Any) -> None:
        self._statistics = getattr(scorer, "statistics", dict)
        self._before = self._read()

    def since_last(self) -> tuple[Tally, float]:
        """Return the share of requests that failed by entry, and the seconds that all took.

        `reward_failures/NAME` counts what a policy then masked or replaced, too. The shares are
        those of all processes, the seconds this one's.
        """
        now, before = self._read(), self._before
        self._before = now
        tally, seconds = Tally(), 0.0
        for name, (failures, requests, spent) in now.items():
            old = before.get(name, (0.0, 0.0, 0.0))
            tally.add_ratio(
                f"reward_failures/{name}", failures - old[0], requests - old[1]
            )
            seconds += spent - old[2]
        # Every process has the same entries: with none, nobody need be asked.
        return (tally.over_processes() if now else tally), seconds

    def _read(self) -> dict[str, tuple[float, float, float]]:
        return {
            name: (
                counts["failures"],
                counts["requests"],
                counts["mean_seconds"] * counts["requests"],
            )
            for name, counts in self._statistics().items()
        }
