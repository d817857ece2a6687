"""Rewards in processes of their own: what goes wrong there stays there."""

from __future__ import annotations

import gc
import json
import os
import re
import select
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import gymnasium
import pytest

import chat_envs
from chat_envs.reward import (
    RewardError,
    Scorer,
    describe,
    make_scorer,
    registry,
    reward_function,
    worker_process,
)
from chat_envs.reward.registry import importable_path
from chat_envs.reward.worker_pool import WorkerSpec, shared_pool
from chat_envs.reward.worker_process import session_members
from tests.chat_envs.request import make_request, make_requests
from tests.chat_envs.reward import hostile

__all__ = ["chat_envs"]

MODULE = hostile.__name__
ROOT = Path(__file__).parents[3]
# Long for a reply that is scored at once, on a machine that does much else.
TIMEOUT_S = 1.0


def make(target: str, **options: Any) -> Any:
    """Return a scorer of one isolated reward beside the task's own."""
    entry = {"isolation": "process", "on_error": "mask", "timeout_s": TIMEOUT_S}
    return make_scorer({"task": 1.0, f"{MODULE}:{target}": entry | options})


def values(scorer: Any, *replies: str) -> list[float | None]:
    """Return the isolated component of each reply, None where it is masked."""
    name = scorer.component_names[1]
    outcomes = scorer.score(make_requests(*replies))
    assert all(outcome.components["task"] == 1.0 for outcome in outcomes)
    return [o.components[name] if o.is_valid else None for o in outcomes]


def kills(scorer: Any) -> float:
    return float(list(scorer.statistics().values())[1]["worker_kills"])


# What works as it does inline ---------------------------------------------------------------


def test_an_isolated_function_scores_as_it_does_here() -> None:
    replies = ["a", "", "ünï \ud800 \n[0, 1]", "talk no", "x" * 100_000]
    inline = make_scorer({"task": 1.0, f"{MODULE}:obey": 1.0})
    assert values(make("obey"), *replies) == values(inline, *replies)


def test_it_runs_in_another_process_which_all_share() -> None:
    first, second = make("obey"), make("obey", weight=2.0)
    (pid,) = values(first, "pid")
    assert pid != os.getpid()
    assert values(second, "pid", "pid") == [pid, pid]
    assert values(make("obey", memory_mb=1024), "pid") != [pid]


def test_it_sees_all_of_a_turn() -> None:
    request = make_request(
        "hello", task=2.0, turn=3, terminated=True, info={"metrics": {"mood": 0.25}}
    )
    scorer = make_scorer(f"{MODULE}:everything")
    (outcome,) = scorer.score([request])
    assert outcome.total == 1 + 3 + 3 + 1 + (0 + 1 + 2 + 3 + 4) + 2.0


def test_a_class_is_made_there_and_named_as_it_is_here() -> None:
    options = {"kwargs": {"scale": 2.0, "name": "mine"}}
    scorer = make("Judge", **options)
    inline = make_scorer({"task": 1.0, f"{MODULE}:Judge": options})
    assert scorer.component_names == inline.component_names == ("task", "mine")
    assert values(scorer, "abc", "a") == [6.0, 2.0]
    request = make_request("ab", task_components={"task": 1.0, "bonus": 0.5})
    assert scorer.score([request])[0].components["mine"] == 4.5


def test_what_is_made_there_keeps_its_author_s_options() -> None:
    entry = {"isolation": "process", "kwargs": {"scale": 1.0}}
    scorer = make_scorer({f"{MODULE}:make_judge": entry})
    assert scorer.component_names == ("made",)
    assert [o.total for o in scorer.score(make_requests("abc", "bad"))] == [3.0, -1.0]


def test_an_id_is_the_name_of_what_is_made_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = {"nick": f"{MODULE}:Judge", "other": hostile.obey}
    monkeypatch.setattr(registry, "_TARGETS", ids)
    entry = {"isolation": "process"}
    scorer = make_scorer({"nick": entry, "other": entry})
    assert scorer.component_names == ("nick", "other")
    assert scorer.score([make_request("abc")])[0].total == 6.0


def test_a_reward_that_cannot_be_made_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="Judge.*could not be made.*at least 0"):
        make("Judge", kwargs={"scale": -1.0})


def test_groups_and_vectors_work_there() -> None:
    rank = make("rank")
    assert rank.needs_groups
    assert values(rank, "a", "ccc", "bb") == [0.0, 2.0, 1.0]
    (outcome,) = make("measures").score([make_request("two words")])
    assert outcome.components == {
        "task": 1.0,
        "measures/length": 9.0,
        "measures/words": 2.0,
    }


def test_coroutines_work_there_and_a_late_one_is_alone() -> None:
    scorer = make("wait")
    assert values(scorer, "a", "never", "ccc") == [1.0, None, 3.0]
    assert kills(scorer) == 0  # cancelled in good order
    assert values(scorer, "block", "bb") == [None, 2.0]
    assert kills(scorer) > 0


