"""Play an environment yourself: type the agent's replies."""

from __future__ import annotations

from typing import Any, Sequence

import gymnasium

from chat_envs import anchors
from chat_envs.commands.argument import CommandParser, read_registration, read_seed
from chat_envs.core import SPLITS, ChatEnv
from chat_envs.message import Message

__all__ = ["run"]

_PROMPT = "you> "


def run(argv: Sequence[str]) -> int:
    """Play one episode with a person; the end of the input ends it early."""
    parser = CommandParser(
        "play",
        "Type the agent's replies. The end of the input (Ctrl-D) stops.",
        "chat-envs play CustomerService-easy-v0 --seed 3",
    )
    parser.add_argument(
        "registration", metavar="ID", type=read_registration, help="a registered id"
    )
    parser.add_argument(
        "--seed", type=read_seed, default=0, help="of the episode (default 0)"
    )
    parser.add_argument(
        "--split", choices=SPLITS, default="train", help="which goals (default train)"
    )
    parser.add_argument(
        "--tokenizer",
        default="builtin",
        help="'builtin', 'smollm2-135m' or a directory",
    )
    arguments = parser.parse(argv)
    try:
        env = gymnasium.make(
            arguments.registration.id,
            disable_env_checker=True,
            split=arguments.split,
            tokenizer=arguments.tokenizer,
        )
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    try:
        _play(env, arguments.registration.id, arguments.seed)
    except EOFError:
        print("\n(stopped)")
    env.close()
    return 0


def _play(env: gymnasium.Env[Any, Any], env_id: str, seed: int) -> None:
    chat_env = env.unwrapped
    assert isinstance(chat_env, ChatEnv), env_id
    env.reset(seed=seed)
    _print_messages(chat_env.conversation.messages)
    earned, is_over = 0.0, False
    info: dict[str, Any] = {}
    while not is_over:
        typed = input(_PROMPT)
        num_messages = len(chat_env.conversation) + 1  # the reply was just typed
        _, reward, terminated, truncated, info = env.step(chat_env.encode(typed))
        if info["reply_text"] != typed:
            print(f"  (read as {info['reply_text']!r})")
        _print_messages(chat_env.conversation.messages[num_messages:])
        earned += float(reward)
        parts = ", ".join(f"{k} {v:+g}" for k, v in info["reward_components"].items())
        print(f"  turn {info['turn']}: reward {reward:+g} ({parts})")
        is_over = terminated or truncated
    outcome = "success" if info["success"] else "no success"
    print(f"{outcome}: {info['termination_reason']}. Return {earned:+g}", end="")
    try:
        score = anchors.normalised_score(env_id, earned, chat_env.split)
    except LookupError:
        print(".")  # no anchors, no score
    else:
        print(f", normalised score {score:.2f} (0 blind, 1 expert).")


def _print_messages(messages: Sequence[Message]) -> None:
    for message in messages:
        print(f"{message.role.value}: {message.content}")
