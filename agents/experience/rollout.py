"""Episodes as frozen records, and the two token axes on which they are trained.

A dialogue has many tokens, of which the agent wrote few. The model reads the *sequence* axis S; the
objective lives on the *action* axis K, which holds the agent's tokens alone, in order.

Shape legend: N episodes of a rollout, B of them in a batch, S tokens, T turns, K action tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from agents.engine.language_model import TokenBatch

__all__ = ["ActionTokens", "Episode", "Rollout", "gather_actions", "scatter_actions"]


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One whole dialogue, exactly as the environment and the sampler saw it.

    Attributes:
        seed: of the environment's reset.
        group: episodes of one group were reset with one seed.
        ids: (S,) int64, the environment's final context.
        action_mask: (S,) bool, True where the agent wrote the id.
        log_probs: (S,) float32, the sampler's; 0 off the mask.
        turn_index: (S,) int64, the turn of each of the agent's tokens; -1 off the mask.
        rewards: (T,) float64.
        reward_valid: (T,) bool, False where the reward could not be computed.
        reward_components: name -> (T,) float64.
        gold_rewards: (T,) float64, the task's own, whatever was paid; empty where nobody noted it.
        terminated: whether the task ended.
        truncated: whether an outer limit ended the episode.
        success: whether the task was solved.
        termination_reason: the environment's word for why it ended.
        metrics: the environment's own, at the end.
        messages: the transcript, as role/content dictionaries.
        reply_lengths: (T,) int64, tokens of each reply, the stop id included.
        reply_cut: (T,) bool, whether the reply was cut before a stop id.
    """

    seed: int
    group: int
    ids: npt.NDArray[np.int64]
    action_mask: npt.NDArray[np.bool_]
    log_probs: npt.NDArray[np.float32]
    turn_index: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float64]
    reward_valid: npt.NDArray[np.bool_]
    terminated: bool
    truncated: bool
    success: bool
    termination_reason: str = ""
    reward_components: Mapping[str, npt.NDArray[np.float64]] = field(
        default_factory=dict
    )
    gold_rewards: npt.NDArray[np.float64] = field(
        default_factory=lambda: np.zeros(0, dtype=np.float64)
    )
    metrics: Mapping[str, float] = field(default_factory=dict)
    messages: Sequence[Mapping[str, str]] = ()
    reply_lengths: npt.NDArray[np.int64]
    reply_cut: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        for name in ("action_mask", "log_probs", "turn_index"):
            if getattr(self, name).shape != self.ids.shape:
                raise ValueError(
                    f"Episode.{name} has shape {getattr(self, name).shape}; it must be aligned "
                    f"with ids {self.ids.shape}."
                )
        turns = self.turn_index[self.action_mask]
        if not np.array_equal(np.unique(turns), np.arange(self.num_turns)):
            raise ValueError(
                f"The agent's tokens belong to turns {np.unique(turns).tolist()}, but the episode "
                f"has {self.num_turns} rewards: every turn needs at least one token of the agent."
            )
        if (np.diff(turns) < 0).any():
            raise ValueError("turn_index must not decrease along the dialogue.")

    @property
    def num_turns(self) -> int:
        """T, the turns of the episode."""
        return len(self.rewards)

    @property
    def is_known(self) -> bool:
        """Whether every reward could be computed, so that the return is known."""
        return bool(self.reward_valid.all())

    @property
    def total_reward(self) -> float:
        """The undiscounted return; NaN where a reward is unknown (never a silent 0)."""
        return float(self.rewards.sum()) if self.is_known else float("nan")

    @property
    def total_gold(self) -> float:
        """The undiscounted gold return; NaN where it was not noted."""
        is_noted = len(self.gold_rewards) == self.num_turns
        return float(self.gold_rewards.sum()) if is_noted else float("nan")


