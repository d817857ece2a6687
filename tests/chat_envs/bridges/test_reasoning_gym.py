"""ReasoningGym: the package's items and scores, its splits, and what it keeps to itself."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import random
import re
from typing import Any

import gymnasium
import numpy as np
import pytest

from chat_envs.bridges.optional_package import load_package
from chat_envs.bridges.reasoning_gym import (
    EVALUATED,
    ReasoningGym,
    is_held_out,
    make_vector,
    readings,
)
from chat_envs.core import SPLITS
from chat_envs.message import Role
from chat_envs.replier import REPLIERS, play, play_many
from chat_envs.testing import check_chat_env
from chat_envs.vector import ChatVectorEnv
from tests.chat_envs.registered import registered

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is None,
    reason="reasoning-gym is not installed: it needs a C compiler",
)

ENTRY_POINT = "chat_envs.bridges.reasoning_gym:ReasoningGym"
# Among them one that draws from `random` and one that seeds `numpy.random`.
TASKS = ["leg_counting", "chain_sum", "list_functions", "pool_matrix"]


@pytest.fixture(scope="module")
def env() -> ReasoningGym:
    return ReasoningGym("leg_counting")


def make(task: str, **kwargs: Any) -> ReasoningGym:
    return ReasoningGym(task, on_long="skip", reply_length=256, **kwargs)


def question(env: ReasoningGym, seed: int) -> str:
    env.reset(seed=seed)
    asked = env.conversation.last(Role.USER)
    assert asked is not None
    return asked.content


def test_the_whole_contract_holds() -> None:
    with registered("toy/legs-v0", ENTRY_POINT, dataset="leg_counting") as env_id:
        check_chat_env(env_id, num_episodes=8)


@pytest.mark.parametrize("task", TASKS)
def test_the_stored_answer_earns_everything_on_both_splits(task: str) -> None:
    for split in SPLITS:
        records = play_many(make(task, split=split), REPLIERS["expert"], range(5))
        assert [r.episode_return for r in records] == [1.0] * 5
        assert all(r.success for r in records)


def test_the_question_and_the_score_are_the_packages_own() -> None:
    factory = load_package("reasoning_gym.factory", extra="reasoning-gym")
    env = ReasoningGym("leg_counting", config={"size": 100})
    tasks = factory.create_dataset("leg_counting", seed=0, size=100)
    item = {item["question"]: item for item in tasks}[question(env, 3)]
    for answer in (item["answer"], item["answer"] + " legs", "1"):
        env.reset(seed=3)
        _, reward, terminated, _, info = env.step(env.encode(answer))
        assert reward == tasks.score_answer(answer, item) and terminated
        assert info["success"] == (reward == 1.0)


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_is_an_item_and_the_global_state_is_untouched(task: str) -> None:
    one, other = make(task), make(task)
    random.seed(1)
    state, numpy_state = random.getstate(), str(np.random.get_state())
    asked = [question(one, seed) for seed in range(6)]
    for seed in range(6):
        play(one, REPLIERS["expert"], seed)
    assert random.getstate() == state
    assert str(np.random.get_state()) == numpy_state
    random.seed(2)
    assert [question(other, seed) for seed in range(6)] == asked
    assert len(set(asked)) > 1


def test_no_question_stands_in_both_splits() -> None:
    # 60 questions in all, so that most are drawn.
    config = {"size": 60}
    asked = {}
    for split in SPLITS:
        env = ReasoningGym("chain_sum", config=config, split=split)
        asked[split] = {question(env, seed) for seed in range(150)}
        assert {is_held_out(text) for text in asked[split]} == {split == "test"}
    assert not asked["train"] & asked["test"]
    assert len(asked["train"]) > 30 and len(asked["test"]) > 5


def test_a_split_without_questions_is_an_error_that_says_so() -> None:
    empty = "train" if is_held_out(question_of_one_item()) else "test"
    with pytest.raises(ValueError, match="no question of 'chain_sum' for the split"):
        ReasoningGym("chain_sum", config={"size": 1}, split=empty)


def question_of_one_item() -> str:
    factory = load_package("reasoning_gym.factory", extra="reasoning-gym")
    return str(factory.create_dataset("chain_sum", seed=0, size=1)[0]["question"])


def test_config_reaches_the_task() -> None:
    config = {"min_terms": 7, "max_terms": 7, "seed": 3}
    env = ReasoningGym("chain_sum", config=config)
    assert all(len(re.findall("[+-] ", question(env, s))) >= 6 for s in range(5))
    assert question(env, 0) != question(ReasoningGym("chain_sum"), 0)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("8", ["8"]),
        (" 8.\n", ["8.", "8"]),
        ("`8`", ["`8`", "8"]),
        ("I think <answer>7</answer> or rather <answer> 8 </answer> so", ["8"]),
        ("it is <answer>8", ["8"]),
        ("Seven and one: the answer is 8.", ["8.", "8"]),
        ("Answer: [1, 2]", ["[1, 2]"]),
        ("", []),
        ("<answer></answer>", []),
        ("...", ["...", ".."]),
    ],
)
def test_one_answer_is_read_from_a_reply(reply: str, expected: list[str]) -> None:
    assert list(readings(reply)) == expected


def test_a_list_of_answers_earns_next_to_nothing(env: ReasoningGym) -> None:
    assert len(env.candidate_replies()) > 5
    records = play_many(env, REPLIERS["list_answers"], range(20))
    assert sum(r.episode_return for r in records) / 20 < 0.15


def test_an_answer_that_the_scorer_cannot_read_is_worth_nothing_and_counted() -> None:
    # reasoning-gym 0.1.25 turns each factor into an int, whatever it is.
    env = ReasoningGym("prime_factorization")
    for reply, unreadable in (("two", 1.0), ("2", 0.0), ("", 0.0)):
        env.reset(seed=0)
        _, reward, _, _, info = env.step(env.encode(reply))
        assert reward < 1.0 and info["metrics"]["unreadable"] == unreadable
        assert reply == "2" or reward == 0.0


@pytest.fixture
def moody() -> ReasoningGym:
    importlib.import_module("tests.chat_envs.bridges.toy_task")  # which registers it
    return ReasoningGym("toy_moody")


def test_a_score_that_is_no_number_is_worth_nothing(moody: ReasoningGym) -> None:
    moody.reset(seed=0)
    _, reward, _, _, info = moody.step(moody.encode("nan"))
    assert reward == 0.0 and info["metrics"]["unreadable"] == 1.0


def test_a_scorer_that_draws_draws_alone(moody: ReasoningGym) -> None:
    random.seed(1)
    state = random.getstate()
    rewards = set()
    for seed in range(3):
        moody.reset(seed=seed)
        rewards.add(moody.step(moody.encode("luck"))[1])
    assert len(rewards) == 1 and random.getstate() == state


def test_answers_are_sampled_from_questions_of_the_training_split(
    moody: ReasoningGym,
) -> None:
    known = {n for n in range(16) if not is_held_out(f"Repeat {n}.")}
    assert 0 < len(known) < 16
    assert set(map(int, moody.candidate_replies())) == known


def test_every_task_whose_scorer_runs_replies_is_known() -> None:
    datasets = load_package("reasoning_gym.factory", extra="reasoning-gym").DATASETS
    load_package("reasoning_gym", extra="reasoning-gym")
    running = {
        name
        for name, (task, _) in datasets.items()
        if task.__module__.startswith("reasoning_gym.")
        # propositional_logic has a parser of its own by that name
        if re.search(
            r"(?<![\w.])eval\(answer\)|parse_expr\(",
            inspect.getsource(task.score_answer),
        )
        and "Expression.from_string" not in inspect.getsource(task.score_answer)
    }
    assert running | {"composite"} == EVALUATED


def test_a_task_that_would_run_replies_wants_to_be_allowed() -> None:
    with pytest.raises(
        ValueError, match="runs replies as Python code.*allow_eval=True"
    ):
        ReasoningGym("spiral_matrix")
    assert make("spiral_matrix", allow_eval=True).dataset == "spiral_matrix"


def test_an_item_that_does_not_fit_stops_or_is_left_out() -> None:
    with pytest.raises(ValueError, match="needs a context_length of .* on_long='skip'"):
        ReasoningGym("leg_counting", context_length=64)
    with pytest.raises(ValueError, match="needs a reply_length of"):
        ReasoningGym("prime_factorization", reply_length=2)
    lengths = set()
    for reply_length in (6, 64):
        env = ReasoningGym(
            "prime_factorization", reply_length=reply_length, on_long="skip"
        )
        for seed in range(10):
            env.reset(seed=seed)
            lengths.add((reply_length, len(env.tokenizer.encode(env.expert_reply()))))
    assert max(n for length, n in lengths if length == 6) < 6
    assert max(n for length, n in lengths if length == 64) >= 6


def test_a_task_without_stored_answers_says_so() -> None:
    env = ReasoningGym("propositional_logic")
    env.reset(seed=0)
    with pytest.raises(NotImplementedError, match="stores no answer"):
        env.expert_reply()
    assert env.blind_reply() == "" and env.candidate_replies() == []


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"dataset": "leg_count"}, "Did you mean 'leg_counting'"),
        ({"dataset": "chain_sum", "config": {"min_terms": 0}}, "refuses its config"),
        ({"dataset": "chain_sum", "max_turns": 2}, "one turn"),
        ({"dataset": "chain_sum", "on_long": "cut"}, "on_long"),
    ],
)
def test_a_wrong_keyword_is_an_error_that_teaches(
    kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ReasoningGym(**kwargs)


def test_gymnasium_makes_one_and_many() -> None:
    with registered("toy/legs-v0", ENTRY_POINT, dataset="leg_counting") as env_id:
        single = gymnasium.make(env_id, config={"size": 50})
        single.reset(seed=0)
        assert single.spec is not None and single.spec.to_json()
        many = gymnasium.make_vec(
            env_id, num_envs=2, vectorization_mode="vector_entry_point"
        )
        assert isinstance(many, ChatVectorEnv)
    assert make_vector(2, dataset="leg_counting").num_envs == 2
