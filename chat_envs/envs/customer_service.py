"""`CustomerService`: serve a customer of a shop by its written policy.

The customer is an agenda-based user (Schatzmann et al. 2007) behind an error channel. The agent
talks, and acts by a line such as `ACTION refund order=8812`, whose result it reads as a system
message. Success is the product of three: the shop's records end as the goal says, what the
customer asked was answered truly, and no rule was broken (as in tau-bench, Yao et al. 2024).

Reward = success - 0.02 a turn - 0.5 a violation. `preset` names rewards of the literature.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.data_file import load_json
from chat_envs.envs._customer_service_clerk import Clerk
from chat_envs.envs._customer_service_customer import Customer
from chat_envs.envs._customer_service_goal import TIERS, Tier, draw_scenario
from chat_envs.envs._customer_service_reader import Reader, Reading
from chat_envs.message import Message, system, user
from chat_envs.simulators.agenda import Act
from chat_envs.simulators.channel import ErrorChannel
from chat_envs.simulators.phrasebook import Phrasebook
from chat_envs.simulators.stream import split_streams
from chat_envs.vector import vector_entry_point

__all__ = ["CustomerService", "PRESETS", "Preset", "make_vector"]

_data = functools.partial(load_json, "customer_service.json")

PATIENCE = 3  # idle turns after which a customer hangs up
_MAX_TURNS = {"easy": 6, "default": 12, "hard": 16}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A reward: what an episode's success and failure, a turn, a violation and an errand pay.

    `scales_with_turns` multiplies success and failure by the turn limit.
    """

    success: float
    failure: float
    turn: float
    violation: float = 0.0
    errand: float = 0.0
    scales_with_turns: bool = False


PRESETS: Mapping[str, Preset] = {
    "suite": Preset(success=1.0, failure=0.0, turn=-0.02, violation=-0.5),
    # PyDial: Ultes et al. 2017, ACL demos; Casanueva et al. 2017, arXiv:1711.11023.
    "pydial": Preset(success=20.0, failure=0.0, turn=-1.0),
    # TC-Bot: Li et al. 2017, arXiv:1703.01008: +2L, -L, with L the turn limit.
    "tcbot": Preset(success=2.0, failure=-1.0, turn=-1.0, scales_with_turns=True),
    # ConvLab: Zhu et al. 2020, arXiv:2002.04793: +80, -40, +5 a completed domain.
    "convlab": Preset(success=80.0, failure=-40.0, turn=-1.0, errand=5.0),
}


@functools.cache
def _reader() -> Reader:
    return Reader(_data()["lexicon"], _data()["entities"])


@functools.cache
def _phrasebook(language: str, split: str) -> Phrasebook:
    return Phrasebook(_data()["phrases"][language], split)


@functools.cache
def _channel(tier_name: str) -> ErrorChannel:
    tier, entities = TIERS[tier_name], _data()["entities"]
    confusable = {
        "intent": tier.intents,
        "name": tuple(entities["name"]),
        "code": tuple(str(code) for code in range(10, 100)),
        "order": tuple(str(number) for number in range(1003, 10000, 101)),
        "street": tuple(entities["street"]),
        "problem": tuple(entities["problem"]),
    }
    return ErrorChannel(confusable, tier.slot_error, tier.intent_error)


