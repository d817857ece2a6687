"""GRPO's family: which groups are learnt from, what long replies cost, and who equals whom."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.algorithm import Algorithm
from agents.engine.local import LocalLM
from agents.experience.rollout import Rollout
from agents.experience.seeding import numpy_generator
from agents.grpo import GRPO
from agents.recipe import RECIPES
from agents.reinforce import REINFORCE
from agents.tracking import read_lines
from tests.agents.gradients import gradient_of, relative_distance
from tests.agents.small_run import NAME, carry_out, finish, start
from tests.agents.test_gradient_invariance import noisy, ragged
from tests.agents.test_train import fingerprint
from tests.agents.toys import make_lm, make_parrots

SMALL: dict[str, Any] = {"num_episodes": 8, "group_size": 4}
ONE_STEP: dict[str, Any] = SMALL | {"num_epochs": 1, "kl_coefficient": 0.0}
UNCLIPPED: dict[str, Any] = {"clip_low": 1.0, "clip_high": 1e9}
PLAIN: dict[str, Any] = {"scale": "none", "aggregation": "token-mean"}


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    return make_lm()


def make(lm: LocalLM, cls: Any = GRPO, **kwargs: Any) -> Any:
    return cls(lm, make_parrots(8, num_turns=3), **kwargs)


def moved(seed: int = 3) -> LocalLM:
    """Return the model after its weights have gone elsewhere."""
    lm = make_lm()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in lm.module.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return lm


def earning(rollout: Rollout, returns: list[float]) -> Rollout:
    """Return the episodes paid those returns, on the first turn."""
    paid = []
    for episode, value in zip(rollout, returns, strict=True):
        rewards = np.zeros(episode.num_turns)
        rewards[0] = value
        paid.append(replace(episode, rewards=rewards))
    return Rollout(paid)


# ------------------------------------------------------------------------------- who equals whom


def test_without_std_and_clip_it_is_leave_one_out_up_to_its_factor(lm: LocalLM) -> None:
    grpo = make(lm, **ONE_STEP, **UNCLIPPED, **PLAIN)
    rloo = make(lm, REINFORCE, **SMALL, baseline="leave_one_out")
    rollout = noisy(ragged(grpo.collect()))
    expected = gradient_of(rloo, rollout)
    found = gradient_of(grpo, rollout)
    assert relative_distance(found, 0.75 * expected) < 1e-4  # (n - 1) / n, n = 4
    assert relative_distance(found, expected) > 0.2


def test_dr_grpo_is_grpo_over_a_constant_length(lm: LocalLM) -> None:
    dr_grpo = make(lm, RECIPES["dr_grpo"], **ONE_STEP)
    summed = make(
        lm, REINFORCE, **SMALL, baseline="group_mean", aggregation="seq-mean-token-sum"
    )
    rollout = noisy(ragged(dr_grpo.collect()))
    limit = 3 * 4  # turns times tokens of a reply, however long these episodes are
    assert dr_grpo.episode_limit == limit
    expected = gradient_of(summed, rollout) / limit
    assert relative_distance(gradient_of(dr_grpo, rollout), expected) < 1e-4


def test_cispo_at_ratio_one_has_the_policy_gradient(lm: LocalLM) -> None:
    cispo = make(lm, RECIPES["cispo"], **ONE_STEP)
    plain = make(lm, REINFORCE, **SMALL, baseline="group_mean", scale="group_std")
    rollout = noisy(cispo.collect())
    expected = gradient_of(plain, rollout)
    assert relative_distance(gradient_of(cispo, rollout), expected) < 1e-4


def test_off_the_policy_cispo_keeps_what_the_clip_drops(lm: LocalLM) -> None:
    settings = ONE_STEP | PLAIN | {"clip_low": 0.01, "clip_high": 0.01}
    rollout = noisy(make(lm, **settings).collect())
    away = moved()
    clip = make(away, **settings)
    cispo = make(away, **settings, surrogate="cispo")
    share = clip.update(rollout).result()["clip_fraction"]
    assert 0.2 < share < cispo.update(rollout).result()["clip_fraction"]
    # All weights lie in [0.99, 1.01]: it is the policy gradient of the moved weights, almost.
    plain = make(moved(), REINFORCE, **SMALL, baseline="group_mean")
    expected = gradient_of(plain, rollout)
    fresh = make(moved(), **settings, surrogate="cispo")
    assert relative_distance(gradient_of(fresh, rollout), expected) < 0.02
    clipped = gradient_of(make(moved(), **settings), rollout)
    assert relative_distance(clipped, expected) > 0.2


def one_token_replies(lm: LocalLM, level: str) -> Algorithm:
    env = make_parrots(8, num_turns=3, reply_length=1)
    settings = {"clip_low": 0.02, "clip_high": 0.02, "ratio_level": level}
    return GRPO(lm, env, **ONE_STEP, **settings)


def test_gspo_with_replies_of_one_token_has_the_ratio_of_tokens() -> None:
    rollout = noisy(one_token_replies(make_lm(), "token").collect())
    token, turn, episode = (
        gradient_of(one_token_replies(moved(), level), rollout)
        for level in ("token", "turn", "episode")
    )
    assert relative_distance(turn, token) < 1e-6
    # Negative control: an episode has three of them.
    assert relative_distance(episode, token) > 0.05


def test_gspo_with_longer_replies_has_not(lm: LocalLM) -> None:
    rollout = noisy(make(lm, **ONE_STEP).collect())
    token, turn = (
        gradient_of(make(moved(), **ONE_STEP, ratio_level=level), rollout)
        for level in ("token", "turn")
    )
    assert relative_distance(turn, token) > 0.05


def test_a_cap_changes_nothing_where_trainer_and_sampler_agree(lm: LocalLM) -> None:
    for cls, extra in ((GRPO, ONE_STEP), (REINFORCE, SMALL)):
        free, capped = (
            make(lm, cls, **extra, importance_cap=cap) for cap in (None, 2.0)
        )
        rollout = noisy(free.collect())
        expected = gradient_of(free, rollout)
        assert relative_distance(gradient_of(capped, rollout), expected) < 1e-4


def test_a_cap_weighs_tokens_by_how_the_two_differ(lm: LocalLM) -> None:
    cap, settings = 1.05, SMALL | {"baseline": "group_mean", "scale": "none"}
    rollout = noisy(make(lm, **ONE_STEP).collect())
    away = moved()
    free = make(away, REINFORCE, **settings)
    capped = make(away, REINFORCE, **settings, importance_cap=cap)
    found = gradient_of(capped, rollout)
    assert relative_distance(found, gradient_of(free, rollout)) > 0.02
    # GRPO's own ratio is 1 on its first step: it differs from REINFORCE in nothing then.
    grpo = make(away, **ONE_STEP, **PLAIN, importance_cap=cap)
    assert relative_distance(gradient_of(grpo, rollout), found) < 1e-4
    figures = grpo.update(rollout).result()
    assert figures["clip_fraction"] == 0 and abs(figures["old_kl"]) < 1e-8
    assert 0.5 < figures["importance_weight"] < cap
    assert figures["ratio_error"] > 0.05  # and the disagreement is still measured


# ------------------------------------------------------------------------------ dynamic sampling


def test_a_group_tells_something_if_its_returns_differ(lm: LocalLM) -> None:
    algorithm = make(lm, num_episodes=12, group_size=4, has_dynamic_sampling=True)
    rollout = algorithm.collector.collect(12, 0)
    values = [1.0] * 4 + [0.0, 0.0, 1.0, 0.0] + [0.5, 0.5 + 1e-8, 0.5, 0.5]
    assert algorithm.telling_groups(earning(rollout, values)) == [1]
    unknown = earning(rollout, values)
    episodes = [
        replace(e, reward_valid=np.array([n != 6, True, True]))
        for n, e in enumerate(unknown)
    ]
    assert algorithm.telling_groups(Rollout(episodes)) == []


def test_groups_that_tell_nothing_have_no_part_in_the_gradient(lm: LocalLM) -> None:
    settings = {"num_epochs": 1, "group_size": 4}
    dapo = make(lm, num_episodes=8, **settings, has_dynamic_sampling=True)
    rollout = dapo.collector.collect(16, 0)
    mixed = [0.0, 1.0, 0.0, 2.0]
    rollout = earning(rollout, [1.0] * 4 + mixed + mixed[::-1] + [0.0, 1.0, 1.0, 1.0])
    # Two groups are wanted: the first is dull, the last comes too late.
    plain = make(lm, num_episodes=8, **settings)
    expected = gradient_of(plain, Rollout(rollout.episodes[4:12]))
    assert relative_distance(gradient_of(dapo, rollout), expected) < 1e-6
    figures = dapo.update(rollout).result()
    assert figures["dropped_groups"] == 2 and figures["refilled_episodes"] == 8
    trained = sum(e.action_mask.sum() for e in rollout.episodes[4:12])
    assert figures["trained_tokens"] == trained


def test_nothing_is_learnt_where_all_earn_the_same(lm: LocalLM) -> None:
    algorithm = make(lm, **SMALL, has_dynamic_sampling=True)
    rollout = earning(algorithm.collector.collect(8, 0), [1.0] * 8)
    figures = algorithm.update(rollout).result()
    assert figures["trained_tokens"] == figures["optimizer_steps"] == 0
    assert figures["dropped_groups"] == 2 and figures["kl"] >= 0


def is_long(reply: str) -> float:
    return float(len(reply) > 12)


def refilling(lm: LocalLM, **kwargs: Any) -> GRPO:
    """Return an algorithm some of whose groups tell nothing."""
    settings = {"num_episodes": 8, "group_size": 2, "has_dynamic_sampling": True}
    env = make_parrots(4, num_turns=1, reward=is_long)
    return GRPO(lm, env, **settings | kwargs)


def test_an_update_is_filled_up_to_its_size_or_the_limit(lm: LocalLM) -> None:
    for limit in (0, 1, 20):
        algorithm = refilling(lm, max_refills=limit)
        rollout = algorithm.collect()
        telling = algorithm.telling_groups(rollout)
        assert rollout.groups.tolist() == [n // 2 for n in range(len(rollout))]
        assert len({e.seed for e in rollout}) == len(rollout) // 2
        if limit == 0:
            assert len(rollout) == 8 and len(telling) < 4
        if limit == 1:  # not enough: the limit of 20 needs a second refill
            assert len(telling) < 4 and len(rollout) > 8
            missing = len(rollout) - 8
            first = algorithm.play(missing, first_group=4, draw=1)
            for refill, again in zip(rollout.episodes[8:], first, strict=True):
                assert refill.ids.tolist() == again.ids.tolist()
        if limit == 20:
            assert len(telling) >= 4 and len(rollout) > 8 + missing
    report = refilling(lm, max_refills=20).iterate()
    assert report.num_timesteps == report.metrics["episodes"] == len(rollout)
    assert report.metrics["refilled_episodes"] == len(rollout) - 8


def test_refills_follow_from_seed_and_iteration(tmp_path: Path) -> None:
    def lines(algorithm: Algorithm, total: int) -> list[str]:
        found: list[str] = []
        algorithm.learn(
            total_iterations=total,
            callback=lambda report: found.append(json.dumps(report.metrics)),
        )
        return found

    whole = lines(refilling(make_lm()), 4)
    refilled = [json.loads(line)["refilled_episodes"] for line in whole]
    assert sum(refilled[:2]) > 0 and sum(refilled[2:]) > 0, refilled
    first = refilling(make_lm())
    begun = lines(first, 2)
    first.save(tmp_path)
    env = make_parrots(4, num_turns=1, reward=is_long)
    resumed = GRPO.load(tmp_path, make_lm(seed=9), env)
    assert begun + lines(resumed, 4) == whole


def test_a_killed_run_with_refills_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    fields = {"agent": "dapo", "total_timesteps": 60}
    carry_out(tmp_path / "whole", fields=fields)
    metrics = read_lines(tmp_path / "whole" / NAME / "metrics.jsonl")
    assert sum(line["refilled_episodes"] for line in metrics) > 0
    cut = tmp_path / "cut"
    killed = start(cut, kill_at="manifest written", nth=2, fields=fields)
    assert finish(killed) == -signal.SIGKILL
    assert finish(start(cut, is_resuming=True, fields=fields)) == 0
    assert fingerprint(cut) == fingerprint(tmp_path / "whole")


def test_shuffled_rewards_of_a_refill_are_shuffled_too(lm: LocalLM) -> None:
    honest, shuffled = (
        refilling(lm, max_refills=1, has_shuffled_rewards=is_on)
        for is_on in (False, True)
    )
    draws = [a.play(8, first_group=4, draw=1) for a in (honest, shuffled)]
    totals = [[e.total_reward for e in rollout] for rollout in draws]
    assert totals[0] != totals[1] and sorted(totals[0]) == sorted(totals[1])
    rng = numpy_generator(0, "shuffle", 0, 1)  # seed, iteration, draw
    expected = [e.total_reward for e in draws[0].with_shuffled_rewards(rng)]
    assert totals[1] == expected


# ---------------------------------------------------------------------------------- long replies


def test_a_reply_that_fills_its_limit_costs_what_equation_13_says(lm: LocalLM) -> None:
    algorithm = make(lm, **SMALL, overlong_penalty=0.5, overlong_share=0.5)
    rollout = algorithm.collect()
    assert algorithm.collector.sampling.max_new_tokens == 4
    price = {1: 0.0, 2: 0.0, 3: 0.25, 4: 0.5}  # the margin is 2 tokens
    paid = algorithm.paid(rollout)
    for n, episode in enumerate(rollout):
        expected = episode.rewards - [price[k] for k in episode.reply_lengths]
        assert paid[n].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    # And that is what is learnt from.
    actions = rollout.actions(lm.device)
    reference = torch.zeros_like(actions.log_probs)
    plain = make(lm, **SMALL, scale="none")
    priced = make(lm, **SMALL, scale="none", overlong_penalty=0.5, overlong_share=0.5)
    a, _ = priced.advantages(rollout, actions, reference)
    b, _ = plain.advantages(
        Rollout([replace(e, rewards=paid[n].numpy()) for n, e in enumerate(rollout)]),
        actions,
        reference,
    )
    assert torch.allclose(a, b, atol=1e-6)
    c, _ = plain.advantages(rollout, actions, reference)
    assert not torch.allclose(a, c, atol=1e-3)
    lengths = np.concatenate([e.reply_lengths for e in rollout])
    figures = algorithm.update(rollout).result()
    assert figures["overlong_share"] == pytest.approx((lengths > 2).mean())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"group_size": 1}, "group_size must be at least 2, got 1"),
        (
            {"group_size": 1, "baseline": "none", "scale": "none"}
            | {"has_dynamic_sampling": True},
            "group_size must be at least 2",
        ),
        ({"baseline": "greedy"}, "baseline must be one of none, batch_mean"),
        ({"ratio_level": "sequence"}, "ratio_level must be one of token, turn"),
        ({"surrogate": "cispo", "dual_clip": 3.0}, "dual_clip=3.0 is a floor"),
        ({"kl_estimator": "k1"}, "'k1' in the loss has a gradient of mean 0"),
        ({"aggregation": "token_mean"}, "Did you mean 'token-mean'"),
    ],
)
def test_what_cannot_work_is_refused(
    lm: LocalLM, wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        make(lm, **wrong)
