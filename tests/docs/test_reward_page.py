"""The page of rewards is what would be written, and tells of every reward and keyword."""

from __future__ import annotations

from generated_page import DOCS
from reward_page import PAGE, arguments, page, rewards

from chat_envs.keyword import keywords
from chat_envs.reward.builtin import BUILTIN


def test_the_page_is_up_to_date() -> None:
    written = (DOCS / PAGE).read_text(encoding="utf-8")
    assert written == page(), "run `python docs/reward_page.py`"


def test_every_reward_has_a_section_a_row_and_its_exploits() -> None:
    text = page()
    assert set(rewards()) == {*BUILTIN, "likelihood"}
    for name, reward in rewards().items():
        assert f"\n## {name}\n" in text and f"\n| `{name}` | " in text
        for keyword in keywords(reward):
            assert f"\n- `{keyword}` (" in text
        for exploit in reward.exploits:
            assert f"**{exploit.name}.** {exploit.why}" in text


def test_the_hostile_reply_is_shown_with_the_larger_number() -> None:
    text = page()
    assert "hostile (1.00): My parcel is late." in text
    assert "honest (0.00): I am sorry. May I have the order number?" in text


def test_arguments_are_read_from_a_docstring() -> None:
    text = "    one: first,\n        then: more.\n    two: second.\n\n>>> three: 3\n"
    assert arguments(text) == {"one": "first, then: more.", "two": "second."}
