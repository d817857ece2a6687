"""The Bradley-Terry model: its features, its training, the weights that ship."""

from __future__ import annotations

import json
import math
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.commands import preference as command
from chat_envs.simulators.preference_gold import draw_pairs
from chat_envs.simulators.preference_model import (
    Pair,
    PreferenceModel,
    accuracy,
    features,
    load_model,
    train,
)

SIZE = 2**14
STORED = resources.files("chat_envs") / "data" / "preference_model.json"


def stored() -> dict[str, object]:
    record: dict[str, object] = json.loads(STORED.read_text(encoding="utf-8"))
    return record


@given(st.text(max_size=60), st.text(max_size=200))
def test_features_are_indices_of_weights(prompt: str, reply: str) -> None:
    found = features(prompt, reply)
    assert found and all(0 <= index < SIZE for index in found)
    assert found == features(prompt, reply)


def test_features_tell_apart_what_the_rule_tells_apart() -> None:
    prompt = "What does my cat need?"
    distinct = [
        ("", prompt),
        ("fish", prompt),
        ("fish fish", prompt),
        ("fish cat", prompt),
        ("cat fish", prompt),
        ("fish", "What does my dog need?"),
        ("fish the", prompt),
    ]
    found = [frozenset(features(asked, reply)) for reply, asked in distinct]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It is RED!", "it is red"),
        ("a, b", "a b"),
        ("x " * 64, "x " * 64 + "and more"),
    ],
)
def test_features_leave_case_and_signs_out_and_end_somewhere(
    one: str, other: str
) -> None:
    assert features("hi", one) == features("hi", other)


def test_common_words_of_a_prompt_are_no_features() -> None:
    assert features("What does my cat need?", "fish") == features("cat", "fish")
    assert features("cat", "fish") != features("dog", "fish")


@pytest.mark.parametrize(
    "reply", ["a" * 1_000_000, "yes " * 250_000, "\ud800\x00<|end|>"]
)
def test_any_reply_has_a_finite_logit(reply: str) -> None:
    model = load_model()
    for prompt in ("What does my cat need?", reply):
        logit = model.logit(prompt, reply)
        assert math.isfinite(logit)
        assert 0.0 < model.as_probability(logit) < 1.0


def test_a_logit_is_the_sum_of_its_weights() -> None:
    steps = np.zeros(SIZE, dtype=np.int64)
    found = sorted(features("cat", "fish"))
    steps[found] = 1
    steps[found[0]] = -3
    model = PreferenceModel(steps, threshold=0.25)
    assert model.logit("cat", "fish") == (len(found) - 4) / 16
    assert model.as_probability(0.25) == 0.5
    assert model.as_probability(1.25) == pytest.approx(1 / (1 + math.exp(-1.0)))
    assert model.as_probability(1e9) < 1.0 and model.as_probability(-1e9) > 0.0


def test_training_follows_the_gradient_of_one_pair() -> None:
    pair = Pair("cat", "fish", "bone")
    model = train([pair], seed=0, num_epochs=1, learning_rate=1.0)
    better = features("cat", "fish") - features("cat", "bone")
    worse = features("cat", "bone") - features("cat", "fish")
    assert {int(i) for i in np.flatnonzero(model.steps)} == better | worse
    # At a margin of 0 the gradient is one half: 8 steps of 1/16.
    assert {int(model.steps[i]) for i in better} == {8}
    assert {int(model.steps[i]) for i in worse} == {-8}
    assert model.threshold == model.logit("cat", "fish") == len(better) / 2


def test_a_shared_feature_learns_nothing() -> None:
    model = train([Pair("cat", "fish now", "bone now")], seed=0)
    for index in features("cat", "fish now") & features("cat", "bone now"):
        assert model.steps[index] == 0


def test_training_learns_and_is_the_same_for_the_same_seed() -> None:
    pairs = draw_pairs(400, 1, "train")
    model = train(pairs, seed=5, num_epochs=3)
    assert accuracy(model, pairs) > 0.9
    again = train(pairs, seed=5, num_epochs=3)
    assert np.array_equal(model.steps, again.steps)
    assert model.threshold == again.threshold
    other = train(pairs, seed=6, num_epochs=3)
    assert not np.array_equal(model.steps, other.steps)


def test_a_model_of_nothing_is_right_about_nothing() -> None:
    model = PreferenceModel(np.zeros(SIZE, dtype=np.int64), 0.0)
    assert accuracy(model, draw_pairs(50, 1, "train")) == 0.0


def test_a_model_read_from_json_is_the_same() -> None:
    model = load_model()
    again = PreferenceModel.from_json(json.loads(json.dumps(model.as_json())))
    assert np.array_equal(again.steps, model.steps)
    assert again.threshold == model.threshold


def test_the_shipped_model_is_accurate_on_held_out_pairs() -> None:
    accuracy_ = stored()["held_out_accuracy"]
    assert isinstance(accuracy_, float) and accuracy_ >= 0.95
    assert accuracy(load_model(), draw_pairs(200, 9, "test")) >= 0.93


def test_the_shipped_model_is_small() -> None:
    assert len(STORED.read_text(encoding="utf-8")) < 32_000


def test_the_command_trains_a_model_and_checks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.json"
    assert command.run(["--pairs", "300", "--output", str(path)]) == 0
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["num_train_pairs"] == 300
    assert 0.6 < record["held_out_accuracy"] < 1.0
    assert f"{record['held_out_accuracy']:.3f} on held-out" in capsys.readouterr().out
    record["held_out_accuracy"] = 0.5
    path.write_text(json.dumps(record), encoding="utf-8")
    assert command.run(["--check", "--output", str(path)]) == 1


def test_the_command_finds_the_shipped_model_up_to_date() -> None:
    assert command.run(["--check"]) == 0


@pytest.mark.slow
def test_the_command_trains_the_shipped_model_again(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    assert command.run(["--output", str(path)]) == 0
    again = json.loads(path.read_text(encoding="utf-8"))
    steps = PreferenceModel.from_json(again).steps
    assert np.abs(steps - load_model().steps).max() <= 1
    assert again["held_out_accuracy"] == pytest.approx(
        stored()["held_out_accuracy"], abs=0.01
    )


def test_bad_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected 16384 weights"):
        PreferenceModel([1, 2], 0.0)
    with pytest.raises(ValueError, match="threshold must be finite"):
        PreferenceModel(np.zeros(SIZE, dtype=np.int64), math.nan)
    with pytest.raises(ValueError, match="at least one pair"):
        train([], seed=0)
