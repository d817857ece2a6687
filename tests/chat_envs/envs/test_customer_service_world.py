"""The shop: the written policy as a table, checks, writes and violations."""

from __future__ import annotations

import pytest

from chat_envs.envs._customer_service_world import Action, Order, World

IDENTIFIERS = {"order": "8812", "name": "Kim", "code": "72"}


def make_order(**changes: object) -> Order:
    fields: dict[str, object] = dict(
        **IDENTIFIERS,
        item="pen",
        status="delivered",
        days="12",
        price="45",
        is_in_stock=True,
    )
    return Order(**(fields | changes))  # type: ignore[arg-type]


def make_world(**changes: object) -> World:
    other = make_order(order="9000", name="Tom", code="11")
    return World([make_order(**changes), other], "order", ("order", "name", "code"), 30)


def check(world: World, **changes: str) -> str:
    return world.apply(Action("check", IDENTIFIERS | changes)).text


@pytest.mark.parametrize(
    ("verb", "changes", "is_allowed"),
    [
        ("refund", {}, True),
        ("refund", {"days": "30"}, True),
        ("refund", {"days": "31"}, False),
        ("refund", {"status": "sent"}, False),
        ("refund", {"status": "packed"}, False),
        ("refund", {"is_in_stock": False}, True),
        ("exchange", {}, True),
        ("exchange", {"days": "59"}, True),
        ("exchange", {"is_in_stock": False}, False),
        ("exchange", {"status": "sent"}, False),
        ("cancel", {"status": "packed"}, True),
        ("cancel", {"status": "sent"}, False),
        ("cancel", {}, False),
        ("street", {"status": "packed"}, True),
        ("street", {"status": "sent"}, False),
        ("complaint", {}, True),
        ("complaint", {"status": "packed", "is_in_stock": False}, True),
    ],
)
def test_the_policy(verb: str, changes: dict[str, object], is_allowed: bool) -> None:
    world = make_world(**changes)
    assert world.is_allowed(verb, world.find("8812")) is is_allowed
    check(world)
    detail = {"street": "Oak", "problem": "late"}
    result = world.apply(Action(verb, {"order": "8812", **detail}))
    assert result == ("done", True, 0 if is_allowed else 1)


def test_no_limit_means_no_limit() -> None:
    world = World([make_order(days="999")], "order", ("order",), None)
    assert world.is_allowed("refund", world.find("8812"))


def test_a_check_shows_the_record() -> None:
    assert check(make_world()) == "pen , delivered 12 days ago , 45 dollars , in stock"
    packed = make_world(status="packed", is_in_stock=False)
    assert check(packed) == "pen , packed , 45 dollars , sold out"


def test_the_easy_record_is_two_words() -> None:
    world = World([make_order()], "item", ("name", "code"))
    assert (
        world.apply(Action("check", {"name": "Kim", "code": "72"})).text
        == "pen delivered"
    )
    assert world.checked == {"pen"}


@pytest.mark.parametrize("wrong", [{"order": "9000"}, {"name": "Tom"}, {"code": "11"}])
def test_all_identifiers_must_be_of_one_order(wrong: dict[str, str]) -> None:
    world = make_world()
    assert check(world, **wrong) == "no match"
    assert world.checked == set()


def test_a_check_without_an_identifier_opens_nothing() -> None:
    world = make_world()
    result = world.apply(Action("check", {"order": "8812"}))
    assert result == ("ACTION check needs name code", False, 0)
    assert world.checked == set()


def test_a_second_check_is_no_progress() -> None:
    world = make_world()
    action = Action("check", IDENTIFIERS)
    assert [world.apply(action).has_progress for _ in range(2)] == [True, False]


def test_a_write_before_the_check_is_done_and_a_violation() -> None:
    world = make_world()
    assert world.apply(Action("refund", {"order": "8812"})) == ("done", True, 1)
    assert world.changes == {("8812", "state"): "refund"}


def test_checking_one_order_does_not_verify_another() -> None:
    world = make_world()
    check(world)
    assert world.apply(Action("refund", {"order": "9000"})).num_violations == 1


def test_an_order_is_closed_once() -> None:
    world = make_world()
    check(world)
    world.apply(Action("refund", {"order": "8812"}))
    assert world.apply(Action("refund", {"order": "8812"})) == ("done before", False, 0)
    assert world.apply(Action("exchange", {"order": "8812"})) == (
        "closed before",
        False,
        0,
    )
    assert world.changes == {("8812", "state"): "refund"}


def test_details_are_written() -> None:
    world = make_world(status="packed")
    check(world)
    world.apply(Action("street", {"order": "8812", "street": "Oak"}))
    world.apply(Action("street", {"order": "8812", "street": "Elm"}))
    world.apply(Action("complaint", {"order": "8812", "problem": "late"}))
    assert world.changes == {("8812", "street"): "Elm", ("8812", "complaint"): "late"}


@pytest.mark.parametrize(
    ("verb", "arguments", "text"),
    [
        ("refund", {}, "ACTION refund needs order"),
        ("refund", {"item": "pen"}, "ACTION refund needs order"),
        ("refund", {"order": "1"}, "no such order"),
        ("street", {"order": "8812"}, "ACTION street needs street"),
        ("complaint", {"order": "8812"}, "ACTION complaint needs problem"),
    ],
)
def test_what_is_missing_changes_nothing(
    verb: str, arguments: dict[str, str], text: str
) -> None:
    world = make_world()
    assert world.apply(Action(verb, arguments)) == (text, False, 0)
    assert world.changes == {}


def test_an_unreadable_line_is_answered_with_what_is_wrong() -> None:
    assert make_world().apply(Action("", {}, "unknown ACTION")) == (
        "unknown ACTION",
        False,
        0,
    )
