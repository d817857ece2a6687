"""The TRL bridge without TRL: rows, rewards, dialogues by tool calls, replies that are calls."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from transformers.utils import get_json_schema

from chat_envs.bridges.trl import (
    ToolDialogue,
    dialogue_reward,
    environment_factory,
    environment_reward,
    let_replies_be_calls,
    make_dataset,
)
from chat_envs.registration import find
from chat_envs.reward import reward_function
from tests.chat_envs.bridges.chat_tokenizer import make_tokenizer

ECHO, NUMBER = "chat_envs/Echo-easy-v0", "chat_envs/GuessNumber-easy-v0"
OWN = "tests.chat_envs.bridges.test_trl"
CALLS: list[int] = []


@reward_function(batched=True)
def by_length(reply: list[str]) -> list[float]:
    """Return the number of characters, and note how many replies came at once."""
    CALLS.append(len(reply))
    return [float(len(text)) for text in reply]


def broken(reply: str) -> float:
    raise OSError("no model")


def rows(dataset: Any) -> dict[str, list[Any]]:
    """Return the columns as TRL passes them to a reward function."""
    columns: dict[str, list[Any]] = dataset[:]
    return {("prompts" if name == "prompt" else name): v for name, v in columns.items()}


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def played(env_id: str, seed: int, *replies: str) -> float:
    """Return what the last of some replies is paid."""
    registration = find(env_id)
    env = registration.load()(**registration.kwargs)
    env.reset(seed=seed)
    return [env.step(env.encode(reply))[1] for reply in replies][-1]


def expert_replies(env_id: str, seeds: range) -> list[str]:
    registration = find(env_id)
    env = registration.load()(**registration.kwargs)
    replies = []
    for seed in seeds:
        env.reset(seed=seed)
        replies.append(env.expert_reply())
    return replies


def test_a_row_is_the_opening_of_its_seed() -> None:
    dataset = make_dataset(ECHO, range(3, 6), reply_length=8)
    assert dataset["seed"] == [3, 4, 5] and dataset["replies"] == [[], [], []]
    assert set(dataset["env_id"]) == {ECHO}
    assert json.loads(dataset[0]["env_kwargs"]) == {"reply_length": 8}
    registration = find(ECHO)
    env = registration.load()(**registration.kwargs)
    for row in dataset:
        env.reset(seed=row["seed"])
        assert row["prompt"] == [m.as_dict() for m in env.conversation]


@pytest.mark.parametrize("as_messages", [True, False])
def test_a_reply_is_paid_what_the_environment_pays(as_messages: bool) -> None:
    seeds = range(6)
    texts = expert_replies(ECHO, seeds)
    texts[1] = texts[4] = "something else"
    completions = [said(t) if as_messages else t for t in texts]
    rewards = environment_reward(
        completions=completions, **rows(make_dataset(ECHO, seeds)), trainer_state=None
    )
    assert rewards == [played(ECHO, s, t) for s, t in zip(seeds, texts)]
    assert set(rewards) == {0.0, 1.0}


def test_rows_of_several_environments_keep_their_order() -> None:
    one, other = rows(make_dataset(ECHO, [1, 2])), rows(make_dataset(NUMBER, [1, 2]))
    mixed = {
        name: [v for pair in zip(one[name], other[name]) for v in pair] for name in one
    }
    texts = ["5", "5", expert_replies(ECHO, range(2, 3))[0], "6"]
    rewards = environment_reward(completions=texts, **mixed)
    names = [ECHO, NUMBER, ECHO, NUMBER]
    assert rewards == [played(n, s, t) for n, s, t in zip(names, (1, 1, 2, 2), texts)]


def test_a_row_may_begin_in_the_middle_of_a_dialogue() -> None:
    dataset = make_dataset(NUMBER, range(20), depth=2)
    # Some numbers were found before that, and their rows are left out.
    assert 5 < len(dataset) < 20
    assert all(len(row["prompt"]) == 6 for row in dataset)
    texts = ["3"] * len(dataset)
    rewards = environment_reward(completions=texts, **rows(dataset))
    expected = [played(NUMBER, row["seed"], *row["replies"], "3") for row in dataset]
    assert rewards == expected and set(expected) == {0.0, 1.0}


def test_replies_of_unequal_number_come_before_each_its_own() -> None:
    dataset = rows(make_dataset(NUMBER, [2])), rows(make_dataset(NUMBER, [2], depth=1))
    mixed = {name: dataset[0][name] + dataset[1][name] for name in dataset[0]}
    replies = dataset[1]["replies"][0]
    rewards = environment_reward(completions=["8", "8"], **mixed)
    assert rewards == [played(NUMBER, 2, "8"), played(NUMBER, 2, *replies, "8")]


def test_the_replies_of_one_environment_are_scored_in_one_call() -> None:
    dataset = make_dataset(ECHO, range(4), reward=f"{OWN}:by_length")
    CALLS.clear()
    texts = ["a", "bb", "ccc", ""]
    rewards = environment_reward(completions=texts, **rows(dataset))
    assert rewards == [1.0, 2.0, 3.0, 0.0] and CALLS == [4]


def test_a_masked_reward_is_none() -> None:
    dataset = make_dataset(ECHO, [1], reward=f"{OWN}:broken", on_error="mask")
    assert environment_reward(completions=["a"], **rows(dataset)) == [None]


def test_a_prompt_of_another_episode_is_an_error() -> None:
    columns = rows(make_dataset(ECHO, [1]))
    columns["seed"] = [2]
    with pytest.raises(ValueError, match="does not hold what the user says"):
        environment_reward(completions=["a"], **columns)


@pytest.mark.parametrize("seeds", [[], [1, 2]])
def test_a_dataset_without_rows_is_an_error(seeds: list[int]) -> None:
    with pytest.raises(ValueError, match="No episode of .* is open after 9 replies"):
        make_dataset(NUMBER, seeds, depth=9)


def tools_of(environment: Any) -> list[Any]:
    """Return the methods that TRL 1.16 takes for tools, found as it finds them."""
    members = inspect.getmembers(type(environment), predicate=inspect.isfunction)
    return [
        getattr(environment, name)
        for name, _ in members
        if name not in ("reset", "get_reward") and not name.startswith("_")
    ]


def test_the_one_tool_describes_itself() -> None:
    (tool,) = tools_of(environment_factory(NUMBER)())
    function = get_json_schema(tool)["function"]
    assert function["name"] == "say"
    assert list(function["parameters"]["properties"]) == ["text"]
    assert function["parameters"]["required"] == ["text"]


def test_a_dialogue_is_played_by_calls() -> None:
    dialogue = environment_factory(NUMBER)()
    (row,) = make_dataset(NUMBER, [3])
    assert dialogue.reset(**row) is None
    registration = find(NUMBER)
    env = registration.load()(**registration.kwargs)
    env.reset(seed=3)
    while not env.is_over:
        reply = env.expert_reply()
        env.step(env.encode(reply))
        assert dialogue.say(reply) == env.conversation[-1].content
    assert dialogue.is_over and dialogue.episode_return == 1.0
    assert dialogue.transcript == env.conversation.render()
    assert dialogue.say("1") == "The conversation is over."
    assert dialogue.episode_return == 1.0
    dialogue.reset(**row)
    assert not dialogue.is_over and dialogue.episode_return == 0.0


def test_an_empty_prompt_is_filled_with_the_opening() -> None:
    dialogue = environment_factory(NUMBER)()
    empty = [{"role": "user", "content": ""}]
    opening = dialogue.reset(seed=3, prompt=empty, env_id=NUMBER)
    (row,) = make_dataset(NUMBER, [3])
    assert opening == "\n\n".join(m["content"] for m in row["prompt"])


def test_a_dialogue_may_begin_in_the_middle() -> None:
    (row,) = make_dataset(NUMBER, [2], depth=1)
    dialogue = environment_factory(NUMBER)()
    dialogue.reset(**row)
    assert dialogue.transcript.count("assistant:") == 1


def test_a_dialogue_without_seed_or_of_another_episode_is_an_error() -> None:
    dialogue = environment_factory(ECHO)()
    (row,) = make_dataset(ECHO, [1])
    with pytest.raises(ValueError, match="needs the column 'seed'"):
        dialogue.reset(prompt=row["prompt"])
    with pytest.raises(ValueError, match="does not hold what the user says"):
        dialogue.reset(**row | {"seed": 2})


def call(text: str, name: str = "say") -> dict[str, Any]:
    function = {"name": name, "arguments": {"text": text}}
    tool_calls = [{"type": "function", "function": function}]
    return {"role": "assistant", "content": "", "tool_calls": tool_calls}


def test_the_call_that_was_not_made_any_more_is_made_for_the_reward() -> None:
    (row,) = make_dataset(ECHO, [1])
    answer = expert_replies(ECHO, range(1, 2))[0]
    dialogues: list[ToolDialogue] = []
    last = [call(answer), call("wrong"), call(answer, "other"), *said(answer)]
    for _ in last:
        dialogues.append(environment_factory(ECHO)())
        dialogues[-1].reset(**row)
    rewards = dialogue_reward([], [[m] for m in last], environments=dialogues)
    assert rewards == [1.0, 0.0, 0.0, 0.0]
    assert [d.is_over for d in dialogues] == [True, True, False, False]


def test_the_return_of_a_masked_dialogue_is_none() -> None:
    dialogue = environment_factory(NUMBER, reward=f"{OWN}:broken", on_error="mask")()
    dialogue.reset(seed=1, prompt=[{"role": "user", "content": ""}])
    dialogue.say("1")
    dialogue.say("2")
    assert dialogue_reward([], [[]], environments=[dialogue]) == [None]


def test_everything_that_is_written_is_a_call() -> None:
    tokenizer = let_replies_be_calls(make_tokenizer())
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True
    )["input_ids"]
    for text in ("hello there", "<|user|>x", 'a "b" {content} \\'):
        ids = tokenizer(text + "<|end|>", add_special_tokens=False)["input_ids"]
        message = tokenizer.parse_response(ids, prefix=prompt)
        assert message == call(text) | {"content": ""} or message == {
            "role": "assistant",
            "tool_calls": call(text)["tool_calls"],
        }


def test_calls_and_results_are_written_as_plain_chat() -> None:
    plain = make_tokenizer()
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "5"},
        {"role": "user", "content": "higher"},
    ]
    called = [
        *chat[:2],
        call("5"),
        {"role": "tool", "name": "say", "content": "higher"},
    ]
    kwargs: dict[str, Any] = {"tokenize": False, "add_generation_prompt": True}
    expected = plain.apply_chat_template(chat, **kwargs)
    tokenizer = let_replies_be_calls(make_tokenizer())
    tools = tools_of(environment_factory(ECHO)())
    assert tokenizer.apply_chat_template(called, tools=tools, **kwargs) == expected
    assert tokenizer.apply_chat_template(chat, **kwargs) == expected


@pytest.mark.parametrize("missing", ["chat_template", "eos_token"])
def test_a_tokenizer_that_cannot_chat_is_refused(missing: str) -> None:
    tokenizer = make_tokenizer()
    setattr(tokenizer, missing, None)
    with pytest.raises(ValueError, match="needs a chat_template and an eos_token"):
        let_replies_be_calls(tokenizer)
