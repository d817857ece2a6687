from __future__ import annotations

import json
from pathlib import Path
from typing import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs import anchors
from chat_envs.anchors import Anchors, SplitAnchors
from chat_envs.registration import registrations
from chat_envs.suite import FAMILIES
from tests.chat_envs.registered import registered
from tests.chat_envs.toy import WORDS, SayIt

IDS = [r.id for r in registrations()]
EASIEST = [family.id(next(iter(family.summaries))) for family in FAMILIES]
finite = st.floats(-1e3, 1e3)


@pytest.fixture
def toy_id() -> Iterator[str]:
    with registered() as id:
        yield id


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "anchors.json"


def test_the_means_are_the_known_ones() -> None:
    found = anchors.measure(SayIt(), num_episodes=600)
    assert found.expert == pytest.approx(2.7)
    # Blind says "red", right once in six turns; a random reply is right almost never.
    assert found.blind == pytest.approx(3 / len(WORDS) - 0.3, abs=0.08)
    assert found.random == pytest.approx(-0.3, abs=0.01)


def test_anchors_are_deterministic(toy_id: str) -> None:
    assert anchors.compute(toy_id, 20) == anchors.compute(toy_id, 20)
    assert anchors.compute(toy_id, 20) != anchors.compute(toy_id, 21)


def test_what_was_saved_is_loaded_and_holds(toy_id: str, path: Path) -> None:
    computed = anchors.compute(toy_id)
    anchors.save({toy_id: computed}, path)
    assert anchors.load(toy_id, path) == computed
    assert anchors.check(toy_id, path) == []


def test_saving_one_id_keeps_the_others(toy_id: str, path: Path) -> None:
    row = Anchors("v", SplitAnchors(1.0, 0.0, 0.0), SplitAnchors(2.0, 0.0, 0.0))
    anchors.save({toy_id: row}, path)
    with registered("toy/Other-v0", num_turns=2) as other:
        anchors.save({other: row}, path)
        assert anchors.load(toy_id, path) == anchors.load(other, path) == row
    document = json.loads(path.read_text())
    assert document["num_episodes"] == anchors.NUM_EPISODES
    assert set(document["anchors"]) == {toy_id, other}


def test_what_no_longer_holds_is_named(toy_id: str, path: Path) -> None:
    assert anchors.check(toy_id, path) == ["toy/SayIt-v0: no anchors are stored"]
    computed = anchors.compute(toy_id)
    wrong = SplitAnchors(
        computed.test.expert, computed.test.blind + 0.5, computed.test.random
    )
    anchors.save({toy_id: Anchors("0" * 16, computed.train, wrong)}, path)
    first, second = anchors.check(toy_id, path)
    assert first.startswith("toy/SayIt-v0: test blind is ")
    assert second.startswith(
        f"toy/SayIt-v0: version is {computed.version}, stored is 0000"
    )


def test_missing_anchors_say_how_to_compute_them(toy_id: str, path: Path) -> None:
    with pytest.raises(LookupError, match="`chat-envs anchors toy/SayIt-v0`"):
        anchors.load(toy_id, path)


def test_an_unknown_id_names_the_nearest(toy_id: str) -> None:
    with pytest.raises(ValueError, match="toy/SayIt-v0"):
        anchors.load("toy/SayItt-v0")


@given(blind=finite, span=st.floats(1e-3, 1e3), share=st.floats(-2, 2))
def test_the_score_is_linear_with_blind_0_and_expert_1(
    blind: float, span: float, share: float
) -> None:
    row = SplitAnchors(expert=blind + span, blind=blind, random=blind)
    assert anchors.rescale(blind, row) == 0.0
    assert anchors.rescale(blind + span, row) == 1.0
    assert anchors.rescale(blind + share * span, row) == pytest.approx(share, abs=1e-6)


def test_a_higher_score_is_better_for_negative_returns_too() -> None:
    row = SplitAnchors(expert=-3.0, blind=-20.0, random=-20.0)
    scores = anchors.rescale([-20.0, -10.0, -3.0], row)
    assert scores.tolist() == pytest.approx([0.0, 10 / 17, 1.0])


def test_scores_keep_the_shape_of_the_returns(
    toy_id: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Anchors("v", SplitAnchors(4.0, 0.0, 0.0), SplitAnchors(2.0, 1.0, 0.0))
    anchors.save({toy_id: row}, path)
    monkeypatch.setattr(anchors, "_own_file", lambda: path)
    score = anchors.normalised_score(toy_id, 1.5)
    assert type(score) is float and score == 0.5
    assert anchors.normalised_score(toy_id, 1.0, split="train") == 0.25
    table = anchors.normalised_score(toy_id, np.array([[1.0, 2.0], [0.0, 3.0]]))
    assert table.tolist() == [[0.0, 1.0], [-1.0, 2.0]]
    with pytest.raises(ValueError, match="split must be one of"):
        anchors.normalised_score(toy_id, 1.0, split="dev")


def test_an_expert_that_does_not_beat_the_blind_is_refused() -> None:
    with pytest.raises(ValueError, match="does not beat the blind policy"):
        anchors.rescale(0.0, SplitAnchors(1.0, 1.0, 0.0))


def test_keywords_change_the_version() -> None:
    with registered() as id:
        first = anchors.version(id)
    with registered(num_turns=2) as id:
        assert anchors.version(id) != first


@pytest.mark.parametrize("env_id", IDS)
def test_the_stored_anchors_are_of_this_version(env_id: str) -> None:
    # A version is a hash of all that the returns depend on.
    assert anchors.load(env_id).version == anchors.version(env_id)


@pytest.mark.parametrize("env_id", EASIEST)
def test_the_stored_anchors_hold(env_id: str) -> None:
    assert anchors.check(env_id) == []


@pytest.mark.slow
@pytest.mark.parametrize("env_id", [i for i in IDS if i not in EASIEST])
def test_the_stored_anchors_of_every_tier_hold(env_id: str) -> None:
    assert anchors.check(env_id) == []
