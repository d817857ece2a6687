"""What is told of the rewards themselves: new failures, by name, and nothing twice."""

from __future__ import annotations

import pytest

from agents.experience.reward_log import RewardLog
from agents.ppo import PPO
from agents.reinforce import REINFORCE
from tests.agents.toys import make_lm, make_parrots


def moody(turn: int) -> float:
    """Fail in every second turn."""
    if turn == 2:
        raise ConnectionError("no answer")
    return float(turn)


def _settings(**more: object) -> dict[str, object]:
    return {"num_episodes": 4, "group_size": 2, "num_envs": 4, "seed": 1} | more


def test_failures_are_told_by_name_and_once() -> None:
    env = make_parrots(4, reward={"task": 1.0, moody: 0.5}, on_error="mask")
    agent = REINFORCE(make_lm(), env, **_settings())
    for _ in range(2):  # of one iteration, however many came before
        metrics = agent.iterate().metrics
        assert metrics["reward_failures/moody"] == 0.5
        assert metrics["reward_failures/task"] == 0.0
        assert metrics["reward_error_rate"] == 0.5


def test_failures_that_a_number_stands_in_for_are_told_too() -> None:
    env = make_parrots(4, reward={moody: {"on_error": 0.0}})
    metrics = REINFORCE(make_lm(), env, **_settings()).iterate().metrics
    assert metrics["reward_error_rate"] == 0.0
    assert metrics["reward_failures/moody"] == 0.5


def test_the_environments_own_reward_has_nothing_to_tell() -> None:
    log = RewardLog(make_parrots(2).scorer)
    tally, seconds = log.since_last()
    assert tally.result() == {} and seconds == 0.0


def test_a_scorer_without_counts_has_nothing_to_tell() -> None:
    tally, seconds = RewardLog(object()).since_last()
    assert tally.result() == {} and seconds == 0.0


@pytest.mark.parametrize("agent_class", [REINFORCE, PPO])
def test_a_running_normalisation_is_part_of_an_algorithms_state(
    agent_class: type[REINFORCE] | type[PPO],
) -> None:
    def make() -> REINFORCE | PPO:
        env = make_parrots(4, reward={moody: {"normalize": True, "on_error": 0.0}})
        return agent_class(make_lm(has_value_head=True), env, **_settings())

    first, other = make(), make()
    first.iterate()
    state = first.state_dict()
    assert state["reward"] != other.state_dict()["reward"]
    other.load_state_dict(state)
    assert other.state_dict() == state
    with pytest.raises(ValueError, match="reward"):
        other.load_state_dict({k: v for k, v in state.items() if k != "reward"})


def test_a_state_of_another_reward_is_refused() -> None:
    one = REINFORCE(make_lm(), make_parrots(4, reward=moody), **_settings())
    other = REINFORCE(make_lm(), make_parrots(4), **_settings())
    with pytest.raises(ValueError, match="of the rewards"):
        other.load_state_dict(one.state_dict())
