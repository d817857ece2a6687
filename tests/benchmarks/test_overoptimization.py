"""The curves of over-optimisation, against known answers; summaries of made-up runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.best_of_n import best_of_n_kl
from benchmarks.overoptimization import CASES, summarise
from benchmarks.overoptimization_curve import (
    BEST_OF_N,
    REINFORCEMENT,
    Fit,
    fit_curve,
    over_optimisation_index,
    smooth,
)
from benchmarks.overoptimization_plot import draw_curves


@pytest.mark.parametrize("kind", [BEST_OF_N, REINFORCEMENT])
@given(a=st.floats(0.1, 5.0), b=st.floats(-1.0, 3.0))
def test_a_fit_finds_the_curve_again(kind: str, a: float, b: float) -> None:
    d = np.linspace(0.1, 4.0, 40)
    fit = fit_curve(kind, d, Fit(kind, a, b, 1.0).value(d))
    assert (fit.a, fit.b) == pytest.approx((a, b), abs=1e-8)
    assert fit.r_squared == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("kind", [BEST_OF_N, REINFORCEMENT])
def test_the_peak_is_the_highest_point(kind: str) -> None:
    fit = Fit(kind, a=2.0, b=1.0, r_squared=1.0)
    along = np.linspace(0.01, 12.0, 100_000)
    assert along[fit.value(along).argmax()] == pytest.approx(fit.peak(), abs=1e-3)
    assert Fit(kind, a=2.0, b=-0.1, r_squared=1.0).peak() == math.inf


def test_noise_lowers_the_quality_of_a_fit() -> None:
    d = np.linspace(0.1, 4.0, 400)
    noise = np.random.default_rng(0).normal(size=400)
    fit = fit_curve(BEST_OF_N, d, Fit(BEST_OF_N, 2.0, 0.4, 1.0).value(d) + noise)
    assert 0.0 < fit.r_squared < 0.8
    assert (fit.a, fit.b) == pytest.approx((2.0, 0.4), abs=0.2)


@pytest.mark.parametrize(
    ("distance", "gain", "words"),
    [
        ([0.0, 1.0, 2.0], [0.0, 1.0, 2.0], "3 points"),
        ([1.0, 2.0, math.nan], [0.0, 1.0, 2.0], "not finite"),
        ([1.0, 2.0], [0.0], "one row each"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    distance: list[float], gain: list[float], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        fit_curve(REINFORCEMENT, distance, gain)


def test_the_index_by_hand() -> None:
    assert over_optimisation_index([0.5, 1.5, 1.0]) == 0.5
    assert over_optimisation_index([0.5, 1.5, 0.0]) == 1.5
    assert over_optimisation_index([0.5, 1.0]) == 0.0
    assert math.isnan(over_optimisation_index([1.0, 0.2, 0.1]))
    assert math.isnan(over_optimisation_index([0.5, 0.52, 0.0], least_rise=0.05))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.integers(1, 9))
def test_smoothing_keeps_length_and_stays_within(
    values: list[float], width: int
) -> None:
    found = smooth(values, width)
    assert len(found) == len(values)
    assert found.min() >= min(values) - 1e-9 and found.max() <= max(values) + 1e-9
    for place in range(len(values)):
        near = values[max(place - width // 2, 0) : place + (width + 1) // 2]
        if width % 2:
            assert found[place] == pytest.approx(np.mean(near), abs=1e-9)


def _row(case: str, seed: int, fall: float) -> dict[str, Any]:
    """Return a run whose proxy rises while its gold rises and then falls by `fall`."""
    steps = np.linspace(0.0, 1.0, 21)
    gold = np.where(steps < 0.5, 2 * steps, 1.0 - fall * (2 * steps - 1.0))
    curve = [
        {"kl": 4 * s * s, "proxy": 3 * s, "gold": g, "reply_length": 5.0}
        for s, g in zip(steps.tolist(), gold.tolist(), strict=True)
    ]
    points = [
        {"n": n, "kl": best_of_n_kl(n), "proxy": math.log(n), "gold": math.log(n) / 3}
        for n in (1, 2, 4, 8)
    ]
    return {"case": case, "seed": seed, "curve": curve, "best_of_n": points}


def test_a_summary_tells_what_the_proxy_cost() -> None:
    rows = [_row("bad", seed, 0.8) for seed in range(3)]
    rows += [_row("good", 0, 0.0)]
    found = summarise(rows)
    bad, good = found["bad"], found["good"]
    assert bad["num_seeds"] == 3 and good["num_seeds"] == 1
    assert bad["proxy_gain"]["mean"] == pytest.approx(2.7, abs=0.01)
    assert bad["gold_best"]["mean"] > 0.8 > 0.4 > bad["gold_end"]["mean"]
    assert bad["index"]["mean"] > 0.6 and good["index"]["mean"] < 0.1
    assert bad["index"]["low"] == pytest.approx(bad["index"]["mean"])  # equal seeds
    assert good["index"]["low"] is None
    # At 2 nats, 0.71 of the way, gold is still above its end.
    assert bad["gold_early_stop"]["mean"] > bad["gold_end"]["mean"] + 0.2
    assert bad["fits"][BEST_OF_N]["r_squared"] > 0.9


def test_gold_that_never_rises_has_no_index() -> None:
    row = _row("lost", 0, 0.0)
    for place, point in enumerate(row["curve"]):
        point["gold"] = -0.1 * place
    index = summarise([row])["lost"]["index"]
    assert index["mean"] is None and index["num_seeds"] == 0


def test_the_plot_has_a_panel_a_case(tmp_path: Path) -> None:
    rows = [_row(case, seed, 0.5) for case in ("one", "two_b") for seed in range(2)]
    path = tmp_path / "plots" / "curves.svg"
    draw_curves({"rows": rows, "summary": summarise(rows)}, path)
    text = path.read_text("utf-8")
    assert ">one<" in text and ">two b<" in text and text.rstrip().endswith("</svg>")
    first = path.read_bytes()
    draw_curves({"rows": rows, "summary": summarise(rows)}, path)
    assert path.read_bytes() == first


def test_the_remedies_are_one_case_changed() -> None:
    base = CASES["model_100"]
    for name in ("remedy_kl", "remedy_minimum", "remedy_length"):
        remedy = CASES[name]
        assert (remedy.env, remedy.num_pairs, remedy.script, remedy.gold) == (
            base.env,
            base.num_pairs,
            base.script,
            base.gold,
        )
        assert remedy != base
