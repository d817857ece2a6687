from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import gymnasium
import pytest

from chat_envs.message import Message, user
from chat_envs.registration import registrations
from chat_envs.suite import FAMILIES
from chat_envs.testing import CLAUSES, ContractError, check_chat_env, vector_agreement
from chat_envs.testing.subject import make_subject
from chat_envs.vector import vector_entry_point
from tests.chat_envs.registered import registered
from tests.chat_envs.testing.broken import BROKEN, PaysLists
from tests.chat_envs.toy import SayIt

IDS = [r.id for r in registrations()]


class EchoPays(SayIt):
    """Echoing is the task, and says so."""

    exempt_hostiles = {
        "echo_user": "echoing is the task",
        "keyword_stuffing": "the opening's only keyword is the answer",
    }

    def _ask(self) -> Message:
        return user(self._wanted[self.turn])


def test_a_sound_environment_passes_every_clause() -> None:
    report = check_chat_env(SayIt, with_async=True)
    assert [r.clause for r in report] == list(CLAUSES)
    assert all(r.is_passed and r.message == "" for r in report)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda c: c.__name__)
def test_a_broken_clause_is_caught_by_its_check_with_a_lesson(
    broken: type[SayIt],
) -> None:
    clause, message = BROKEN[broken]
    report = check_chat_env(broken, num_episodes=8, raise_on_failure=False)
    found = {r.clause: r.message for r in report if not r.is_passed}
    assert clause in found, f"only {found} was found"
    assert re.search(message, found[clause], re.DOTALL), found[clause]


def test_every_clause_but_those_of_ids_has_an_environment_that_breaks_it() -> None:
    # `spec` and `async_vector` have their own tests below.
    assert {clause for clause, _ in BROKEN.values()} == set(CLAUSES) - {
        "spec",
        "async_vector",
    }


def test_every_clause_is_one_line() -> None:
    assert all(
        10 < len(text) <= 100 and text.endswith((".", ".)"))
        for text in CLAUSES.values()
    )


def test_all_broken_clauses_are_raised_together() -> None:
    with pytest.raises(ContractError) as caught:
        check_chat_env(PaysLists, num_episodes=8)
    message = str(caught.value)
    assert message.startswith("PaysLists breaks 1 of 19 clauses")
    assert "hostile_returns: Hostile repliers are paid" in message


def test_an_exemption_with_a_reason_is_accepted() -> None:
    check_chat_env(EchoPays, num_episodes=8)
    unexempted = type("Unexempted", (EchoPays,), {"exempt_hostiles": {}})
    report = check_chat_env(unexempted, num_episodes=8, raise_on_failure=False)
    (failure,) = [r for r in report if not r.is_passed]
    assert "'echo_user': 1.0" in failure.message


def test_an_environment_that_cannot_be_made_breaks_every_clause() -> None:
    def make(**kwargs: Any) -> SayIt:
        raise OSError("no data")

    report = check_chat_env(make, raise_on_failure=False)
    assert not any(r.is_passed for r in report if r.clause != "spec")
    assert report[0].message == "It raised OSError: no data"


# Ids ----------------------------------------------------------------------------------------


# All tiers of other families are checked among their own tests, without the processes.
ELSEWHERE = [
    family.id(tier)
    for family in FAMILIES
    if family.name not in ("CustomerService", "TwentyQuestions", "GuessPlace")
    for tier in family.summaries
    if tier != "default"
]


@pytest.mark.parametrize("env_id", [i for i in IDS if i not in ELSEWHERE])
def test_every_registered_environment_keeps_the_contract(env_id: str) -> None:
    check_chat_env(env_id, with_async=True)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ELSEWHERE)
def test_every_tier_keeps_the_contract(env_id: str) -> None:
    check_chat_env(env_id, with_async=True)


_DIGEST = """
import hashlib, sys
import chat_envs
from chat_envs.testing.subject import make_subject
from chat_envs.testing.trajectory import trace
for env_id in sys.argv[1:]:
    lines = trace(make_subject(env_id, 2).make(), seed=3)
    print(env_id, hashlib.sha256(repr(lines).encode()).hexdigest())
"""


def test_episodes_are_the_same_in_processes_that_order_sets_differently() -> None:
    found = []
    for hash_seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", _DIGEST, *IDS],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(run.stdout.splitlines())
    assert len(found[0]) == len(IDS)
    assert found[0] == found[1]


def test_an_id_and_an_environment_of_its_spec_are_the_same_subject() -> None:
    with registered(num_turns=2) as env_id:
        check_chat_env(env_id, num_episodes=4)
        env = gymnasium.make(env_id, num_turns=4, render_mode="ansi")
        subject = make_subject(env, num_episodes=4)
        assert subject.env_id == env_id
        assert subject.make().max_turns == 4


def test_a_spec_that_json_cannot_hold_is_caught() -> None:
    with registered(reward=len) as env_id:
        report = check_chat_env(env_id, num_episodes=4, raise_on_failure=False)
    assert "spec" in {r.clause for r in report if not r.is_passed}


def test_a_foreign_vector_entry_point_is_caught() -> None:
    with registered() as env_id:
        gymnasium.registry[env_id].vector_entry_point = make_sync
        subject = make_subject(env_id, num_episodes=4)
        with pytest.raises(AssertionError, match="export make_vector"):
            vector_agreement.check_vector(subject)


def make_sync(num_envs: int) -> Any:
    return gymnasium.vector.SyncVectorEnv([SayIt] * num_envs)


def test_async_vectors_that_differ_are_caught() -> None:
    class PerProcess(SayIt):
        """Differs in a process of its own."""

        def describe(self) -> dict[str, Any]:
            return super().describe() | {"reply_text": "else"}

    subject = make_subject(PerProcess, num_episodes=4)
    with pytest.raises(
        AssertionError, match="AsyncVectorEnv in mode 'NextStep' differ at step"
    ):
        vector_agreement.check_async_vector(subject)


# What is compared ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_the_comparison_meets_ends_of_episodes(mode: str) -> None:
    vector = vector_entry_point(SayIt)(3, mode)
    assert vector_agreement._NUM_STEPS > 3 * vector.envs[0].max_turns


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("toy/NoSuch-v0", ValueError, "There is no environment"),
        (SayIt(), TypeError, "was not made by gymnasium.make"),
        (3, TypeError, "cannot check 3 of type int"),
    ],
)
def test_what_cannot_be_checked_is_refused(
    target: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        check_chat_env(target)


def test_one_episode_is_no_statistic() -> None:
    with pytest.raises(ValueError, match="num_episodes must be at least 2"):
        check_chat_env(SayIt, num_episodes=1)
