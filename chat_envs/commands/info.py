"""Describe one environment: spaces, keywords, limits, anchors and a sample opening."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Sequence

import gymnasium

from chat_envs import anchors
from chat_envs.commands.argument import (
    CommandParser,
    print_json,
    read_registration,
    read_seed,
)
from chat_envs.core import ChatEnv
from chat_envs.keyword import keywords
from chat_envs.registration import Registration
from chat_envs.reward.registry import PROXY

__all__ = ["describe", "run"]


def run(argv: Sequence[str]) -> int:
    """Print what is known about one id."""
    parser = CommandParser(
        "info", "Describe one environment.", "chat-envs info CustomerService-easy-v0"
    )
    parser.add_argument(
        "registration", metavar="ID", type=read_registration, help="a registered id"
    )
    parser.add_argument(
        "--seed", type=read_seed, default=0, help="of the sample opening"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse(argv)
    facts = describe(arguments.registration, arguments.seed)
    if arguments.json:
        print_json(facts)
        return 0
    opening = facts.pop("opening")
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:{width}}  {_as_text(fact)}")
    print(f"\nopening of seed {arguments.seed}")
    for message in opening:
        print(f"  {message['role']}: {message['content']}")
    return 0


def describe(registration: Registration, seed: int) -> dict[str, Any]:
    """Return what is known about an environment, as plain JSON values."""
    env = gymnasium.make(registration.id, disable_env_checker=True)
    chat_env = env.unwrapped
    assert isinstance(chat_env, ChatEnv), registration.entry_point
    env.reset(seed=seed)
    ids = f"ids in [0, {len(chat_env.tokenizer)}), int64"
    length = chat_env.context_length
    facts: dict[str, Any] = {
        "id": registration.id,
        "summary": registration.summary,
        "tier": registration.tier,
        "tags": list(registration.tags),
        "entry_point": registration.entry_point,
        "kwargs": dict(registration.kwargs),
        "keywords": keywords(type(chat_env)),
        "max_turns": chat_env.max_turns,
        "observation_space": {
            "input_ids": f"{ids} ({length},)",
            "attention_mask": f"0 or 1, int8 ({length},)",
        },
        "action_space": f"{ids} ({chat_env.reply_length},)",
        "reward_components": list(chat_env.scorer.component_names),
        "rewards": ["gold", *(f"{PROXY}{name}" for name in chat_env.proxies)],
        "metrics": list(chat_env.metric_names),
        "anchors": _anchors(registration.id),
        "docs": _page(registration),
        "opening": [message.as_dict() for message in chat_env.conversation],
    }
    env.close()
    return facts


def _anchors(env_id: str) -> dict[str, Any] | None:
    try:
        return asdict(anchors.load(env_id))
    except LookupError:
        return None


def _page(registration: Registration) -> str | None:
    """Return where the documentation of one of the suite's own environments stands."""
    module = registration.entry_point.partition(":")[0]
    if not module.startswith("chat_envs.envs."):
        return None
    return f"docs/environments/{module.rpartition('.')[2]}.md"


def _as_text(fact: Any) -> str:
    if isinstance(fact, dict):
        return (
            ", ".join(f"{key}={_as_text(value)}" for key, value in fact.items()) or "-"
        )
    if isinstance(fact, list):
        return ", ".join(map(str, fact)) or "-"
    return "-" if fact is None or fact == "" else str(fact)
