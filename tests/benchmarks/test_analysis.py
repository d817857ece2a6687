"""The figures of the report against cells whose scores are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.analysis import analyse
from benchmarks.cell import Cell, Curve, Evaluation
from benchmarks.language_health import LanguageHealth
from benchmarks.result_folder import Problem, Results
from tests.benchmarks.synthetic_results import cell, evaluation

TASK, OTHER = "own/Task-v0", "own/Other-v0"


def figures(cells: Sequence[Cell], **options: Any) -> dict[str, Any]:
    problems = options.pop("problems", ())
    results = Results(Path("results"), tuple(cells), problems, None)
    return analyse(results, num_replicates=200, **options)


def runs(agent: str, scores: Sequence[float], env: str = TASK, **fields: Any) -> Any:
    return [cell(agent, env, s, x, **fields) for s, x in enumerate(scores)]


def test_an_agents_aggregates_are_those_of_its_scores() -> None:
    scores = (0.0, 0.5, 0.5, 1.0, 1.5)
    found = figures(runs("ppo", scores, start=0.25))["agents"]["ppo"]
    assert found["iqm"]["value"] == pytest.approx((0.5 + 0.5 + 1.0) / 3)
    assert found["optimality_gap"]["value"] == pytest.approx(0.4)
    assert found["probability_of_improvement"]["value"] == pytest.approx(0.8)
    assert found["gain_over_start"]["value"] == pytest.approx(0.45)
    assert found["worst_quarter"]["value"] == pytest.approx(0.25)
    assert found["start_iqm"]["value"] == pytest.approx(0.25)
    for name in ("iqm", "optimality_gap", "probability_of_improvement"):
        assert list(found[name]) == ["value", "low", "high", "n"]
        assert found[name]["n"] == 5
    assert found["greedy_iqm"]["value"] is None
    assert "no final greedy score" in found["greedy_iqm"]["why"]


def test_one_seed_has_a_score_and_no_aggregate() -> None:
    found = figures(runs("ppo", [0.5]))
    assert found["agents"]["ppo"]["iqm"] == {
        "value": None,
        "low": None,
        "high": None,
        "n": 1,
        "why": "1 run of a task: 3 are the least that is shown, 10 are recommended",
    }
    assert found["agents"]["ppo"]["warnings"][0].startswith("no aggregate: 1 run")
    entry = found["tasks"][TASK]["agents"]["ppo"]
    assert entry["score"]["value"] is None
    assert entry["runs"][0]["score"] == 0.5
    assert found["profile"]["agents"] == {}


def test_three_seeds_are_shown_with_a_warning_and_five_without() -> None:
    three = figures(runs("ppo", [0.5] * 3))["agents"]["ppo"]
    assert three["iqm"]["value"] == 0.5
    assert "only 3 runs of a task" in three["warnings"][0]
    assert figures(runs("ppo", [0.5] * 5))["agents"]["ppo"]["warnings"] == []


def test_an_agent_that_lacks_a_task_has_no_aggregate_over_all() -> None:
    cells = runs("ppo", [0.5] * 3) + runs("grpo", [1.0] * 3)
    cells += runs("grpo", [1.0] * 3, OTHER)
    found = figures(cells)
    assert found["agents"]["ppo"]["iqm"]["why"] == f"no final score on {OTHER}"
    assert found["agents"]["grpo"]["iqm"]["value"] == 1.0
    assert found["probability_matrix"]["ppo"]["grpo"]["value"] is None
    both = figures(cells, tasks=[TASK])
    assert both["agents"]["ppo"]["iqm"]["value"] == 0.5
    assert both["probability_matrix"]["grpo"]["ppo"]["value"] == 1.0
    assert both["probability_matrix"]["ppo"]["grpo"]["value"] == 0.0


def test_cells_that_all_failed_are_shown_as_failed() -> None:
    broken: dict[str, Any] = {"status": "failed", "evaluations": {}, "error": "OOM"}
    cells = runs("ppo", [0.0] * 3, **broken) + runs("grpo", [1.0] * 3)
    found = figures(cells)
    assert found["agents"]["ppo"]["iqm"]["why"] == "all of its 3 runs failed"
    assert f"all 3 runs on {TASK} failed" in found["agents"]["ppo"]["warnings"]
    assert found["agents"]["ppo"]["num_failed"] == 3
    assert [(f["agent"], f["error"]) for f in found["failed"]] == [("ppo", "OOM")] * 3
    assert found["tasks"][TASK]["agents"]["ppo"]["num_failed"] == 3


def test_a_failed_seed_lowers_the_aggregate_and_is_told() -> None:
    cells = [*runs("ppo", [1.0] * 3), cell(seed=3, status="failed")]
    found = figures(cells)["agents"]["ppo"]
    assert found["mean"]["value"] == 0.75
    assert (
        "1 of 4 runs failed and count as its worst there, at most 0"
        in found["warnings"]
    )


def test_the_matrix_and_its_reverse_make_one() -> None:
    cells = runs("ppo", [0.1, 0.6, 0.3, 0.9]) + runs("grpo", [0.2, 0.5, 0.7, 0.8])
    matrix = figures(cells)["probability_matrix"]
    one, other = matrix["ppo"]["grpo"], matrix["grpo"]["ppo"]
    assert one["value"] == 7 / 16 and other["value"] == 9 / 16
    assert (other["low"], other["high"]) == (1 - one["high"], 1 - one["low"])


def test_one_agent_more_leaves_the_others_figures_alone() -> None:
    cells = runs("ppo", [0.1, 0.6, 0.3])
    alone = figures(cells)["agents"]["ppo"]
    assert figures(cells + runs("a", [0.5] * 3))["agents"]["ppo"] == alone


def test_the_generalisation_gap_is_training_goals_minus_held_out() -> None:
    cells = [
        cell(
            seed=s,
            evaluations={
                "final": evaluation([1.5]),
                "final_train": evaluation([1.75], split="train"),
            },
        )
        for s in range(3)
    ]
    assert figures(cells)["agents"]["ppo"]["generalisation_gap"]["value"] == 0.25


def test_trials_give_pass_hat_k() -> None:
    trials = Evaluation(
        split="test",
        first_seed=0,
        repeats=2,
        returns=(1.0,) * 4,
        successes=(1, 1, 1, 0),
    )
    found = figures([cell(evaluations={"final": trials, "final_trials": trials})])
    assert found["agents"]["ppo"]["pass_hat_k"] == {"1": 0.75, "2": 0.5}


def curve(returns: Sequence[float], **fields: Any) -> Curve:
    steps = tuple(float(i) for i in range(1, len(returns) + 1))
    fields = {"split": "test"} | fields
    return Curve(
        turns=steps,
        tokens=tuple(10 * s for s in steps),
        seconds=steps,
        mean_return=tuple(returns),
        **fields,
    )


def test_curves_begin_at_the_start_and_censor_what_never_rose() -> None:
    rising, flat = curve([1.5, 2.0]), curve([1.25, 1.25])
    cells = [cell(seed=s, curve=c) for s, c in enumerate([rising, rising, flat])]
    along = figures(cells)["curves"]["tokens"]
    found = along["agents"]["ppo"]
    assert along["grid"][0] == 0.0 and along["grid"][-1] == 20.0
    assert found["value"][0] == 0.0
    assert found["value"][-1] == pytest.approx((1.0 + 1.0 + 0.25) / 3)
    assert found["to_half"]["value"] == 10.0
    assert (found["to_half"]["num_reached"], found["to_half"]["n"]) == (2, 3)
    assert found["to_half"]["high"] is None
    assert along["tasks"][TASK]["ppo"][-1] == 0.75


def test_a_run_that_failed_stays_at_the_bottom_of_the_curve() -> None:
    cells = [cell(seed=s, curve=curve([2.0])) for s in range(3)]
    cells.append(cell(seed=3, status="failed", curve=curve([2.0])))
    found = figures(cells)["curves"]["turns"]["agents"]["ppo"]
    assert found["to_half"]["num_reached"] == 3 and found["to_half"]["n"] == 4


def test_gold_and_proxy_are_kept_by_distance() -> None:
    noted = curve(
        [1.0] * 3, kl=(0.0, 1.0, 4.0), gold=(0.0, 2.0, 1.0), proxy=(0.0, 1.0, 2.0)
    )
    (found,) = figures([cell(curve=noted)])["over_optimisation"]
    assert found["distance"] == [0.0, 1.0, 2.0]
    assert found["index"] == 0.5
    assert figures([cell(curve=curve([1.0]))])["over_optimisation"] == []


def test_a_control_that_rises_is_told() -> None:
    rising = runs("zero-rate", [0.5, 0.6, 0.7], kind="control")
    still = runs("shuffled", [0.1, -0.1, 0.0], kind="control")
    found = figures([*rising, *still, *runs("ppo", [0.5] * 3)])
    assert [(r["agent"], r["env"], r["rises"]) for r in found["controls"]] == [
        ("shuffled", None, False),
        ("shuffled", TASK, False),
        ("zero-rate", None, True),
        ("zero-rate", TASK, True),
    ]
    assert list(found["agents"]) == ["ppo"]


def test_a_control_that_rises_here_and_falls_there_does_not_rise() -> None:
    here = runs("frozen", [0.2, 0.3, 0.4], kind="control")
    there = runs("frozen", [-0.2, -0.3, -0.5], OTHER, kind="control")
    found = figures([*here, *there])["controls"]
    assert [(r["env"], r["rises"]) for r in found] == [
        (None, False),
        (OTHER, False),
        (TASK, True),
    ]
    assert found[0]["gain"]["value"] == pytest.approx(-1 / 60)


def test_models_of_two_kinds_start_apart() -> None:
    own, network = {"family": "algorithm"}, {"family": "sb3"}
    cells = runs("ppo", [0.5] * 2, start=0.25, config=own)
    cells += runs("sft", [0.25] * 2, start=0.5, config={"family": "sft"})
    cells += runs("sb3-ppo", [0.5] * 2, start=-0.25, config=network)
    found = figures(cells)["tasks"][TASK]["starts"]
    assert found == {"language model": 0.375, "small network": -0.25}


def test_the_grid_of_tokens_ends_with_the_budget() -> None:
    cells = [cell(seed=s, curve=curve([1.5] * 150)) for s in range(3)]  # 1,500 tokens
    curves = figures(cells)["curves"]
    assert curves["tokens"]["grid"][-1] == 1000.0
    assert curves["turns"]["grid"][-1] == 150.0


def test_scripts_come_the_best_first() -> None:
    cells = [
        cell("hostile:echo", kind="script", score=0.25),
        cell("hostile:praise", kind="script", score=0.75),
        cell(),
    ]
    found = figures(cells)["scripts"]
    assert [row["agent"] for row in found] == ["hostile:praise", "hostile:echo"]
    assert found[0]["score"] == 0.75


def test_language_is_a_mean_over_tasks() -> None:
    def health(value: float) -> dict[str, LanguageHealth]:
        return {"final": LanguageHealth(distinct_1=value)}

    cells = [
        cell(seed=0, language=health(0.5)),
        cell(seed=1, language=health(0.25)),
        cell(env=OTHER, language=health(0.125)),
    ]
    found = figures(cells)["agents"]["ppo"]["language"]
    assert found["final"]["distinct_1"] == 0.25
    assert found["start"]["distinct_1"] is None


def test_what_could_not_be_read_is_told() -> None:
    torn = Problem("cells/ppo/x/0.json", "torn", "cut short")
    found = figures(runs("ppo", [0.5] * 3), problems=(torn,))
    assert found["problems"] == [torn.as_dict()]
