"""Playing dialogues: an environment, something that replies, whole episodes.

`play` is the one loop between replies and environments; a language model (`Collector`) and a script
(`play_script`) differ only in where the replies come from. Dialogues do not march in lockstep: when
one ends, the next waiting one takes its place.
"""

from __future__ import annotations

import inspect
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Sequence

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from agents.experience.rollout import Episode, Rollout
from chat_envs.core import ChatEnv
from chat_envs.replier import RANDOM_REPLIERS, REPLIERS, Replier, make_replier
from chat_envs.vector import ChatVectorEnv

__all__ = ["Progress", "Reply", "make_env", "play", "play_script", "script_of"]


@dataclass(frozen=True)
class Reply:
    """What is said in one turn.

    Attributes:
        ids: (R,) int64, unpadded, the stop id included.
        log_probs: (R,) float32, of each id under the distribution that it was drawn from.
        is_cut: whether it was cut before a stop id.
    """

    ids: npt.NDArray[np.int64]
    log_probs: npt.NDArray[np.float32]
    is_cut: bool


Speaker = Callable[
    [Sequence[int]], Sequence[Reply]
]  # places at the table -> what they say

Progress = Callable[[int], None]  # told how many episodes are over


@dataclass
class _Dialogue:
    """An episode in the making."""

    number: int  # its position among the episodes asked for
    ids: npt.NDArray[np.int64]
    replies: list[tuple[int, Reply]] = field(
        default_factory=list
    )  # where it begins, the reply
    rewards: list[float] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    golds: list[float] = field(default_factory=list)
    components: dict[str, list[float]] = field(default_factory=dict)


def make_env(
    env: str | ChatVectorEnv, num_envs: int, **env_kwargs: Any
) -> ChatVectorEnv:
    """Return `env` if it is one already, else `num_envs` environments of that id.

    Raises:
        TypeError: if it is neither an id nor a `ChatVectorEnv`.
        ValueError: if a given one resets itself (a dialogue must wait for its successor's seed), or
            keywords are given with it.
    """
    if isinstance(env, str):
        made = gymnasium.make_vec(
            env,
            num_envs=num_envs,
            vectorization_mode="vector_entry_point",
            autoreset_mode="Disabled",
            **env_kwargs,
        ).unwrapped
    else:
        made = env
    if not isinstance(made, ChatVectorEnv):
        raise TypeError(
            f"Expected the id of a chat environment or a ChatVectorEnv, got {type(made).__name__}; "
            "wrap a single environment by its id: make_vec(id, num_envs=N)."
        )
    if made is env and env_kwargs:
        raise ValueError(
            f"The environment is made already: {sorted(env_kwargs)} can no longer be set; give "
            "its id instead."
        )
    if made.autoreset_mode is not AutoresetMode.DISABLED:
        raise ValueError(
            f"The environment has autoreset_mode={made.autoreset_mode.value!r}; collecting whole "
            "episodes needs autoreset_mode='Disabled'."
        )
    return made


def play(
    env: ChatVectorEnv,
    seeds: Sequence[int],
    groups: Sequence[int],
    reply: Speaker,
    progress: Progress | None = None,
    *,
    num_together: int = 1,
) -> list[Episode]:
    """Play one episode for each seed; return them in the order of the seeds.

    Args:
        env: with autoreset disabled; its environments are the places at which dialogues sit.
        seeds: of each episode's reset.
        groups: the group of each episode.
        reply: gives a reply for each of the places that it is asked about.
        progress: told how many episodes are over, each time some are.
        num_together: so many neighbours among the seeds begin at the same time, so that a reward
            can see all first replies of a group.

    Raises:
        RuntimeError: if the environment's context is not exactly what was said.
    """
    waiting = deque(range(len(seeds)))
    seats: list[_Dialogue | None] = [None] * env.num_envs
    episodes: dict[int, Episode] = {}
    while len(episodes) < len(seeds):
        num_over = len(episodes)
        _seat(env, seats, waiting, seeds, num_together)
        places = [i for i, dialogue in enumerate(seats) if dialogue is not None]
        replies = reply(places)
        _, rewards, terminations, truncations, infos = env.step_some(
            places, [r.ids for r in replies]
        )
        contexts = env.contexts()
        for row, (place, said) in enumerate(zip(places, replies, strict=True)):
            dialogue = seats[place]
            assert dialogue is not None
            _append(
                dialogue, said, contexts[place].ids, float(rewards[row]), infos, row
            )
            if terminations[row] or truncations[row]:
                episodes[dialogue.number] = _finish(
                    dialogue,
                    env.envs[place],
                    seed=seeds[dialogue.number],
                    group=groups[dialogue.number],
                    terminated=bool(terminations[row]),
                    truncated=bool(truncations[row]),
                    infos=infos,
                    row=row,
                )
                seats[place] = None
        if progress is not None and len(episodes) > num_over:
            progress(len(episodes))
    return [episodes[number] for number in range(len(seeds))]


