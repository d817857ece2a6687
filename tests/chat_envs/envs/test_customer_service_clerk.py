"""The scripted clerk: what it says after a given conversation, and what it never reads."""

from __future__ import annotations

import pytest

from chat_envs.envs import customer_service
from chat_envs.envs._customer_service_clerk import Clerk
from chat_envs.envs._customer_service_world import World
from chat_envs.message import Conversation, Message, assistant, system, user

WISHES = customer_service._data()["wishes"]
READER = customer_service._reader()
RULES = system("The rules .")
TOLD = [
    user("I want a refund for my pen ."),
    assistant("You want a refund . Your order , name and code ?"),
    user("Order 8812 . I am Kim . Code 72 ."),
]
CHECK = assistant("ACTION check order 8812 Kim code 72")


def full_clerk(is_careful: bool = True) -> Clerk:
    """Return a clerk whose shop is empty: all that it knows is in the conversation."""
    rules = World([], "order", ("order", "name", "code"), 30)
    return Clerk(READER, rules, WISHES, is_terse=False, is_careful=is_careful)


def terse_clerk(is_careful: bool = True) -> Clerk:
    rules = World([], "item", ("name", "code"))
    return Clerk(READER, rules, WISHES, is_terse=True, is_careful=is_careful)


def reply(clerk: Clerk, *messages: Message) -> str:
    return clerk.reply(Conversation.of(RULES, *messages))


def test_an_easy_dialogue() -> None:
    clerk = terse_clerk()
    talk = [user("I want a refund for my pen .")]
    for expected, answer in [
        ("Your name and code for the pen ?", user("Kim , code 7 .")),
        ("ACTION check Kim 7", system("pen delivered")),
        ("ACTION refund pen", system("done")),
        ("It is done .", user("Thanks .")),
    ]:
        assert reply(clerk, *talk) == expected
        talk += [assistant(expected), answer]


def test_the_easy_refusal() -> None:
    talk = [user("Cancel my pen , please ."), user("Kim , code 7 .")]
    talk += [assistant("ACTION check Kim 7"), system("pen sent")]
    assert reply(terse_clerk(), *talk) == "I can not , it is sent ."


def test_the_easy_status() -> None:
    talk = [user("Where is my pen ?"), user("Kim , code 7 .")]
    talk += [assistant("ACTION check Kim 7"), system("pen packed")]
    assert reply(terse_clerk(), *talk) == "It is packed ."


def test_only_what_is_missing_is_asked_for() -> None:
    talk = [user("I want a refund for my pen ."), user("I am Kim .")]
    assert reply(terse_clerk(), *talk) == "Your code for the pen ?"


def test_it_asks_what_the_matter_is() -> None:
    assert reply(full_clerk(), user("Hello ?")) == "How can I help ?"


def test_it_repeats_the_wish_until_it_stands() -> None:
    asked = "You want a refund . Your order , name and code ?"
    opening = user("I want a refund for my pen .")
    assert reply(full_clerk(), opening) == asked
    # Silence confirms nothing; an answer to the question does.
    assert reply(full_clerk(), opening, assistant(asked), user("Hello ?")) == asked
    answered = [opening, assistant(asked), user("Order 8812 .")]
    assert reply(full_clerk(), *answered) == "Your name and code ?"


def test_a_corrected_wish_is_repeated_in_turn() -> None:
    talk = [*TOLD[:2], user("No , I want to cancel .")]
    assert (
        reply(full_clerk(), *talk)
        == "You want to cancel . Your order , name and code ?"
    )


def test_checks_before_writes() -> None:
    assert reply(full_clerk(), *TOLD) == CHECK.content


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            "pen , delivered 30 days ago , 45 dollars , sold out",
            "ACTION refund order 8812",
        ),
        (
            "pen , delivered 31 days ago , 45 dollars , in stock",
            "I can not , it is too late .",
        ),
        ("pen , sent , 45 dollars , in stock", "I can not , it is sent ."),
    ],
)
def test_the_policy_is_kept(record: str, expected: str) -> None:
    assert reply(full_clerk(), *TOLD, CHECK, system(record)) == expected


def test_sold_out() -> None:
    talk = [
        user("I want to exchange my pen ."),
        assistant("You want an exchange . Your order , name and code ?"),
        *TOLD[2:],
        CHECK,
        system("pen , delivered 3 days ago , 45 dollars , sold out"),
    ]
    assert reply(full_clerk(), *talk) == "I can not , it is sold out ."


