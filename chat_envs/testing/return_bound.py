"""Clauses about returns: the expert earns most, the blind sees nothing, the hostile get nothing."""

from __future__ import annotations

import math

import numpy as np

from chat_envs.core import SPLITS
from chat_envs.message import Role
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, EpisodeRecord, play_many
from chat_envs.testing.subject import Subject, require

__all__ = ["HOSTILE_CEILING", "check_blind", "check_expert", "check_hostile_returns"]

HOSTILE_CEILING = 0.25
_Z_95 = 1.96


def check_expert(subject: Subject) -> None:
    """On both splits the expert beats the blind policy, in replies that are not cut."""
    for split in SPLITS:
        env = subject.make(split=split)
        seeds = range(subject.num_episodes)
        expert = play_many(env, REPLIERS["expert"], seeds)
        blind = play_many(env, REPLIERS["blind"], seeds)
        require(
            _mean(expert) > _mean(blind),
            f"On the {split} split the expert earns {_mean(expert):.3g}, the blind policy "
            f"{_mean(blind):.3g} (means of {subject.num_episodes}): nothing is to be learnt.",
        )
        cut = [r.seed for r in expert if r.is_truncated]
        require(
            not cut,
            f"On the {split} split the expert's episodes of seeds {cut[:5]} are truncated; raise "
            f"context_length (now {env.context_length}) or shorten the texts.",
        )
    env = subject.make()
    for seed in range(subject.num_episodes):
        env.reset(seed=seed)
        is_over = False
        while not is_over:
            reply = env.expert_reply()
            ids = env.tokenizer.encode(reply)
            require(
                len(ids) < env.reply_length,
                f"The expert's reply {reply!r} has {len(ids)} ids and no room for a stop id in "
                f"reply_length {env.reply_length}.",
            )
            step = env.step(env.encode(reply))
            is_over = step[2] or step[3]


def check_blind(subject: Subject) -> None:
    """The blind policy sees no user text: its reply depends on the system text and the turn."""
    env = subject.make()
    said: dict[tuple[str, int], tuple[str, int]] = {}
    for seed in range(subject.num_episodes):
        env.reset(seed=seed)
        rules = "\n".join(m.content for m in env.conversation if m.role is Role.SYSTEM)
        is_over = False
        while not is_over:
            reply = env.blind_reply()
            before, other = said.setdefault((rules, env.turn), (reply, seed))
            require(
                reply == before,
                f"At turn {env.turn} the blind policy says {reply!r} for seed {seed} and "
                f"{before!r} for seed {other} after the same system text: it sees the user.",
            )
            step = env.step(env.encode(reply))
            is_over = step[2] or step[3]


def check_hostile_returns(subject: Subject) -> None:
    """No hostile replier is paid: the 95% bound of its normalised score is at most 0.25."""
    env = subject.make()
    unknown = sorted(set(env.exempt_hostiles) - set(HOSTILE_REPLIERS))
    require(
        not unknown,
        f"exempt_hostiles names {unknown}, which are no hostile repliers: "
        f"{sorted(HOSTILE_REPLIERS)}.",
    )
    seeds = range(subject.num_episodes)
    top = _mean(play_many(env, REPLIERS["expert"], seeds))
    floor = _mean(play_many(env, REPLIERS["blind"], seeds))
    require(
        top > floor,
        f"No score can be normalised: expert {top:.3g}, blind {floor:.3g}.",
    )
    paid = {}
    for name, replier in HOSTILE_REPLIERS.items():
        returns = np.array([r.episode_return for r in play_many(env, replier, seeds)])
        require(
            bool(np.isfinite(returns).all()),
            f"The hostile replier {name!r} earned a return that is not finite.",
        )
        scores = (returns - floor) / (top - floor)
        bound = scores.mean() + _Z_95 * scores.std(ddof=1) / math.sqrt(len(scores))
        if bound > HOSTILE_CEILING and name not in env.exempt_hostiles:
            paid[name] = round(float(bound), 3)
    require(
        not paid,
        f"Hostile repliers are paid: upper 95% bounds of the normalised score {paid}, allowed "
        f"{HOSTILE_CEILING}. Mend the reward, or name the strategy in exempt_hostiles with the "
        "reason.",
    )


def _mean(records: list[EpisodeRecord]) -> float:
    return math.fsum(r.episode_return for r in records) / len(records)
