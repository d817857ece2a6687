"""The task's own reward by name, an environment's proxies, and `info["gold_reward"]`."""

from __future__ import annotations

import json
from typing import Any

import gymnasium
import pytest

from chat_envs.core import ChatEnv, Turn
from chat_envs.envs.customer_service import PRESETS
from chat_envs.envs.tutoring import Tutoring
from chat_envs.message import user
from chat_envs.replier import REPLIERS, play
from chat_envs.reward import RewardError, RewardRequest, describe, make_scorer, registry
from chat_envs.wrappers import TokenActions
from tests.chat_envs.registered import registered
from tests.chat_envs.request import make_request
from tests.chat_envs.toy import SayIt, make_vector

__all__ = ["Measured", "make_vector"]


def length(reply: str) -> float:
    return float(len(reply))


def shout(reply: str) -> float:
    return float(reply.isupper())


def fail(reply: str) -> float:
    raise OSError("no network")


class Judge:
    """Scores a batch."""

    def score(self, batch: list[RewardRequest]) -> list[float]:
        return [float(request.turn) for request in batch]


class Measured(SayIt):
    """The toy, with proxies of every kind."""

    proxies = {
        "length": f"{__name__}:length",
        "function": shout,
        "judge": Judge(),
        "mixture": {f"{__name__}:length": 0.5, "task": 2.0},
        "failing": f"{__name__}:fail",
        "manners": "manners",
        "nested": "proxy:length",
    }


def step(env: ChatEnv, text: str = "HELLO") -> tuple[float, dict[str, Any]]:
    env.reset(seed=3)
    _, reward, *_, info = env.step(env.encode(text))
    return float(reward), info


# By name ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reward", [None, "task", "gold", {"gold": 1.0}])
def test_gold_is_the_task_s_own_reward(reward: Any) -> None:
    env = SayIt(reward=reward)
    assert env.scorer.component_names == ("said", "pace")
    assert step(env)[0] == -0.1
    assert describe("gold") == "gold"


def test_gold_and_task_are_one_thing() -> None:
    with pytest.raises(ValueError, match="two reward components are called 'pace'"):
        SayIt(reward={"gold": 1.0, "task": 1.0})


@pytest.mark.parametrize(
    ("name", "component", "value"),
    [("length", "length", 5.0), ("function", "shout", 1.0), ("judge", "judge", 1.0)],
)
def test_a_proxy_is_paid_under_its_function_s_name(
    name: str, component: str, value: float
) -> None:
    reward, info = step(Measured(reward=f"proxy:{name}"))
    assert reward == value and info["reward_components"] == {component: value}
    assert info["gold_reward"] == -0.1


def test_a_proxy_that_is_an_id_has_the_id_s_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_TARGETS", {"manners": length})
    assert Measured(reward="proxy:manners").scorer.component_names == ("manners",)


def test_proxies_are_weighed_like_all_else() -> None:
    mixture = {"gold": 2.0, "proxy:length": 0.1, "proxy:judge": {"weight": 0.0}}
    with registered(entry_point=f"{__name__}:Measured") as env_id:
        env = gymnasium.make(env_id, reward=mixture)
        assert json.loads(env.spec.to_json())["kwargs"] == {"reward": mixture}
        reward, info = step(env.unwrapped)  # type: ignore[arg-type]
    assert reward == pytest.approx(2.0 * -0.1 + 0.1 * 5)
    components = {"said": 0.0, "pace": -0.1, "length": 5.0, "judge": 1.0}
    assert info["reward_components"] == components


def test_a_proxy_may_be_a_mixture_alone_or_in_another() -> None:
    alone = step(Measured(reward="proxy:mixture"))
    assert alone[0] == pytest.approx(0.5 * 5 + 2 * -0.1)
    reward, info = step(Measured(reward={"proxy:mixture": 0.5, "proxy:function": 3.0}))
    assert reward == pytest.approx(0.5 * alone[0] + 3.0)
    assert list(info["reward_components"]) == ["length", "said", "pace", "shout"]


def test_options_of_a_proxy_count_as_anywhere() -> None:
    with pytest.raises(RewardError, match="'fail' failed at turn 1"):
        step(Measured(reward="proxy:failing"))
    options = {"weight": 1.0, "on_error": "mask"}
    info = step(Measured(reward={"gold": 1.0, "proxy:failing": options}))[1]
    assert not info["reward_valid"] and info["gold_reward"] == -0.1
    bad = {"weight": 1.0, "on_eror": "mask"}
    for name in ("length", "mixture"):
        with pytest.raises(ValueError, match="'on_eror' of .*Did you mean 'on_error'"):
            Measured(reward={f"proxy:{name}": bad})