def test_several_workers_share_the_replies_in_order() -> None:
    scorer = make("obey", workers=2)
    assert values(scorer, *("x" * n for n in range(9))) == [float(n) for n in range(9)]
    assert len(set(values(scorer, "pid", "pid", "pid"))) == 2


# Bad input: each costs its own reply alone ---------------------------------------------------


@pytest.mark.parametrize(
    ("act", "message"),
    [
        ("loop", r"TimeoutError: gave no answer within 1 s; its process was killed"),
        ("sleep", r"TimeoutError: gave no answer within 1 s"),
        ("exit", "ended with exit code 3"),
        ("quit", "ended with exit code 4"),
        ("crash", "died of SIGSEGV"),
        ("children", "processes, more than max_processes=8"),
        ("garbage", "its process wrote .*NaN"),
    ],
)
def test_a_reply_that_ends_its_process_costs_itself_alone(
    act: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    scorer = make("obey", max_processes=8)
    assert values(scorer, "a", act, "ccc") == [1.0, None, 3.0]
    (record,) = caplog.records
    assert "'obey' failed at turn 2" in record.getMessage()
    assert record.getMessage().count("failed") == 1
    assert kills(scorer)
    assert re.search(message, record.getMessage())


@pytest.mark.parametrize(
    ("act", "message"),
    [
        ("hoard", "MemoryError"),
        ("nan", "ValueError: returned nan"),
        ("inf", "ValueError: returned -inf"),
        ("none", "TypeError: returned None"),
        ("text", "TypeError: returned '1.0' of type str"),
        ("array", r"TypeError: returned \[1.0, 2.0\] of type list"),
        ("raise", "ValueError: xxx"),
        ("mute", r"Mute: \(its message cannot be read: RuntimeError\)"),
    ],
)
def test_a_reply_that_fails_is_told_as_it_is_here(
    act: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    scorer = make("obey")
    before = kills(scorer)
    assert values(scorer, "a", act, "ccc") == [1.0, None, 3.0]
    assert kills(scorer) == before
    (record,) = caplog.records
    assert len(record.getMessage()) < 700
    assert re.search(message, record.getMessage())


def test_what_an_earlier_reply_left_running_is_not_blamed_on_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Looked at before a call and not within one, however long that takes here.
    monkeypatch.setattr(worker_process, "_INSPECTION_S", 0.0)
    monkeypatch.setattr(worker_process, "_TICK_S", 60.0)
    scorer = make("obey", max_processes=8, timeout_s=20.0)
    before = kills(scorer)
    (pid,) = values(scorer, "pid")
    assert values(scorer, "litter") == [1.0]
    assert values(scorer, "a", "bb") == [1.0, 2.0]
    assert kills(scorer) == before + 1
    assert session_members(int(pid or 0)) == set()


def test_what_a_function_prints_or_forks_is_no_answer() -> None:
    scorer = make("obey")
    assert values(scorer, "talk", "a", "fork", "bb") == [4.0, 1.0, 7.0, 2.0]


def test_a_batch_that_ends_its_process_is_tried_one_by_one() -> None:
    scorer = make("obey_all")
    assert values(scorer, "a", "exit", "ccc", "crash") == [1.0, None, 3.0, None]
    before = kills(scorer)
    assert values(scorer, "a", "short") == [None, None]  # one value for two
    assert kills(scorer) == before
    assert values(scorer, "a", "bb") == [1.0, 2.0]


def test_a_group_fails_as_one_and_other_groups_do_not() -> None:
    requests = make_requests("a", "exit", "bb", "c")
    other = make_request("dd", prompt=())
    outcomes = make("rank").score([requests[0], other, requests[1]])
    assert [o.is_valid for o in outcomes] == [False, True, False]


def test_every_policy_holds() -> None:
    with pytest.raises(RewardError, match="'obey' failed at turn 2.*exit code 3"):
        make("obey", on_error="raise").score(make_requests("a", "exit"))
    assert values(make("obey", on_error=-2.0), "exit", "a") == [-2.0, 1.0]
    with pytest.raises(RewardError, match="failed after 2 attempts"):
        make("obey", on_error="retry", retries=1).score(make_requests("nan"))


def test_a_turn_that_is_no_json_fails_alone() -> None:
    good = {"metrics": {"mood": 0.25}}
    bad = good | {"success": object()}
    scorer = make("everything", timeout_s=5.0)
    outcomes = scorer.score([make_request(info=bad), make_request(info=good)])
    assert [o.is_valid for o in outcomes] == [False, True]


def test_the_rest_is_left_after_many_kills_in_a_row() -> None:
    scorer = make("obey", breaker_after=2, memory_mb=3000)
    assert values(scorer, "a", "exit", "exit", "bb") == [1.0, None, None, None]
    assert kills(scorer) == 4  # each was heard twice


def test_cpu_time_is_limited(caplog: pytest.LogCaptureFixture) -> None:
    scorer = make("obey", cpu_s=1, timeout_s=30.0)
    assert values(scorer, "loop", "a") == [None, 1.0]
    assert "more CPU time than cpu_s allows" in caplog.records[0].getMessage()


# Targets that cannot travel ------------------------------------------------------------------


def test_what_no_module_has_under_a_name_is_refused() -> None:
    def closure(reply: str) -> float:
        return 0.0

    @reward_function
    def decorated(reply: str) -> float:
        return 0.0

    for target in (closure, decorated, lambda reply: 0.0, hostile.Judge()):
        with pytest.raises(TypeError, match="put it in a module of its own"):
            make_scorer({target: {"isolation": "process"}})
    with pytest.raises(TypeError, match="put it in a module of its own"):
        importable_path("__main__:obey")


def test_what_a_module_has_travels_by_its_name() -> None:
    for target in (hostile.obey, hostile.rank, hostile.rank.function, hostile.Judge):
        scorer = make_scorer({target: {"isolation": "process"}})
        assert scorer.score([make_request("abc")])[0].total in (0.0, 3.0)


# Nothing is left behind ----------------------------------------------------------------------


def spec_of(target: str, name: str | None = None) -> WorkerSpec:
    return WorkerSpec(f"{MODULE}:{target}", "null", name, None, 60, 32)


def num_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def children() -> set[str]:
    """Return this process's children, zombies too."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_kills_leave_no_zombie_no_descendant_and_no_descriptor() -> None:
    gc.collect()
    before = num_fds(), children()
    traits = reward_function(hostile.obey).traits
    pool = shared_pool(spec_of("obey", "leftovers"))
    for act in ("exit", "flee", "crash"):
        (pid,) = pool.attempt(make_requests("pid"), traits, TIMEOUT_S)
        assert isinstance(pid, float) and int(pid) in session_members(int(pid))
        (result,) = pool.attempt(make_requests(act), traits, TIMEOUT_S)
        assert isinstance(result, RuntimeError)
        assert session_members(int(pid)) == set()
    pool.attempt(make_requests("a"), traits, TIMEOUT_S)
    pool.close()
    assert (num_fds(), children()) == before


def test_a_pool_ends_with_its_last_scorer() -> None:
    gc.collect()
    before = num_fds(), children()
    scorer = make("obey", memory_mb=2222)
    assert values(scorer, "a") == [1.0]
    assert len(children() - before[1]) == 1
    del scorer
    gc.collect()
    assert (num_fds(), children()) == before


def test_a_fork_has_workers_of_its_own_and_leaves_its_parent_s_alone() -> None:
    scorer = make("obey")
    (pid,) = values(scorer, "pid")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            (own,) = values(scorer, "pid")
            os.write(write, b"%d" % int(own or 0))
            scorer = None
            gc.collect()
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        other = int(pipe.read())
    os.waitpid(child, 0)
    assert other not in (0, int(pid or 0))
    assert values(scorer, "pid") == [pid]


def test_environments_share_it_and_their_spec_is_json() -> None:
    entry = {"isolation": "process", "timeout_s": 5.0}
    reward = {"task": 1.0, f"{MODULE}:obey": entry}
    envs = [gymnasium.make("chat_envs/Echo-easy-v0", reward=reward) for _ in "ab"]
    for env in envs:
        assert json.loads(env.spec.to_json())["kwargs"]["reward"] == describe(reward)
        env.reset(seed=1)
        *_, info = env.step(env.unwrapped.encode("hello"))  # type: ignore[attr-defined]
        assert info["reward_components"]["obey"] == 5.0


@pytest.mark.parametrize("act", ["pid", "announce"])
def test_a_worker_ends_with_its_run_however_that_ends(act: str) -> None:
    program = f"""
        import sys
        from chat_envs.reward import make_scorer
        from tests.chat_envs.request import make_requests
        entry = {{"isolation": "process", "timeout_s": 60}}
        scorer = make_scorer({{"{MODULE}:obey": entry}})
        (outcome,) = scorer.score(make_requests("{act}"))
        print(int(outcome.total), file=sys.stderr, flush=True)
        """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        pid = int(run.stderr.readline())
        if act == "announce":  # the worker hangs, and its run waits for it
            run.kill()
        run.wait()
        handle = _pidfd(pid)
        if handle is not None:
            assert select.select([handle], [], [], 20)[0]
            os.close(handle)
    assert session_members(pid) == set()


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def test_a_scorer_with_processes_is_a_scorer() -> None:
    assert isinstance(make("obey"), Scorer)
