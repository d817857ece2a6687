"""The agenda's mechanics, act by act (Schatzmann et al. 2007, section 3)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.simulators.agenda import Act, AgendaUser

CONSTRAINTS = {"intent": "refund", "order": "8812", "name": "Kim", "code": "72"}
BYE = Act("bye")


def make_user(pops: int = 1, seed: int = 0) -> AgendaUser:
    """Return a user that says exactly `pops` acts a turn, where it has as many."""
    weights = [0.0] * pops
    weights[-1] = 1.0
    user = AgendaUser(np.random.default_rng(seed), weights)
    user.adopt(CONSTRAINTS, requests=("outcome", "amount"), first=("intent", "order"))
    return user


def test_adopting_a_goal_fills_the_agenda_top_last() -> None:
    assert make_user().agenda == [
        BYE,
        Act("request", "amount"),
        Act("request", "outcome"),
        Act("inform", "order", "8812"),
        Act("inform", "intent", "refund"),
    ]


def test_acts_are_popped_in_order() -> None:
    user = make_user()
    assert user.speak() == [Act("inform", "intent", "refund")]
    assert user.speak() == [Act("inform", "order", "8812")]


def test_two_acts_are_popped_at_once() -> None:
    assert make_user(pops=2).speak() == [
        Act("inform", "intent", "refund"),
        Act("inform", "order", "8812"),
    ]


def test_a_request_is_not_said_with_what_comes_before_it() -> None:
    user = make_user(pops=3)
    assert [act.kind for act in user.speak()] == ["inform", "inform"]


def test_a_request_stays_until_it_is_answered() -> None:
    user = make_user(pops=3)
    user.speak()
    assert user.speak() == user.speak() == [Act("request", "outcome")]
    user.hear([Act("inform", "outcome", "done")])
    assert user.speak() == [Act("request", "amount")]
    assert user.answers == {"outcome": "done"}
    assert not user.is_satisfied


def test_a_satisfied_user_says_goodbye_whatever_it_had_left_to_say() -> None:
    user = make_user()
    user.hear([Act("inform", "amount", "45"), Act("inform", "outcome", "done")])
    assert user.is_satisfied
    assert Act("inform", "order", "8812") in user.agenda
    assert user.speak() == [BYE]


def test_the_last_answer_to_a_request_holds() -> None:
    user = make_user()
    user.hear([Act("inform", "outcome", "done")])
    user.hear([Act("inform", "outcome", "refused")])
    assert user.answers == {"outcome": "refused"}


def test_what_was_not_requested_is_not_remembered() -> None:
    user = make_user()
    user.hear([Act("inform", "status", "packed")])
    assert user.answers == {} and user.num_idle == 1


def test_questions_are_answered_in_the_order_in_which_they_are_asked() -> None:
    user = make_user(pops=2)
    user.hear([Act("request", "name"), Act("request", "code")])
    assert user.speak() == [Act("inform", "name", "Kim"), Act("inform", "code", "72")]


def test_a_pushed_act_takes_the_place_of_an_older_one_about_its_slot() -> None:
    user = make_user()
    user.hear([Act("request", "order")])
    assert user.agenda.count(Act("inform", "order", "8812")) == 1
    assert user.agenda[-1] == Act("inform", "order", "8812")


def test_asking_for_what_the_user_does_not_know_is_idle() -> None:
    user = make_user()
    user.hear([Act("request", "shoe size")])
    assert user.num_idle == 1


@pytest.mark.parametrize("kind", ["inform", "confirm"])
def test_a_wrong_value_is_corrected(kind: str) -> None:
    user = make_user()
    user.hear([Act(kind, "order", "1111")])
    assert user.speak() == [Act("correct", "order", "8812")]


def test_a_right_question_is_affirmed_and_a_right_statement_is_not() -> None:
    user = make_user()
    user.hear([Act("confirm", "order", "8812")])
    assert user.speak() == [Act("affirm")]
    user.hear([Act("inform", "order", "8812")])
    assert Act("affirm") not in user.agenda


def test_who_has_more_to_say_does_not_say_yes_first() -> None:
    user = make_user()
    user.hear([Act("confirm", "order", "8812"), Act("request", "code")])
    assert user.speak() == [Act("inform", "code", "72")]
    user.hear([Act("confirm", "order", "8812"), Act("confirm", "name", "Tom")])
    assert user.speak() == [Act("correct", "name", "Kim")]
    assert Act("affirm") not in user.agenda


def test_idle_turns_are_counted_in_a_row() -> None:
    user = make_user()
    user.hear([])
    user.hear([Act("bye")])
    assert user.num_idle == 2
    user.hear([Act("request", "name")])
    assert user.num_idle == 0
    user.wait(False)
    assert user.num_idle == 1
    user.wait(True)
    assert user.num_idle == 0


def test_asking_again_for_what_was_said_is_idle() -> None:
    user = make_user()
    user.hear([Act("request", "name")])
    user.speak()
    user.hear([Act("request", "name")])
    assert user.num_idle == 1
    assert user.speak() == [Act("inform", "name", "Kim")]


def test_the_same_mistake_again_is_idle() -> None:
    user = make_user()
    user.hear([Act("inform", "order", "1111")])
    assert user.num_idle == 0
    user.hear([Act("inform", "order", "1111")])
    assert user.num_idle == 1


def test_a_pausing_act_ends_the_turn() -> None:
    class Doubter(AgendaUser):
        pausing_kinds = frozenset(["doubt"])

    user = Doubter(np.random.default_rng(0), (0.0, 0.0, 1.0))
    user.adopt(CONSTRAINTS, requests=("outcome",), first=("intent",))
    user.push(Act("doubt"))
    assert user.speak() == [Act("doubt")]
    assert user.speak() == [Act("inform", "intent", "refund")]


def test_adopting_anew_forgets_answers_and_idleness() -> None:
    user = make_user()
    user.hear([Act("inform", "outcome", "done"), Act("inform", "amount", "45")])
    user.wait(False)
    user.adopt({"intent": "cancel"}, requests=("outcome",), first=("intent",))
    assert (user.answers, user.num_idle, user.is_satisfied) == ({}, 0, False)
    assert user.speak() == [Act("inform", "intent", "cancel")]


def test_how_many_acts_are_popped_follows_the_weights() -> None:
    user = AgendaUser(np.random.default_rng(7), (0.70, 0.25, 0.05))
    slots = {f"s{i}": "v" for i in range(4)}
    counts = np.zeros(4)
    for _ in range(4000):
        user.adopt(slots, requests=("r",), first=tuple(slots))
        counts[len(user.speak())] += 1
    # Four standard errors of a share at n = 4000 are at most .032.
    assert np.abs(counts / 4000 - [0.0, 0.70, 0.25, 0.05]).max() < 0.032


@pytest.mark.parametrize("weights", [(), (0.5, 0.4), (1.2, -0.2)])
def test_bad_weights_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="pop_weights"):
        AgendaUser(np.random.default_rng(0), weights)


ACTS = st.builds(
    Act,
    st.sampled_from(["inform", "confirm", "request", "affirm", "bye", "nonsense"]),
    st.sampled_from(
        ["", "intent", "order", "name", "code", "outcome", "amount", "other"]
    ),
    st.sampled_from(["", "8812", "Kim", "done", "45"]),
)


@given(st.lists(st.lists(ACTS, max_size=4), max_size=8))
def test_whatever_is_heard_the_user_speaks_and_keeps_its_goal(
    turns: list[list[Act]],
) -> None:
    user = make_user(pops=3)
    for acts in turns:
        user.hear(acts)
        said = user.speak()
        assert 1 <= len(said) <= 3
        told = [act for act in said if act.kind in ("inform", "correct")]
        assert all(act.value == CONSTRAINTS[act.slot] for act in told)
    assert user.agenda[0] == BYE
    assert user.constraints == CONSTRAINTS
