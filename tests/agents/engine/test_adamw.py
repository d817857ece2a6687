"""An update, worked out by hand: gradient, norm, clipping, moments, decay, step sizes."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import TrainingConfig
from agents.engine.local import LocalLM
from agents.engine.optimizer import clip_gradients
from tests.agents.engine.toy import batch_of, noise, random_contexts, toy_model

ENGINES = ["local", "deepspeed"]


def build(engine: str, config: TrainingConfig, **changes: object) -> CausalLM:
    kind: type[CausalLM] = LocalLM
    if engine == "deepspeed":
        if not importlib.util.find_spec("deepspeed"):
            pytest.skip("DeepSpeed is not installed")
        kind = importlib.import_module("agents.engine.hybrid").HybridEngineLM
    lm = kind(toy_model("llama", **changes), name="toy", has_value_head=True)
    lm.configure_training(config)
    return lm


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


def numbers(lm: CausalLM) -> dict[str, np.ndarray]:
    return {
        name: p.detach().double().numpy().copy()
        for name, p in lm.network.named_parameters()
    }


def gradients(lm: CausalLM, number: int) -> dict[str, torch.Tensor]:
    """Any gradient; a linear loss hands it over exactly."""
    generator = noise(100 + number)
    return {
        name: torch.randn(p.shape, generator=generator)
        for name, p in lm.network.named_parameters()
    }


def backward(lm: CausalLM, wanted: dict[str, torch.Tensor], share: float = 1.0) -> None:
    own = dict(lm.network.named_parameters())
    lm.backward(sum(share * (wanted[name] * p).sum() for name, p in own.items()))


def by_hand(
    config: TrainingConfig,
    start: dict[str, np.ndarray],
    history: list[dict[str, torch.Tensor]],
    rates: list[float] | None = None,
) -> Iterator[tuple[dict[str, np.ndarray], float]]:
    """Yield weights and norm after each update (Loshchilov and Hutter 2019, algorithm 2)."""
    first = {name: np.zeros_like(value) for name, value in start.items()}
    second = {name: np.zeros_like(value) for name, value in start.items()}
    weights = dict(start)
    one, two = config.betas
    for number, step in enumerate(history, 1):
        exact = {name: g.double().numpy() for name, g in step.items()}
        norm = math.sqrt(sum((g**2).sum() for g in exact.values()))
        scale = min(1.0, config.max_grad_norm / norm)
        for name, gradient in exact.items():
            is_critic = name.startswith("value_head")
            rate = rates[number - 1] if rates else config.learning_rate
            if is_critic and config.value_learning_rate is not None:
                rate = config.value_learning_rate
            g = gradient * scale
            first[name] = one * first[name] + (1 - one) * g
            second[name] = two * second[name] + (1 - two) * g**2
            mean = first[name] / (1 - one**number)
            root = np.sqrt(second[name] / (1 - two**number))
            decayed = weights[name] * (1 - rate * config.weight_decay)
            weights[name] = decayed - rate * mean / (root + config.epsilon)
        yield dict(weights), norm


def check_history(
    lm: CausalLM, config: TrainingConfig, rates: list[float] | None = None
) -> None:
    history = [gradients(lm, number) for number in range(4)]
    expected = by_hand(config, numbers(lm), history, rates)
    for number, (step, (weights, norm)) in enumerate(zip(history, expected)):
        if rates:
            lm.set_learning_rate(rates[number])
        backward(lm, step, 0.25)
        backward(lm, step, 0.75)  # micro-batches add up
        assert lm.step() == pytest.approx(norm, rel=1e-5)
        for name, value in numbers(lm).items():
            np.testing.assert_allclose(value, weights[name], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        TrainingConfig(learning_rate=0.01, max_grad_norm=math.inf),
        TrainingConfig(learning_rate=0.01, max_grad_norm=0.5, weight_decay=0.3),
        TrainingConfig(learning_rate=0.02, betas=(0.0, 0.5), epsilon=1e-2),
        TrainingConfig(learning_rate=0.01, value_learning_rate=0.1, weight_decay=0.1),
        TrainingConfig(learning_rate=0.01, max_grad_norm=1e9),
    ],
    ids=["plain", "clipped-decayed", "betas-epsilon", "critic", "never-clipped"],
)
def test_four_updates_are_those_worked_out_by_hand(
    engine: str, config: TrainingConfig
) -> None:
    check_history(build(engine, config), config)


def test_a_changed_step_size_counts_from_the_next_update(engine: str) -> None:
    config = TrainingConfig(learning_rate=0.5, weight_decay=0.1)
    check_history(build(engine, config), config, [0.01, 0.03, 0.0, 0.002])


def test_a_critic_with_its_own_step_size_keeps_it(engine: str) -> None:
    config = TrainingConfig(learning_rate=0.5, value_learning_rate=0.04)
    check_history(build(engine, config), config, [0.01, 0.03, 0.0, 0.002])


def test_tied_embeddings_are_one_parameter_with_one_decay(engine: str) -> None:
    config = TrainingConfig(learning_rate=0.01, weight_decay=0.5)
    lm = build(engine, config, tie_word_embeddings=True)
    assert "language_model.lm_head.weight" not in numbers(lm)
    check_history(lm, config)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_update_that_is_not_finite_never_happened(engine: str, bad: float) -> None:
    """Weights, moments, step counts: as if the call had not been made."""
    config = TrainingConfig(learning_rate=0.01)
    lm, twin = build(engine, config), build(engine, config)
    for model in (lm, twin):
        backward(model, gradients(model, 0))
        model.step()
    before = numbers(lm)
    wanted = gradients(lm, 1)
    wanted["value_head.weight"][3] = bad
    backward(lm, gradients(lm, 2))  # a good micro-batch beside the bad one
    backward(lm, wanted)
    with pytest.raises(FloatingPointError, match="weights were not changed"):
        lm.step()
    for name, value in numbers(lm).items():
        np.testing.assert_array_equal(value, before[name])
    with pytest.raises(RuntimeError, match="without backward"):
        lm.step()
    for model in (lm, twin):
        backward(model, gradients(model, 3))
        model.step()
    for name, value in numbers(lm).items():
        np.testing.assert_array_equal(value, numbers(twin)[name])


def test_parameters_without_a_gradient_are_left_alone_and_not_decayed(
    engine: str,
) -> None:
    config = TrainingConfig(learning_rate=0.1, weight_decay=0.5)
    lm = build(engine, config)
    before = numbers(lm)
    lm.backward(lm.network.value_head.weight.sum())
    width = len(lm.network.value_head.weight)
    assert lm.step() == pytest.approx(math.sqrt(width))
    changed = {n for n, v in numbers(lm).items() if not np.array_equal(v, before[n])}
    assert changed == {"value_head.weight"}


def test_a_zero_gradient_is_an_update_of_norm_zero(engine: str) -> None:
    lm = build(engine, TrainingConfig(learning_rate=0.1))
    before = numbers(lm)
    lm.backward(0.0 * lm.network.value_head.weight.sum())
    assert lm.step() == 0.0
    for name, value in numbers(lm).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("rate", [-1e-9, math.nan, math.inf])
def test_step_sizes_that_mean_nothing_are_refused(engine: str, rate: float) -> None:
    lm = build(engine, TrainingConfig(learning_rate=0.1))
    with pytest.raises(ValueError, match="learning_rate must be finite and at least 0"):
        lm.set_learning_rate(rate)
    optimizer, _ = lm._ready()
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1]


def test_a_loss_without_a_gradient_is_no_backward(engine: str) -> None:
    lm = build(engine, TrainingConfig())
    for loss in (torch.zeros(()), lm.network.value_head.weight):
        with pytest.raises(ValueError, match="one number that depends on the weights"):
            lm.backward(loss)
    with pytest.raises(RuntimeError, match="without backward"):
        lm.step()


@pytest.mark.parametrize("max_norm", [0.1, 4.9, 5.0, 5.1, math.inf])
def test_clipping_scales_to_the_bound_and_never_up(max_norm: float) -> None:
    weights = [torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)]
    weights[0].grad = torch.tensor([3.0, 0.0])
    weights[1].grad = torch.tensor([-4.0])
    idle = torch.zeros(3, requires_grad=True)
    assert clip_gradients([*weights, idle], max_norm) == pytest.approx(5.0)
    scale = min(1.0, max_norm / 5.0)
    torch.testing.assert_close(weights[0].grad, torch.tensor([3.0 * scale, 0.0]))
    torch.testing.assert_close(weights[1].grad, torch.tensor([-4.0 * scale]))
    assert idle.grad is None


def test_halved_losses_in_any_split_are_one_gradient(engine: str) -> None:
    """`backward` does not rescale: eight pieces of a loss weigh as the whole does."""
    config = TrainingConfig(learning_rate=0.01)
    whole, split = build(engine, config), build(engine, config)
    dialogues = random_contexts([9, 4, 7, 6])
    masks = [np.arange(len(ids)) > 1 for ids in dialogues]
    out = whole.evaluate(batch_of(dialogues, masks))
    whole.backward((out.log_probs.sum() + out.values.sum()) / 20)
    norm = whole.step()
    for row in range(4):
        batch = batch_of(dialogues[row : row + 1], masks[row : row + 1])
        for _ in range(2):
            out = split.evaluate(batch)
            split.backward((out.log_probs.sum() + out.values.sum()) / 40)
    assert split.step() == pytest.approx(norm, rel=1e-5)
