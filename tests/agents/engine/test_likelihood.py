"""Log-probs and entropies against autograd's own derivatives."""

from __future__ import annotations

import torch

from agents.engine.likelihood import likelihood


def plain(logits: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    log_probs = logits.log_softmax(-1)
    finite = log_probs.masked_fill(log_probs == -torch.inf, 0.0)
    return log_probs.gather(-1, ids[:, None])[:, 0], -(log_probs.exp() * finite).sum(-1)


def test_values_and_derivatives_are_those_of_autograd() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(7, 11, dtype=torch.float64, generator=generator)
    ids = torch.randint(11, (7,), generator=generator)
    weights = torch.randn(2, 7, dtype=torch.float64, generator=generator)
    grads = []
    for function in (likelihood, plain):
        leaf = logits.clone().requires_grad_()
        log_probs, entropy = function(leaf, ids)
        (weights[0] * log_probs + weights[1] * entropy).sum().backward()
        grads.append((log_probs.detach(), entropy.detach(), leaf.grad))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-10)


def test_numerical_derivatives_agree() -> None:
    logits = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([1])
    assert torch.autograd.gradcheck(lambda x: likelihood(x, ids), (logits,))


def test_forbidden_ids_have_no_gradient_and_spoil_none() -> None:
    logits = torch.tensor([[1.0, -torch.inf, 0.0]], requires_grad=True)
    log_probs, entropy = likelihood(logits, torch.tensor([0]))
    (log_probs + 2 * entropy).sum().backward()  # type: ignore[no-untyped-call]
    p = torch.tensor([1.0, 0.0]).softmax(0)
    expected_entropy = -(p * p.log()).sum()
    torch.testing.assert_close(entropy, expected_entropy[None])
    slope = torch.tensor([1.0, 0.0]) - p - 2 * p * (p.log() + expected_entropy)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[0, [0, 2]], slope)
    assert logits.grad[0, 1] == 0


def test_a_certain_choice_has_log_prob_and_entropy_0() -> None:
    logits = torch.tensor([[0.0, -torch.inf]], requires_grad=True)
    log_probs, entropy = likelihood(logits, torch.tensor([0]))
    (log_probs + entropy).sum().backward()  # type: ignore[no-untyped-call]
    assert log_probs.item() == 0 and entropy.item() == 0
    assert logits.grad is not None and not logits.grad.any()
