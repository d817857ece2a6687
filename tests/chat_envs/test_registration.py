"""Registration: strings, plugins, and errors that name the nearest."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec

import chat_envs
from chat_envs import registration
from chat_envs.core import ChatEnv
from chat_envs.registration import Registration, find, register, registrations
from chat_envs.vector import ChatVectorEnv
from tests.chat_envs.registered import registered
from tests.chat_envs.toy import SayIt

ROOT = Path(__file__).parents[2]
SAY_IT = "tests.chat_envs.toy:SayIt"


def forget(env_id: str) -> None:
    del gymnasium.registry[env_id]
    del registration._registrations[env_id]


@pytest.mark.parametrize("row", registrations(), ids=lambda row: row.id)
def test_every_id_is_made_by_gymnasium(row: Registration) -> None:
    env = gymnasium.make(row.id)
    assert type(env.unwrapped) is row.load()
    assert isinstance(env.unwrapped, ChatEnv)
    env.reset(seed=1)
    spec = env.spec
    assert spec is not None
    assert gymnasium.make(EnvSpec.from_json(spec.to_json())).spec == spec
    json.dumps(dict(row.kwargs))
    assert row.summary and row.tags and row.tier in ("easy", "default", "hard")
    has_tier = row.tier == "default" or row.id.endswith(f"-{row.tier}-v0")
    assert row.id.startswith("chat_envs/") and has_tier
    vector = gymnasium.make_vec(row.id, num_envs=2)
    assert isinstance(vector, ChatVectorEnv)
    vector.close()


def test_registering_sets_both_entry_points() -> None:
    with registered(num_turns=2) as env_id:
        spec = gymnasium.spec(env_id)
        assert spec.entry_point == SAY_IT
        assert spec.vector_entry_point == "tests.chat_envs.toy:make_vector"
        env = gymnasium.make(env_id).unwrapped
        assert isinstance(env, SayIt) and env.max_turns == 2


def test_an_unknown_id_is_told_the_nearest() -> None:
    for wrong, right in {
        "chat_envs/Eco-easy-v0": "chat_envs/Echo-easy-v0",
        "echo-v0": "chat_envs/Echo-v0",
        "CustomerServise-hard-v0": "chat_envs/CustomerService-hard-v0",
    }.items():
        with pytest.raises(ValueError, match=f"Did you mean '{right}'"):
            find(wrong)


def test_the_namespace_may_be_left_out() -> None:
    assert find("Echo-v0") is find("chat_envs/Echo-v0")


def test_registrations_are_selected_by_tag() -> None:
    with registered() as env_id:
        assert env_id in {r.id for r in registrations()}
        assert env_id not in {r.id for r in registrations("diagnostic")}
    assert env_id not in {r.id for r in registrations()}
    assert {r.id for r in registrations("diagnostic")} >= {"chat_envs/Echo-v0"}


@pytest.mark.parametrize("entry_point", ["SayIt", "module:", ":SayIt", ""])
def test_an_entry_point_that_is_none_is_refused(entry_point: str) -> None:
    with pytest.raises(ValueError, match="must be 'module:Class'"):
        register("toy/Wrong-v0", entry_point)
    assert "toy/Wrong-v0" not in gymnasium.registry


def test_registering_twice_is_once_and_another_is_refused() -> None:
    with registered() as env_id:
        register(env_id, SAY_IT)
        with pytest.raises(ValueError, match=f"registered already, for '{SAY_IT}'"):
            register(env_id, "tests.chat_envs.scripted:Scripted")
        assert find(env_id).entry_point == SAY_IT


def test_an_id_that_gymnasium_refuses_leaves_nothing_behind() -> None:
    with pytest.raises(gymnasium.error.Error, match="Malformed"):
        register("no id!", SAY_IT)
    assert "no id!" not in [row.id for row in registrations()]


def test_an_id_that_gymnasium_has_for_another_is_refused() -> None:
    with pytest.raises(ValueError, match="'CartPole-v1' is registered with Gymnasium"):
        register("CartPole-v1", SAY_IT)
    assert "CartPole-v1" not in [row.id for row in registrations()]


def test_an_id_that_gymnasium_has_for_the_same_is_taken_in() -> None:
    with registered() as env_id:
        del registration._registrations[env_id]  # as when the suite is imported anew
        register(env_id, SAY_IT)
        assert find(env_id).entry_point == SAY_IT


def test_a_tier_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="tier must be one of .* got 'medium'"):
        register("toy/Wrong-v0", SAY_IT, tier="medium")
    assert "toy/Wrong-v0" not in gymnasium.registry


def test_the_suite_s_functions_are_public() -> None:
    assert chat_envs.register is register and chat_envs.find is find


# Plugins -------------------------------------------------------------------------------------


def good_plugin() -> None:
    """Register an environment, as a plugin's entry point does."""
    register("plugin/SayIt-v0", SAY_IT)


def broken_plugin() -> None:
    """Fail."""
    raise RuntimeError("no licence")


def install(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    def entry_points(*, group: str) -> list[metadata.EntryPoint]:
        if group != "chat_envs.envs":
            return []
        return [metadata.EntryPoint(n, f"{__name__}:{n}", group) for n in names]

    monkeypatch.setattr(metadata, "entry_points", entry_points)


def test_a_plugin_registers_its_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "good_plugin")
    registration.register_builtin()
    try:
        assert isinstance(gymnasium.make("plugin/SayIt-v0").unwrapped, SayIt)
    finally:
        forget("plugin/SayIt-v0")


def test_a_broken_plugin_is_named_and_takes_nothing_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, "broken_plugin", "good_plugin", "absent_plugin")
    with pytest.warns(UserWarning) as warned:
        registration.register_builtin()
    texts = [str(warning.message) for warning in warned]
    assert "'broken_plugin'" in texts[0] and "RuntimeError: no licence" in texts[0]
    assert "'absent_plugin'" in texts[1] and "AttributeError" in texts[1]
    assert find("plugin/SayIt-v0").entry_point == SAY_IT
    forget("plugin/SayIt-v0")


def test_importing_the_suite_imports_no_environment() -> None:
    code = (
        "import sys, chat_envs; "
        "print(*[m for m in sys.modules if m.startswith('chat_envs.envs')])"
    )
    done: Any = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
