"""Best of n: its estimator against all choices, its KL, and whole episodes played and chosen."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.best_of_n import best_of_n, best_of_n_kl, evaluate_best_of_n
from agents.engine.loading import load_lm
from agents.engine.local import LocalLM
from agents.evaluation import evaluate
from chat_envs.tokenizer import load_tokenizer

scores = st.lists(st.integers(-3, 3), min_size=1, max_size=6)


@given(scores, st.data())
def test_best_of_n_is_the_mean_over_all_choices(
    proxy: list[int], data: st.DataObject
) -> None:
    size = len(proxy)
    gold = data.draw(st.lists(st.integers(-9, 9), min_size=size, max_size=size))
    n = data.draw(st.integers(1, size))
    # By hand: of every choice of n the best by proxy, ties shared among equals of all N.
    shared = {
        p: np.mean([g for q, g in zip(proxy, gold, strict=True) if q == p])
        for p in proxy
    }
    choices = list(itertools.combinations(range(size), n))
    by_hand = np.mean([shared[max(proxy[i] for i in chosen)] for chosen in choices])
    assert best_of_n(proxy, gold, n) == pytest.approx(by_hand)


def test_best_of_n_refuses_more_than_there_are() -> None:
    with pytest.raises(ValueError, match="within 1 and 2, got 3"):
        best_of_n([1.0, 2.0], [0.0, 0.0], 3)


def test_the_kl_of_best_of_n_is_that_of_its_distribution() -> None:
    # The best of n of m equally likely, distinct replies, m large: KL by its definition.
    m, n = 200_000, 4
    upper = (np.arange(1, m + 1) / m) ** n
    chosen = np.diff(upper, prepend=0.0)
    kl = float((chosen * np.log(chosen * m)).sum())
    assert best_of_n_kl(n) == pytest.approx(kl, abs=1e-4)
    with pytest.raises(ValueError, match="at least 1"):
        best_of_n_kl(0)


ENV = "chat_envs/Echo-easy-v0"


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    model = load_lm("tiny", tokenizer=load_tokenizer(), engine="local", seed=0)
    assert isinstance(model, LocalLM)
    return model


def length_reward(reply: str) -> float:
    return float(len(reply))


def play(lm: LocalLM, n: int, env: str = ENV, **kwargs: Any) -> Any:
    settings: dict[str, Any] = {"num_episodes": 3, "seed": 5, "num_envs": 4}
    settings["env_kwargs"] = {"reward": length_reward}
    return evaluate_best_of_n(lm, env, n, **settings | kwargs)


def test_the_best_paid_episode_of_each_goal_is_chosen(lm: LocalLM) -> None:
    found = play(lm, 4)
    episodes = found.everything.episodes
    assert [e.seed for e in episodes] == [5] * 4 + [6] * 4 + [7] * 4
    for goal, chosen in enumerate(found.chosen.rollout):
        mine = episodes[4 * goal : 4 * goal + 4]
        assert chosen.seed == 5 + goal
        assert chosen.total_reward == max(e.total_reward for e in mine)
    assert len({e.total_reward for e in episodes[:4]}) > 1  # there was a choice
    # With N = n the estimate is the best itself.
    assert found.paid.tolist() == found.chosen.returns.tolist()
    assert found.kl == best_of_n_kl(4)
    assert found.chosen.policy.endswith("best of 4")


def test_gold_is_that_of_the_episode_that_pay_chose(lm: LocalLM) -> None:
    # A random model earns different golds there: talking more is another thing than teaching.
    found = play(lm, 2, "chat_envs/Tutoring-easy-v0", num_samples=6)
    num_later = 0
    for goal in range(3):
        mine = found.everything.episodes[6 * goal : 6 * goal + 6]
        paid = [e.total_reward for e in mine]
        gold = [e.total_gold for e in mine]
        assert found.gold[goal] == pytest.approx(best_of_n(paid, gold, 2))
        assert found.paid[goal] == pytest.approx(best_of_n(paid, paid, 2))
        # The episode itself is chosen among the first n.
        best = max(mine[:2], key=lambda e: e.total_reward)
        assert found.chosen.rollout.episodes[goal] is best
        num_later += max(paid) > best.total_reward
    assert num_later > 0 and len(set(found.gold)) > 1


def test_more_to_choose_from_never_pays_less(lm: LocalLM) -> None:
    means = [play(lm, n, num_samples=6).paid_interval().mean for n in (1, 2, 6)]
    assert means[0] < means[1] < means[2]


def test_it_is_a_result_like_any_other(lm: LocalLM) -> None:
    found = play(lm, 2, env_kwargs=None)
    record = json.loads(json.dumps(found.as_dict()))
    assert record["n"] == 2 and record["episodes"] == 3
    assert record["episodes_played"] == 6
    assert record["normalised_score"] is not None  # the anchors hold
    assert record["expected_return"]["mean"] == pytest.approx(found.paid.mean())
    assert record["expected_gold_return"]["mean"] == pytest.approx(found.gold.mean())
    again = play(lm, 2, env_kwargs=None)
    assert again.as_dict() == found.as_dict()


def test_the_goals_are_those_of_an_evaluation(lm: LocalLM) -> None:
    plain = evaluate(lm, ENV, num_episodes=3, seed=5)
    found = play(lm, 2, env_kwargs=None)
    prompts = [[e.messages[0] for e in r.rollout] for r in (plain, found.chosen)]
    assert prompts[0] == prompts[1]


def test_a_reward_that_failed_is_not_the_best(lm: LocalLM) -> None:
    def broken(reply: str) -> float:
        if len(reply) % 2:
            raise ConnectionError("no answer")
        return float(len(reply))

    kwargs = {"reward": broken, "on_error": "mask"}
    found = play(lm, 6, env_kwargs=kwargs)
    known = [e.is_known for e in found.everything]
    assert 0 < sum(known) < len(known)
    assert all(e.is_known for e in found.chosen.rollout)
    assert np.isnan(found.paid).all()  # no goal has six known returns
    few = play(lm, 1, num_samples=6, env_kwargs=kwargs)
    assert np.isfinite(few.paid).all()


@pytest.mark.parametrize(
    ("n", "kwargs", "words"),
    [
        (0, {}, "n must be within 1 and num_samples=0, got 0"),
        (3, {"num_samples": 2}, "within 1 and num_samples=2, got 3"),
        (2, {"num_episodes": 1}, "num_episodes must be at least 2"),
    ],
)
def test_what_cannot_work_is_refused(
    lm: LocalLM, n: int, kwargs: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        play(lm, n, **kwargs)
