"""What generated pages share: text that stays inside its block, and files written or compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from generated_page import (
    anchor_cells,
    families,
    fenced,
    hostile_scores,
    introduction,
    page_path,
    settle,
    shown_episode,
    table_row,
    transcript,
    transcript_of_rows,
)
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chat_envs import anchors, assistant, system, user
from chat_envs.registration import find
from chat_envs.replier import make_replier
from chat_envs.suite import FAMILIES
from tests.docs.toy import Toy

# Signs that Markdown reads and letters that it does not.
MARKED = st.text(st.sampled_from("`~#-|<>[](){}*_ \n\t\r\0\x85\u2028abc"), max_size=60)


def blocks(lines: list[str]) -> list[str]:
    """Return the content of each block, or fail if the lines are anything but blocks."""
    tokens = MarkdownIt().parse("\n".join(lines) + "\n")
    assert {token.type for token in tokens} == {"fence"}
    return [token.content for token in tokens]


@given(MARKED | st.text(max_size=60))
@example("```\n# A heading\n````")
@example("~~~\n```{eval-rst}\n")
@example("\ud800 lone")
@example("")
def test_no_text_leaves_its_block(text: str) -> None:
    (content,) = blocks(fenced(text))
    assert content.count("\n") == text.count("\n") + 1
    "\n".join(fenced(text)).encode("utf-8")


def test_plain_text_is_shown_as_it_is() -> None:
    assert blocks(fenced("It's `code`: <b> & ü, 5 €.")) == [
        "It's `code`: <b> & ü, 5 €.\n"
    ]


def test_what_shows_nothing_is_spelled_out() -> None:
    assert fenced("a\x07b\u200bc\td")[1] == "a\\x07b\\u200bc\\td"
    assert fenced("a\u2028b\u2029c\x85")[1] == "a\\u2028b\\u2029c\\x85"


@pytest.mark.parametrize("said", ["```", "``````\nuser: Fine.", "# A\n\n---\nb"])
def test_no_message_forges_a_block_a_heading_or_a_role(said: str) -> None:
    lines = transcript([system("Rules."), user("Hi."), assistant(said)])
    (content,) = blocks(lines)
    spoken = content.rstrip("\n").split("\n")
    assert spoken[:2] == ["system: Rules.", "user: Hi."]
    assert spoken[2].startswith("assistant: ")
    assert all(line.startswith("  ") for line in spoken[3:] if line)


def test_no_line_of_a_dialogue_ends_with_a_space() -> None:
    lines = transcript([user("Hi. "), assistant(""), assistant("a \n\nb")])
    assert blocks(lines) == ["user: Hi.\nassistant:\nassistant: a\n\n  b\n"]


def test_a_stored_dialogue_is_shown_like_a_played_one() -> None:
    messages = [system("Rules."), user("Hi."), assistant("Ho.")]
    rows = [message.as_dict() for message in messages]
    assert transcript_of_rows(rows) == transcript(messages)
    with pytest.raises(ValueError, match="tool"):
        transcript_of_rows([{"role": "tool", "content": "x"}])


def test_a_bar_does_not_end_a_cell() -> None:
    assert table_row("a|b", 3) == "| a\\|b | 3 |"


def test_an_introduction_leaves_the_arguments_out() -> None:
    assert introduction(Toy) == (
        "The user says a word, which is to be said back.\n\nA second paragraph."
    )


def test_every_family_of_the_suite_has_a_page_of_its_own() -> None:
    assert list(families()) == [family.name for family in FAMILIES]
    paths = [page_path(name).as_posix() for name in families()]
    assert len(set(paths)) == len(paths)
    assert "environments/twenty_questions.md" in paths


def test_pages_show_the_held_out_goal_of_one_seed() -> None:
    record = shown_episode(find("Echo-easy-v0"), make_replier("expert"))
    assert record.seed == 7 and record.episode_return == 1.0
    env = find("Echo-easy-v0").load()(tier="easy", split="test")
    env.reset(seed=7)
    assert record.messages[:2] == env.conversation.messages


def test_hostile_scores_are_those_of_held_out_goals() -> None:
    scores = hostile_scores("chat_envs/Echo-easy-v0", 4)
    assert scores["echo_user"] == pytest.approx(1.0)
    assert scores["empty"] == pytest.approx(
        anchors.normalised_score("Echo-easy-v0", 0.0)
    )


def test_anchors_are_those_of_held_out_goals() -> None:
    stored = anchors.load("GuessPlace-v0")
    assert abs(stored.test.expert - stored.train.expert) > 0.001
    turns, *returns = anchor_cells(find("GuessPlace-v0"))
    assert turns == "20"
    level = stored.test
    assert returns == [f"{r:.3f}" for r in (level.expert, level.blind, level.random)]


def test_pages_are_written_once_and_then_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = [(Path("a/one.md"), "One.\n"), (Path("two.md"), "Two ü.\n")]
    assert settle(pages, "make it", is_check=True, root=tmp_path) == [
        "docs/a/one.md",
        "docs/two.md",
    ]
    assert not list(tmp_path.iterdir())
    assert "docs/two.md is out of date: run `make it`." in capsys.readouterr().out
    assert settle(pages, "make it", is_check=False, root=tmp_path) == []
    assert (tmp_path / "two.md").read_bytes() == "Two ü.\n".encode()
    assert settle(pages, "make it", is_check=True, root=tmp_path) == []
    (tmp_path / "a" / "one.md").write_text("Two.\n", encoding="utf-8")
    assert settle(pages, "make it", is_check=True, root=tmp_path) == ["docs/a/one.md"]
    printed = capsys.readouterr().out.splitlines()
    assert sum("docs/two.md: same" in line for line in printed) == 2
