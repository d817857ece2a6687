from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from agents.engine.language_model import Sampling
from agents.engine.sampling import draw, filter_logits, sample
from tests.agents.engine.toy import noise

LOGITS = np.array([1.0, -2.0, 0.5, 3.0, 2.5, -np.inf, 0.0, 2.9, -1.0, 1.5])
FILTERS = {
    "plain": {},
    "cold": {"temperature": 0.5},
    "hot": {"temperature": 3.0},
    "top-k": {"top_k": 3},
    "top-p": {"top_p": 0.8},
    "all": {"temperature": 1.7, "top_k": 6, "top_p": 0.7},
}


def exact(temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> np.ndarray:
    """The distribution that the names promise, one id at a time."""
    weights = np.exp(LOGITS / temperature)
    order = sorted(range(len(LOGITS)), key=lambda i: -weights[i])
    if top_k:
        weights[order[top_k:]] = 0
    probs = weights / weights.sum()
    kept, mass = [], 0.0
    for i in order:
        if mass < top_p:
            kept.append(i)
        mass += probs[i]
    result = np.zeros(len(LOGITS))
    result[kept] = probs[kept]
    return result / result.sum()


def draws(rows: int = 20_000, **options: float) -> tuple[np.ndarray, np.ndarray]:
    logits = torch.tensor(LOGITS).float().expand(rows, -1)
    sampling = Sampling(max_new_tokens=1, stop_ids=frozenset(), **options)
    uniform = torch.rand(rows, dtype=torch.float64, generator=noise(3))
    ids, log_probs = sample(logits, sampling, uniform)
    return ids.numpy(), log_probs.numpy()


@pytest.mark.parametrize("name", FILTERS)
def test_draws_follow_the_exact_distribution(name: str) -> None:
    probs = exact(**FILTERS[name])
    ids, log_probs = draws(**FILTERS[name])
    np.testing.assert_allclose(log_probs, np.log(probs[ids]), atol=1e-5)
    counts = np.bincount(ids, minlength=len(probs))
    possible = probs > 0
    assert counts[~possible].sum() == 0
    assert chisquare(counts[possible], probs[possible] * len(ids)).pvalue > 1e-3


def test_chi_square_catches_a_wrong_temperature() -> None:
    ids, _ = draws(temperature=1.1)
    probs = exact()
    counts = np.bincount(ids, minlength=len(probs))
    possible = probs > 0
    expected = probs[possible] * len(ids)
    assert chisquare(counts[possible], expected).pvalue < 1e-6


def test_greedy_takes_the_first_best_and_the_whole_distribution() -> None:
    logits = torch.tensor([[0.0, 2.0, 2.0, 1.0]])
    sampling = Sampling(
        max_new_tokens=1, stop_ids=frozenset(), is_greedy=True, temperature=2.0, top_k=1
    )
    ids, log_probs = sample(logits, sampling, None)
    assert ids.tolist() == [1]
    torch.testing.assert_close(log_probs, (logits / 2).log_softmax(-1)[:, 1])


def test_sampling_without_noise_is_refused() -> None:
    sampling = Sampling(max_new_tokens=1, stop_ids=frozenset())
    with pytest.raises(ValueError, match="needs noise"):
        sample(torch.zeros(1, 3), sampling, None)


def test_extreme_noise_stays_on_possible_ids() -> None:
    log_probs = torch.tensor([-torch.inf, 0.3, 0.7, -torch.inf]).softmax(0).log()
    ends = torch.tensor([0.0, np.nextafter(1.0, 0.0)], dtype=torch.float64)
    assert draw(log_probs.expand(2, -1), ends).tolist() == [1, 2]


def test_a_rare_id_at_the_end_is_still_drawn() -> None:
    """In float32 the sum before it would already be 1."""
    log_probs = torch.tensor([[0.0, np.log(1e-9)]])
    below, above = 1 - 2e-9, 1 - 0.5e-9
    assert draw(log_probs, torch.tensor([below], dtype=torch.float64)).item() == 0
    assert draw(log_probs, torch.tensor([above], dtype=torch.float64)).item() == 1


def test_top_k_keeps_exactly_k_of_equals() -> None:
    kept = filter_logits(torch.zeros(2, 9), top_k=4, top_p=1.0) > -torch.inf
    assert kept.sum(-1).tolist() == [4, 4]


@given(
    logits=st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=30),
    top_p=st.floats(0.01, 0.99),
)
def test_top_p_is_the_smallest_sufficient_set(logits: list, top_p: float) -> None:
    row = torch.tensor([logits])
    kept = filter_logits(row, top_k=0, top_p=top_p)[0] > -torch.inf
    probs = row[0].double().softmax(-1)
    inside = probs[kept]
    assert inside.sum() >= top_p - 1e-9
    assert (
        inside.sum() - inside.min() < top_p + 1e-9
    )  # without its rarest it falls short
    assert kept.all() or inside.min() >= probs[~kept].max()


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_new_tokens", 0), ("temperature", 0.0), ("top_k", -1), ("top_p", 0.0)],
)
def test_settings_out_of_range_are_named(field: str, value: float) -> None:
    fields = {"max_new_tokens": 1, "stop_ids": frozenset(), field: value}
    with pytest.raises(ValueError, match=field):
        Sampling(**fields)
