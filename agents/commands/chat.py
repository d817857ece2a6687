"""`chat-envs chat`: talk with a trained model, or watch it at work."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import gymnasium
import numpy as np
from rich.console import Console

from agents.commands.terminal import (
    BadInput,
    TerminalObserver,
    bad_input,
    command,
    printable,
    say,
)
from agents.commands.view import show_episode
from agents.engine.language_model import Decoder, LanguageModel, Sampling
from agents.engine.loading import ENGINES, MODEL_NAMES
from agents.evaluation import evaluate
from agents.experience.seeding import torch_generator
from agents.export import is_model_directory
from agents.tracking import find_run
from agents.train import RUNS, load_run
from agents.train_config import TrainConfig
from agents.transcript import describe_episode
from agents.warm_start import build_lm
from chat_envs.chat_template import load_template
from chat_envs.commands.argument import CommandParser
from chat_envs.core import ChatEnv
from chat_envs.message import Message, Role, system, user
from chat_envs.registration import find
from chat_envs.tokenizer import Tokenizer, load_tokenizer

__all__ = ["Conversation", "SUMMARY", "run"]

SUMMARY = "Talk with a model as its user, or watch it in an environment."
EXAMPLE = "chat-envs chat first    # or: chat-envs chat exported, chat-envs chat --lm smollm2-135m"


class Conversation:
    """One dialogue with a model: append-only ids, exactly as in an environment.

    Args:
        lm: replies.
        decoder: of `lm`, with one slot.
        tokenizer: the model's.
        opening: messages before the first of the user.
        sampling: how replies are drawn.
        seed: source of the draws.
    """

    def __init__(
        self,
        lm: LanguageModel,
        decoder: Decoder,
        tokenizer: Tokenizer,
        opening: Sequence[Message],
        sampling: Sampling,
        seed: int,
    ) -> None:
        self._lm, self._decoder, self._tokenizer = lm, decoder, tokenizer
        self._template = load_template(tokenizer)
        self._opening, self._sampling = list(opening), sampling
        self._generator = torch_generator(seed, "predict", 0, device=lm.device)
        self._ids: list[int] = []

    def reply(self, text: str) -> str:
        """Return the model's reply to what the user says.

        Raises:
            ValueError: the text alone is longer than the model's context.
        """
        if self._ids:
            new = self._template.extension([user(text)])
        else:
            new = self._template.opening([*self._opening, user(text)])
        room = self._lm.context_length - self._sampling.max_new_tokens
        if len(self._ids) + len(new) > room:
            if not self._ids:
                raise ValueError(
                    f"That is {len(new)} tokens; the model attends to {room} and a reply."
                )
            say("note: the dialogue has outgrown the model's context; it begins anew.")
            self._ids = []
            return self.reply(text)
        self._ids += new
        context = np.array(self._ids, dtype=np.int64)
        generation = self._decoder.generate(
            [context], [0], self._sampling, self._generator
        )
        ids = generation.reply(0).tolist()
        self._ids += ids
        stop_id = ids[-1] if ids and ids[-1] in self._template.stop_ids else None
        self._ids += self._template.closing(stop_id)
        return self._tokenizer.decode(ids if stop_id is None else ids[:-1])


@command
def run(argv: Sequence[str]) -> int:
    """Carry out the command; return its exit code."""
    arguments = _parse(argv)
    with bad_input():
        config, lm = _load(arguments)
        if arguments.max_tokens >= lm.context_length and not arguments.watch:
            raise BadInput(
                f"--max-tokens {arguments.max_tokens} leaves nothing for the dialogue: {lm.name} "
                f"attends to {lm.context_length} tokens, the reply's among them."
            )
        tokenizer = load_tokenizer(config.full_env_kwargs()["tokenizer"])
    if arguments.watch:
        _watch(lm, config, arguments)
        return 0
    opening = (
        [system(arguments.system)] if arguments.system else _opening(config, arguments)
    )
    template = load_template(tokenizer)
    lm.forbid(sorted(tokenizer.control_ids - template.stop_ids))
    sampling = Sampling(
        max_new_tokens=arguments.max_tokens,
        stop_ids=template.stop_ids,
        temperature=arguments.temperature,
        is_greedy=arguments.greedy,
    )
    with lm.decoder(1) as decoder:
        conversation = Conversation(
            lm, decoder, tokenizer, opening, sampling, arguments.seed
        )
        _talk(conversation, opening)
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("chat", SUMMARY, EXAMPLE)
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="?",
        help="name or path of a run, or directory of a model",
    )
    parser.add_argument("--lm", help=f"{', '.join(MODEL_NAMES)}, or a directory")
    parser.add_argument(
        "--env",
        metavar="ID",
        nargs="?",
        const="",
        help="watch it in this environment (without ID: the run's own) instead of talking",
    )
    parser.add_argument("--episodes", type=int, default=2, help="to watch (default 2)")
    parser.add_argument("--system", default="", help="first message, the system's")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    parser.add_argument("--temperature", type=float, default=1.0, help="default 1")
    parser.add_argument(
        "--greedy", action="store_true", help="take the likeliest tokens"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=96, help="of a reply (default 96)"
    )
    parser.add_argument("--engine", choices=ENGINES, default="auto")
    arguments = parser.parse(argv)
    if (arguments.run is None) == (arguments.lm is None):
        parser.error("name one of: a RUN, --lm NAME.")
    if arguments.run is not None and is_model_directory(Path(arguments.run)):
        arguments.lm, arguments.run = arguments.run, None
    arguments.watch = arguments.env is not None
    if arguments.watch and arguments.lm is not None and not arguments.env:
        parser.error(
            "--env needs an ID here; only a RUN has an environment of its own."
        )
    if arguments.max_tokens < 1 or arguments.seed < 0 or not arguments.temperature > 0:
        parser.error(
            "--max-tokens and --temperature must be above 0, --seed at least 0."
        )
    if arguments.episodes < 2:
        parser.error(f"--episodes must be at least 2, got {arguments.episodes}.")
    return arguments


def _load(arguments: argparse.Namespace) -> tuple[TrainConfig, LanguageModel]:
    if arguments.run is None:
        values = {"env": arguments.env} if arguments.env else {}
        config = TrainConfig(lm=arguments.lm, engine=arguments.engine, **values)
        return config, build_lm(config)
    path = find_run(arguments.run, RUNS)
    with TerminalObserver() as observer:
        config, lm, _ = load_run(path, engine=arguments.engine, observer=observer)
    return config, lm


def _opening(config: TrainConfig, arguments: argparse.Namespace) -> list[Message]:
    """Return the system messages of the run's environment: what the model has learned to read."""
    if arguments.run is None:
        return []
    env = gymnasium.make(config.env, **config.full_env_kwargs()).unwrapped
    assert isinstance(env, ChatEnv)
    env.reset(seed=arguments.seed)
    messages = env.conversation.messages
    return [message for message in messages if message.role is Role.SYSTEM]


