"""Any environment of this suite inside the trainers of TRL (1.16), in two ways.

**One reply a row**, with any trainer that takes `reward_funcs`. `make_dataset` writes the prompts,
`environment_reward` plays each reply in the environment that its row names and returns what that
paid. A row may begin in the middle of a dialogue, after replies of the scripted expert.

**Whole dialogues**, with `GRPOTrainer(environment_factory=...)`, where TRL calls a method of an
environment whenever the model calls a tool: `environment_factory` makes such environments, with
one tool, `say`, and `dialogue_reward` reads what the dialogue paid. A model that calls no tools
learns there too, if `let_replies_be_calls` has changed its tokenizer: then everything that it
writes is the call.

Neither TRL nor torch is imported here; `make_dataset` needs `datasets`, which comes with TRL.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any, Callable, Iterable, Mapping, Sequence

import numpy as np

from chat_envs.bridges.optional_package import load_package
from chat_envs.core import ChatEnv
from chat_envs.message import Message, Role
from chat_envs.registration import find
from chat_envs.vector import ChatVectorEnv

__all__ = [
    "ToolDialogue",
    "dialogue_reward",
    "environment_factory",
    "environment_reward",
    "let_replies_be_calls",
    "make_dataset",
]

_OVER = "The conversation is over."
_CACHED_VECTORS = 8
# Written before a chat template: calls of `say` become what was said, results become the user's
# messages, and no tool is described. Calls of other tools stay visible, as TRL wants to see them.
_PLAIN_MESSAGES = """{%- set said = namespace(messages=[]) -%}
{%- for message in messages -%}
{%- set words = namespace(text=message.content if message.content is string else '') -%}
{%- for call in message.tool_calls or [] -%}
{%- set function = call.function or call -%}
{%- if function.name == 'say' and function.arguments is mapping -%}
{%- set words.text = words.text + function.arguments.get('text', '') -%}
{%- else -%}
{%- set words.text = words.text + (function | tojson) -%}
{%- endif -%}
{%- endfor -%}
{%- set role = 'user' if message.role == 'tool' else message.role -%}
{%- set said.messages = said.messages + [{'role': role, 'content': words.text}] -%}
{%- endfor -%}
{%- set messages = said.messages -%}
{%- set tools = none -%}
"""


def make_dataset(
    env_id: str, seeds: Iterable[int], *, depth: int = 0, **kwargs: Any
) -> Any:
    """Return a `datasets.Dataset` with one row a seed, for `environment_reward` or a factory.

    Its columns are `prompt` (messages as TRL reads them), `env_id`, `seed`, `env_kwargs` (JSON)
    and `replies`: what the agent has said before the prompt ends.

    Args:
        env_id: a registered id.
        seeds: seeds of the episodes.
        depth: how many replies of the scripted expert come first; 0 for openings. An episode that
            is over before is left out.
        **kwargs: JSON-able keywords of the environment, e.g. `tokenizer` and `reply_length`.

    Raises:
        ImportError: if `datasets` is not installed.
        ValueError: if there is no such environment, or no episode is so long.
    """
    datasets = load_package("datasets", extra="trl")
    env = _make(env_id, kwargs)
    columns: dict[str, list[Any]] = {name: [] for name in ("prompt", "seed", "replies")}
    for seed in map(int, seeds):
        env.reset(seed=seed)
        replies: list[str] = []
        while len(replies) < depth and not env.is_over:
            replies.append(env.expert_reply())
            env.step(env.encode(replies[-1]))
        if env.is_over:
            continue
        columns["prompt"].append([m.as_dict() for m in env.conversation])
        columns["seed"].append(seed)
        columns["replies"].append(replies)
    if not columns["seed"]:
        raise ValueError(
            f"No episode of {env_id!r} is open after {depth} replies, or no seed was given."
        )
    num_rows = len(columns["seed"])
    columns["env_id"] = [env_id] * num_rows
    columns["env_kwargs"] = [json.dumps(kwargs, sort_keys=True)] * num_rows
    return datasets.Dataset.from_dict(columns)


def environment_reward(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    *,
    env_id: Sequence[str],
    seed: Sequence[int],
    env_kwargs: Sequence[str] | None = None,
    replies: Sequence[Sequence[str]] | None = None,
    **_: Any,
) -> list[float | None]:
    """Return what each reply was paid: a reward function of TRL, for rows of `make_dataset`.

    The rows of one environment are scored in one call of its reward. A reply longer than the
    environment's `reply_length` is cut there, so give it the model's tokenizer and length.

    Args:
        prompts: as TRL passes them; they must be what the environment says for the seed.
        completions: messages or texts.
        env_id: the row's column, as all that follow.
        seed: seeds.
        env_kwargs: JSON of keywords; None for none.
        replies: what was said before; None for nothing.

    Returns:
        Rewards, None (which TRL leaves out) where the environment's reward masked the turn.

    Raises:
        ValueError: if a prompt is of another episode.
    """
    said_before = [list(row) for row in replies or [()] * len(prompts)]
    kwargs = list(env_kwargs or ["{}"] * len(prompts))
    rewards: list[float | None] = [None] * len(prompts)
    groups: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(env_id, kwargs, strict=True)):
        groups.setdefault(key, []).append(row)
    for (name, keywords), rows in groups.items():
        vector = _vector(name, keywords, len(rows))
        vector.reset(seed=[int(seed[row]) for row in rows])
        for turn in range(max(len(said_before[row]) for row in rows)):
            waiting = [i for i, r in enumerate(rows) if len(said_before[r]) > turn]
            texts = [said_before[rows[i]][turn] for i in waiting]
            _step(vector, waiting, texts)
        for env, row in zip(vector.envs, rows, strict=True):
            _require_same(env, prompts[row])
        texts = [_text(completions[row]) for row in rows]
        paid, is_valid = _step(vector, list(range(len(rows))), texts)
        for row, reward, valid in zip(rows, paid, is_valid, strict=True):
            rewards[row] = reward if valid else None
    return rewards


class ToolDialogue:
    """One environment as `GRPOTrainer(environment_factory=...)` wants it: `reset` and one tool.

    TRL makes one for each rollout of a batch and uses it again and again. `episode_return` is the
    undiscounted sum of rewards so far, None once the environment's reward masked a turn.

    Args:
        env_id: a registered id.
        kwargs: keywords of the environment.
    """

    def __init__(self, env_id: str, kwargs: Mapping[str, Any]) -> None:
        self._env = _make(env_id, kwargs)
        self.episode_return: float | None = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the episode ended."""
        return self._env.is_over

    @property
    def transcript(self) -> str:
        """The dialogue so far."""
        return self._env.conversation.render()

    def reset(
        self,
        seed: int | None = None,
        prompt: Any = None,
        replies: Sequence[str] | None = None,
        **_: Any,
    ) -> str | None:
        """Begin the episode of a row; return what its prompt does not say yet.

        Args:
            seed: the row's seed. Rollouts of one group must share it, so it is required.
            prompt: the row's prompt: that of `make_dataset`, or one whose last message is "".
            replies: what was said before the prompt ends.

        Raises:
            ValueError: if there is no seed, or the prompt is of another episode.
        """
        if seed is None:
            raise ValueError(
                "A dialogue needs the column 'seed', so that the replies of a group answer the "
                "same opening: train on make_dataset(env_id, seeds)."
            )
        self._env.reset(seed=int(seed))
        self.episode_return = 0.0
        for reply in replies or ():
            self._env.step(self._env.encode(reply))
        if prompt and not _text(prompt[-1:]):
            return "\n\n".join(m.content for m in self._env.conversation)
        _require_same(self._env, prompt)
        return None

    def say(self, text: str) -> str:
        """Say something to the user, and hear the answer.

        Args:
            text: What to say.

        Returns:
            What the user says next.
        """
        if self._env.is_over:
            return _OVER
        num_messages = len(self._env.conversation)
        _, reward, *_, info = self._env.step(self._env.encode(text))
        if self.episode_return is not None:
            total = self.episode_return + reward
            self.episode_return = total if info["reward_valid"] else None
        heard = self._env.conversation.messages[num_messages + 1 :]
        return "\n\n".join(m.content for m in heard) or _OVER


