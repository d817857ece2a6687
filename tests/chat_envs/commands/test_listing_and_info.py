"""`list` and `info`."""

from __future__ import annotations

import json

import pytest

from chat_envs.commands import info, listing
from chat_envs.registration import registrations
from tests.chat_envs.registered import registered

Capture = pytest.CaptureFixture[str]


def test_list_shows_every_id_in_one_line_each(capsys: Capture) -> None:
    assert listing.run([]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["id", "tier", "tags", "summary"]
    assert [line.split()[0] for line in lines] == [r.id for r in registrations()]


def test_list_selects_by_tag(capsys: Capture) -> None:
    assert listing.run(["--json", "--tag", "diagnostic"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["id"] for row in rows} == {r.id for r in registrations("diagnostic")}
    assert len(rows) < len(registrations())


def test_list_names_the_tags_there_are(capsys: Capture) -> None:
    assert listing.run(["--tag", "diagnostics"]) == 1
    captured = capsys.readouterr()
    assert "Did you mean 'diagnostic'?" in captured.err and captured.out == ""
    assert listing.run(["--tag", "diagnostics", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == []


def test_info_as_json_is_what_the_environment_says(capsys: Capture) -> None:
    with registered(num_turns=4) as env_id:
        assert info.run([env_id, "--json", "--seed", "5"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["id"] == env_id
    assert facts["max_turns"] == 4
    assert facts["kwargs"] == {"num_turns": 4}
    assert facts["reward_components"] == ["said", "pace"]
    assert facts["metrics"] == ["num_said"]
    # The task's own default, and one of the base class.
    assert facts["keywords"]["context_length"] == "200"
    assert facts["keywords"]["reply_length"] == "24"
    assert "(200,)" in facts["observation_space"]["input_ids"]
    assert facts["anchors"] is None and facts["docs"] is None
    assert [message["role"] for message in facts["opening"]] == ["system", "user"]


def test_info_as_text_ends_with_a_sample_opening(capsys: Capture) -> None:
    with registered() as env_id:
        assert info.run([env_id]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["id", env_id]
    assert "  system: You have 3 turns." in lines[-2:]


def test_info_finds_an_id_without_its_namespace(capsys: Capture) -> None:
    assert info.run(["Echo-easy-v0", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["id"] == "chat_envs/Echo-easy-v0"
    assert facts["docs"] == "docs/environments/echo.md"


def test_a_seed_below_0_is_an_error_of_use(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        info.run(["Echo-easy-v0", "--seed", "-1"])
    assert stop.value.code == 2
    assert "at least 0, got '-1'" in capsys.readouterr().err


def test_an_unknown_id_is_told_the_nearest(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        info.run(["chat_envs/Eco-easy-v0"])
    assert stop.value.code == 2
    assert "Did you mean 'chat_envs/Echo-easy-v0'?" in capsys.readouterr().err


def test_info_names_what_reward_takes(capsys: Capture) -> None:
    assert info.run(["SocialChat-easy-v0", "--json"]) == 0
    rewards = json.loads(capsys.readouterr().out)["rewards"]
    assert rewards == ["gold", "proxy:vader", "proxy:vader_user", "proxy:reply_length"]
    assert info.run(["Echo-easy-v0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rewards"] == ["gold"]