def _watch(
    lm: LanguageModel, config: TrainConfig, arguments: argparse.Namespace
) -> None:
    """Print a few episodes on held-out goals."""
    kwargs = config.full_env_kwargs()
    env = find(arguments.env).id if arguments.env else config.env
    if env != config.env:
        kwargs = {"tokenizer": kwargs["tokenizer"]}
    result = evaluate(
        lm,
        env,
        num_episodes=arguments.episodes,
        seed=arguments.seed,
        temperature=arguments.temperature,
        is_greedy=arguments.greedy,
        env_kwargs=kwargs,
    )
    console = Console(highlight=False, soft_wrap=True)
    for episode in result.rollout:
        show_episode(describe_episode(episode), console)


def _talk(conversation: Conversation, opening: Sequence[Message]) -> None:
    """Read lines of the user until the input ends or a line says /quit."""
    is_terminal = sys.stdin.isatty()
    for message in opening:
        say(f"{message.role.value}: {message.content}")
    if is_terminal:
        say("You are the user. An empty line is sent too; /quit or Ctrl-D ends.")
    while True:
        try:
            text = input("you> " if is_terminal else "")
        except EOFError:
            return
        if text.strip() == "/quit":
            return
        try:
            print(f"model> {printable(conversation.reply(text))}", flush=True)
        except ValueError as error:
            say(f"note: {error}")
