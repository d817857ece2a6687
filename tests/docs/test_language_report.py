"""The language report: counts that are known, what is said of them, and what readers understand."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from language_report import (
    OpeningCounts,
    count_openings,
    language_report,
    notes,
    openings,
    openings_table,
    quoted,
    reader_lines,
    user_text,
)

from chat_envs import Message, registrations, system, user
from tests.chat_envs.envs.reader_recall import Recall, reader_recalls
from tests.docs.toy import Toy, drawn

EPISODES = 201
NONE_MET = OpeningCounts(
    num_train_texts=5000,
    num_test_texts=3000,
    num_openings=5000,
    text_overlap=0.0,
    opening_overlap=0.0,
    num_sharing=0,
    commonest="",
)


def test_every_opening_is_counted_once_for_its_seed() -> None:
    counts = openings(Toy(split="test"), EPISODES)
    words = drawn("test", EPISODES)
    assert words[0] != drawn("test", EPISODES + 1)[-1]  # so seeds from 1 on differ
    assert counts == {
        (system("Rules of test."), user(word)): words.count(word) for word in set(words)
    }


def test_openings_are_those_that_reset_begins_with() -> None:
    env = Toy()
    counts = openings(env, 20)
    for seed in range(20):
        env.reset(seed=seed)
        assert env.conversation.messages in counts


class Restless(Toy):
    """Draws no opening twice, whatever the seed."""

    num_openings = 0

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        self.num_openings += 1
        return [system(f"Opening {self.num_openings}.")]


def test_an_environment_that_does_not_open_by_its_seed_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Restless does not open"):
        openings(Restless(), 5)


def test_the_counts_of_a_toy_are_known() -> None:
    words = drawn("test", EPISODES)
    share = (words.count("four") + words.count("one")) / EPISODES
    assert words.count("four") > words.count("one")
    apart = count_openings(Toy, EPISODES)
    assert apart == OpeningCounts(4, 3, 4, share, 0.0, EPISODES, "four")
    alike = functools.partial(Toy, has_rules_of_its_own=False)
    assert count_openings(alike, EPISODES).opening_overlap == share


def test_an_episode_that_opens_like_no_other_shares_nothing() -> None:
    words = drawn("train", 5)
    alone = sum(words.count(word) == 1 for word in words)
    assert 0 < alone < 5
    assert count_openings(Toy, 5).num_sharing == 5 - alone


def test_the_text_of_an_opening_is_what_the_user_says() -> None:
    assert user_text((system("Rules."), user("Hi."), user("You?"))) == "Hi.\nYou?"
    assert user_text((system("Rules."),)) == ""


def test_a_row_a_tier_has_its_counts() -> None:
    counts = {"easy": OpeningCounts(1234, 5, 6000, 0.25, 0.125, 77, "four")}
    assert openings_table(counts)[-1] == "| easy | 1,234 | 5 | 25.0% | 12.5% | 77 |"


def test_the_notes_say_what_the_counts_mean() -> None:
    few = OpeningCounts(3, 3, 6, 1.0, 0.0, 10_000, "Go on.")
    noisy = OpeningCounts(5000, 3000, 5000, 0.02, 0.02, 9, "uh\nuh " * 50)
    (clean,) = notes({"default": NONE_MET})
    assert (
        clean
        == "- No held-out episode counted begins with a text of the training episodes counted."
    )
    said = notes({"easy": few, "default": NONE_MET, "hard": few})
    assert said[0].startswith("- Openings are few in training: 6 in easy, 6 in hard.")
    assert said[1:] == [
        "- Texts of both splits in easy, hard: the most frequent is `Go on.`. What the system "
        "says is held out instead."
    ]
    (line,) = notes({"default": noisy})
    assert "uh uh uh" in line and "...`" in line and len(line) < 250
    assert "comes out alike" in line


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("plain", "`plain`"),
        ("a ` b", "`` a ` b ``"),
        ("``", "``` `` ```"),
        ("a `` b ` c", "``` a `` b ` c ```"),
    ],
)
def test_inline_code_holds_any_backticks(text: str, code: str) -> None:
    assert quoted(text) == code


def test_what_a_reader_understands_is_reported() -> None:
    assert reader_lines([Recall("ways to ask", 8, ("why", "how"))]) == [
        "- Of 8 ways to ask that its reader was not written for, it understands 6 (75%)."
    ]
    (line,) = reader_lines([])
    assert "no list of paraphrases" in line


def test_what_no_reader_could_know_is_missed() -> None:
    within, beyond = reader_recalls("GuessPlace")
    assert (beyond.num_asked, beyond.num_read, beyond.share) == (10, 0, 0.0)
    assert "Is it a monarchy?" in beyond.missed
    assert within.num_read > 80


def test_a_family_without_a_list_has_no_recall() -> None:
    assert reader_recalls("Echo") == []


def test_the_report_of_a_family_has_every_tier() -> None:
    tiers = [r for r in registrations() if r.entry_point.endswith(":KeywordBandit")]
    lines = language_report("KeywordBandit", tiers)
    # 8 cues in 16 phrasings, of which one in four is held out.
    assert "| default | 96 | 32 | 0.0% | 0.0% | 10,000 |" in lines
