"""The collector: a language model plays whole episodes, reproducibly.

Where several processes train together, each plays whole groups of its own, with noise of its own,
and gets the others' episodes afterwards.
"""

from __future__ import annotations

import time
from typing import Any, Mapping, Sequence

import torch

from agents.engine import process_group
from agents.engine.language_model import Decoder, LanguageModel, Sampling
from agents.experience.dialogue import Progress, Reply, make_env, play
from agents.experience.exchange import gather_episodes
from agents.experience.rollout import Rollout
from agents.experience.seeding import episode_seed, torch_generator
from chat_envs.vector import ChatVectorEnv

__all__ = ["Collector"]


class Collector:
    """Plays whole episodes with a language model; every draw is a function of (seed, iteration).

    Args:
        lm: generates on its training weights.
        env: the id of a chat environment, or a `ChatVectorEnv` with autoreset disabled.
        num_envs: dialogues at a time, in each process.
        group_size: episodes that share one environment seed.
        temperature: of sampling.
        max_reply_tokens: None takes the environment's reply length.
        seed: with the iteration, source of all randomness.
        env_kwargs: keywords of the environment.

    Raises:
        ValueError: if the environment's contexts or vocabulary do not fit the model.
    """

    def __init__(
        self,
        lm: LanguageModel,
        env: str | ChatVectorEnv,
        *,
        num_envs: int = 32,
        group_size: int = 1,
        temperature: float = 1.0,
        max_reply_tokens: int | None = None,
        seed: int = 0,
        env_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.lm = lm
        self.env = make_env(env, num_envs, **(env_kwargs or {}))
        self.group_size = group_size
        self.seed = seed
        # Of all that was played so far; measurements, never inputs.
        self.generation_seconds = 0.0
        self.num_turns = 0
        self.num_tokens = 0
        if self.env.context_length > lm.context_length:
            raise ValueError(
                f"The environment's contexts reach {self.env.context_length} tokens, the model "
                f"{lm.name!r} attends to {lm.context_length}: lower context_length."
            )
        if len(self.env.tokenizer) != lm.vocab_size:
            raise ValueError(
                f"The environment's tokenizer {self.env.tokenizer.name!r} has "
                f"{len(self.env.tokenizer)} entries, the model {lm.name!r} {lm.vocab_size}: give "
                "the environment the model's tokenizer."
            )
        limit = self.env.reply_length
        if max_reply_tokens is not None and not 1 <= max_reply_tokens <= limit:
            raise ValueError(
                f"max_reply_tokens must lie in [1, {limit}] (the environment's reply_length), got "
                f"{max_reply_tokens}."
            )
        self.sampling = Sampling(
            max_new_tokens=limit if max_reply_tokens is None else max_reply_tokens,
            stop_ids=self.env.template.stop_ids,
            temperature=temperature,
        )
        self.needs_groups = getattr(self.env.scorer, "needs_groups", False)
        if self.needs_groups and group_size > self.env.num_envs:
            raise ValueError(
                f"The reward sees whole groups, of group_size={group_size}, but only num_envs="
                f"{self.env.num_envs} dialogues are held at a time: raise num_envs."
            )
        # The environment drops a control id that ends nothing; the model must not produce it.
        lm.forbid(sorted(self.env.tokenizer.control_ids - self.env.template.stop_ids))

    def collect(
        self,
        num_episodes: int,
        iteration: int,
        *,
        sampling: Sampling | None = None,
        group_size: int | None = None,
        first_group: int = 0,
        draw: int = 0,
    ) -> Rollout:
        """Return `num_episodes` whole episodes, group by group.

        Args:
            num_episodes: a multiple of the group size.
            iteration: counter from which seeds and draws are derived.
            sampling: None takes the collector's.
            group_size: None takes the collector's; group g has the same seed whatever its size.
            first_group: number of the first group.
            draw: as for `play`.

        Raises:
            ValueError: if the episodes do not fill their groups.
        """
        size = self.group_size if group_size is None else group_size
        if num_episodes < 1 or size < 1 or num_episodes % size:
            raise ValueError(
                f"num_episodes must be a positive multiple of group_size={size}, got "
                f"{num_episodes}."
            )
        groups = [first_group + number // size for number in range(num_episodes)]
        seeds = [episode_seed(self.seed, iteration, group) for group in groups]
        chosen = self.sampling if sampling is None else sampling
        return self.play(seeds, groups, iteration, chosen, draw=draw)

    def play(
        self,
        seeds: Sequence[int],
        groups: Sequence[int],
        iteration: int,
        sampling: Sampling,
        progress: Progress | None = None,
        *,
        draw: int = 0,
    ) -> Rollout:
        """Return one episode for each of the given seeds.

        Args:
            seeds: of the episodes.
            groups: of the episodes; a group is played by one process.
            iteration: counter from which draws are derived.
            sampling: how tokens are chosen.
            progress: as for `dialogue.play`.
            draw: counts what is sampled within one iteration, so that a second time is another.
        """
        rank, size = process_group.place()
        numbers = [n for n, group in enumerate(groups) if group % size == rank]
        generator = self._generator(iteration, draw)

        def reply(places: Sequence[int]) -> list[Reply]:
            contexts = self.env.contexts()
            began = time.perf_counter()
            generation = decoder.generate(
                [contexts[i].ids for i in places], places, sampling, generator
            )
            self.generation_seconds += time.perf_counter() - began
            return [
                Reply(
                    generation.reply(row),
                    generation.log_probs[row, : generation.lengths[row]],
                    not generation.finished[row],
                )
                for row in range(len(places))
            ]

        def report(num_over: int) -> None:
            if progress is not None:  # the others are about as far
                progress(num_over * len(seeds) // len(numbers))

        decoder: Decoder
        with self.lm.decoder(self.env.num_envs) as decoder:
            episodes = play(
                self.env,
                [seeds[n] for n in numbers],
                [groups[n] for n in numbers],
                reply,
                report,
                num_together=self.group_size if self.needs_groups else 1,
            )
        everything = gather_episodes(dict(zip(numbers, episodes, strict=True)))
        rollout = Rollout([everything[n] for n in range(len(seeds))])
        self.count(rollout)
        return rollout

    def _generator(self, iteration: int, draw: int) -> torch.Generator:
        """Return this process's source of sampling; the first draws what it draws alone."""
        rank, _ = process_group.place()
        stream = ("refill", iteration, draw) if draw else ("sampling", iteration)
        return torch_generator(
            self.seed, *stream, *([rank] if rank else []), device=self.lm.device
        )

    def count(self, rollout: Rollout) -> None:
        """Add the turns and the reply tokens of a rollout, of all processes, to the counters."""
        self.num_turns += int(rollout.num_turns.sum())
        self.num_tokens += int(sum(e.reply_lengths.sum() for e in rollout))
