"""The shop behind `CustomerService`: orders, the written policy, and actions that change things.

The shop obeys every action that names an order; keeping the policy is the clerk's duty, and what
breaks it is counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterable, Mapping, NamedTuple

__all__ = ["Action", "DETAIL_SLOTS", "Order", "Result", "VERBS", "World"]

CLOSING_VERBS = ("refund", "exchange", "cancel")  # an order bears one of these, once
DETAIL_SLOTS = {
    "street": "street",
    "complaint": "problem",
}  # verb -> what its line must name
VERBS = ("check", *CLOSING_VERBS, *DETAIL_SLOTS)


class Action(NamedTuple):
    """An ACTION line as read: a verb and slot values; or what is wrong with it."""

    verb: str
    arguments: Mapping[str, str]
    error: str = ""


class Result(NamedTuple):
    """What an action did: the system's line, whether it brought something new, broken rules."""

    text: str
    has_progress: bool
    num_violations: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """One order and whose it is. `days` since delivery and `price` are decimal strings."""

    order: str
    item: str
    name: str
    code: str
    status: str
    days: str = "0"
    price: str = "0"
    is_in_stock: bool = True


@dataclass(slots=True)
class World:
    """The orders of one episode and what was done to them.

    Args:
        orders: all orders.
        target_slot: what names an order in an action: "order" or "item".
        identifiers: the slots that `check` needs, all of one order.
        refund_limit: days after delivery in which a refund is allowed; None for no limit.
    """

    orders: Iterable[Order]
    target_slot: str
    identifiers: tuple[str, ...]
    refund_limit: int | None = None
    changes: dict[tuple[str, str], str] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)
    _by_target: dict[str, Order] = field(init=False)

    def __post_init__(self) -> None:
        self._by_target = {
            getattr(order, self.target_slot): order for order in self.orders
        }

    def find(self, target: str) -> Order:
        """Return the order that `target` names."""
        return self._by_target[target]

    def is_allowed(self, verb: str, order: Order) -> bool:
        """Whether the written policy allows `verb` for `order`, once it is checked."""
        if verb == "refund":
            is_early = self.refund_limit is None or int(order.days) <= self.refund_limit
            return order.status == "delivered" and is_early
        if verb == "exchange":
            return order.status == "delivered" and order.is_in_stock
        if verb in ("cancel", "street"):
            return order.status == "packed"
        return True

    def change(
        self, verb: str, target: str, detail: str
    ) -> tuple[tuple[str, str], str]:
        """Return what a write of `verb` sets: a key and a value of `changes`."""
        if verb in CLOSING_VERBS:
            return (target, "state"), verb
        return (target, verb), detail

    def record(self, order: Order) -> str:
        """Return what `check` shows of `order`."""
        if self.target_slot == "item":
            return f"{order.item} {order.status}"
        since = f" {order.days} days ago" if order.status == "delivered" else ""
        stock = "in stock" if order.is_in_stock else "sold out"
        return f"{order.item} , {order.status}{since} , {order.price} dollars , {stock}"

    def apply(self, action: Action) -> Result:
        """Do what an ACTION line says; return the system's answer."""
        if action.error:
            return Result(action.error, False)
        if action.verb == "check":
            return self._check(action.arguments)
        return self._write(action.verb, action.arguments)

    def _check(self, arguments: Mapping[str, str]) -> Result:
        missing = [slot for slot in self.identifiers if slot not in arguments]
        if missing:
            return Result(f"ACTION check needs {' '.join(missing)}", False)
        for target, order in self._by_target.items():
            if all(
                getattr(order, slot) == arguments[slot] for slot in self.identifiers
            ):
                is_new = target not in self.checked
                self.checked.add(target)
                return Result(self.record(order), is_new)
        return Result("no match", False)

    def _write(self, verb: str, arguments: Mapping[str, str]) -> Result:
        target = arguments.get(self.target_slot)
        if target is None:
            return Result(f"ACTION {verb} needs {self.target_slot}", False)
        if target not in self._by_target:
            return Result(f"no such {self.target_slot}", False)
        detail_slot = DETAIL_SLOTS.get(verb, "")
        if detail_slot and detail_slot not in arguments:
            return Result(f"ACTION {verb} needs {detail_slot}", False)
        key, value = self.change(verb, target, arguments.get(detail_slot, ""))
        if self.changes.get(key) == value:
            return Result("done before", False)
        if key[1] == "state" and key in self.changes:
            return Result("closed before", False)
        self.changes[key] = value
        is_lawful = target in self.checked and self.is_allowed(
            verb, self._by_target[target]
        )
        return Result("done", True, 0 if is_lawful else 1)
