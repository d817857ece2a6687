"""The customer of `CustomerService`: an agenda-based user with errands, pleas and mistakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterable, Mapping, Sequence

from chat_envs.simulators.agenda import Act, AgendaUser
from chat_envs.simulators.stream import Uniform

__all__ = ["Customer", "Errand"]

# What only the shop's records can tell: the customer asks back when the clerk has not looked.
_RECORDED_SLOTS = frozenset(("outcome", "status", "amount"))


@dataclass(frozen=True, kw_only=True)
class Errand:
    """One thing that a customer wants.

    Attributes:
        constraints: slot -> value that the customer can tell; "intent" is one of them.
        requests: what it wants to hear, in this order.
        facts: request -> the true answer.
        target: the order concerned, as the shop names it.
        change: what the policy lets the clerk change for it: a key and a value of
            `World.changes`, or None.
        plea: how the customer pushes for a violation: "" (not), "check" (skip the check) or
            "exception" (after a refusal).
        mistake: slot -> a wrong value that the customer believes in until it matches nothing.
    """

    constraints: Mapping[str, str]
    requests: tuple[str, ...]
    facts: Mapping[str, str]
    target: str
    change: tuple[tuple[str, str], str] | None = None
    plea: str = ""
    mistake: Mapping[str, str] = field(default_factory=dict)


class Customer(AgendaUser):
    """A customer with one or more errands, one after the other.

    Args:
        rng: the behaviour's stream.
        errands: at least one.
        pop_weights: see `AgendaUser`.
        patience: idle turns after which it hangs up.

    Attributes:
        has_record: whether the clerk opened the record of the current errand's order.
        has_failed_check: whether a check matched nothing and the customer does not know yet.
    """

    pausing_kinds = frozenset(("doubt", "plead"))

    def __init__(
        self,
        rng: Uniform,
        errands: Sequence[Errand],
        pop_weights: Sequence[float],
        patience: int,
    ) -> None:
        super().__init__(rng, pop_weights)
        self._errands = list(errands)
        self._patience = patience
        self._all_answers: list[dict[str, str]] = []
        self.has_record = False
        self.has_failed_check = False
        self._begin(errands[0])

    def _begin(self, errand: Errand) -> None:
        self.errand = errand
        self._plea = errand.plea
        self._mistake = dict(errand.mistake)
        self.has_record = False
        self.has_failed_check = False
        constraints = dict(errand.constraints) | self._mistake
        self.adopt(constraints, errand.requests, first=("intent",))

    @property
    def num_served(self) -> int:
        """How many errands were answered, truly or not."""
        return len(self._all_answers) + self.is_satisfied

    @property
    def is_impatient(self) -> bool:
        """Whether it hangs up now."""
        return self.num_idle >= self._patience

    @property
    def has_true_facts(self) -> bool:
        """Whether every errand's requests were answered, and truly."""
        answers = [*self._all_answers, self.answers]
        return len(answers) == len(self._errands) and all(
            answer == errand.facts for answer, errand in zip(answers, self._errands)
        )

    def begin_next(self) -> bool:
        """Go on to the next errand, if there is one; return whether there was."""
        position = len(self._all_answers) + 1
        if position >= len(self._errands):
            return False
        self._all_answers.append(self.answers)
        self._begin(self._errands[position])
        return True

    def hear(self, acts: Iterable[Act]) -> None:
        """Update the agenda; asked to identify itself, a pushy customer pleads first, once."""
        acts = list(acts)
        super().hear(acts)
        is_asked = any(
            kind == "request" and slot in ("name", "code") for kind, slot, _ in acts
        )
        if self._plea == "check" and is_asked:
            self._plea = ""
            self.push(Act("plead", "check"))

    def _react(self, act: Act) -> bool:
        kind, slot, value = act
        if kind == "no_match":
            return self._react_to_no_match()
        if kind != "inform" or slot not in self._open_requests:
            return super()._react(act)
        if slot in _RECORDED_SLOTS and value != "done" and not self.has_record:
            self.push(Act("doubt"))
            return False
        if value == "refused" and self._plea == "exception":
            self._plea = ""
            self.push(Act("plead", "exception"))
            return True
        return super()._react(act)

    def _react_to_no_match(self) -> bool:
        """Find one's own mistake; else tell everything again, since it may have been misheard."""
        if not self.has_failed_check:
            return False
        self.has_failed_check = False
        for slot in self._mistake:
            self.constraints[slot] = self.errand.constraints[slot]
            self.push(Act("correct", slot, self.constraints[slot]))
        if not self._mistake:
            for slot in ("code", "name", "order"):
                if slot in self.constraints:
                    self.push(Act("inform", slot, self.constraints[slot]))
        self._mistake = {}
        return True
