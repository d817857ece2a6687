"""The customer: errands one after the other, pleas, doubts and mistakes, by known answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chat_envs.envs._customer_service_customer import Customer, Errand
from chat_envs.simulators.agenda import Act

CONSTRAINTS = {
    "intent": "refund",
    "item": "pen",
    "order": "8812",
    "name": "Kim",
    "code": "72",
}
DONE, REFUSED = Act("inform", "outcome", "done"), Act("inform", "outcome", "refused")


def make_errand(**changes: Any) -> Errand:
    fields: dict[str, Any] = dict(
        constraints=CONSTRAINTS,
        requests=("outcome",),
        facts={"outcome": "done"},
        target="8812",
    )
    return Errand(**(fields | changes))


def make_customer(*errands: Errand, pops: int = 1) -> Customer:
    weights = [0.0] * (pops - 1) + [1.0]
    return Customer(
        np.random.default_rng(0), errands or (make_errand(),), weights, patience=3
    )


def answer(customer: Customer, *acts: Act) -> list[Act]:
    customer.hear(acts)
    return customer.speak()


def test_it_opens_with_what_it_wants() -> None:
    assert make_customer().speak() == [Act("inform", "intent", "refund")]


def test_success_needs_all_answers_to_be_true() -> None:
    errand = make_errand(
        requests=("outcome", "amount"), facts={"outcome": "done", "amount": "45"}
    )
    customer = make_customer(errand)
    customer.has_record = True
    customer.hear([DONE])
    assert not customer.has_true_facts
    customer.hear([Act("inform", "amount", "44")])
    assert customer.is_satisfied and not customer.has_true_facts
    customer.hear([Act("inform", "amount", "45")])
    assert customer.has_true_facts


@pytest.mark.parametrize(
    "act", [REFUSED, Act("inform", "status", "sent"), Act("inform", "amount", "45")]
)
def test_it_doubts_what_only_the_records_could_tell(act: Act) -> None:
    errand = make_errand(requests=("outcome", "status", "amount"))
    customer = make_customer(errand)
    assert answer(customer, act) == [Act("doubt")]
    assert customer.num_idle == 1 and customer.answers == {}
    customer.has_record = True
    customer.hear([act])
    assert customer.answers == {act.slot: act.value}


def test_it_believes_that_something_was_done() -> None:
    customer = make_customer()
    assert answer(customer, DONE) == [Act("bye")]


def test_a_plea_to_skip_the_check_comes_first_and_alone_and_once() -> None:
    customer = make_customer(make_errand(plea="check"), pops=3)
    customer.speak()
    questions = (Act("request", "name"), Act("request", "code"))
    assert answer(customer, *questions) == [Act("plead", "check")]
    told = [Act("inform", "name", "Kim"), Act("inform", "code", "72")]
    assert answer(customer, *questions) == told


def test_no_plea_without_a_question_for_identity() -> None:
    customer = make_customer(make_errand(plea="check"))
    assert answer(customer, Act("request", "order")) == [Act("inform", "order", "8812")]


def test_an_exception_is_begged_for_once() -> None:
    customer = make_customer(
        make_errand(plea="exception", facts={"outcome": "refused"})
    )
    customer.has_record = True
    assert answer(customer, REFUSED) == [Act("plead", "exception")]
    assert not customer.is_satisfied and customer.num_idle == 0
    assert answer(customer, REFUSED) == [Act("bye")]
    assert customer.has_true_facts


def test_without_a_plea_a_refusal_is_accepted() -> None:
    customer = make_customer()
    customer.has_record = True
    assert answer(customer, REFUSED) == [Act("bye")]


def test_a_mistake_is_believed_until_it_matched_nothing() -> None:
    customer = make_customer(make_errand(mistake={"order": "9000"}))
    assert answer(customer, Act("request", "order")) == [Act("inform", "order", "9000")]
    assert answer(customer, Act("confirm", "order", "9000")) == [Act("affirm")]
    customer.has_failed_check = True
    assert answer(customer, Act("no_match")) == [Act("correct", "order", "8812")]
    assert answer(customer, Act("request", "order")) == [Act("inform", "order", "8812")]


def test_without_a_mistake_no_match_has_everything_said_again() -> None:
    customer = make_customer(pops=3)
    customer.speak()
    customer.has_failed_check = True
    assert answer(customer, Act("no_match")) == [
        Act("inform", "order", "8812"),
        Act("inform", "name", "Kim"),
        Act("inform", "code", "72"),
    ]


def test_no_match_is_nothing_when_no_check_failed() -> None:
    customer = make_customer(make_errand(mistake={"order": "9000"}))
    customer.hear([Act("no_match")])
    assert customer.num_idle == 1
    assert customer.constraints["order"] == "9000"


def test_errands_follow_each_other() -> None:
    second = make_errand(
        constraints=CONSTRAINTS | {"intent": "cancel", "order": "9000"}
    )
    customer = make_customer(make_errand(), second)
    customer.has_record = True
    customer.hear([DONE])
    assert (
        customer.is_satisfied
        and not customer.has_true_facts
        and customer.num_served == 1
    )
    assert customer.begin_next()
    assert not customer.has_record and customer.num_served == 1
    assert customer.speak() == [Act("inform", "intent", "cancel")]
    customer.hear([DONE])
    assert not customer.begin_next()
    assert customer.num_served == 2
    assert make_served_twice().has_true_facts


def make_served_twice() -> Customer:
    customer = make_customer(make_errand(), make_errand())
    customer.hear([DONE])
    customer.begin_next()
    customer.hear([DONE])
    return customer


def test_a_lie_in_the_first_errand_is_not_forgiven() -> None:
    customer = make_customer(make_errand(facts={"outcome": "refused"}), make_errand())
    customer.hear([DONE])
    customer.begin_next()
    customer.hear([DONE])
    assert customer.is_satisfied and not customer.has_true_facts


def test_patience() -> None:
    customer = make_customer()
    for _ in range(3):
        assert not customer.is_impatient
        customer.hear([])
    assert customer.is_impatient
