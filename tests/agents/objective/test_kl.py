"""The three estimators against the exact divergence, and the adaptive coefficient by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.objective.kl import adapt_coefficient, estimate_kl

LOGITS_P = torch.tensor([0.3, -0.7, 1.1, 0.0], dtype=torch.float64)
LOGITS_Q = torch.tensor([0.1, 0.2, 0.4, -0.5], dtype=torch.float64)


def expectation(
    estimator: str, logits_p: torch.Tensor, logits_q: torch.Tensor
) -> torch.Tensor:
    """Return the exact expectation under p of an estimator."""
    log_p, log_q = logits_p.log_softmax(0), logits_q.log_softmax(0)
    return (log_p.exp() * estimate_kl(log_p, log_q, estimator)).sum()  # type: ignore[arg-type]


def test_by_hand() -> None:
    log_p, log_q = torch.tensor([-1.0]), torch.tensor([-1.5])
    assert estimate_kl(log_p, log_q, "k1").item() == 0.5
    assert estimate_kl(log_p, log_q, "k2").item() == 0.125
    assert estimate_kl(log_p, log_q, "k3").item() == pytest.approx(
        0.6065307 - 1 + 0.5, abs=1e-6
    )


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_k1_and_k3_are_unbiased(estimator: str) -> None:
    log_p, log_q = LOGITS_P.log_softmax(0), LOGITS_Q.log_softmax(0)
    exact = (log_p.exp() * (log_p - log_q)).sum()
    assert float(expectation(estimator, LOGITS_P, LOGITS_Q)) == pytest.approx(
        float(exact)
    )
    # Negative control: k2 is not.
    assert float(expectation("k2", LOGITS_P, LOGITS_Q)) != pytest.approx(
        float(exact), rel=1e-3
    )


def score_gradient(estimator: str) -> torch.Tensor:
    """Return E_p of the gradient of the estimator alone, as a loss on samples would have it."""
    logits = LOGITS_P.clone().requires_grad_()
    log_p, log_q = logits.log_softmax(0), LOGITS_Q.log_softmax(0)
    weights = log_p.detach().exp()  # the samples do not know the gradient
    (weights * estimate_kl(log_p, log_q, estimator)).sum().backward()  # type: ignore[arg-type]
    assert logits.grad is not None
    return logits.grad


def test_k2_in_the_loss_has_the_gradient_of_the_kl_and_k1_has_none() -> None:
    logits = LOGITS_P.clone().requires_grad_()
    log_p = logits.log_softmax(0)
    (log_p.exp() * (log_p - LOGITS_Q.log_softmax(0))).sum().backward()
    assert logits.grad is not None
    assert torch.allclose(score_gradient("k2"), logits.grad, atol=1e-12)
    assert torch.allclose(
        score_gradient("k1"), torch.zeros(4, dtype=torch.float64), atol=1e-12
    )


def exact_gradient(*, is_reversed: bool) -> torch.Tensor:
    """Return the gradient by the policy's logits of KL(p || q), or of KL(q || p)."""
    logits = LOGITS_P.clone().requires_grad_()
    log_p, log_q = logits.log_softmax(0), LOGITS_Q.log_softmax(0)
    first, second = (log_q, log_p) if is_reversed else (log_p, log_q)
    (first.exp() * (first - second)).sum().backward()
    assert logits.grad is not None
    return logits.grad


def reward_gradient(estimator: str) -> torch.Tensor:
    """Return E_p[estimate * gradient of log p], the policy gradient of the price as a reward."""
    logits = LOGITS_P.clone().requires_grad_()
    log_p, log_q = logits.log_softmax(0), LOGITS_Q.log_softmax(0)
    price = estimate_kl(log_p, log_q, estimator).detach()  # type: ignore[arg-type]
    (log_p.detach().exp() * price * log_p).sum().backward()
    assert logits.grad is not None
    return logits.grad


def test_the_gradient_of_each_estimator_in_each_place_is_what_is_documented() -> None:
    right, reverse = (exact_gradient(is_reversed=r) for r in (False, True))
    assert not torch.allclose(right, reverse, atol=1e-2)
    assert torch.allclose(reward_gradient("k1"), right, atol=1e-12)
    assert torch.allclose(score_gradient("k3"), reverse, atol=1e-12)
    assert torch.allclose(reward_gradient("k3"), right - reverse, atol=1e-12)
    for place in (right, reverse, right - reverse):
        assert not torch.allclose(reward_gradient("k2"), place, atol=1e-3)


@given(st.floats(-20, 0), st.floats(-20, 0))
def test_k2_and_k3_are_never_negative_and_vanish_only_at_equality(
    p: float, q: float
) -> None:
    log_p, log_q = torch.tensor(p, dtype=torch.float64), torch.tensor(
        q, dtype=torch.float64
    )
    for estimator in ("k2", "k3"):
        estimate = estimate_kl(log_p, log_q, estimator).item()  # type: ignore[arg-type]
        assert estimate >= 0
        assert (estimate > 0) or abs(p - q) < 1e-7


def test_k3_keeps_its_digits_near_zero() -> None:
    # exp(-d) - 1 + d cancels to 0 in float32 here; the true value is d**2 / 2.
    estimate = estimate_kl(torch.tensor([1e-4]), torch.tensor([0.0]), "k3").item()
    assert estimate == pytest.approx(0.5e-8, rel=0.3)


def test_unknown_estimator() -> None:
    with pytest.raises(ValueError, match="'k4'.*k1, k2, k3"):
        estimate_kl(LOGITS_P, LOGITS_Q, "k4")  # type: ignore[arg-type]


def test_adaptive_coefficient_by_hand() -> None:
    # Error 0.1: 1 + 0.1 * 0.1; errors beyond 0.2 are clipped (Ziegler et al. 2019).
    assert adapt_coefficient(0.2, 6.6, 6.0) == pytest.approx(0.2 * 1.01)
    assert adapt_coefficient(0.2, 600.0, 6.0) == pytest.approx(0.2 * 1.02)
    assert adapt_coefficient(0.2, 0.0, 6.0) == pytest.approx(0.2 * 0.98)
    assert adapt_coefficient(0.2, 6.0, 6.0) == 0.2


@given(st.floats(1e-4, 10), st.floats(0, 100), st.floats(1e-3, 10))
def test_the_coefficient_moves_towards_the_target_and_stays_positive(
    coefficient: float, observed: float, target: float
) -> None:
    adapted = adapt_coefficient(coefficient, observed, target)
    assert adapted > 0
    assert (adapted - coefficient) * (observed - target) >= 0


def test_a_kl_that_is_not_known_moves_nothing() -> None:
    with pytest.raises(ValueError, match="observed KL is NaN"):
        adapt_coefficient(0.1, float("nan"), 6.0)


def test_target_must_be_positive() -> None:
    with pytest.raises(ValueError, match="above 0, got 0"):
        adapt_coefficient(0.1, 1.0, 0.0)
