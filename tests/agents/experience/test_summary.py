"""Descriptions of a rollout, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.experience.rollout import Rollout
from agents.experience.summary import (
    describe_drift,
    describe_rollout,
    measure_agreement,
)
from agents.experience.tally import Tally
from tests.agents.experience.test_rollout import make_episode

CPU = torch.device("cpu")


def test_rollout_by_hand() -> None:
    solved = replace(
        make_episode([2, 3]),  # rewards 1 and 2
        success=True,
        reply_cut=np.array([False, True]),
        gold_rewards=np.array([5.0, -1.0]),
        metrics={"m": 4.0},
        reward_components={"c": np.array([1.0, 2.0])},
    )
    unknown = replace(
        make_episode([1]),
        terminated=False,
        truncated=True,
        rewards=np.array([math.nan]),
        reward_valid=np.array([False]),
        metrics={"m": 0.0},
        reward_components={"c": np.array([math.nan])},
    )
    assert describe_rollout(Rollout([solved, unknown])).result() == {
        "return": 3.0,  # of the one episode whose return is known
        "gold_return": 4.0,  # of the one episode where it was noted
        "success": 0.5,
        "turns": 1.5,
        "reply_length": 2.0,
        "reply_tokens": 6.0,
        "cut_share": pytest.approx(1 / 3),
        "reward_error_rate": pytest.approx(1 / 3),
        "truncated_share": 0.5,
        "episodes": 2.0,
        "env/m": 2.0,
        "reward/c": 1.5,
    }


def test_drift_by_hand() -> None:
    actions = Rollout([make_episode([2, 1]), make_episode([1])]).actions(CPU)
    shift = torch.tensor([[0.1, 0.2, 0.3], [-0.4, 9.0, 9.0]])  # padding must not count
    figures = describe_drift(actions, actions.log_probs - shift).result()
    k3 = [math.exp(-d) - 1 + d for d in (0.1, 0.2, 0.3, -0.4)]
    assert figures["kl"] == pytest.approx(sum(k3) / 4, rel=1e-4)
    assert figures["kl_per_reply"] == pytest.approx(
        (0.1 + 0.2 + 0.3 - 0.4) / 3, rel=1e-4
    )


def test_agreement_by_hand() -> None:
    actions = Rollout([make_episode([2])]).actions(CPU)
    tally = Tally()
    measure_agreement(tally, actions.log_probs + torch.tensor([[0.0, -0.02]]), actions)
    assert tally.result() == {
        "log_prob_gap": pytest.approx(0.01, rel=1e-4),
        "ratio_error": pytest.approx(1 - math.exp(-0.02), rel=1e-4),
    }