class CustomerService(ChatEnv):
    """Serve a customer by the shop's policy.

    Args:
        tier: "easy", "default" or "hard".
        preset: name of the reward, a key of `PRESETS`.
        **kwargs: see `ChatEnv`; `max_turns` defaults to the tier's.

    Raises:
        ValueError: for an unknown tier or preset.

    >>> env = CustomerService(tier="easy", context_length=192, reply_length=12)
    >>> _ = env.reset(seed=0)
    >>> env.expert_reply().startswith("Your name and code")
    True
    """

    component_names = ("success", "turn_cost", "violation")
    metric_names = ("success", "turns", "violations", "unfounded_claims")

    def __init__(
        self, *, tier: str = "default", preset: str = "suite", **kwargs: Any
    ) -> None:
        for name, value, known in (("tier", tier, TIERS), ("preset", preset, PRESETS)):
            if value not in known:
                raise ValueError(
                    f"{name} must be one of {sorted(known)}, got {value!r}."
                )
        self._tier: Tier = TIERS[tier]
        self._preset = PRESETS[preset]
        self._reader = _reader()
        self._channel = _channel(tier)
        kwargs.setdefault("max_turns", _MAX_TURNS[tier])
        super().__init__(**kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        streams = split_streams(rng, 4)
        goal_rng, behaviour_rng, self._phrasing_rng, self._channel_rng = streams
        tier = self._tier
        self._phrasebook = _phrasebook(tier.language, self.split)
        self._scenario = draw_scenario(tier, _data()["entities"], self.split, goal_rng)
        self._customer = Customer(
            behaviour_rng, self._scenario.errands, tier.pop_weights, PATIENCE
        )
        self._num_violations = 0
        self._num_unfounded = 0
        self._num_errands_done = 0
        self._is_careless: bool | None = None
        self._clerk = self._hire(is_careful=True)
        rules = _data()["opening"][tier.language].format(
            turns=self.max_turns, limit=self._scenario.world.refund_limit
        )
        return [system(rules), user(self._say(self._customer.speak()))]

    def _say(self, acts: Sequence[Act]) -> str:
        heard = self._channel.transmit(acts, self._channel_rng) or [Act("silence")]
        constraints = self._customer.constraints
        fields = {"item": constraints["item"]}
        for act in heard:  # a customer with a second errand says another thing first
            if act.slot == "intent":
                fields["wish"] = _data()["wishes"][act.value]
        return self._phrasebook.phrase(heard, self._phrasing_rng, **fields)

    def _respond(self, reply: str) -> Turn:
        reading = self._reader.read(reply)
        num_before = self._num_violations
        if reading.has_promise and self._tier.forbids_dates:
            self._num_violations += 1
        if reading.action is not None:
            message = self._act(reading)
        else:
            message = self._answer(reading)
        ended, why = False, ""
        if self._customer.is_satisfied:
            ended, why = True, "goodbye"
        elif self._customer.is_impatient:
            ended, why = True, "hung_up"
            message = user(
                self._phrasebook.phrase([Act("hang_up")], self._phrasing_rng)
            )
        success = ended and self._is_success()
        return Turn(
            messages=[message],
            reward=self._reward(success, ended, self._num_violations - num_before),
            ended=ended,
            success=success,
            why="solved" if success else why,
            metrics={
                "success": float(success),
                "turns": float(self.turn),
                "violations": float(self._num_violations),
                "unfounded_claims": float(self._num_unfounded),
            },
        )

    def _act(self, reading: Reading) -> Message:
        """Do what the ACTION line says; the customer waits and hears nothing else."""
        assert reading.action is not None
        customer, world = self._customer, self._scenario.world
        result = world.apply(reading.action)
        self._num_violations += result.num_violations
        if result.text.startswith("no match"):
            customer.has_failed_check = True
        customer.has_record = customer.errand.target in world.checked
        customer.wait(result.has_progress)
        return system(result.text)

    def _answer(self, reading: Reading) -> Message:
        """Let the customer hear the reply and say something."""
        customer = self._customer
        self._num_unfounded += self._count_unfounded(reading.acts)
        customer.hear(reading.acts)
        if not reading.acts:
            acts = [Act("puzzled")]
        elif customer.is_satisfied and customer.begin_next():
            acts = [Act("next"), *customer.speak()]
        else:
            acts = customer.speak()
        return user(self._say(acts))

    def _count_unfounded(self, acts: Sequence[Act]) -> int:
        """Return how many claims contradict the records, or were made without looking."""
        errand, world = self._customer.errand, self._scenario.world
        order = world.find(errand.target)
        written = any(target == errand.target for target, _ in world.changes)
        count = 0
        for kind, slot, value in acts:
            if kind != "inform" or slot not in ("status", "amount", "outcome"):
                continue
            truth = {"status": order.status, "amount": order.price}.get(slot)
            if slot == "outcome":
                count += value == "done" and not written
            else:
                count += value != truth or not self._customer.has_record
        return count

    def _is_success(self) -> bool:
        has_goal_state = self._scenario.world.changes == self._scenario.goal
        return (
            has_goal_state
            and self._customer.has_true_facts
            and self._num_violations == 0
        )

    def _reward(
        self, success: bool, ended: bool, num_violations: int
    ) -> dict[str, float]:
        preset = self._preset
        scale = self.max_turns if preset.scales_with_turns else 1
        outcome = 0.0
        if ended or self.is_last_turn:
            outcome = scale * (preset.success if success else preset.failure)
        if preset.errand:
            num_done = self._customer.num_served
            outcome += preset.errand * (num_done - self._num_errands_done)
            self._num_errands_done = num_done
        return {
            "success": outcome,
            "turn_cost": preset.turn,
            "violation": preset.violation * num_violations,
        }

    # Scripted policies -----------------------------------------------------------------------

    def _hire(self, *, is_careful: bool) -> Clerk:
        """Return a clerk for this episode's shop."""
        return Clerk(
            self._reader,
            self._scenario.world,
            _data()["wishes"],
            is_terse=self._tier.language == "easy",
            is_careful=is_careful,
        )

    def expert_reply(self) -> str:
        """Return what a clerk says who keeps the policy and knows only the conversation."""
        return self._clerk.reply(self.conversation)

    def careless_reply(self, rng: np.random.Generator, probability: float = 0.6) -> str:
        """Return what a clerk with a systematic flaw says.

        It is the expert, except that with `probability`, decided at its first reply in an
        episode, it writes without verification. A language model that imitates such clerks is
        honestly mediocre, and can get better by reinforcement alone.

        Args:
            rng: decides whether this episode's clerk is careless.
            probability: how many clerks are.
        """
        if self._is_careless is None:
            self._is_careless = bool(rng.random() < probability)
        return self._hire(is_careful=not self._is_careless).reply(self.conversation)

    def blind_reply(self) -> str:
        """Return the best reply of one who reads nothing: to claim success ends most episodes."""
        return "It is done ."

    def candidate_replies(self) -> list[str]:
        """Return lines that sometimes are right."""
        target = self._tier.target_slot
        values = _data()["entities"]["item"] if target == "item" else ["1234"]
        lines = [
            f"ACTION {verb} {target} {value}"
            for verb in ("refund", "exchange", "cancel")
            for value in values
        ]
        statuses = [f"It is {status} ." for status in _data()["entities"]["status"]]
        return [*lines, *statuses, "Your refund is done .", "No refund ."]


make_vector = vector_entry_point(CustomerService)
