"""Goals of `CustomerService`: who wants what, in which shop, and what would be right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, NamedTuple, Sequence

from chat_envs.envs._customer_service_customer import Errand
from chat_envs.envs._customer_service_world import Order, World
from chat_envs.simulators.stream import Uniform

__all__ = ["Scenario", "TIERS", "Tier", "draw_scenario", "is_held_out"]

_HELD_OUT_EVERY = 5
# Most customers ask for what the policy allows.
_USUAL_STATUS = {
    "refund": "delivered",
    "exchange": "delivered",
    "cancel": "packed",
    "street": "packed",
}
_USUAL_RATE = 0.6
_NUM_CODES = {"easy": 10, "default": 90, "hard": 90}


@dataclass(frozen=True, kw_only=True)
class Tier:
    """How hard a tier is.

    Attributes:
        language: key of the phrasebook.
        intents: what customers come for, all equally often.
        num_errands: most errands of one customer.
        target_slot, identifiers, refund_limits: see `World`; one limit is drawn an episode.
        pop_weights: see `AgendaUser`.
        slot_error, intent_error: see `ErrorChannel`.
        plea_rate: how often a customer pushes for a violation.
        mistake_rate: how often it gives a wrong order number first.
        extra_rate: how often it wants to hear one thing more.
        stock_rate: how many items are in stock; `check` of the easy tier does not show it.
        forbids_dates: whether promising a day breaks the policy.
    """

    language: str
    intents: tuple[str, ...]
    num_errands: int = 1
    target_slot: str = "order"
    identifiers: tuple[str, ...] = ("order", "name", "code")
    refund_limits: tuple[int, ...] = (30,)
    pop_weights: tuple[float, ...] = (0.70, 0.25, 0.05)
    slot_error: float = 0.05
    intent_error: float = 0.05
    plea_rate: float = 0.3
    mistake_rate: float = 0.15
    extra_rate: float = 0.4
    stock_rate: float = 0.7
    forbids_dates: bool = True


_ALL_INTENTS = ("refund", "exchange", "cancel", "status", "street", "complaint")
TIERS: Mapping[str, Tier] = {
    "easy": Tier(
        language="easy",
        intents=("refund", "exchange", "cancel", "status"),
        target_slot="item",
        identifiers=("name", "code"),
        refund_limits=(),
        pop_weights=(0.0, 1.0),
        slot_error=0.0,
        intent_error=0.0,
        plea_rate=0.0,
        mistake_rate=0.0,
        extra_rate=0.0,
        stock_rate=1.0,
        forbids_dates=False,
    ),
    "default": Tier(language="default", intents=_ALL_INTENTS),
    "hard": Tier(
        language="default",
        intents=_ALL_INTENTS,
        num_errands=2,
        refund_limits=(10, 20, 30, 40, 50),
        pop_weights=(0.4, 0.4, 0.2),
        slot_error=0.10,
        intent_error=0.10,
        plea_rate=0.5,
        mistake_rate=0.25,
    ),
}


class Scenario(NamedTuple):
    """The shop, what the customer wants of it, and what the clerk should change."""

    world: World
    errands: list[Errand]

    @property
    def goal(self) -> dict[tuple[str, str], str]:
        """`World.changes` as they should be in the end."""
        return dict(errand.change for errand in self.errands if errand.change)


def is_held_out(intent: int, item: int, name: int, code: int) -> bool:
    """Whether a combination belongs to the test split; arguments index the entity lists.

    Every value, and every pair of values, occurs in training.
    """
    return (intent + 2 * item + 3 * name + code) % _HELD_OUT_EVERY == 0


class _Dice:
    """Small draws from one stream."""

    def __init__(self, rng: Uniform) -> None:
        self._random = rng.random

    def below(self, count: int) -> int:
        return int(self._random() * count)

    def pick(self, values: Sequence[Any]) -> Any:
        return values[int(self._random() * len(values))]

    def happens(self, probability: float) -> bool:
        return bool(self._random() < probability)


def draw_scenario(
    tier: Tier,
    entities: Mapping[str, Sequence[str]],
    split: str,
    rng: Uniform,
) -> Scenario:
    """Return a scenario of `split`; `rng` is the goal's own stream."""
    dice = _Dice(rng)
    limit = dice.pick(tier.refund_limits) if tier.refund_limits else None
    name = dice.below(len(entities["name"]))
    item = dice.below(len(entities["item"]))
    num_errands = 1 + dice.below(tier.num_errands)
    intents = [dice.below(len(tier.intents)) for _ in range(num_errands)]
    num_codes = _NUM_CODES[tier.language]
    while True:  # one draw in five is held out, so this is short
        code = dice.below(num_codes)
        if is_held_out(intents[0], item, name, code) == (split == "test"):
            break
    wishes = [tier.intents[intent] for intent in intents]
    orders = _draw_orders(tier, entities, (item, name, code), wishes, dice)
    world = World(orders, tier.target_slot, tier.identifiers, limit)
    errands = [
        _draw_errand(tier, intent, world, orders, position, entities, dice)
        for position, intent in enumerate(wishes)
    ]
    return Scenario(world, errands)


