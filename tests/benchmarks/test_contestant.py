"""Who is run: what a name says, and names that say nothing."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from agents.sb3 import ALGORITHMS, make_agent
from agents.train_config import AGENTS
from benchmarks import own_agent
from benchmarks.cell import KINDS
from benchmarks.contestant import (
    CONTROLS,
    SB3_AGENTS,
    Contestant,
    check_overrides,
    known_names,
    read_contestants,
)
from benchmarks.own_agent import find_own_agent, own_agent_names
from benchmarks.suite import read_suite
from benchmarks.suite_table import SUITES
from chat_envs.replier import HOSTILE_REPLIERS
from tests.benchmarks import small_agents
from tests.benchmarks.small_bench import AGENTS as SMALL_AGENTS
from tests.benchmarks.small_bench import write_suite


def read(name: str) -> Contestant:
    (found,) = read_contestants([name])
    return found


@pytest.mark.parametrize("name", AGENTS)
def test_every_algorithm_can_be_run_and_controlled(name: str) -> None:
    found = read(name)
    assert (found.family, found.kind, found.base) == ("algorithm", "learner", name)
    for suffix in CONTROLS:
        control = read(f"{name}+{suffix}")
        assert (control.kind, control.base) == ("control", name)


@pytest.mark.parametrize(
    ("name", "family", "kind", "base"),
    [
        ("sft", "sft", "learner", "sft"),
        ("expert", "script", "script", "expert"),
        ("guess", "script", "script", "guess"),
        ("script:careless", "script", "script", "careless"),
        ("script:expert+blind", "script", "script", "expert+blind"),
        ("sb3-ppo", "sb3", "learner", "sb3-ppo"),
        ("sb3-dqn+frozen", "sb3", "control", "sb3-dqn"),
        ("a.b:C", "own", "learner", "a.b:C"),
    ],
)
def test_a_name_says_how_an_agent_is_run(
    name: str, family: str, kind: str, base: str
) -> None:
    found = read(name)
    assert (found.name, found.family, found.kind) == (name, family, kind)
    assert found.base == base and kind in KINDS


def test_a_name_carries_settings() -> None:
    found = read("ppo@learning_rate=1e-4,kl_target=null,clip_low=0.5+shuffled")
    assert found.settings == {"learning_rate": 1e-4, "kl_target": None, "clip_low": 0.5}
    assert found.control == "shuffled" and found.kind == "control"


def test_every_algorithm_of_stable_baselines_can_be_run() -> None:
    labels = {found.label for found in ALGORITHMS.values()}
    assert set(SB3_AGENTS) == labels
    core = read_suite("core")
    for name in SB3_AGENTS:
        agent = make_agent(name, **read(name).settings_on(core, core.tasks[0]))
        assert agent.name == name


def test_hostile_stands_for_all_of_them_and_nobody_comes_twice() -> None:
    found = read_contestants(["script:empty", "hostile", "expert", "expert"])
    names = [one.name for one in found]
    assert names[0] == "script:empty" and names[-1] == "expert"
    assert sorted(names[:-1]) == sorted(f"script:{name}" for name in HOSTILE_REPLIERS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pppo", "Did you mean 'ppo'"),
        ("sb3-pp", "Did you mean 'sb3-ppo'"),
        ("ppo+frosen", r"\+shuffled or \+frozen"),
        ("ppo+", r"\+shuffled or \+frozen"),
        ("expert+frozen", "cannot be run as a control"),
        ("sft+shuffled", "cannot be run as a control"),
        ("sb3-ppo+shuffled", "cannot be run as a control"),
        ("a.b:C+frozen", "cannot be run as a control"),
        ("sft@x=1", "has no settings"),
        ("expert@x=1", "has no settings"),
        ("ppo@", "KEY=VALUE"),
        ("ppo@x", "KEY=VALUE"),
        ("ppo@x=1,x=2", "KEY=VALUE"),
        ("", "no agent ''"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_contestants([name])


def test_what_is_more_special_goes_over_what_is_less(tmp_path: Path) -> None:
    path = write_suite(
        tmp_path,
        "tasks: [{env: Echo-easy-v0, agents: {ppo: {b: 3, c: 3, d: 3}}}, Recall-easy-v0]\n"
        "hyperparameters: {a: 1, b: 1, c: 1, d: 1, learning_rate: 1}\n"
        "agents: {ppo: {c: 2, d: 2, e: 2}, sb3-ppo: {f: 2}}",
    )
    suite = read_suite(path)
    echo, recall = suite.tasks
    settings = read("ppo@d=4+frozen").settings_on(suite, echo)
    assert settings == {"a": 1, "b": 3, "c": 3, "d": 4, "e": 2, "learning_rate": 0}
    plain = read("ppo").settings_on(suite, recall)
    assert plain == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 2, "learning_rate": 1}
    # What is for language models is not for others.
    assert read("sb3-ppo").settings_on(suite, echo) == {"f": 2}
    assert read("a.b:C").settings_on(suite, echo) == {}


@pytest.mark.parametrize(
    ("agents", "words"),
    [
        ("{pppo: {}}", "Did you mean 'ppo'"),
        ("{expert: {}}", "expert has no settings"),
        ("{sft: {}}", "sft has no settings"),
    ],
)
def test_a_suite_cannot_set_what_nobody_reads(
    tmp_path: Path, agents: str, words: str
) -> None:
    of_all = f"tasks: [Echo-easy-v0]\nagents: {agents}"
    of_one = f"tasks: [{{env: Echo-easy-v0, agents: {agents}}}]"
    for text in (of_all, of_one):
        with pytest.raises(ValueError, match=words):
            check_overrides(read_suite(write_suite(tmp_path, text)))
    for name in SUITES:
        check_overrides(read_suite(name))


def test_all_known_names_can_be_read() -> None:
    assert {*AGENTS, *SB3_AGENTS, "sft", "expert", "hostile"} <= set(known_names())
    for name in known_names():
        assert read_contestants([name])


def test_an_agent_of_ones_own_is_found() -> None:
    assert find_own_agent(f"{SMALL_AGENTS}:Idle") is small_agents.Idle


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{SMALL_AGENTS}:Idl", "Did you mean 'Idle'"),
        ("no_such_module_here:Agent", "cannot be imported"),
        (f"{SMALL_AGENTS}:Mute", "lacks predict"),
        (f"{SMALL_AGENTS}:make_env", "lacks learn and predict"),
    ],
)
def test_an_agent_that_is_none_is_refused(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        find_own_agent(name)


def test_an_installed_agent_has_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, target in enumerate(("Idle", "Idle", "Raises")):
        info = tmp_path / f"package{number}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: package{number}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(
            f"[{own_agent.GROUP}]\nmine = {SMALL_AGENTS}:Idle\n"
            f"yours = {SMALL_AGENTS}:{target}\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(metadata.entry_points(group=own_agent.GROUP)) == 6
    assert own_agent_names() == ["mine", "yours"]
    assert read("mine").family == "own"
    assert find_own_agent("mine") is small_agents.Idle
    with pytest.raises(ValueError, match="Several packages"):
        find_own_agent("yours")


def test_a_name_that_no_file_could_have_is_refused() -> None:
    with pytest.raises(ValueError, match="too long for a file"):
        read_contestants([f"{SMALL_AGENTS}:Idle@word={'x' * 220}"])
