"""`rewards`: the list, one reward, and a check."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from chat_envs import reward
from chat_envs.commands import rewards
from chat_envs.reward import registry
from chat_envs.reward.builtin import BUILTIN
from chat_envs.rewards.length_band import LengthBand

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_TARGETS", {})
    plugin = metadata.EntryPoint(
        "zz_plugin", "no_such_module:Judge", "chat_envs.rewards"
    )
    monkeypatch.setattr(rewards, "entry_points", lambda *, group: [plugin])
    monkeypatch.setattr(registry, "entry_points", lambda *, group: [plugin])


def polite(reply: str) -> float:
    """Return 1 for a polite reply.

    More is said here.
    """
    return float("please" in reply)


def broken(reply: str) -> float:
    return 1 / len(reply.split())


def test_every_id_has_a_line_and_a_plugin_is_not_loaded_for_it(capsys: Capture) -> None:
    assert rewards.run([]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["id", "range", "sees", "extra", "summary"]
    assert [line.split()[0] for line in lines] == [*BUILTIN, "zz_plugin"]
    [band] = [line for line in lines if line.startswith("length_band")]
    assert "0 to 1" in band and "reply,reply_ids" in band
    [similar] = [line for line in lines if line.startswith("similarity")]
    assert similar.split()[:6] == [
        "similarity",
        "-1",
        "to",
        "1",
        "reply,prompt",
        "similarity",
    ]
    assert "no_such_module:Judge; see `chat-envs rewards zz_plugin`" in lines[-1]


def test_the_list_as_json(capsys: Capture) -> None:
    assert rewards.run(["--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in rows] == [*BUILTIN, "zz_plugin"]
    assert rows[-1] == {"id": "zz_plugin", "plugin": "no_such_module:Judge"}


def test_one_reward_is_told_with_keywords_and_exploits(capsys: Capture) -> None:
    assert rewards.run(["length_band"]) == 0
    text = capsys.readouterr().out
    assert "range     0 to 1" in text and "needs" not in text
    assert "keywords  low=5, high=30, ramp=10, unit='words'" in text
    [exploit] = LengthBand.exploits
    assert f"exploit   {exploit.name}: {exploit.why}" in text
    assert f"{exploit.hostile!r} beats {exploit.honest!r}" in text
    assert rewards.run(["similarity"]) == 0
    text = capsys.readouterr().out
    assert "needs     pip install 'chat-envs[similarity]'" in text
    assert 'with {"reference": "the meeting' in text


def test_one_reward_as_json(capsys: Capture) -> None:
    assert rewards.run(["llm_judge", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["keywords"]["base_url"] == "required"
    assert {e["needs"] == "" for e in facts["exploits"]} == {False}
    assert facts["range"] == [0.0, 1.0] and facts["sees"] == ["prompt", "reply"]


def test_a_function_of_ones_own_says_what_it_can(capsys: Capture) -> None:
    reward.register_reward("polite", polite)
    assert rewards.run([]) == 0
    [line] = [
        x for x in capsys.readouterr().out.splitlines() if x.startswith("polite ")
    ]
    assert line.split(maxsplit=4) == [
        "polite",
        "-",
        "-",
        "-",
        "Return 1 for a polite reply.",
    ]
    assert rewards.run(["polite"]) == 0
    text = capsys.readouterr().out
    assert "exploits  not stated; try: chat-envs rewards check polite" in text
    assert "keywords  -" in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lengthband", "Did you mean 'length_band'?"),
        ("no_such_module:judge", "no module named"),
        ("zz_plugin", "No module named"),
    ],
)
def test_an_unknown_name_is_an_error(name: str, message: str, capsys: Capture) -> None:
    assert rewards.run([name]) == 1
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""


def test_a_reward_is_checked(capsys: Capture) -> None:
    assert rewards.run(["check", f"{__name__}:polite"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"reward {__name__}:polite\n")
    assert "courtesy" not in text.partition("exploits")[0]
    assert rewards.run(["check", f"{__name__}:broken"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert rewards.run(["check", "lengthband"]) == 1
    assert "Did you mean 'length_band'" in capsys.readouterr().out


def test_a_check_takes_keywords_as_json_and_gives_json(capsys: Capture) -> None:
    target = (
        '{"length_band": {"weight": 2, "kwargs": {"low": 1, "high": 1, "ramp": 1}}}'
    )
    assert rewards.run(["check", target, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["range"] == [0.0, 2.0] and report["is_deterministic"] is True
    assert report["is_sound"] is True and report["num_skipped"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check"], "check needs a reward to try"),
        (["length_band", "more"], "only check takes a second name"),
        (["check", "{bad"], "no JSON object"),
        (["--jsn"], "Did you mean --json?"),
    ],
)
def test_a_wrong_call_is_an_error(
    arguments: list[str], message: str, capsys: Capture
) -> None:
    with pytest.raises(SystemExit) as exit:
        rewards.run(arguments)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def test_a_module_in_the_current_path_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "own_rewards_module.py").write_text(
        "def concise(reply):\n    return -len(reply)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert rewards.run(["check", "own_rewards_module:concise"]) == 0
    assert "> 0         empty: ''" in capsys.readouterr().out