@dataclass(frozen=True)
class ActionTokens:
    """The action axis of a set of episodes.

    Attributes:
        positions: (B, K) int64, where each token stands on the sequence axis; 0 past the end.
        mask: (B, K) bool, True on real tokens.
        log_probs: (B, K) float32, the sampler's.
        turn: (B, K) int64, turn of each token; 0 past the end (see `mask`).
        is_turn_end: (B, K) bool, True on the last token of each turn.
        lengths: (B,) int64, action tokens of each episode.
    """

    positions: torch.Tensor
    mask: torch.Tensor
    log_probs: torch.Tensor
    turn: torch.Tensor
    is_turn_end: torch.Tensor
    lengths: torch.Tensor

    def rows(self, rows: npt.NDArray[np.int64]) -> ActionTokens:
        """Return the action axis of some of the episodes, cut to their own longest."""
        index = torch.as_tensor(rows, device=self.mask.device)
        lengths = self.lengths[index]
        longest = int(lengths.max())
        return ActionTokens(
            positions=self.positions[index, :longest],
            mask=self.mask[index, :longest],
            log_probs=self.log_probs[index, :longest],
            turn=self.turn[index, :longest],
            is_turn_end=self.is_turn_end[index, :longest],
            lengths=lengths,
        )

    def from_turns(self, values_BT: torch.Tensor) -> torch.Tensor:
        """Return (B, K): the value of its turn at every action token; 0 (False) past the end."""
        spread_BK = values_BT.gather(1, self.turn)
        return torch.where(self.mask, spread_BK, torch.zeros_like(spread_BK))

    def sum_turns(self, values_BK: torch.Tensor, num_turns: int) -> torch.Tensor:
        """Return (B, T): the sum of `values_BK` over the tokens of each turn."""
        clean_BK = torch.where(self.mask, values_BK, torch.zeros_like(values_BK))
        sums_BT = values_BK.new_zeros(len(values_BK), num_turns)
        return sums_BT.scatter_add(1, self.turn, clean_BK)


def gather_actions(
    values_BS: torch.Tensor, actions: ActionTokens, shift: int = 0
) -> torch.Tensor:
    """Return (B, K): `values_BS` at the action tokens (`shift` tokens before them), 0 past the end.

    >>> actions = Rollout([_example()]).actions(torch.device("cpu"))
    >>> gather_actions(torch.tensor([[5.0, 6.0, 7.0, 8.0]]), actions).tolist()
    [[6.0, 8.0]]
    >>> gather_actions(torch.tensor([[5.0, 6.0, 7.0, 8.0]]), actions, shift=-1).tolist()
    [[5.0, 7.0]]
    """
    gathered_BK = values_BS.gather(1, (actions.positions + shift).clamp(min=0))
    return torch.where(actions.mask, gathered_BK, torch.zeros_like(gathered_BK))


def scatter_actions(
    values_BK: torch.Tensor, actions: ActionTokens, sequence_length: int
) -> torch.Tensor:
    """Return (B, S): the inverse of `gather_actions`, 0 where the agent did not write."""
    values_BS = values_BK.new_zeros(len(values_BK), sequence_length)
    row, column = actions.mask.nonzero(as_tuple=True)
    values_BS[row, actions.positions[row, column]] = values_BK[row, column]
    return values_BS


