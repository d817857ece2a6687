"""An agenda-based simulated user (Schatzmann et al. 2007, NAACL-HLT short papers, 149-152).

The user's goal is a set of constraints (what it can tell) and requests (what it wants to hear).
Its agenda is a stack of pending acts, top last. Each turn the other side's acts push and remove
acts; then one to three acts are popped and said. An environment subclasses `AgendaUser` where its
user has ways of its own.
"""

from __future__ import annotations

import functools
from typing import Iterable, Mapping, NamedTuple, Sequence

from chat_envs.simulators.stream import Uniform

__all__ = ["Act", "AgendaUser"]

BYE_KIND = "bye"


class Act(NamedTuple):
    """One dialogue act: what is done (`kind`), about which slot, with which value.

    Kinds that `AgendaUser` knows: `inform`, `request`, `confirm` (a question that names a value),
    `affirm`, `correct` (a value that replaces a wrong one) and `bye`.
    """

    kind: str
    slot: str = ""
    value: str = ""


_AFFIRM = Act("affirm")


class AgendaUser:
    """A user that pursues a goal by popping acts from a stack.

    Args:
        rng: decides how many acts a turn takes; nothing else.
        pop_weights: probability that a turn takes 1, 2, 3, ... acts; they sum to 1.

    Attributes:
        agenda: pending acts, the next one last.
        answers: slot -> the value last heard for it, for each request that was answered.
        num_idle: turns in a row that brought the user no further.

    >>> from chat_envs.simulators.stream import Stream
    >>> user = AgendaUser(Stream([0.5, 0.5]), pop_weights=(1.0,))
    >>> user.adopt({"name": "Kim", "code": "7"}, requests=("price",), first=("name",))
    >>> user.speak()
    [Act(kind='inform', slot='name', value='Kim')]
    >>> user.hear([Act("request", "code")])
    >>> user.speak()
    [Act(kind='inform', slot='code', value='7')]
    >>> user.speak()
    [Act(kind='request', slot='price', value='')]
    >>> user.hear([Act("inform", "price", "45")])
    >>> user.is_satisfied, user.speak()
    (True, [Act(kind='bye', slot='', value='')])
    """

    # Acts after which the user stops to hear the reply, although it had more to say.
    pausing_kinds: frozenset[str] = frozenset()

    def __init__(
        self,
        rng: Uniform,
        pop_weights: Sequence[float] = (0.70, 0.25, 0.05),
    ) -> None:
        self._rng = rng
        self._pop_thresholds = _thresholds(tuple(pop_weights))
        self.constraints: dict[str, str] = {}
        self.agenda: list[Act] = []
        self.answers: dict[str, str] = {}
        self.num_idle = 0
        self._open_requests: set[str] = set()
        self._said: set[str] = set()  # slots told, and not asked for in vain since
        self._pushed: set[Act] = set()  # in reaction to the last reply
        self._heard: set[Act] = (
            set()
        )  # corrections and confirmations already reacted to

    def adopt(
        self,
        constraints: Mapping[str, str],
        requests: Sequence[str],
        first: Sequence[str],
    ) -> None:
        """Take on a goal and fill the agenda with it; answers to an earlier goal are forgotten.

        Args:
            constraints: slot -> value; what the user tells when asked.
            requests: slots whose values it wants to hear, in the order in which it asks.
            first: constraint slots that it tells unasked, in this order, before any request.
        """
        self.constraints = dict(constraints)
        self._open_requests = set(requests)
        self.answers = {}
        self._heard.clear()
        self._said.clear()
        self.num_idle = 0
        self.agenda = [Act(BYE_KIND)]
        self.agenda += [Act("request", slot) for slot in reversed(requests)]
        self.agenda += [
            Act("inform", slot, constraints[slot]) for slot in reversed(first)
        ]

    @property
    def is_satisfied(self) -> bool:
        """Whether every request was answered, truly or not: the user cannot know."""
        return not self._open_requests

    def push(self, act: Act) -> None:
        """Put `act` on top; an older copy about the same slot leaves the agenda."""
        self.agenda = [a for a in self.agenda if a[:2] != act[:2]]
        self.agenda.append(act)
        self._pushed.add(act)

    def hear(self, acts: Iterable[Act]) -> None:
        """Update the agenda by the other side's acts, and count the turn if it was idle."""
        self._pushed.clear()
        # The first thing asked is the first thing answered, so the last is pushed first.
        progress = [self._react(act) for act in reversed(list(acts))]
        if len(self._pushed) > 1 and _AFFIRM in self.agenda:
            self.agenda.remove(
                _AFFIRM
            )  # whoever has more to say does not say "yes" first
        self.wait(any(progress))

    def wait(self, has_progress: bool) -> None:
        """Let a turn pass in which nothing was said to the user."""
        self.num_idle = 0 if has_progress else self.num_idle + 1

    def _react(self, act: Act) -> bool:
        """Push what `act` calls for; return whether it brings the user further."""
        kind, slot, value = act
        if kind == "request":
            return self._react_to_request(slot)
        if kind not in ("inform", "confirm"):
            return False
        if slot in self.constraints:
            return self._react_to_value(act)
        if slot not in self._open_requests and slot not in self.answers:
            return False
        is_new = self.answers.get(slot) != value
        self.answers[slot] = value
        self._open_requests.discard(slot)
        self.agenda = [a for a in self.agenda if a != Act("request", slot)]
        return is_new

    def _react_to_request(self, slot: str) -> bool:
        if slot not in self.constraints:
            return False
        is_new = slot not in self._said
        self.push(Act("inform", slot, self.constraints[slot]))
        return is_new

    def _react_to_value(self, act: Act) -> bool:
        is_new = act not in self._heard
        self._heard.add(act)
        truth = self.constraints[act.slot]
        if act.value != truth:
            self.push(Act("correct", act.slot, truth))
            return is_new
        if act.kind == "confirm":
            self.push(_AFFIRM)
            return is_new
        return False

    def speak(self) -> list[Act]:
        """Pop the acts of one turn.

        A request is said alone and stays on the agenda until it is answered. A satisfied user
        says `bye`, whatever it had left to tell.
        """
        if self.is_satisfied:
            return [Act(BYE_KIND)]
        draw = self._rng.random()
        most = 1 + sum(draw >= threshold for threshold in self._pop_thresholds)
        acts: list[Act] = []
        while len(acts) < most:
            act = self.agenda[-1]
            if act.kind in ("request", BYE_KIND):
                return acts or [act]
            acts.append(self.agenda.pop())
            self._said.add(act.slot)
            if act.kind in self.pausing_kinds:
                break
        return acts


@functools.cache
def _thresholds(pop_weights: tuple[float, ...]) -> tuple[float, ...]:
    """Return the draws from which on a turn takes 2, 3, ... acts."""
    is_whole = abs(sum(pop_weights) - 1.0) <= 1e-9
    if not pop_weights or not is_whole or min(pop_weights) < 0:
        raise ValueError(
            f"pop_weights must be probabilities that sum to 1, not {pop_weights}."
        )
    return tuple(sum(pop_weights[:count]) for count in range(1, len(pop_weights)))
