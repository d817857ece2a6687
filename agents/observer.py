"""Who watches long work: told of stages, progress and remarks. This one keeps silent."""

from __future__ import annotations

__all__ = ["Observer"]


class Observer:
    """Base class of those who watch a run; each method does nothing."""

    def begin(self, stage: str, total: int, unit: str) -> None:
        """A stage of `total` units (turns, steps, episodes) begins."""

    def advance(self, done: int, words: str = "") -> None:
        """`done` units of the stage are behind; `words` say how it goes."""

    def end(self) -> None:
        """The stage is over."""

    def remark(self, text: str) -> None:
        """Something that the user should know: a file skipped, a run begun anew."""
