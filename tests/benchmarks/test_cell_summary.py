"""What runs say beside their scores, against numbers that are known."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.cell import Cell, Curve, Evaluation
from benchmarks.cell_summary import mean_pass_hat_k, spending, spending_warnings
from tests.benchmarks.synthetic_results import cell


def spent(tokens: float, **fields: Any) -> Cell:
    """Return a run that had 1,000 tokens."""
    ends = (tokens / 2, tokens)
    curve = Curve(
        split="train", turns=(1, 2), tokens=ends, seconds=(1, 2), mean_return=(1, None)
    )
    return cell(curve=curve, **fields)


@pytest.mark.parametrize(
    ("tokens", "is_off"),
    [(1000, False), (1100, False), (1101, True), (900, False), (899, True)],
)
def test_a_tenth_of_the_budget_is_let_pass(tokens: float, is_off: bool) -> None:
    found = spending([spent(1000), spent(tokens)])
    assert found is not None and found["is_off"] is is_off
    ends = sorted((1000, tokens))
    assert [found["low"], found["high"], found["budget"]] == [*ends, 1000]


def test_what_nobody_counted_is_not_guessed() -> None:
    assert spending([cell()]) is None
    assert spending([spent(5000, status="failed")]) is None
    found = spending([cell(config={"family": "sft"})])
    assert found is not None and found["high"] == 0


def test_who_overspends_is_told_on_how_many_tasks_and_how_far() -> None:
    over, kept, under = [spent(2500)], [spent(1050)], [spent(10)]
    (told,) = spending_warnings([over, kept, under, [spent(1200)]])
    assert "on 2 of 4 tasks" in told and "2.5 times" in told
    assert spending_warnings([kept, under]) == []


def test_an_own_agents_tokens_are_its_word() -> None:
    (told,) = spending_warnings([[cell(config={"family": "own"})]])
    assert "nobody counted" in told


def test_a_run_that_failed_solved_no_goal() -> None:
    trials = Evaluation(
        split="test", first_seed=0, repeats=2, returns=(1.0,) * 2, successes=(1, 1)
    )
    final = cell().evaluations["final"]
    done = cell(evaluations={"final": final, "final_trials": trials})
    assert mean_pass_hat_k([done]) == {"1": 1.0, "2": 1.0}
    assert mean_pass_hat_k([done, cell(status="failed")]) == {"1": 0.5, "2": 0.5}
    assert mean_pass_hat_k([cell(status="failed")]) == {}
