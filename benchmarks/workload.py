"""What is generated and trained on: prompts, reply lengths, dialogues; a function of a seed.

A `Plan` says, turn by turn, which ids are new in each row's context and how long its reply is. In
`fixed` every reply has its full length. In `varied` and `turns` the lengths are those of scripted
clerks in a customer service environment, and the last id of each context tells a countdown model
(`benchmarks.shape`) how long its reply shall be: the same for us and for every peer.

Shape legend: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from agents.engine.language_model import Generation, LanguageModel, TokenBatch
from agents.experience.dialogue import make_env, play_script, script_of
from agents.experience.rollout import Episode, Rollout
from agents.experience.seeding import numpy_generator
from benchmarks.shape import Shape, countdown_id

__all__ = [
    "Plan",
    "STOP_ID",
    "ScriptedDialogue",
    "fixed_plan",
    "log_prob_gap",
    "make_rollout",
    "scripted_dialogues",
    "turns_plan",
    "varied_plan",
]

STOP_ID = countdown_id(0)
LENGTHS_ENV = "chat_envs/CustomerService-easy-v0"
SCRIPTS = ("expert", "careless")
_NUM_SCRIPTED = 64  # dialogues of each script in the table
_NUM_TURNS = 4
_FIRST_PLAIN_ID = 128  # below are ids that a countdown may pass through

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ScriptedDialogue:
    """The lengths of one dialogue, in tokens.

    Attributes:
        replies: of each reply, the stop id included.
        heard: what the agent reads before each of them: the opening, then the user's answers.
    """

    replies: tuple[int, ...]
    heard: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What every side generates.

    Attributes:
        name: "fixed", "varied" or "turns".
        news: [turn][row], ids that are appended to the row's context before its reply.
        lengths: (turns, N) int64, tokens that each reply has, the stop id included.
        stop_ids: ids that end a reply; none where replies have their full length.
    """

    name: str
    news: tuple[tuple[Ids, ...], ...]
    lengths: Ids
    stop_ids: frozenset[int]

    @property
    def num_rows(self) -> int:
        """N."""
        return int(self.lengths.shape[1])

    @property
    def num_tokens(self) -> int:
        """Tokens that are generated."""
        return int(self.lengths.sum())

    @property
    def max_new_tokens(self) -> int:
        """The longest reply."""
        return int(self.lengths.max())

    @property
    def longest(self) -> int:
        """Tokens of the longest dialogue."""
        heard = sum(np.array([len(new) for new in turn]) for turn in self.news)
        return int((heard + self.lengths.sum(0)).max())


def scripted_dialogues(env_id: str = LENGTHS_ENV) -> list[ScriptedDialogue]:
    """Return the lengths of dialogues that an expert and a careless clerk had; no seed is free."""
    dialogues = []
    for script in SCRIPTS:
        env = make_env(env_id, _NUM_SCRIPTED)
        rng = numpy_generator(0, "script")
        for episode in play_script(env, range(_NUM_SCRIPTED), script_of(script, rng)):
            begins = np.flatnonzero(np.diff(episode.turn_index, prepend=-1) > 0)
            ends = np.concatenate([[0], (begins + episode.reply_lengths)[:-1]])
            dialogues.append(
                ScriptedDialogue(
                    tuple(episode.reply_lengths.tolist()),
                    tuple((begins - ends).tolist()),
                )
            )
    return dialogues


def fixed_plan(shape: Shape, seed: int) -> Plan:
    """Return replies of full length; the rows of a group have one prompt."""
    rng = np.random.default_rng(seed)
    prompts = _openings(shape, [shape.prompt_length] * shape.num_rows, rng)
    lengths = np.full((1, shape.num_rows), shape.reply_length)
    return Plan("fixed", (tuple(prompts),), lengths, frozenset())


def varied_plan(shape: Shape, seed: int, env_id: str = LENGTHS_ENV) -> Plan:
    """Return replies as long as scripted ones; a group's prompts differ in their last id alone."""
    rng = np.random.default_rng(seed)
    table = [n for dialogue in scripted_dialogues(env_id) for n in dialogue.replies]
    lengths = rng.choice(table, size=(1, shape.num_rows))
    prompts = _openings(shape, [shape.prompt_length] * shape.num_rows, rng)
    return Plan("varied", (_ask(prompts, lengths[0]),), lengths, frozenset([STOP_ID]))


