"""`ChatEnv`: a dialogue as a Gymnasium environment.

An author writes what is said (`_opening`, `_respond`); this class turns it into tokens, spaces,
clocks, limits, rewards and `info`, and any episode into a state from which it can go on.

Two clocks: a *turn* t is one `step`; a *token* k lies inside a reply.

Shape legend: C ids of a context, R ids of a reply, V entries of the vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence  # `isinstance` of typing's is slow
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from chat_envs.chat_template import load_template
from chat_envs.context import TokenContext, as_count
from chat_envs.core import episode_state
from chat_envs.core.action import as_ids, encode_reply, read_reply
from chat_envs.core.answer import as_turn, task_components
from chat_envs.core.info import describe_one
from chat_envs.core.scoring import score_turns
from chat_envs.keyword import unknown_keywords
from chat_envs.message import Conversation, Message, Turn, assistant
from chat_envs.reward import RewardOutcome, RewardRequest, make_scorer
from chat_envs.tokenizer import Tokenizer, load_tokenizer

__all__ = ["ChatEnv", "Observation", "RenderModeError", "SPLITS"]

Observation = dict[str, npt.NDArray[Any]]
SPLITS = ("train", "test")
_NO_TURN = Turn()


class RenderModeError(ValueError, TypeError):
    """The environment has no such render mode.

    A `TypeError` too: Stable-Baselines3's `make_vec_env` asks every environment for "rgb_array"
    and goes on without, if it gets a `TypeError`.
    """


class ChatEnv(gymnasium.Env[Observation, npt.NDArray[np.int64]]):
    """Base class of every dialogue environment.

    A subclass writes `_opening`, `_respond` and `expert_reply`, sets its own attributes *before*
    it calls `super().__init__` (which tries an opening), and draws all randomness from the
    generator that `_opening` receives.

    Args:
        tokenizer: name for `load_tokenizer`, or a tokenizer.
        context_length: ids of an observation (C); an episode that would outgrow it is truncated.
        reply_length: ids of an action (R), the stop id included.
        max_turns: replies that the agent has; the last one ends the episode (`terminated`).
        reward: None or "gold" for the task's own, "proxy:NAME" for one of the class's `proxies`, or
            anything else that `chat_envs.reward.make_scorer` takes.
        on_error: what a failing reward does: "raise", "retry", "mask" or a fallback value.
        timeout_s: seconds that one call of a reward function may take; None for no limit.
        split: "train" or "test": which goals and phrasings are drawn.
        render_mode: None or "ansi".

    Raises:
        ValueError: if a number is out of range or the opening and a first reply do not fit.
        TypeError: if a number is no integer, or a keyword is unknown.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 4}
    component_names: ClassVar[tuple[str, ...]] = ("task",)
    metric_names: ClassVar[tuple[str, ...]] = ()
    exempt_hostiles: ClassVar[Mapping[str, str]] = {}
    # Rewards that are easy to measure instead of what is meant: name -> what `reward` takes.
    proxies: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        *,
        tokenizer: str | Tokenizer = "builtin",
        context_length: int = 384,
        reply_length: int = 24,
        max_turns: int = 8,
        reward: Any = None,
        on_error: str | float = "raise",
        timeout_s: float | None = None,
        split: str = "train",
        render_mode: str | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise unknown_keywords(type(self), list(unknown))
        self.context_length = as_count("context_length", context_length)
        self.reply_length = as_count("reply_length", reply_length)
        self.max_turns = as_count("max_turns", max_turns)
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, got {split!r}.")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise RenderModeError(
                f"render_mode must be None or 'ansi', got {render_mode!r}."
            )
        self.tokenizer = load_tokenizer(tokenizer)
        self.template = load_template(self.tokenizer)
        self.split = split
        self.render_mode = render_mode
        self.scorer = make_scorer(
            reward,
            on_error=on_error,
            timeout_s=timeout_s,
            task_names=self.component_names,
            proxies=self.proxies,
            owner=type(self).__name__,
        )
        self._metric_set = frozenset(self.metric_names)
        num_ids = len(self.tokenizer)
        self.observation_space: spaces.Dict = spaces.Dict(  # type: ignore[assignment]
            {
                "input_ids": spaces.Box(
                    0, num_ids - 1, (self.context_length,), np.int64
                ),
                "attention_mask": spaces.MultiBinary(self.context_length),
            }
        )
        self.action_space = spaces.MultiDiscrete(
            np.full(self.reply_length, num_ids, dtype=np.int64)
        )
        self._begin(np.random.default_rng(0))
        self._leave()

    # What an author writes ---------------------------------------------------------------

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        """Begin an episode; return what the agent reads before its first reply."""
        raise NotImplementedError

    def _respond(self, reply: str) -> Turn:
        """Return what happens after the agent said `reply`."""
        raise NotImplementedError

    def expert_reply(self) -> str:
        """Return what a scripted expert, who knows what the agent knows, would say now."""
        raise NotImplementedError(f"{type(self).__name__} has no scripted expert.")

    def blind_reply(self) -> str:
        """Return what the best policy that reads no user text would say now."""
        return ""

    def candidate_replies(self) -> list[str]:
        """Return short answers worth listing for a policy that tries them all at once."""
        return []

    # Gymnasium ---------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode, or go on with a saved one.

        Args:
            seed: the same seed begins the same episode; None goes on with the generator.
            options: `{"state": state}`, of `state()`, restores that episode, and the generator as
                it was there; other options are an author's.

        Raises:
            ValueError: if the state is another environment's or broken, or comes with a seed.
        """
        self._reset(seed, options)
        return self.observe(), self.describe()

    def _reset(self, seed: int | None, options: Mapping[str, Any] | None) -> None:
        """Do what `reset` does, and look at nothing: a vector environment looks at all at once."""
        if options is not None and "state" in options:
            episode_state.restore_episode(self, options["state"], seed)
            return
        if seed is not None:
            super().reset(seed=seed)
        self._begin(self.np_random)

    def step(
        self, action: npt.ArrayLike
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one turn.

        Args:
            action: (R,) ids in [0, V), read up to the first control id.

        Raises:
            gymnasium.error.ResetNeeded: before `reset` and after the episode's end.
            ValueError, TypeError: if the action is no (R,) array of ids.
            chat_envs.reward.RewardError: if the reward fails and its policy is to raise.
        """
        ids = self.as_ids(action)
        if ids.shape != (self.reply_length,):
            raise ValueError(
                f"An action is {self.reply_length} ids, shape ({self.reply_length},), got shape "
                f"{ids.shape}; env.unwrapped.encode(text) makes one."
            )
        self._advance(ids.tolist())
        (outcome,) = score_turns(self.scorer, [self])
        reward, terminated, truncated = self._settle(outcome)
        return self.observe(), reward, terminated, truncated, self.describe()

    def render(self) -> str | None:
        """Return the transcript so far, for render_mode "ansi"."""
        if self.render_mode is None:
            gymnasium.logger.warn(
                "render() needs a render mode: gymnasium.make(id, render_mode='ansi')."
            )
            return None
        return self.conversation.render()

    # Episodes as plain JSON ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the episode as plain JSON, for `reset(options={"state": state})`.

        It goes on exactly as here: in this environment, in another one made with the same
        keywords, in another process. Restored several times, it goes on the same each time.

        Raises:
            gymnasium.error.ResetNeeded: if no episode has begun.
            ValueError: if the generator is none of NumPy's.
        """
        return episode_state.save_episode(self)

    @functools.cached_property
    def _tokenizer_fingerprint(self) -> str | None:
        """The tokenizer's, if it has one; worked out once."""
        return getattr(self.tokenizer, "fingerprint", None)

    # Replies as text -----------------------------------------------------------------------

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Return `text` as an action: (R,) ids, with a stop id if it fits, then padding.

        A text longer than the reply is cut; the environment then closes it.
        """
        return encode_reply(text, self.tokenizer, self.template, self.reply_length)

    def decode(self, action: npt.ArrayLike) -> str:
        """Return the text of an action, read up to its first control id."""
        ids, _ = self._read(self.as_ids(action).ravel().tolist())
        return self.tokenizer.decode(ids)

    # The two phases of a step; ChatVectorEnv scores all replies between them -----------------

    def as_ids(self, values: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return `values` as an integer array of ids of the vocabulary: see `action.as_ids`."""
        return as_ids(values, self.tokenizer)

    def _begin(self, rng: np.random.Generator) -> None:
        """Start an episode: state, conversation and context."""
        self._beginning: episode_state.GeneratorNote | None = (
            episode_state.note_generator(rng)
        )
        self._reply_log: list[list[int]] = []
        self.turn = 0
        self._is_over = False
        self._terminated = self._truncated = False
        self._last_turn = _NO_TURN
        self._reply_text = ""
        self._gold_reward = 0.0
        self._reward_valid = True
        self._components = dict.fromkeys(self.scorer.component_names, 0.0)
        self.context = TokenContext(self.context_length, self.tokenizer.pad_id)
        self.conversation = Conversation(tuple(self._opening(rng)))
        ids = self.template.opening(self.conversation.messages)
        needed = len(ids) + self._reply_room
        if needed > self.context_length:
            raise ValueError(
                f"The opening ({len(ids)} ids) and a first reply ({self._reply_room}) need a "
                f"context_length of at least {needed}, got {self.context_length}."
            )
        self.context.append(ids, is_action=False)

    def _leave(self) -> None:
        """Leave no episode, until `reset` begins one."""
        self._is_over = True
        self._beginning = None

    @property
    def is_over(self) -> bool:
        """Whether the episode ended, or none began yet."""
        return self._is_over

    @property
    def is_last_turn(self) -> bool:
        """Whether the turn being answered is the last that the agent has."""
        return self.turn >= self.max_turns

    @property
    def _reply_room(self) -> int:
        return self.reply_length + self.template.max_closing

    def _read(self, ids: list[int]) -> tuple[list[int], int | None]:
        return read_reply(ids, self.tokenizer, self.template)

    def _advance(self, ids: list[int]) -> None:
        """Phase one: the reply enters the context and the world answers it.

        A control id ends the reply. A stop id is kept as the agent's; any other is dropped, so
        no reply can forge a role.
        """
        if self._is_over:
            raise gymnasium.error.ResetNeeded(
                "The episode is over (or never began): call reset() before step()."
            )
        content, stop_id = self._read(ids)
        self._reply_ids = content
        text = self._reply_text = self.tokenizer.decode(content)
        written = content if stop_id is None else [*content, stop_id]
        self._reply_log.append(written)
        self.context.append(written, is_action=True)
        self.context.append(self.template.closing(stop_id), is_action=False)
        self._num_prompt_messages = len(self.conversation)
        self.conversation = self.conversation + (assistant(text),)
        self.turn += 1
        owner = type(self).__name__
        self._last_turn = turn = as_turn(self._respond(text), owner, self._metric_set)
        self._terminated = turn.ended or self.turn >= self.max_turns
        self._truncated = self._extend(turn.messages) and not self._terminated
        self._is_over = self._terminated or self._truncated
        own = task_components(turn.reward, owner, self.component_names)
        self._gold_reward = 0.0 if own is None else sum(own.values(), 0.0)
        self._own_components = own

    def reward_request(self) -> RewardRequest:
        """Return what a reward function is told of the last turn, in fresh objects.

        Raises:
            gymnasium.error.ResetNeeded: if the episode has no turn yet.
        """
        if not self._reply_log:
            raise gymnasium.error.ResetNeeded("The episode has no turn to score yet.")
        task, turn = self._own_components, self._last_turn
        return RewardRequest(
            prompt=self.conversation.messages[: self._num_prompt_messages],
            messages=self.conversation.messages,
            reply=self._reply_text,
            reply_ids=np.array(self._reply_ids, dtype=np.int64),
            turn=self.turn,
            terminated=self._terminated,
            task=None if task is None else self._gold_reward,
            task_components={} if task is None else dict(task),
            info={
                "success": turn.success,
                "termination_reason": self._reason(),
                "metrics": dict(turn.metrics),  # what a reward writes stays its own
            },
        )

    def _settle(self, outcome: RewardOutcome) -> tuple[float, bool, bool]:
        """Phase two: the score arrives. Returns reward, terminated, truncated."""
        self._components = outcome.components
        self._reward_valid = outcome.is_valid
        return outcome.total, self._terminated, self._truncated

    def _extend(self, messages: Sequence[Message]) -> bool:
        """Append what was said; return whether the context has no room for another reply."""
        self.conversation = self.conversation + messages
        ids = self.template.extension(messages, invite=not self._terminated)
        if len(ids) > self.context.room:
            return True
        self.context.append(ids, is_action=False)
        return self.context.room < self._reply_room

    def _reason(self) -> str:
        if self._terminated:
            return self._last_turn.why if self._last_turn.ended else "turn_limit"
        return "context_length" if self._truncated else ""

    # What is seen ----------------------------------------------------------------------------

    def observe(self) -> Observation:
        """Return the observation of now, in fresh arrays."""
        return {
            name: self.context.padded(name) for name in ("input_ids", "attention_mask")
        }

    def describe(self) -> dict[str, Any]:
        """Return the `info` of now, in fresh objects: the same keys and types at every step."""
        info = describe_one(self)
        info["action_mask"] = self.context.padded("action_mask")
        return info