def _draw_orders(
    tier: Tier,
    entities: Mapping[str, Sequence[str]],
    first: tuple[int, int, int],
    intents: Sequence[str],
    dice: _Dice,
) -> list[Order]:
    """Return the customer's own orders and two of other people; items and numbers differ."""
    item, name, code = first
    names, items = entities["name"], entities["item"]
    width = 1 if tier.language == "easy" else 2
    offset = 0 if width == 1 else 10
    number = 1000 + dice.below(8000)
    num_own = len(intents)
    orders = []
    for position in range(num_own + 2):
        is_own = position < num_own
        status = dice.pick(entities["status"])
        if is_own and dice.happens(_USUAL_RATE):
            status = _USUAL_STATUS.get(intents[position], status)
        person = name if is_own else name + position + 1
        orders.append(
            Order(
                order=str(number + position * (100 + dice.below(100))),
                item=items[(item + position) % len(items)],
                name=names[person % len(names)],
                code=str(
                    offset
                    + (code if is_own else code + position) % _NUM_CODES[tier.language]
                ),
                status=status,
                days=str(1 + dice.below(60)),
                price=str(10 + dice.below(90)),
                is_in_stock=dice.happens(tier.stock_rate),
            )
        )
    return orders


def _draw_errand(
    tier: Tier,
    intent: str,
    world: World,
    orders: Sequence[Order],
    position: int,
    entities: Mapping[str, Sequence[str]],
    dice: _Dice,
) -> Errand:
    order = orders[position]
    target = getattr(order, tier.target_slot)
    constraints = {
        "intent": intent,
        "item": order.item,
        "name": order.name,
        "code": order.code,
    }
    if tier.target_slot == "order":
        constraints["order"] = order.order
    detail = ""
    if intent in ("street", "complaint"):
        slot = "street" if intent == "street" else "problem"
        detail = constraints[slot] = dice.pick(entities[slot])
    is_allowed = intent != "status" and world.is_allowed(intent, order)
    facts = {"status": order.status}
    if intent != "status":
        facts = {"outcome": "done" if is_allowed else "refused"}
    requests = tuple(facts)
    if dice.happens(tier.extra_rate):
        if intent == "status" and order.status != "delivered":
            facts["day"] = "none"
        elif intent == "refund" and is_allowed:
            facts["amount"] = order.price
        requests = tuple(facts)
    pleas = ["check"] if intent == "status" or is_allowed else ["check", "exception"]
    mistake = {}
    if dice.happens(tier.mistake_rate):
        mistake = {"order": orders[-1].order}  # another customer's
    return Errand(
        constraints=constraints,
        requests=requests,
        facts=facts,
        target=target,
        change=world.change(intent, target, detail) if is_allowed else None,
        plea=dice.pick(pleas) if dice.happens(tier.plea_rate) else "",
        mistake=mistake,
    )
