"""Activations computed anew give the gradients of activations that were kept."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("deepspeed")

from agents.engine.causal_lm import CausalLM  # noqa: E402
from agents.engine.hybrid import HybridEngineLM  # noqa: E402
from agents.engine.loading import load_lm  # noqa: E402
from agents.engine.local import LocalLM  # noqa: E402
from tests.agents.engine.rank_program import CONFIG, update  # noqa: E402


def build(stage: int | None, **options: object) -> CausalLM:
    if stage is not None:
        options["deepspeed_config"] = {"zero_optimization": {"stage": stage}}
    lm = load_lm(
        "tiny",
        vocab_size=97,
        engine="local" if stage is None else "deepspeed",
        device="cpu",
        has_value_head=True,
        **options,
    )
    lm.configure_training(CONFIG)
    return lm


@pytest.mark.parametrize("lora", [None, {"r": 2}], ids=["whole", "lora"])
@pytest.mark.parametrize("stage", [None, 0, 1, 2, 3])
def test_updates_are_those_without(stage: int | None, lora: dict | None) -> None:
    lm = build(stage, gradient_checkpointing=True, lora=lora)
    assert isinstance(lm, LocalLM if stage is None else HybridEngineLM)
    plain = build(None, lora=lora)
    begun = [0, 0]
    for which, each in enumerate((lm, plain)):
        for name, layer in each.module.named_modules():
            if name.endswith("mlp"):

                def count(
                    layer: torch.nn.Module, *_: object, which: int = which
                ) -> None:
                    begun[which] += layer.training  # decoding steps may be traced

                layer.register_forward_pre_hook(count)
    for number in range(2):
        norm, gap = update(lm, number)
        assert norm == pytest.approx(update(plain, number)[0], rel=1e-4)
        assert gap <= 1e-5  # the decoder keeps its caches
    # Beyond what both begin, the layers of four micro-batches and two updates once more.
    assert begun[0] == begun[1] + 4 * 2 * len(lm.module.model.layers)
    with lm._store.gathered(), torch.no_grad():
        pairs = zip(lm.network.parameters(), plain.network.parameters(), strict=True)
        assert max(float((a - b).abs().max()) for a, b in pairs) <= 1e-4
