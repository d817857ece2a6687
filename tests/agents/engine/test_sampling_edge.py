"""Drawing at its edges: no noise and all of it, ties, one id, ids of probability 0, long tails."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import chisquare

from agents.engine.language_model import Sampling
from agents.engine.sampling import draw, filter_logits, sample, scale_logits
from tests.agents.engine.oracle import distribution
from tests.agents.engine.toy import noise

INF = float("inf")
ALMOST_ONE = float(np.nextafter(1.0, 0.0))
ROWS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 24)),
    elements=st.one_of(
        st.floats(-12, 12, width=32), st.sampled_from([-INF, 0.0, 1.0, 5.0])
    ),
)


def one(temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Sampling:
    return Sampling(
        max_new_tokens=1,
        stop_ids=frozenset(),
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
    )


@given(
    rows=ROWS,
    uniform=st.floats(0, 1, exclude_max=True),
    temperature=st.sampled_from([0.2, 1.0, 4.0]),
    top_k=st.integers(0, 30),
    top_p=st.sampled_from([1e-9, 0.1, 0.5, 0.9, 1.0]),
)
def test_one_draw_is_the_inverse_of_the_exact_distribution(
    rows: np.ndarray, uniform: float, temperature: float, top_k: int, top_p: float
) -> None:
    assume((rows > -INF).any(axis=1).all())
    sampling = one(temperature, top_k, top_p)
    fill = torch.full((len(rows),), uniform, dtype=torch.float64)
    ids, log_probs = sample(torch.from_numpy(rows), sampling, fill)
    for row, token, log_prob in zip(rows, ids.tolist(), log_probs.tolist()):
        kept = filter_logits(
            scale_logits(torch.from_numpy(row)[None], temperature), top_k, top_p
        )[0]
        probs = kept.double().softmax(-1).numpy()
        # Which of equals survive is free; how many and how likely they are is not.
        expected = distribution(row.astype(np.float64), sampling)
        is_close = np.allclose(np.sort(probs), np.sort(expected), atol=1e-6)
        # A sum that meets p within rounding may fall on either side of it.
        assert is_close or top_p < 1
        assert row[token] > -INF and kept[token] > -INF
        start = probs[:token].sum()
        assert start - 1e-6 <= uniform <= start + probs[token] + 1e-6
        assert log_prob == pytest.approx(np.log(probs[token]), abs=2e-6)


@given(rows=ROWS)
def test_no_noise_takes_the_first_possible_id_and_all_of_it_the_last(
    rows: np.ndarray,
) -> None:
    assume((rows > -INF).any(axis=1).all())
    log_probs = torch.from_numpy(rows).log_softmax(-1)
    zero = torch.zeros(len(rows), dtype=torch.float64)
    first, last = draw(log_probs, zero), draw(log_probs, zero + ALMOST_ONE)
    for row, low, high in zip(rows, first.tolist(), last.tolist()):
        possible = np.flatnonzero(row > -INF)
        assert low == possible[0]
        assert high in possible
        # What comes after has no probability that float64 could tell from none.
        rest = np.exp(row[high + 1 :].astype(float) - row.max()).sum()
        assert rest <= 1e-14 * np.exp(row.astype(float) - row.max()).sum()


def test_every_id_of_a_tail_of_fifty_thousand_has_its_own_share_of_the_noise() -> None:
    """Half the mass on one id, half spread so thin that float32 sums lose it."""
    size = 50_000
    logits = torch.zeros(1, size)
    logits[0, 17] = float(np.log(size - 1))
    # Just past where each of these ids begins, in units of 1 / (2 * (size - 1)).
    tail = np.array([0, 16, 18, 25_000, 49_000, size - 2, size - 1])
    begins = np.where(tail < 17, tail, tail - 1 + (size - 1)) + 0.5
    uniform = torch.from_numpy(np.append(begins, 5_000) / (2 * (size - 1)))
    ids, log_probs = sample(logits.expand(len(uniform), -1), one(), uniform)
    assert ids.tolist() == [*tail, 17]
    expected = np.log(np.append(np.full(len(tail), 0.5 / (size - 1)), 0.5))
    np.testing.assert_allclose(log_probs.numpy(), expected, atol=3e-6)


def test_sampler_and_trainer_normalise_alike_over_a_large_vocabulary() -> None:
    logits = torch.randn(6, 50_000, generator=noise(3)) * 2
    exact = logits.double().logsumexp(-1)
    trained = logits.max(-1).values - logits.logsumexp(-1)
    greedy = Sampling(max_new_tokens=1, stop_ids=frozenset(), is_greedy=True)
    _, sampled = sample(logits, greedy, None)
    assert torch.equal(sampled, trained)
    assert (sampled - (logits.max(-1).values - exact)).abs().max() < 3e-6


@pytest.mark.parametrize("top_k", [0, 1, 3, 5])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.4])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_frequencies_match_at_a_false_alarm_of_one_in_a_million(
    top_k: int, top_p: float, temperature: float
) -> None:
    logits = np.array([0.3, -1.2, 2.2, 1.9, -np.inf, 0.9, -3.0, 1.1])
    sampling = one(temperature, top_k, top_p)
    probs = distribution(logits, sampling)
    count = 30_000
    uniform = torch.rand(count, dtype=torch.float64, generator=noise(21))
    ids, _ = sample(torch.tensor(logits).float().expand(count, -1), sampling, uniform)
    counts = np.bincount(ids.numpy(), minlength=len(probs))
    possible = probs > 0
    assert counts[~possible].sum() == 0
    if possible.sum() > 1:
        assert chisquare(counts[possible], probs[possible] * count).pvalue > 1e-6


def test_the_same_test_notices_a_filter_left_out() -> None:
    logits = np.array([0.3, -1.2, 2.2, 1.9])
    count = 30_000
    uniform = torch.rand(count, dtype=torch.float64, generator=noise(21))
    ids, _ = sample(torch.tensor(logits).float().expand(count, -1), one(), uniform)
    counts = np.bincount(ids.numpy(), minlength=4)
    wrong = distribution(logits, one(temperature=1.15))
    assert chisquare(counts, wrong * count).pvalue < 1e-6
    filtered = distribution(logits, one(top_p=0.9))
    assert counts[filtered == 0].sum() > 0


def test_equal_logits_are_all_drawn_with_and_without_filters() -> None:
    logits = torch.zeros(4_000, 6)
    uniform = torch.rand(4_000, dtype=torch.float64, generator=noise(2))
    for sampling, survivors in ((one(), 6), (one(top_k=4), 4), (one(top_p=0.5), 3)):
        ids, log_probs = sample(logits, sampling, uniform)
        counts = np.bincount(ids.numpy(), minlength=6)
        assert (counts > 0).sum() == survivors
        assert chisquare(counts[counts > 0]).pvalue > 1e-6
        torch.testing.assert_close(log_probs.exp(), torch.full((4_000,), 1 / survivors))


@pytest.mark.parametrize(("top_k", "top_p"), [(1, 1.0), (0, 1e-300), (1, 1e-300)])
def test_the_narrowest_filters_leave_the_likeliest(top_k: int, top_p: float) -> None:
    logits = torch.randn(50, 30, generator=noise(4))
    for value in (0.0, 0.5, ALMOST_ONE):
        uniform = torch.full((50,), value, dtype=torch.float64)
        ids, log_probs = sample(logits, one(top_k=top_k, top_p=top_p), uniform)
        assert torch.equal(ids, logits.argmax(-1)) and (log_probs == 0).all()


def test_rows_with_fewer_possible_ids_than_k_keep_those() -> None:
    logits = torch.tensor([[-INF, 2.0, -INF, 1.0], [-INF, -INF, -INF, 7.0]])
    kept = filter_logits(logits, top_k=3, top_p=0.999999)
    assert torch.equal(kept, logits)
    uniform = torch.tensor([ALMOST_ONE, ALMOST_ONE], dtype=torch.float64)
    assert sample(logits, one(top_k=3), uniform)[0].tolist() == [3, 3]


def test_filters_do_not_write_on_their_input() -> None:
    logits = torch.randn(3, 9, generator=noise())
    before = logits.clone()
    filter_logits(logits, top_k=2, top_p=0.5)
    sample(logits, one(0.5, 4, 0.7), torch.rand(3, dtype=torch.float64))
    assert torch.equal(logits, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_log_probs_are_float32_whatever_the_logits(dtype: torch.dtype) -> None:
    logits = torch.randn(5, 9, generator=noise()).to(dtype)
    ids, log_probs = sample(logits, one(), torch.rand(5, dtype=torch.float64))
    assert log_probs.dtype == torch.float32
    exact = logits.double().log_softmax(-1).gather(-1, ids[:, None])[:, 0]
    torch.testing.assert_close(log_probs.double(), exact, atol=1e-6, rtol=0)


def test_logits_that_are_not_finite_give_a_log_prob_that_is_not_either() -> None:
    """The decoder looks at the log-prob; the id must be a valid index all the same."""
    logits = torch.full((2, 5), torch.nan)
    logits[1] = torch.tensor([0.0, INF, 0.0, 0.0, 0.0])
    for sampling in (one(), one(top_k=2), one(top_p=0.5)):
        uniform = torch.tensor([0.3, 0.9], dtype=torch.float64)
        ids, log_probs = sample(logits, sampling, uniform)
        assert ((ids >= 0) & (ids < 5)).all()
        assert not log_probs.isfinite().any()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("top_p", 1.1),
        ("top_p", float("nan")),
        ("temperature", float("nan")),
        ("temperature", INF),
        ("temperature", -2.0),
        ("max_new_tokens", -3),
    ],
)
def test_more_settings_out_of_range_are_named(field: str, value: float) -> None:
    fields = {"max_new_tokens": 1, "stop_ids": frozenset(), field: value}
    with pytest.raises(ValueError, match=rf"^{field} must .*got {value}"):
        Sampling(**fields)