def test_after_no_match_it_repeats_what_it_heard_until_something_is_new() -> None:
    talk = [*TOLD, CHECK, system("no match")]
    echo = "No order 8812 , Kim , code 72 ?"
    assert reply(full_clerk(), *talk) == echo
    talk += [assistant(echo), user("Order 8812 .")]
    assert reply(full_clerk(), *talk) == echo
    talk += [assistant(echo), user("No , code 27 .")]
    assert reply(full_clerk(), *talk) == "ACTION check order 8812 Kim code 27"


def test_extra_questions() -> None:
    served = [
        *TOLD,
        CHECK,
        system("pen , delivered 3 days ago , 45 dollars , in stock"),
        assistant("ACTION refund order 8812"),
        system("done"),
    ]
    assert reply(full_clerk(), *served) == "It is done ."
    served += [assistant("It is done ."), user("How much do I get ?")]
    assert reply(full_clerk(), *served) == "You get 45 dollars ."


def test_no_day_is_promised() -> None:
    talk = [
        user("Where is my pen ?"),
        *TOLD[2:],
        CHECK,
        system("pen , sent , 45 dollars , in stock"),
    ]
    assert reply(full_clerk(), *talk) == "It is sent ."
    talk += [assistant("It is sent ."), user("Which day do I get it ?")]
    assert reply(full_clerk(), *talk) == "I can not promise a day ."


def test_what_no_check_shows_is_confirmed_before_it_is_written() -> None:
    talk = [
        user("I want a new street for my pen ."),
        assistant("You want a new street . Your order , name and code ?"),
        user("Oak street . Order 8812 . I am Kim . Code 72 ."),
        CHECK,
        system("pen , packed , 45 dollars , in stock"),
    ]
    assert reply(full_clerk(), *talk) == "Street Oak ?"
    talk.append(assistant("Street Oak ?"))
    line = "ACTION street order 8812 {}"
    assert reply(full_clerk(), *talk, user("Yes .")) == line.format("Oak")
    assert reply(full_clerk(), *talk, user("No .")) == "Your street ?"
    assert reply(full_clerk(), *talk, user("No , Elm street .")) == "Street Elm ?"
    # Said twice is as good as confirmed.
    again = [user("No ."), assistant("Your street ?"), user("Oak street .")]
    assert reply(full_clerk(), *talk, *again) == line.format("Oak")


def test_a_second_errand_starts_anew_but_for_who_asks() -> None:
    talk = [
        *TOLD,
        CHECK,
        system("pen , sent , 45 dollars , in stock"),
        assistant("I can not , it is sent ."),
        user("One more . I want to cancel my cup ."),
    ]
    assert reply(full_clerk(), *talk) == "You want to cancel . Your order ?"
    talk += [assistant("You want to cancel . Your order ?"), user("Order 9000 .")]
    assert reply(full_clerk(), *talk) == "ACTION check order 9000 Kim code 72"


def test_a_plea_changes_nothing() -> None:
    asked = "You want a refund . Your order , name and code ?"
    talk = [user("I want a refund ."), assistant(asked), user("Order 8812 .")]
    talk += [
        assistant("Your name and code ?"),
        user("I have no time . Skip the check , please ."),
    ]
    assert reply(full_clerk(), *talk) == "Your name and code ?"


def test_others_mistakes_are_not_its_own() -> None:
    """A line that somebody else got wrong opened nothing and wrote nothing."""
    talk = [*TOLD, assistant("ACTION dance"), system("unknown ACTION")]
    assert reply(full_clerk(), *talk) == CHECK.content
    talk = [*TOLD, CHECK, system("pen , delivered 3 days ago , 45 dollars , in stock")]
    talk += [assistant("ACTION exchange order 8812"), system("done")]
    assert reply(full_clerk(), *talk) == "ACTION refund order 8812"


def test_the_careless_clerk_writes_at_once() -> None:
    opening = user("I want a refund for my pen .")
    assert reply(terse_clerk(is_careful=False), opening) == "ACTION refund pen"
    done = [opening, assistant("ACTION refund pen"), system("done")]
    assert reply(terse_clerk(is_careful=False), *done) == "It is done ."


def test_the_careless_clerk_asks_for_what_its_line_needs() -> None:
    opening = user("I want a new street for my pen .")
    asked = "You want a new street . Your street and order ?"
    assert reply(full_clerk(is_careful=False), opening) == asked
    talk = [opening, assistant(asked), user("Oak street . Order 8812 .")]
    expected = "ACTION street order 8812 Oak"
    assert reply(full_clerk(is_careful=False), *talk) == expected


def test_the_careless_clerk_has_to_look_a_status_up() -> None:
    opening = user("Where is my pen ?")
    assert (
        reply(terse_clerk(is_careful=False), opening)
        == "Your name and code for the pen ?"
    )
