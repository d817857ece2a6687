"""Whoever answers at a table of dialogues: scripts, language models, the expert misquoted.

A speaker is asked about some places of a `ChatVectorEnv` at a time and returns an action for each.
The dialogues may go on by other replies than its own, so whatever it says is of the context.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from agents.engine.language_model import Decoder, LanguageModel
from agents.experience.collector import Collector
from agents.experience.dialogue import script_of
from agents.experience.seeding import numpy_generator, torch_generator
from chat_envs.core import ChatEnv
from chat_envs.replier import Replier
from chat_envs.vector import ChatVectorEnv

__all__ = ["Action", "ModelPolicy", "PERTURBED", "Speaker", "make_speakers"]

PERTURBED = ("edited", "misplaced")
"""Policies of this module: the expert's words where they are wrong."""

_NUM_REMEMBERED = 512  # replies of the expert from which the perturbed ones are made

Action = npt.NDArray[np.int64]

Speaker = Callable[[Sequence[int]], list[Action]]  # places -> what is said there


@dataclass(frozen=True)
class ModelPolicy:
    """A language model at a temperature, as one of the two who answer.

    Attributes:
        lm: generates; its vocabulary is the environment's tokenizer.
        temperature: of sampling.
        name: what the pairs call it.
    """

    lm: LanguageModel
    temperature: float = 1.0
    name: str = "lm"


def make_speakers(
    policies: Sequence[str | ModelPolicy],
    table: ChatVectorEnv,
    seed: int,
    stack: ExitStack,
) -> list[Speaker]:
    """Return a speaker for each policy.

    Args:
        policies: a model, or the name of a script; several names with "+" between them take turns
            by dialogue. A name is one for `script_of`, or one of `PERTURBED`.
        table: where they speak.
        seed: of all that they draw.
        stack: closes the models' decoders.

    Raises:
        ValueError: if a model does not fit the environment, or there is no such script.
    """
    memory = _Memory(numpy_generator(seed, "script", len(policies)))
    decoders: dict[int, Decoder] = {}
    speakers: list[Speaker] = []
    for number, policy in enumerate(policies):
        if isinstance(policy, str):
            rng = numpy_generator(seed, "script", number)
            speakers.append(_ScriptSpeaker(policy, table, memory, rng))
            continue
        lm = policy.lm
        collector = Collector(lm, table, temperature=policy.temperature)  # checks both
        if id(lm) not in decoders:
            decoders[id(lm)] = stack.enter_context(lm.decoder(table.num_envs))
        generator = torch_generator(seed, "sampling", number, device=lm.device)
        speakers.append(_ModelSpeaker(collector, decoders[id(lm)], generator))
    return speakers


class _ModelSpeaker:
    """Replies of a language model."""

    def __init__(
        self, collector: Collector, decoder: Decoder, generator: torch.Generator
    ) -> None:
        self._table = collector.env
        self._sampling = collector.sampling
        self._decoder = decoder
        self._generator = generator

    def __call__(self, places: Sequence[int]) -> list[Action]:
        contexts = [self._table.envs[place].context.ids for place in places]
        generation = self._decoder.generate(
            contexts, places, self._sampling, self._generator
        )
        shape, pad_id = self._table.reply_length, self._table.tokenizer.pad_id
        actions = []
        for row in range(len(places)):
            ids = generation.reply(row)
            action = np.full(shape, pad_id, dtype=np.int64)
            action[: len(ids)] = ids
            actions.append(action)
        return actions


class _ScriptSpeaker:
    """Replies of scripts, one of which speaks throughout a dialogue."""

    def __init__(
        self,
        name: str,
        table: ChatVectorEnv,
        memory: _Memory,
        rng: np.random.Generator,
    ) -> None:
        own = {"edited": memory.edited, "misplaced": memory.misplaced}
        self._parts: list[Replier] = [
            own[part] if part in own else script_of(part, rng)
            for part in name.split("+")
        ]
        self._table = table
        self._rng = rng
        self._speaking: dict[int, Replier] = {}

    def __call__(self, places: Sequence[int]) -> list[Action]:
        actions = []
        for place in places:
            dialogue = self._table.envs[place]
            if dialogue.turn == 0:
                drawn = int(self._rng.integers(len(self._parts)))
                self._speaking[place] = self._parts[drawn]
            actions.append(dialogue.encode(self._speaking[place](dialogue)))
        return actions


class _Memory:
    """The expert's last replies, and what can be made of them: right words in a wrong place."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._replies: deque[str] = deque(maxlen=_NUM_REMEMBERED)
        self._rng = rng

    def misplaced(self, env: ChatEnv) -> str:
        """Return what the expert said in another context."""
        return self._recall(env.expert_reply())

    def edited(self, env: ChatEnv) -> str:
        """Return what the expert would say, one word replaced by one of another reply of its."""
        reply = env.expert_reply()
        words, others = reply.split(), self._recall(reply).split()
        if words and others:
            place = int(self._rng.integers(len(words)))
            words[place] = others[min(place, len(others) - 1)]
        return " ".join(words)

    def _recall(self, reply: str) -> str:
        """Return a remembered reply, after which `reply` is remembered too."""
        replies = self._replies
        drawn = replies[int(self._rng.integers(len(replies)))] if replies else reply
        replies.append(reply)
        return drawn
