"""Clauses about tokens: append-only contexts, tokens in are tokens out, no forged roles."""

from __future__ import annotations

import numpy as np

from chat_envs.core import ChatEnv
from chat_envs.message import Message
from chat_envs.replier import REPLIERS, Replier
from chat_envs.testing.subject import Subject, require
from chat_envs.testing.trajectory import as_ids, mixed_reply

__all__ = ["check_append_only", "check_roles", "check_tokens_kept"]

_NUM_EPISODES = 6
_FORGERIES: tuple[Replier, ...] = (
    mixed_reply,
    REPLIERS["special_tokens"],
    REPLIERS["fake_user"],
    REPLIERS["expert"],
)


def check_append_only(subject: Subject) -> None:
    """A context only grows: no id and no mask bit of the past is ever written again."""
    env = subject.make()
    for seed in range(_NUM_EPISODES):
        observation, info = env.reset(seed=seed)
        is_over = False
        past_ids, past_mask = np.zeros(0, np.int64), np.zeros(0, np.int8)
        while True:
            num_ids = int(observation["attention_mask"].sum())
            ids, mask = (
                observation["input_ids"][:num_ids],
                info["action_mask"][:num_ids],
            )
            length = len(past_ids)
            where = f"at turn {env.turn} of seed {seed}"
            require(
                np.array_equal(ids[:length], past_ids),
                f"The ids of earlier turns changed {where}: a context may only be appended to.",
            )
            require(
                np.array_equal(mask[:length], past_mask),
                f"action_mask of earlier turns changed {where}.",
            )
            require(
                np.array_equal(ids, env.context.ids)
                and np.array_equal(mask, env.context.action_mask),
                f"Observation and env.context differ {where}.",
            )
            require(
                not info["action_mask"][num_ids:].any(),
                f"action_mask marks padding {where}.",
            )
            if is_over:
                break
            past_ids, past_mask = ids.copy(), mask.copy()
            step = env.step(env.encode(mixed_reply(env)))
            observation, is_over, info = step[0], step[2] or step[3], step[4]


def check_tokens_kept(subject: Subject) -> None:
    """The ids of a reply enter the context unchanged, up to the first control id."""
    env = subject.make()
    rng = np.random.default_rng(15)
    control = env.tokenizer.control_ids
    stop = min(env.template.stop_ids)
    plain = np.array([i for i in range(len(env.tokenizer)) if i not in control])
    others = sorted(control - env.template.stop_ids)
    half = env.reply_length // 2
    # Random ids seldom survive decoding and encoding, so re-encoding is always seen.
    for end in [None, stop, *others]:
        env.reset(seed=int(rng.integers(100)))
        start = len(env.context)
        ids = rng.choice(plain, size=env.reply_length).tolist()
        if end is not None:
            ids[half] = end
        env.step(as_ids(ids, env.reply_length, 0))
        expected = ids if end is None else ids[:half] + ([stop] if end == stop else [])
        _require_reply(env, start, expected, end)


def _require_reply(
    env: ChatEnv, start: int, expected: list[int], end: int | None
) -> None:
    """Require that the agent's part of the context from `start` on is exactly `expected`."""
    ids, mask = env.context.ids[start:], env.context.action_mask[start:]
    kept = ids[: len(expected)].tolist()
    require(
        kept == expected,
        f"The reply {expected} entered the context as {kept}: tokens in must be tokens out, "
        "never decoded and encoded again.",
    )
    num_marked = int(mask.sum())
    require(
        num_marked == len(expected) and bool(mask[: len(expected)].all()),
        f"action_mask marks {num_marked} ids for a reply of {len(expected)} (ended by control "
        f"id {end}); it must mark exactly the agent's.",
    )


def check_roles(subject: Subject) -> None:
    """No text forges a role: special tokens in replies and in echoed text stay plain text."""
    env = subject.make()
    control = env.tokenizer.control_ids
    for replier in _FORGERIES:
        env.reset(seed=16)
        is_over = False
        while not is_over:
            start, num_messages = len(env.context), len(env.conversation)
            step = env.step(env.encode(replier(env)))
            is_over = step[2] or step[3]
            ids, mask = env.context.ids[start:], env.context.action_mask[start:]
            agent = ids[mask == 1].tolist()
            require(
                not any(token in control for token in agent[:-1]),
                f"The agent's ids {agent} hold a control id before their end at turn {env.turn}.",
            )
            if step[3]:  # a truncated turn leaves its messages out
                break
            said = env.conversation.messages[num_messages + 1 :]
            blank = [Message(message.role, "x") for message in said]
            expected = env.template.extension(blank, invite=not step[2])
            closing = env.template.closing(
                agent[-1] if agent and agent[-1] in control else None
            )
            allowed = sum(i in control for i in [*closing, *expected])
            found = sum(i in control for i in ids[mask == 0].tolist())
            require(
                found == allowed,
                f"{found} control ids follow the reply of turn {env.turn}, {allowed} belong to "
                f"its {len(said)} messages: some text was read as control tokens.",
            )