def _seat(
    env: ChatVectorEnv,
    seats: list[_Dialogue | None],
    waiting: deque[int],
    seeds: Sequence[int],
    num_together: int,
) -> None:
    """Begin the next waiting dialogues at the free places, lowest place first."""
    free = [place for place, dialogue in enumerate(seats) if dialogue is None]
    num_seated = min(len(free) // num_together * num_together, len(waiting))
    numbers = {place: waiting.popleft() for place in free[:num_seated]}
    if not numbers:
        return
    mask = np.zeros(env.num_envs, dtype=np.bool_)
    mask[list(numbers)] = True
    seed = [seeds[numbers[i]] if i in numbers else None for i in range(env.num_envs)]
    env.reset(seed=seed, options={"reset_mask": mask})
    contexts = env.contexts()
    for place, number in numbers.items():
        seats[place] = _Dialogue(number=number, ids=contexts[place].ids)


def _append(
    dialogue: _Dialogue,
    said: Reply,
    ids: npt.NDArray[np.int64],
    reward: float,
    infos: Mapping[str, Any],
    row: int,
) -> None:
    """Note one turn, after making sure that the environment took the reply as it is."""
    begin, end = len(dialogue.ids), len(dialogue.ids) + len(said.ids)
    if not (
        np.array_equal(ids[:begin], dialogue.ids)
        and np.array_equal(ids[begin:end], said.ids)
    ):
        raise RuntimeError(
            f"Turn {len(dialogue.rewards)} of dialogue {dialogue.number}: the environment's "
            f"context does not continue with the reply {said.ids.tolist()}; it holds "
            f"{ids[begin:end].tolist()}. Training on it would be off the policy that wrote it."
        )
    dialogue.replies.append((begin, said))
    dialogue.ids = ids
    dialogue.rewards.append(reward)
    dialogue.valid.append(bool(infos["reward_valid"][row]))
    dialogue.golds.append(float(infos["gold_reward"][row]))
    for name, column in infos["reward_components"].items():
        dialogue.components.setdefault(name, []).append(float(column[row]))


def _finish(
    dialogue: _Dialogue,
    env: ChatEnv,
    *,
    seed: int,
    group: int,
    terminated: bool,
    truncated: bool,
    infos: Mapping[str, Any],
    row: int,
) -> Episode:
    """Return the record of a dialogue that is over."""
    ids = dialogue.ids
    log_probs = np.zeros(len(ids), dtype=np.float32)
    turn_index = np.full(len(ids), -1, dtype=np.int64)
    for turn, (begin, said) in enumerate(dialogue.replies):
        log_probs[begin : begin + len(said.ids)] = said.log_probs
        turn_index[begin : begin + len(said.ids)] = turn
    action_mask = turn_index >= 0
    if not np.array_equal(env.context.action_mask.astype(np.bool_), action_mask):
        raise RuntimeError(
            f"The action mask of dialogue {dialogue.number} (seed {seed}) is not the one that "
            "the environment kept: one of them marks a token that the agent did not write."
        )
    return Episode(
        seed=seed,
        group=group,
        ids=ids,
        action_mask=action_mask,
        log_probs=log_probs,
        turn_index=turn_index,
        rewards=np.array(dialogue.rewards, dtype=np.float64),
        reward_valid=np.array(dialogue.valid, dtype=np.bool_),
        gold_rewards=np.array(dialogue.golds, dtype=np.float64),
        reward_components={
            n: np.array(v) for n, v in sorted(dialogue.components.items())
        },
        terminated=terminated,
        truncated=truncated,
        success=bool(infos["success"][row]),
        termination_reason=str(infos["termination_reason"][row]),
        metrics={
            n: float(column[row]) for n, column in sorted(infos["metrics"].items())
        },
        messages=tuple(message.as_dict() for message in env.conversation),
        reply_lengths=np.array(
            [len(r.ids) for _, r in dialogue.replies], dtype=np.int64
        ),
        reply_cut=np.array([r.is_cut for _, r in dialogue.replies], dtype=np.bool_),
    )


def script_of(name: str, rng: np.random.Generator) -> Replier:
    """Return a script by name: a replier of the suite, or `<name>_reply` of the environment.

    Args:
        name: "expert", "blind", "random", "guess", a hostile replier, or the stem of a method (an
            environment that has `careless_reply` answers to "careless"). Several with "+"
            between them take turns by episode, drawn evenly: "expert+blind+blind" is an
            expert in a third of the episodes.
        rng: randomness of those that draw, of a method with a parameter `rng`, and of the turns.
    """
    if "+" in name:
        return _taking_turns([script_of(part, rng) for part in name.split("+")], rng)
    if name in RANDOM_REPLIERS or name in REPLIERS:
        return make_replier(name, rng)

    def script(env: ChatEnv) -> str:
        method = getattr(env, f"{name}_reply", None)
        if method is None:
            raise ValueError(
                f"There is no script {name!r} for {type(env).__name__}: it has no method "
                f"{name}_reply(), and the repliers are "
                f"{', '.join(sorted([*REPLIERS, *RANDOM_REPLIERS]))}."
            )
        takes_rng = "rng" in inspect.signature(method).parameters
        text: str = method(rng) if takes_rng else method()
        return text

    return script


def _taking_turns(scripts: Sequence[Replier], rng: np.random.Generator) -> Replier:
    """Return a script that is one of `scripts` throughout an episode."""
    speaking: dict[int, Replier] = {}

    def script(env: ChatEnv) -> str:
        if env.turn == 0:
            speaking[id(env)] = scripts[int(rng.integers(len(scripts)))]
        return speaking[id(env)](env)

    return script


def play_script(
    env: ChatVectorEnv,
    seeds: Sequence[int],
    script: Replier,
    progress: Progress | None = None,
) -> Rollout:
    """Play one episode for each seed with scripted replies; each is a group of its own."""

    def reply(places: Sequence[int]) -> list[Reply]:
        replies = []
        for place in places:
            action = env.envs[place].encode(script(env.envs[place]))
            is_stop = np.isin(action, list(env.template.stop_ids))
            is_cut = not is_stop.any()
            ids = action if is_cut else action[: int(is_stop.argmax()) + 1]
            replies.append(Reply(ids, np.zeros(len(ids), dtype=np.float32), is_cut))
        return replies

    return Rollout(play(env, seeds, list(range(len(seeds))), reply, progress))
