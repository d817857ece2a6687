"""The reader: paraphrases it lists, lists of everything it must not fall for, and any input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.envs import customer_service
from chat_envs.envs._customer_service_reader import Reader
from chat_envs.simulators.agenda import Act

READER: Reader = customer_service._reader()


def acts(text: str) -> set[Act]:
    return set(READER.read(text).acts)


def outcome(value: str) -> Act:
    return Act("inform", "outcome", value)


ASKS = {
    "order": [
        "Your order ?",
        "What is the order number?",
        "Could you give me your order number, please",
        "ORDER NUMBER ?",
        "Please provide the order.",
        "I need the order number",
    ],
    "name": [
        "Your name ?",
        "May I have your name?",
        "Who are you?",
        "Please tell me your full name.",
        "your NAME, please",
    ],
    "code": [
        "Your code ?",
        "What's your zip code?",
        "Please share your postcode",
        "I need the code .",
    ],
    "street": ["Your street ?", "What is the address?", "Which street , please"],
    "problem": [
        "What is wrong with it?",
        "Your problem ?",
        "Please tell me the problem",
    ],
    "intent": [
        "How can I help ?",
        "Hello! How may I help you today?",
        "What can I do for you?",
        "What do you want ?",
    ],
}


@pytest.mark.parametrize(
    ("slot", "text"), [(slot, text) for slot, texts in ASKS.items() for text in texts]
)
def test_questions(slot: str, text: str) -> None:
    assert Act("request", slot) in acts(text)


def test_questions_for_several_slots_keep_their_order() -> None:
    read = READER.read("Your order , name and code ?").acts
    assert read == tuple(Act("request", slot) for slot in ("order", "name", "code"))


def test_a_value_that_is_given_is_not_asked_for() -> None:
    read = acts("Order 8812 : your name and code ?")
    assert Act("inform", "order", "8812") in read
    assert Act("request", "order") not in read
    assert {Act("request", "name"), Act("request", "code")} <= read


DONE = [
    "It is done .",
    "Your refund is done.",
    "Your refund has been processed",
    "I have refunded your order.",
    "All set!",
    "The exchange went through .",
    "Your order was cancelled.",
    "DONE",
    "Your complaint is filed .",
]
REFUSED = [
    "I can not , it is packed .",
    "I cannot do that.",
    "I can't refund this",
    "I can\u2019t refund this",
    "Sorry, no refund.",
    "I am unable to cancel it.",
    "That is not possible .",
    "A refund is not allowed.",
    "It is too late for a refund.",
    "Sorry , it is sold out .",
    "That is against our policy.",
]
NEITHER = [
    "I will do it.",
    "It is not done yet.",
    "Is it done ?",
    "Let me see.",
    "I can do it .",
    "No problem , one moment.",
]


@pytest.mark.parametrize("text", DONE)
def test_claims_of_success(text: str) -> None:
    assert outcome("done") in acts(text)


@pytest.mark.parametrize("text", REFUSED)
def test_refusals(text: str) -> None:
    assert outcome("refused") in acts(text)


@pytest.mark.parametrize("text", NEITHER)
def test_what_is_neither(text: str) -> None:
    assert not {outcome("done"), outcome("refused")} & acts(text)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("It is packed .", "packed"),
        ("Your lamp was shipped.", "sent"),
        ("It's on the way", "sent"),
        ("Your order has been DELIVERED", "delivered"),
        ("It arrived , not packed", "delivered"),
    ],
)
def test_statuses(text: str, status: str) -> None:
    assert Act("inform", "status", status) in acts(text)


@pytest.mark.parametrize(
    "text", ["It is not packed .", "Is it sent ?", "It is packed , sent , delivered ."]
)
def test_what_tells_no_status(text: str) -> None:
    assert not [act for act in acts(text) if act.slot == "status"]


@pytest.mark.parametrize("text", ["You get 45 dollars .", "$45", "That is 45 USD."])
def test_amounts(text: str) -> None:
    assert Act("inform", "amount", "45") in acts(text)


@pytest.mark.parametrize(
    "text",
    [
        "It is done . I can not do it .",
        "done , refused , impossible",
        "You get 45 dollars or 46 dollars .",
        "It is packed . It is sent .",
    ],
)
def test_contradictions_tell_nothing(text: str) -> None:
    assert not [act for act in acts(text) if act.kind == "inform"]


@pytest.mark.parametrize(
    "text",
    [
        "I promise it comes on Monday .",
        "It will arrive in 3 days.",
        "You have it tomorrow",
        "I guarantee it.",
        "By Friday !",
    ],
)
def test_promises(text: str) -> None:
    assert READER.read(text).has_promise


@pytest.mark.parametrize(
    "text",
    [
        "I can not promise a day .",
        "We never promise dates.",
        "I can't say that it will arrive on Monday",
    ],
)
def test_declining_to_promise(text: str) -> None:
    reading = READER.read(text)
    assert not reading.has_promise
    assert Act("inform", "day", "none") in reading.acts
    assert outcome("refused") not in reading.acts


def test_a_policy_that_is_explained_is_no_promise() -> None:
    assert not READER.read("Refund only if delivered in the last 30 days .").has_promise


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("You want a refund ?", "refund"),
        ("You would like your money back ?", "refund"),
        ("So you want a replacement : your name ?", "exchange"),
        ("You want to cancel ?", "cancel"),
        ("You want a new street ?", "street"),
        ("You want to complain ?", "complaint"),
        ("You want the status ?", "status"),
    ],
)
def test_confirmed_wishes(text: str, intent: str) -> None:
    assert ("intent", intent) in {act[1:] for act in acts(text)}


def test_speaking_of_the_status_is_no_wish() -> None:
    assert not [act for act in acts("Your status is packed .") if act.slot == "intent"]


def test_in_a_customers_words_every_intent_is_a_wish() -> None:
    text = "Sorry , a refund for my bag ."
    assert Act("inform", "intent", "refund") not in READER.read(text).acts
    assert Act("inform", "intent", "refund") in READER.read(text, is_wish=True).acts


@pytest.mark.parametrize(
    "text",
    [
        "No match .",
        "I can't find that order.",
        "No such order",
        "The code does not match",
    ],
)
def test_no_match(text: str) -> None:
    assert Act("no_match") in acts(text)
    assert outcome("refused") not in acts(text)


@pytest.mark.parametrize(
    "text",
    [
        "ACTION refund order=8812",
        "ACTION refund order 8812",
        "ACTION refund order = 8812",
        "action: REFUND Order #8812",
        "Action refund 8812.",
        "Certainly!\nACTION refund(order=8812)\nPlease wait.",
        "I will do it: **ACTION** refund order: 8812",
    ],
)
def test_action_lines(text: str) -> None:
    action = READER.read(text).action
    assert action is not None
    assert (action.verb, dict(action.arguments), action.error) == (
        "refund",
        {"order": "8812"},
        "",
    )


@pytest.mark.parametrize(
    ("text", "verb", "arguments"),
    [
        (
            "ACTION check order 8812 name Kim code 72",
            "check",
            {"order": "8812", "name": "Kim", "code": "72"},
        ),
        ("ACTION check kim 7", "check", {"name": "Kim", "code": "7"}),
        ("ACTION verify name=KIM, code=7", "check", {"name": "Kim", "code": "7"}),
        ("ACTION cancel pen", "cancel", {"item": "pen"}),
        ("ACTION swap item=pen", "exchange", {"item": "pen"}),
        ("ACTION replace pen", "exchange", {"item": "pen"}),
        (
            "ACTION street order 8812 street Oak",
            "street",
            {"order": "8812", "street": "Oak"},
        ),
        (
            "ACTION change address order 8812 street=Oak",
            "street",
            {"order": "8812", "street": "Oak"},
        ),
        (
            "ACTION complaint order 8812 problem broken",
            "complaint",
            {"order": "8812", "problem": "broken"},
        ),
        ("ACTION refund", "refund", {}),
        ("ACTION refund unicorn", "refund", {}),
    ],
)
def test_verbs_and_arguments(text: str, verb: str, arguments: dict[str, str]) -> None:
    action = READER.read(text).action
    assert action is not None
    assert (action.verb, dict(action.arguments), action.error) == (verb, arguments, "")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("ACTION refund pen ACTION exchange pen", "one ACTION"),
        ("ACTION refund exchange cancel pen", "one ACTION"),
        ("ACTION refund pen cup", "two of item"),
        ("ACTION check Kim Tom 7", "two of name"),
        ("ACTION check Kim 7 8", "two of code"),
        ("ACTION dance", "unknown"),
        ("ACTION", "unknown"),
    ],
)
def test_bad_action_lines(text: str, error: str) -> None:
    action = READER.read(text).action
    assert action is not None and error in action.error


@pytest.mark.parametrize(
    "text", ["What action do you need ?", "FACTION", "refund order 8812"]
)
def test_what_is_no_action(text: str) -> None:
    assert READER.read(text).action is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "zzz",
        "\0\0",
        "\ud800",
        "\N{SNOWMAN}" * 10,
        "and so on " * 20,
        "1 2 3",
    ],
)
def test_what_cannot_be_read(text: str) -> None:
    assert READER.read(text) == ((), None, False)


def test_a_million_characters_are_read_by_their_beginning() -> None:
    assert READER.read("your name ? " + "x" * 10**6).acts == (Act("request", "name"),)
    assert READER.read("x" * 10**6 + " your name ?").acts == ()


@given(
    st.text()
    | st.text(st.sampled_from("ACTION refund order=8812 , . ? no not done $45 7\n"))
)
def test_any_text_is_read(text: str) -> None:
    reading = READER.read(text)
    assert len(set(reading.acts)) == len(reading.acts)
    assert READER.read(text) == reading
    informed = [act.slot for act in reading.acts if act.kind == "inform"]
    assert len(set(informed)) == len(informed)


WORDS = st.sampled_from(
    "ACTION check refund exchange cancel pen Kim 7 8812 order . , =".split()
)


@given(st.lists(WORDS, max_size=14))
def test_an_action_never_names_two_things(words: list[str]) -> None:
    text = " ".join(words)
    action = READER.read(text).action
    if action is not None and not action.error:
        assert text.lower().split().count("action") >= 1
        assert set(action.arguments) <= {"item", "name", "code", "order"}
