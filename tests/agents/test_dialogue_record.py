"""A record as tokens: what is said by whom, and what of it is learnt."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from agents.dialogue_record import (
    as_dialogue,
    as_episode,
    cut_to,
    describe,
    encode_dialogue,
    pack_texts,
)
from agents.sft import demonstrations
from chat_envs.chat_template import load_template
from chat_envs.message import Message, Role, assistant, system, user
from chat_envs.tokenizer import load_tokenizer
from tests.agents.toys import make_parrots

TOKENIZER = load_tokenizer()
TEMPLATE = load_template(TOKENIZER)


def line(**record: Any) -> bytes:
    return json.dumps(record).encode()


def test_three_kinds_of_record_are_read() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    pair = (user("a"), assistant("b"))
    assert as_dialogue(line(messages=messages)) == pair
    assert as_dialogue(line(prompt="a", completion="b")) == pair
    assert as_dialogue(line(prompt="a", response="b")) == pair
    assert as_dialogue(line(prompt=messages[:1], completion=messages[1:])) == pair
    assert as_dialogue(line(text="plain")) == "plain"
    # Saved datasets give columns that a row lacks as None.
    row = {"messages": None, "prompt": "a", "completion": None, "response": "b"}
    assert as_dialogue(row) == pair


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (b"{", "not JSON"),
        (b"[1]", "no JSON object"),
        (line(txt="a"), "'txt'"),
        (line(text=" "), "not empty"),
        (line(prompt="a"), "no 'completion' or 'response'"),
        (line(messages=[{"role": "user", "content": "a"}]), "nothing to learn from"),
        (line(messages=[{"role": "assistant", "content": "a"}]), "speaks first"),
        (line(messages=[{"role": "robot", "content": "a"}]), "is no message"),
        (
            line(
                prompt="a",
                completion=[{"role": "assistant", "content": word} for word in "bc"],
            ),
            "messages 2 and 3 are both",
        ),
    ],
)
def test_a_record_that_is_none_says_why(record: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        as_dialogue(record)


def test_a_dialogue_is_written_as_an_environment_writes_it() -> None:
    played = demonstrations(make_parrots(2, num_turns=3), num_episodes=4)
    for episode in played:
        messages = [Message(Role(m["role"]), m["content"]) for m in episode.messages]
        ids, turns = encode_dialogue(messages, TOKENIZER, TEMPLATE)
        assert ids == episode.ids.tolist()
        assert turns == episode.turn_index.tolist()


def test_only_what_the_assistant_says_is_learnt_and_nothing_behind_it() -> None:
    talk = [system("Be brief."), user("Hi"), assistant("Hello."), user("Bye")]
    ids, turns = encode_dialogue(talk, TOKENIZER, TEMPLATE)
    learnt = [i for i, turn in zip(ids, turns, strict=True) if turn == 0]
    assert learnt == [*TOKENIZER.encode("Hello."), min(TEMPLATE.stop_ids)]
    assert turns[-1] == 0 and "Bye" not in TOKENIZER.decode(ids)


def test_texts_are_packed_to_whole_rows_that_are_learnt_throughout() -> None:
    texts = ["one two three", "four", "five six"]
    rows = list(pack_texts(texts, TOKENIZER, TEMPLATE, 8))
    stop = min(TEMPLATE.stop_ids)
    whole = [i for text in texts for i in (*TOKENIZER.encode(text), stop)]
    assert [i for ids, _ in rows for i in ids] == whole[: sum(len(r) for r, _ in rows)]
    assert {len(ids) for ids, _ in rows[:-1]} == {8}
    assert all(turns == [-1] + [0] * (len(ids) - 1) for ids, turns in rows)


def test_a_rest_of_one_token_is_no_row() -> None:
    (only,) = TOKENIZER.encode("a")
    rows = list(pack_texts(["a", "a"], TOKENIZER, TEMPLATE, 3))
    stop = min(TEMPLATE.stop_ids)
    assert [ids for ids, _ in rows] == [[only, stop, only]]


def test_an_episode_of_data_has_no_known_reward() -> None:
    ids, turns = encode_dialogue(
        [user("a"), assistant("b c"), user("d"), assistant("e")], TOKENIZER, TEMPLATE
    )
    episode = as_episode(7, ids, turns)
    assert not episode.is_known and np.isnan(episode.total_reward)
    assert episode.num_turns == 2 and episode.seed == episode.group == 7
    assert episode.reply_lengths.tolist() == [
        len(TOKENIZER.encode("b c")) + 1,
        len(TOKENIZER.encode("e")) + 1,
    ]
    assert describe([episode]) == {
        "rows": 1,
        "tokens": len(ids),
        "learnt_tokens": int(episode.reply_lengths.sum()),
    }


def test_a_cut_keeps_the_head_and_refuses_one_without_a_reply() -> None:
    ids, turns = [5, 6, 7, 8], [-1, -1, 0, 0]
    assert cut_to(ids, turns, 3) == ([5, 6, 7], [-1, -1, 0])
    assert cut_to(ids, turns, 2) is None