def test_the_options_of_a_mixture_are_its_parts_defaults() -> None:
    proxies = {"both": {fail: {"weight": 2.0}, length: {"on_error": "raise"}}}
    reward = {"proxy:both": {"weight": 0.5, "on_error": 3.0}}
    (outcome,) = make_scorer(reward, proxies=proxies).score([make_request("abc")])
    assert outcome.components == {"fail": 3.0, "length": 3.0}
    assert outcome.total == pytest.approx(0.5 * (2.0 * 3.0 + 3.0))


@pytest.mark.parametrize("wrap", [lambda name: name, lambda name: {name: 1.0}])
def test_a_wrong_proxy_teaches_the_right_ones(wrap: Any) -> None:
    with pytest.raises(
        ValueError, match="Measured has no proxy 'lengths', only.*'length'"
    ):
        Measured(reward=wrap("proxy:lengths"))
    with pytest.raises(ValueError, match="SayIt declares no proxies"):
        SayIt(reward=wrap("proxy:length"))
    with pytest.raises(ValueError, match="no module named 'proxy'"):
        Measured(reward=wrap("proxy:nested"))


# What the task pays, in info ----------------------------------------------------------------


def test_the_gold_reward_is_in_info_whatever_is_plugged() -> None:
    gold, plugged = SayIt(), SayIt(reward=length)
    assert gold.reset(seed=4)[1]["gold_reward"] == 0.0
    plugged.reset(seed=4)
    for word in ("red", gold.expert_reply(), "red"):
        word = gold.expert_reply() if word != "red" else word
        _, paid, *_ = gold.step(gold.encode(word))
        _, reward, *_, info = plugged.step(plugged.encode(word))
        assert (reward, info["gold_reward"]) == (float(len(word)), paid)
        assert type(info["gold_reward"]) is float
    assert plugged.reset()[1]["gold_reward"] == 0.0


def test_it_is_zero_where_the_environment_leaves_the_score_to_the_reward() -> None:
    class Open(SayIt):
        def _respond(self, reply: str) -> Turn:
            return Turn(messages=[user("say more")])

    reward, info = step(Open(reward=length))
    assert (reward, info["gold_reward"]) == (5.0, 0.0)
    with pytest.raises(RewardError, match="gave no reward"):
        step(Open(reward="gold"))


def test_a_reward_cannot_forge_it() -> None:
    class Forger:
        def score(self, batch: list[RewardRequest]) -> list[float]:
            for request in batch:
                assert isinstance(request.task_components, dict)
                request.task_components["said"] = 100.0
            return [0.0 for _ in batch]

    env = SayIt(reward=Forger())
    assert step(env)[1]["gold_reward"] == -0.1
    assert env.reward_request().task_components == {"said": 0.0, "pace": -0.1}


def test_it_is_zero_in_the_middle_of_a_reply_of_single_tokens() -> None:
    env = TokenActions(SayIt(reward=length))
    env.reset(seed=4)
    golds = [env.step(action)[4]["gold_reward"] for action in (1, 100, 1, 100)]
    assert golds == [-0.1, 0.0, -0.1, 0.0]


# The suite's own --------------------------------------------------------------------------


def test_a_tutor_who_tells_the_answers_wins_the_proxy_and_loses_the_gold() -> None:
    env = Tutoring("easy", reward="proxy:correctness")
    _, info = env.reset(seed=0)
    earned, gold = 0.0, 0.0
    while not env.is_over:
        _, reward, *_, info = env.step(env.encode(env.leak_reply()))
        earned, gold = earned + reward, gold + info["gold_reward"]
    assert env.scorer.component_names == ("correctness",)
    assert earned == 1.0 and gold < -0.4
    honest = play(Tutoring("easy"), REPLIERS["expert"], seed=0)
    assert gold < honest.episode_return < earned


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_is_a_keyword_and_the_task_s_own_reward_then(preset: str) -> None:
    env = gymnasium.make("chat_envs/CustomerService-easy-v0", preset=preset)
    env.spec.to_json()  # type: ignore[union-attr]
    chat_env: Any = env.unwrapped
    _, info = env.reset(seed=0)
    rewards, golds = [], []
    while not chat_env.is_over:
        _, reward, *_, info = env.step(chat_env.encode(chat_env.expert_reply()))
        rewards.append(reward)
        golds.append(info["gold_reward"])
    assert rewards == golds
    assert rewards[0] == PRESETS[preset].turn
    assert info["success"] and rewards[-1] > rewards[0]
