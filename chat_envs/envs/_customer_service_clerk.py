"""The scripted expert of `CustomerService`: a clerk that knows the conversation and the policy.

It repeats what it heard while it asks for more, so that a customer who was misheard says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Mapping, Sequence

from chat_envs.envs._customer_service_reader import Reader, Reading
from chat_envs.envs._customer_service_world import DETAIL_SLOTS, Action, Order, World
from chat_envs.message import Conversation, Role
from chat_envs.simulators.agenda import Act

__all__ = ["Clerk"]

_RECORD = re.compile(
    r"(?P<item>\w+) ,? ?(?P<status>packed|sent|delivered)(?: (?P<days>\d+) days ago)?"
    r"(?: , (?P<price>\d+) dollars , (?P<stock>in stock|sold out))?"
)
_UNCHECKED_SLOTS = frozenset(
    ("intent", *DETAIL_SLOTS.values())
)  # `check` never shows them wrong
_EXTRA_SLOTS = ("amount", "day")


@dataclass(slots=True)
class _Belief:
    """What the clerk makes of the conversation about the present errand."""

    intent: str = ""
    values: dict[str, str] = field(default_factory=dict)
    heard: dict[str, str] = field(
        default_factory=dict
    )  # last values of `_UNCHECKED_SLOTS`
    is_confirmed: set[str] = field(default_factory=set)
    failed: set[tuple[str, ...]] = field(
        default_factory=set
    )  # checks that matched nothing
    record: Order | None = None
    has_written: bool = False
    question: str = (
        ""  # the extra thing that the customer wants to hear, one of `_EXTRA_SLOTS`
    )
    last_action: Action | None = None
    mentioned: Sequence[Act] = ()  # what the clerk said last


class Clerk:
    """Replies by the book.

    Args:
        reader: reads customers and earlier replies.
        world: for its rules alone (`is_allowed`, the slots, the refund limit): the clerk learns of
            orders only from what `check` shows.
        wishes: intent -> how a wish for it is put ("a refund").
        is_terse: whether to speak the easy tier's language.
        is_careful: whether it verifies before it writes.
    """

    def __init__(
        self,
        reader: Reader,
        world: World,
        wishes: Mapping[str, str],
        *,
        is_terse: bool,
        is_careful: bool = True,
    ) -> None:
        self._reader = reader
        self._rules = world
        self._wishes = wishes
        self._is_terse = is_terse
        self._is_careful = is_careful

    def reply(self, conversation: Conversation) -> str:
        """Return the reply to `conversation`, whoever wrote the replies in it."""
        belief = _Belief()
        for message in conversation.messages[1:]:
            if message.role is Role.ASSISTANT:
                self._take_in_reply(self._reader.read(message.content), belief)
            elif message.role is Role.SYSTEM:
                self._take_in_result(message.content, belief)
            else:
                acts = self._reader.read(message.content, is_wish=True).acts
                if Act("next") in acts:  # another errand of the same customer
                    known = ("name", "code")
                    values = {s: belief.values[s] for s in known if s in belief.values}
                    belief = _Belief(values=values)
                self._take_in_customer(acts, belief)
        if not belief.intent:
            return "How can I help ?"
        if belief.record is not None:
            return self._serve(belief, belief.record)
        if self._is_careful or belief.intent == "status":
            return self._verify(belief)
        return self._skip_check(belief)

    # What was said -------------------------------------------------------------------------

    def _take_in_reply(self, reading: Reading, belief: _Belief) -> None:
        belief.last_action = reading.action
        belief.mentioned = reading.acts
        if reading.action is None and any(
            act.slot == belief.question for act in reading.acts
        ):
            belief.question = ""

    def _take_in_result(self, text: str, belief: _Belief) -> None:
        action = belief.last_action
        if action is None or action.error:
            return
        match = _RECORD.fullmatch(text)
        if action.verb == "check" and match:
            found = match.groupdict()
            belief.record = Order(
                order=action.arguments.get("order", ""),
                item=found["item"],
                name=action.arguments["name"],
                code=action.arguments["code"],
                status=found["status"],
                days=found["days"] or "0",
                price=found["price"] or "0",
                is_in_stock=found["stock"] != "sold out",
            )
        elif action.verb == "check":
            belief.failed.add(self._key(action.arguments))
        elif action.verb == belief.intent and text.startswith("done"):
            belief.has_written = True

    def _take_in_customer(self, acts: Sequence[Act], belief: _Belief) -> None:
        informed = {
            act.slot: act.value for act in acts if act.kind in ("inform", "confirm")
        }
        self._confirm(acts, informed, belief)
        belief.intent = informed.pop("intent", belief.intent)
        belief.values.update(informed)
        for act in acts:
            if act.kind == "request" and act.slot in _EXTRA_SLOTS:
                belief.question = act.slot

    def _confirm(
        self, acts: Sequence[Act], informed: Mapping[str, str], belief: _Belief
    ) -> None:
        """Note what a customer let stand, said twice, or denied."""
        is_denied = Act("negate") in acts
        has_answered = bool(informed) or Act("affirm") in acts
        for kind, slot, value in belief.mentioned:
            if kind not in ("inform", "confirm") or slot not in _UNCHECKED_SLOTS:
                continue
            if is_denied and kind == "confirm":
                belief.is_confirmed.discard(slot)
                belief.values.pop(slot, None)
                belief.intent = "" if slot == "intent" else belief.intent
            elif has_answered and informed.get(slot, value) == value:
                belief.is_confirmed.add(slot)
        for slot in sorted(_UNCHECKED_SLOTS & informed.keys()):
            if belief.heard.get(slot) == informed[slot]:  # said twice
                belief.is_confirmed.add(slot)
            elif slot in belief.heard:
                belief.is_confirmed.discard(slot)
            belief.heard[slot] = informed[slot]

    def _key(self, values: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(values.get(slot, "") for slot in self._rules.identifiers)

    # What to say ---------------------------------------------------------------------------

    def _verify(self, belief: _Belief) -> str:
        slots = [*self._rules.identifiers]
        if belief.intent in DETAIL_SLOTS:
            slots.append(DETAIL_SLOTS[belief.intent])
        values = belief.values
        missing = [slot for slot in slots if slot not in values]
        if missing:
            return self._ask(missing, belief)
        if self._key(values) in belief.failed:
            return f"No {self._recite(values, ' , ')} ?"
        if self._is_terse:
            return f"ACTION check {' '.join(self._key(values))}"
        return f"ACTION check {self._recite(values, ' ')}"

    def _recite(self, values: Mapping[str, str], separator: str) -> str:
        forms = {"order": "order {}", "name": "{}", "code": "code {}"}
        parts = [forms[slot].format(values[slot]) for slot in self._rules.identifiers]
        return separator.join(parts)

    def _ask(self, missing: Sequence[str], belief: _Belief) -> str:
        """Ask for what is missing, three things at most, and repeat what was not confirmed yet."""
        missing = missing[:3]
        names = " and ".join(filter(None, [" , ".join(missing[:-1]), missing[-1]]))
        values = belief.values
        if self._is_terse:
            # Repeating the item shows a small model, early and often, how to copy a value.
            return (
                f"Your {names} for the {values['item']} ?"
                if "item" in values
                else f"Your {names} ?"
            )
        detail = DETAIL_SLOTS.get(belief.intent, "")
        if "intent" not in belief.is_confirmed:
            return f"You want {self._wishes[belief.intent]} . Your {names} ?"
        if detail in values and detail not in belief.is_confirmed:
            return f"{detail.capitalize()} {values[detail]} . Your {names} ?"
        return f"Your {names} ?"

    def _skip_check(self, belief: _Belief) -> str:
        """Write as soon as the line can be written, whoever asks and whatever the policy says."""
        needed = [self._rules.target_slot]
        if belief.intent in DETAIL_SLOTS:
            needed.insert(0, DETAIL_SLOTS[belief.intent])
        missing = [slot for slot in needed if slot not in belief.values]
        return self._ask(missing, belief) if missing else self._write_and_tell(belief)

    def _serve(self, belief: _Belief, record: Order) -> str:
        """Reply to a customer whose order is open."""
        intent = belief.intent
        if belief.question == "day":
            return "I can not promise a day ."
        if belief.question == "amount":
            return f"You get {record.price} dollars ."
        if intent == "status":
            return f"It is {record.status} ."
        if not self._rules.is_allowed(intent, record):
            return f"I can not , it is {_obstacle(intent, record)} ."
        detail = DETAIL_SLOTS.get(intent, "")
        if detail and detail not in belief.values:
            return self._ask([detail], belief)
        if not self._is_terse and not belief.has_written:
            if "intent" not in belief.is_confirmed:
                return f"You want {self._wishes[intent]} ?"
            if detail and detail not in belief.is_confirmed:
                return f"{detail.capitalize()} {belief.values[detail]} ?"
        return self._write_and_tell(belief)

    def _write_and_tell(self, belief: _Belief) -> str:
        if belief.has_written:
            return "It is done ."
        intent, target = belief.intent, self._rules.target_slot
        value = (
            getattr(belief.record, target)
            if belief.record
            else belief.values.get(target)
        )
        if value is None:
            return self._ask([target], belief)
        if self._is_terse:
            return f"ACTION {intent} {value}"
        detail = DETAIL_SLOTS.get(intent)
        line = f"ACTION {intent} {target} {value}"
        return f"{line} {belief.values[detail]}" if detail else line


def _obstacle(intent: str, record: Order) -> str:
    """Return why the policy forbids `intent`."""
    if record.status != "delivered" or intent not in ("refund", "exchange"):
        return record.status
    return "too late" if intent == "refund" else "sold out"
