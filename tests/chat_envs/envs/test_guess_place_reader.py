"""GuessPlace's reader: every listed phrase, what people ask, and what is no one question."""

from __future__ import annotations

import pytest

from tests.chat_envs.envs.places import document, facts, oracle


def test_every_listed_phrase_is_read_and_never_as_a_guess() -> None:
    forms = document("guess_place.json")["forms"]
    masks = {p.name: p.mask for p in oracle().predicates}
    num_read = 0
    for row in facts()["predicates"]:
        word, base = row["word"], row.get("base")
        texts = [
            form.format(word, a="", base=base)
            for form in forms[row["form"]]
            if "{base}" not in form or base
        ]
        for text in [*texts, *row.get("also", ())]:
            query = oracle().read(text)
            assert query is not None, text
            assert (query.mask, query.guess) == (masks[row["tag"]], None), text
            num_read += 1
    assert num_read > 5000


def test_every_name_of_a_country_is_a_guess_in_every_form() -> None:
    forms = document("guess_place.json")["forms"]["guess"]
    aliases = document("countries.json")["aliases"]
    names = list(oracle().names)
    for name in [*names, *aliases]:
        for form in forms:
            query = oracle().read(form.format(name, a=""))
            assert query is not None, form.format(name, a="")
            assert query.guess == names.index(aliases.get(name, name))


# What people ask in this game, some of it beyond what the table knows. No line is a listed phrase.
NATURAL = """
Is this country in Africa? | Is the country located in Europe? | It's in Asia?
Is it a South American country? | Is it an Asian nation? | Hmm, is it in the Caribbean?
Okay. Is it in Western Europe? | Great! Is it in southern Africa? | Is that place in Oceania?
Is it situated in the Americas? | Could it be in South East Asia? | Is it found in East Africa?
Does your country border Germany? | Does this nation share a border with China?
Is the country next to Brazil? | Is it a neighbor of India? | Is it neighboring Russia?
Does the country touch Iran? | Is South Africa its neighbor? | Is it bordered by the USA?
Do the people there speak French? | Is Spanish the official language?
Do its inhabitants speak Arabic?
Is English spoken there? | Is Portuguese spoken in this country?
Is it an English-speaking country?
Is it a Spanish speaking nation? | Is the official language Dutch? | Do they mainly speak Russian?
Is Swahili an official language there? | Do the locals speak Malay? | Is German their language?
Do they use the euro? | Is the currency the dollar? | Is its currency called the peso?
Do they pay with pounds there? | Is the euro the currency of the country?
Do people use francs there?
Is the money called yen? | Can you pay in dollars there? | Do they use rupees?
Is the capital Nairobi? | Is Lima the capital? | Is its capital city called Rome?
Is Paris the capital city? | Does the capital start with the letter B?
Does its capital begin with M?
Does the name begin with S? | Does the country's name start with A? | Does the country start with C?
Is the capital's first letter T? | Is it landlocked? please | Is the country an island?
Is it an island nation? | Is it an archipelago? | Does the country have a coastline?
Does it have access to the sea? | Is it a coastal nation? | Is it actually an island?
Does it have more than ten million people? | Do more than 50 million people live there?
Is its population over 100 million? | Is the population less than 5 million?
Has the country more than one million inhabitants? | Is its population above 20 million?
Does it have a population of over 10 million? | Are there more than 50 million people there?
Does it have more inhabitants than France? | Is its population larger than that of Spain?
Does it have fewer people than Norway? | Is it more populous than Japan?
Does the country have a bigger population than Egypt? | Do fewer people live there than in Peru?
Does it have more than three neighbors? | Does it border more than 5 other countries?
Does the country have any neighbors? | Does it have land borders? | Is it a populous nation?
Is it Kenya? | I think it is Peru. | My guess is Japan! | Is it the Netherlands? | Could it be Chad?
Is the answer the UK? | Is it Bosnia and Herzegovina? | Are you thinking of Cuba? | Italy
Is it the United States of America? | Is it Côte d'Ivoire? | Must be Nepal.
Is it in the EU? | Is it a monarchy? | Is it hot there? | Is it a rich country?
Is it bigger than France? | Is it in the northern hemisphere? | Was it a British colony?
Is it a member of NATO? | Is it mountainous? | Does it have a king?
"""
BEYOND = 10  # those of the last lines


def test_what_people_ask_is_mostly_read() -> None:
    texts = [text.strip() for text in NATURAL.replace("\n", "|").split("|")]
    texts = [text for text in texts if text]
    unread = [text for text in texts if oracle().read(text) is None]
    assert len(texts) > 90
    assert len(unread) <= 0.15 * len(texts), unread
    within = texts[:-BEYOND]
    missed = [text for text in unread if text in within]
    assert len(missed) <= 0.05 * len(within), missed


@pytest.mark.parametrize(
    "text",
    [
        "Is it Peru or Chile?",
        "Peru Chile Cuba",
        "Is it Peru, Chile, Cuba?",
        "Is it Peru? Is it Chile?",
        "Is it not in Africa?",
        "Isn't it in Africa?",
        "Is it in Africa or Asia?",
        "Is it in Africa and does it border Chad?",
        "Which country is it?",
        "Is it Atlantis?",
        "Does it border Atlantis?",
        "Does it have more people than Atlantis?",
        "Does its capital start with",
        "Does it border",
        "Guinea Bissau Guinea",
        "Niger Nigeria",
        "United Kingdom United States",
    ],
)
def test_what_is_not_one_known_question_is_unread(text: str) -> None:
    assert oracle().read(text) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Is it Guinea?", "Guinea"),
        ("Is it Guinea-Bissau?", "Guinea-Bissau"),
        ("equatorial guinea", "Equatorial Guinea"),
        ("Papua New Guinea!", "Papua New Guinea"),
        ("the Congo", "Congo"),
        ("Democratic Republic of the Congo", "DR Congo"),
        ("Republic of the Congo", "Congo"),
        ("Dominica", "Dominica"),
        ("the Dominican Republic", "Dominican Republic"),
        ("Sudan", "Sudan"),
        ("south sudan", "South Sudan"),
        ("Is it Timor-Leste?", "East Timor"),
        ("Great Britain", "United Kingdom"),
        ("Micronesia", "Micronesia"),
    ],
)
def test_names_that_contain_each_other_are_kept_apart(text: str, name: str) -> None:
    query = oracle().read(text)
    assert query is not None and query.guess is not None
    assert oracle().names[query.guess] == name
