"""The engine on a CUDA device: the oracles of the CPU, and memory, which only a device shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.engine.language_model import Sampling, TrainingConfig
from agents.engine.local import LocalLM
from benchmarks.engine_agreement import ENGINES, check_family_on
from benchmarks.family import FAMILIES, VOCAB_SIZE, build_toy
from benchmarks.limit import measure_rate
from benchmarks.shape import SHAPES, build_model
from benchmarks.workload import make_rollout

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
CUDA = torch.device("cuda")


def contexts(lengths: tuple[int, ...] = (3, 17, 30, 9)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(VOCAB_SIZE, size=length) for length in lengths]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_family_says_what_generate_says(family: str, dtype: str) -> None:
    for found in check_family_on(family, "local", CUDA, dtype):
        assert not found.why
        assert found.agrees(dtype), found


@pytest.mark.parametrize("engine", ENGINES[1:])
@pytest.mark.parametrize("family", ["llama", "opt"])
def test_a_deepspeed_engine_says_what_generate_says(family: str, engine: str) -> None:
    pytest.importorskip("deepspeed")
    for found in check_family_on(family, engine, CUDA, "float32"):
        assert not found.why
        assert found.agrees("float32"), found


def test_the_device_says_what_the_cpu_says() -> None:
    greedy = Sampling(max_new_tokens=12, stop_ids=frozenset(), is_greedy=True)
    generations = []
    for device in ("cpu", "cuda"):
        model = build_toy("llama")
        torch.nn.Module.to(model, device=torch.device(device))
        lm = LocalLM(model, name="toy")
        with lm.decoder(4) as decoder:
            generations.append(decoder.generate(contexts(), range(4), greedy))
    on_cpu, on_cuda = generations
    assert np.array_equal(on_cpu.ids, on_cuda.ids)
    assert np.allclose(on_cpu.log_probs, on_cuda.log_probs, atol=1e-4)


def test_an_update_on_the_device_is_that_of_the_cpu() -> None:
    weights = []
    greedy = Sampling(max_new_tokens=6, stop_ids=frozenset(), is_greedy=True)
    for device in ("cpu", "cuda"):
        model = build_toy("llama")
        torch.nn.Module.to(model, device=torch.device(device))
        lm = LocalLM(model, name="toy")
        lm.configure_training(TrainingConfig(learning_rate=1e-3))
        with lm.decoder(4) as decoder:
            said = decoder.generate(contexts(), range(4), greedy)
        rollout = make_rollout(contexts(), said, 1, np.arange(4.0))
        batch = rollout.token_batch(np.arange(4), lm.device)
        lm.backward(-lm.evaluate(batch).log_probs.sum() / batch.action_mask.sum())
        lm.step()
        weights.append([p.detach().cpu() for p in lm.module.parameters()])
    # AdamW's first step has the size of the step size whatever the gradient's, so where a gradient
    # is all rounding, its sign may differ: most must agree, and no weight may be further off.
    close = [(a - b).abs() for a, b in zip(*weights, strict=True)]
    assert max(float(gap.max()) for gap in close) <= 2.1e-3
    share = np.mean(np.concatenate([(gap < 1e-4).flatten().numpy() for gap in close]))
    assert share > 0.99


def test_decoding_holds_no_second_copy_of_the_weights() -> None:
    shape = SHAPES["smollm2-1.7b"]
    model = build_model(shape, seed=0, device=CUDA, dtype=torch.bfloat16)
    lm = LocalLM(model, name=shape.name)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    sampling = Sampling(max_new_tokens=16, stop_ids=frozenset())
    generator = torch.Generator(device=CUDA).manual_seed(0)
    with lm.decoder(4) as decoder:
        decoder.generate(contexts(), range(4), sampling, generator)
    rise = torch.cuda.max_memory_allocated() - before
    assert rise < weights / 2, f"{rise / 1e9:.2f} GB beside {weights / 1e9:.2f} GB"


def test_the_limits_of_the_device_can_be_measured() -> None:
    rate = measure_rate(CUDA, torch.bfloat16)
    # Any CUDA device that runs bfloat16 is beyond these; a unit forgotten is not.
    assert 1e10 < rate.bytes_per_second < 1e14
    assert 1e12 < rate.flops_per_second < 1e17