def environment_factory(env_id: str, **kwargs: Any) -> Callable[[], ToolDialogue]:
    """Return what `GRPOTrainer(environment_factory=...)` takes, for one environment.

    Args:
        env_id: a registered id.
        **kwargs: keywords of the environment, those of `make_dataset` among them.
    """
    return functools.partial(ToolDialogue, env_id, kwargs)


def dialogue_reward(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    *,
    environments: Sequence[ToolDialogue],
    **_: Any,
) -> list[float | None]:
    """Return each dialogue's undiscounted return: a reward function of TRL.

    A call that TRL did not make any more, because `max_tool_calling_iterations` was reached, is
    made here: with `max_turns - 1` iterations every reply is played and none is written in vain.

    Args:
        prompts: as TRL passes them.
        completions: the messages of each rollout.
        environments: those that the rollouts were played in.
    """
    for completion, environment in zip(completions, environments, strict=True):
        last = completion[-1] if completion else {}
        for call in last.get("tool_calls") or ():
            function = call.get("function", call)
            text = (function.get("arguments") or {}).get("text")
            if function.get("name") == "say" and isinstance(text, str):
                environment.say(text)
    return [environment.episode_return for environment in environments]


def let_replies_be_calls(tokenizer: Any) -> Any:
    """Let everything that a model writes be a call of `say`; return the changed tokenizer.

    So a model that has never seen a tool trains in whole dialogues: its prompts stay plain
    chat, what it writes goes to the environment, and the answer comes back as the user's message.

    Args:
        tokenizer: a tokenizer of transformers (5.13 or later) whose chat template takes the
            roles of the environment's messages and does not rewrite earlier ones; its
            `eos_token` ends a message of the assistant.

    Raises:
        ValueError: if it has no chat template, or no end of a message.
    """
    if not tokenizer.chat_template or not tokenizer.eos_token:
        raise ValueError(
            "The tokenizer needs a chat_template and an eos_token that ends a message."
        )
    tokenizer.chat_template = _PLAIN_MESSAGES + tokenizer.chat_template
    tokenizer.response_template = {
        "defaults": {"role": "assistant"},
        "start_anchor_pattern": r"\Z",  # what came before the reply is no part of it
        "fields": {
            "tool_calls": {
                "open_pattern": r"\A",
                "close_pattern": rf"{re.escape(tokenizer.eos_token)}|\Z",
                "repeats": True,
                "content": "text",
                "transform": {
                    "type": "function",
                    "function": {"name": "say", "arguments": {"text": "{content}"}},
                },
            },
            "content": {"content": "text"},
        },
    }
    return tokenizer