def turns_plan(shape: Shape, seed: int, env_id: str = LENGTHS_ENV) -> Plan:
    """Return four turns, each row's lengths those of a scripted dialogue that has as many."""
    rng = np.random.default_rng(seed)
    table = [d for d in scripted_dialogues(env_id) if len(d.replies) >= _NUM_TURNS]
    rows = [table[i] for i in rng.integers(len(table), size=shape.num_rows)]
    lengths = np.array([row.replies[:_NUM_TURNS] for row in rows]).T
    # A group shares its opening, so it shares the opening's length.
    opening = [rows[n - n % shape.group_size].heard[0] for n in range(len(rows))]
    news = [_ask(_openings(shape, opening, rng), lengths[0])]
    for turn in range(1, _NUM_TURNS):
        heard = [_plain_ids(shape, row.heard[turn], rng) for row in rows]
        news.append(_ask(heard, lengths[turn]))
    return Plan("turns", tuple(news), lengths, frozenset([STOP_ID]))


def _plain_ids(shape: Shape, length: int, rng: np.random.Generator) -> Ids:
    return rng.integers(_FIRST_PLAIN_ID, shape.fields["vocab_size"], size=length)


def _openings(
    shape: Shape, lengths: Sequence[int], rng: np.random.Generator
) -> list[Ids]:
    """Return one opening a row, the same array of ids throughout a group."""
    openings: list[Ids] = []
    for row, length in enumerate(lengths):
        is_first = row % shape.group_size == 0
        openings.append(_plain_ids(shape, length, rng) if is_first else openings[-1])
    return openings


def _ask(news: Sequence[Ids], lengths: Ids) -> tuple[Ids, ...]:
    """Return the same ids, the last of each replaced by what asks for its reply's length."""
    asked = []
    for new, length in zip(news, lengths.tolist(), strict=True):
        if length >= _FIRST_PLAIN_ID:
            raise ValueError(
                f"A reply of {length} tokens is longer than a countdown goes "
                f"({_FIRST_PLAIN_ID - 1}); take an environment with shorter replies."
            )
        asked.append(np.append(new[:-1], countdown_id(length)))
    return tuple(asked)


def make_rollout(
    contexts: Sequence[Ids],
    generation: Generation,
    group_size: int,
    rewards: npt.NDArray[np.float64],
) -> Rollout:
    """Return one-turn episodes of what was generated.

    Args:
        contexts: N prompts.
        generation: a reply to each.
        group_size: neighbours that form a group.
        rewards: (N,).
    """
    episodes = []
    for row, context in enumerate(contexts):
        reply = generation.reply(row)
        log_probs = np.zeros(len(context) + len(reply), dtype=np.float32)
        log_probs[len(context) :] = generation.log_probs[row, : len(reply)]
        is_action = np.arange(len(log_probs)) >= len(context)
        episodes.append(
            Episode(
                seed=row // group_size,
                group=row // group_size,
                ids=np.concatenate([context, reply]),
                action_mask=is_action,
                log_probs=log_probs,
                turn_index=np.where(is_action, 0, -1),
                rewards=rewards[row : row + 1],
                reward_valid=np.array([True]),
                terminated=True,
                truncated=False,
                success=False,
                reply_lengths=np.array([len(reply)]),
                reply_cut=~generation.finished[row : row + 1],
            )
        )
    return Rollout(episodes)


def log_prob_gap(
    lm: LanguageModel, contexts: Sequence[Ids], generation: Generation
) -> tuple[float, float]:
    """Return mean and largest |log p of the decoder - log p of the trainer| over all tokens."""
    rewards = np.zeros(len(contexts))
    rollout = make_rollout(contexts, generation, 1, rewards)
    batch: TokenBatch = rollout.token_batch(np.arange(len(rollout)), lm.device)
    with torch.no_grad():
        log_probs = lm.evaluate(batch).log_probs[batch.action_mask].cpu().numpy()
    sampled = np.concatenate([e.log_probs[e.action_mask] for e in rollout])
    gap = np.abs(log_probs - sampled)
    return float(gap.mean()), float(gap.max())