class Rollout:
    """A sequence of episodes, and the tensors that learning needs of them.

    Args:
        episodes: at least one.

    Raises:
        ValueError: if there is none.
    """

    def __init__(self, episodes: Sequence[Episode]) -> None:
        if not episodes:
            raise ValueError("A rollout needs at least one episode.")
        self.episodes = tuple(episodes)
        self.lengths = np.array([len(e.ids) for e in self.episodes], dtype=np.int64)
        self.num_turns = np.array([e.num_turns for e in self.episodes], dtype=np.int64)
        self.groups = np.array([e.group for e in self.episodes], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.episodes)

    def __iter__(self) -> Iterator[Episode]:
        return iter(self.episodes)

    def token_batch(
        self, rows: npt.NDArray[np.int64], device: torch.device
    ) -> TokenBatch:
        """Return the dialogues `rows`, right-padded with 0 to the longest among them."""
        longest = int(self.lengths[rows].max())
        input_ids = np.zeros((len(rows), longest), dtype=np.int64)
        action_mask = np.zeros((len(rows), longest), dtype=np.bool_)
        for b, row in enumerate(rows):
            episode = self.episodes[row]
            input_ids[b, : len(episode.ids)] = episode.ids
            action_mask[b, : len(episode.ids)] = episode.action_mask
        return TokenBatch(
            input_ids=torch.from_numpy(input_ids).to(device),
            lengths=torch.from_numpy(self.lengths[rows]).to(device),
            action_mask=torch.from_numpy(action_mask).to(device),
        )

    def actions(self, device: torch.device) -> ActionTokens:
        """Return the action axis of all episodes."""
        lengths = np.array(
            [int(e.action_mask.sum()) for e in self.episodes], dtype=np.int64
        )
        shape = (len(self), int(lengths.max()))
        positions, turn = np.zeros(shape, dtype=np.int64), np.zeros(
            shape, dtype=np.int64
        )
        log_probs = np.zeros(shape, dtype=np.float32)
        is_turn_end = np.zeros(shape, dtype=np.bool_)
        for n, episode in enumerate(self.episodes):
            where = np.flatnonzero(episode.action_mask)
            positions[n, : len(where)] = where
            log_probs[n, : len(where)] = episode.log_probs[where]
            turn[n, : len(where)] = episode.turn_index[where]
            is_turn_end[n, : len(where)] = (
                np.diff(turn[n, : len(where)], append=-1) != 0
            )
        mask = np.arange(shape[1])[None, :] < lengths[:, None]
        arrays = (positions, mask, log_probs, turn, is_turn_end, lengths)
        return ActionTokens(*(torch.from_numpy(array).to(device) for array in arrays))

    def rewards(self, device: torch.device) -> torch.Tensor:
        """Return (N, T) float32 rewards: 0 after the last turn and where the reward is unknown."""
        rewards_NT = np.zeros((len(self), int(self.num_turns.max())), dtype=np.float32)
        for n, episode in enumerate(self.episodes):
            rewards_NT[n, : episode.num_turns] = np.where(
                episode.reward_valid, episode.rewards, 0
            )
        return torch.from_numpy(rewards_NT).to(device)

    def reward_valid(self, device: torch.device) -> torch.Tensor:
        """Return (N, T) bool: False where a turn's reward is unknown; True after the last turn."""
        valid_NT = np.ones((len(self), int(self.num_turns.max())), dtype=np.bool_)
        for n, episode in enumerate(self.episodes):
            valid_NT[n, : episode.num_turns] = episode.reward_valid
        return torch.from_numpy(valid_NT).to(device)

    def bootstraps(self, device: torch.device) -> torch.Tensor:
        """Return (N,) bool: the episode was cut off from outside, so its future still has value."""
        flags = [e.truncated and not e.terminated for e in self.episodes]
        return torch.tensor(flags, dtype=torch.bool, device=device)

    def with_shuffled_rewards(self, rng: np.random.Generator) -> Rollout:
        """Return the same episodes, paid their returns in random order, on the last turn.

        The negative control of every learning claim: the distribution of returns stays, what they
        were paid for does not. `success` and the components keep telling the truth. A uniform
        permutation, not a derangement: whoever stands at i expects the mean of all, so no
        advantage over a mean is left, whereas "anyone's but his own" would teach the opposite.
        """
        totals = rng.permutation([e.total_reward for e in self.episodes])
        shuffled = []
        for episode, total in zip(self.episodes, totals, strict=True):
            rewards = np.zeros(episode.num_turns)
            rewards[-1] = total
            shuffled.append(
                replace(episode, rewards=rewards, reward_valid=~np.isnan(rewards))
            )
        return Rollout(shuffled)

    def pack(
        self, rows: npt.NDArray[np.int64], token_budget: int
    ) -> list[npt.NDArray[np.int64]]:
        """Return `rows` in micro-batches of at most `token_budget` tokens.

        Tokens are counted as the engine computes them (`agents.engine.packing`): no padding, and a
        prompt that several dialogues of a micro-batch share once. So dialogues of one prompt stay
        together; longest first, ties by row, and the cut is the same every time. A single dialogue
        longer than the budget gets a micro-batch of its own.

        Args:
            rows: which episodes.
            token_budget: most tokens of a micro-batch, at least 1.
        """
        if token_budget < 1:
            raise ValueError(
                f"token_budget must be at least 1 token, got {token_budget}."
            )
        by_prompt: dict[bytes, list[int]] = {}
        for row in sorted(int(row) for row in rows):
            by_prompt.setdefault(self._prompt(row).tobytes(), []).append(row)
        families = [
            sorted(family, key=lambda row: (-self.lengths[row], row))
            for family in by_prompt.values()
        ]
        families.sort(key=lambda family: (-self.lengths[family[0]], family[0]))
        batches: list[list[int]] = []
        room = 0
        for family in families:
            prompt = len(self._prompt(family[0]))
            is_paid = False  # whether the prompt is in the newest micro-batch
            for row in family:
                own = int(self.lengths[row]) - prompt
                cost = own if is_paid else prompt + own
                if not batches or cost > room:
                    batches.append([])
                    room, cost = token_budget, prompt + own
                batches[-1].append(row)
                room -= cost
                is_paid = True
        return [np.array(batch, dtype=np.int64) for batch in batches]

    def _prompt(self, row: int) -> npt.NDArray[np.int64]:
        """Return the ids that precede the agent's first token."""
        episode = self.episodes[row]
        return episode.ids[: int(episode.action_mask.argmax())]


def _example() -> Episode:
    """Return a dialogue of two one-token replies (for the doctests)."""
    return Episode(
        seed=0,
        group=0,
        ids=np.array([1, 2, 3, 4]),
        action_mask=np.array([False, True, False, True]),
        log_probs=np.array([0, -1, 0, -2], dtype=np.float32),
        turn_index=np.array([-1, 0, -1, 1]),
        rewards=np.array([0.0, 1.0]),
        reward_valid=np.array([True, True]),
        terminated=True,
        truncated=False,
        success=True,
        reply_lengths=np.array([1, 1]),
        reply_cut=np.array([False, False]),
    )