def _make(env_id: str, kwargs: Mapping[str, Any]) -> ChatEnv:
    registration = find(env_id)
    return registration.load()(**{**registration.kwargs, **kwargs})


@functools.lru_cache(_CACHED_VECTORS)
def _vector(env_id: str, env_kwargs: str, num_envs: int) -> ChatVectorEnv:
    make = functools.partial(_make, env_id)
    return ChatVectorEnv(
        lambda **kwargs: make(kwargs),
        num_envs,
        autoreset_mode="Disabled",
        **json.loads(env_kwargs),
    )


def _step(
    vector: ChatVectorEnv, indices: Sequence[int], texts: Sequence[str]
) -> tuple[list[float], list[bool]]:
    """Step some dialogues; return rewards and whether they are valid."""
    actions = [vector.envs[0].encode(text) for text in texts]
    _, rewards, _, _, infos = vector.step_some(indices, actions)
    return rewards.tolist(), np.asarray(infos["reward_valid"]).tolist()


def _text(completion: Any) -> str:
    """Return what the assistant wrote: a text, or the contents of messages."""
    if isinstance(completion, str):
        return completion
    contents = (message.get("content") for message in completion)
    return "".join(text for text in contents if isinstance(text, str))


def _require_same(env: ChatEnv, prompt: Any) -> None:
    """Raise unless the user's last message stands in the prompt."""
    last: Message | None = env.conversation.last(Role.USER)
    if last is not None and last.content not in _text(prompt or ""):
        raise ValueError(
            f"The prompt does not hold what the user says in the episode of its seed, "
            f"{last.content!r}: were dataset and environment made with the same keywords?"
        )
