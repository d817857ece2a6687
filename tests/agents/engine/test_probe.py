from __future__ import annotations

import pytest
import torch
import transformers
from transformers import AttentionInterface

from agents.engine import attention
from agents.engine.local import LocalLM
from agents.engine.probe import probe
from tests.agents.engine.toy import FAMILIES, VOCAB, toy_lm, toy_model


@pytest.mark.parametrize("family", FAMILIES)
def test_known_families_pass_with_rounding_alone(family: str) -> None:
    lm = toy_lm(family)
    assert 0 < probe(lm.network, lm.context_length) < 1e-5
    assert lm.network.training  # the mode is restored


@pytest.mark.parametrize("length", [2, 3, 5, 8])
def test_short_contexts_can_be_probed(length: int) -> None:
    model = toy_model("gpt2", n_positions=length)
    assert LocalLM(model, name="short").context_length == length


def test_bfloat16_passes_with_its_own_tolerance() -> None:
    lm = LocalLM(toy_model("qwen2").bfloat16(), name="half")
    assert 0 <= probe(lm.network, lm.context_length) < 0.15


@pytest.mark.parametrize(
    "config",
    [
        transformers.GPTNeoConfig(
            vocab_size=VOCAB,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            attention_types=[[["global", "local"], 1]],
        ),
        transformers.BloomConfig(vocab_size=VOCAB, hidden_size=32, n_layer=2, n_head=4),
        transformers.FalconConfig(
            vocab_size=VOCAB,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_families_with_attention_of_their_own_are_refused(config) -> None:
    model = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(ValueError, match="has its own attention code"):
        LocalLM(model, name="refused")


def test_attention_sinks_are_refused_and_not_ignored() -> None:
    config = transformers.GptOssConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        num_local_experts=2,
        num_experts_per_tok=1,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(ValueError, match="s_aux"):
        LocalLM(model, name="sinks")


def test_a_wrong_decode_is_caught_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention that looks one key too few: plausible text, wrong numbers."""

    def blind(module, query, key, value, attention_mask, **kwargs):
        mask = attention_mask.clone()
        mask[..., 0] &= ~mask[..., 1]
        return attention.ragged_attention(module, query, key, value, mask, **kwargs)

    model = toy_model("llama")
    monkeypatch.setitem(AttentionInterface._global_mapping, attention.RAGGED, blind)
    with pytest.raises(ValueError, match=r"by [\d.e+-]+ standard deviations"):
        LocalLM(model, name="blind")


def test_noise_in_training_mode_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class Noisy(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 1.5 if self.training else x

    model = toy_model("llama")
    model.model.norm = torch.nn.Sequential(model.model.norm, Noisy())
    with pytest.raises(ValueError, match="something else in training mode"):
        LocalLM(model, name="noisy")


def test_dropout_is_turned_off_everywhere() -> None:
    model = toy_model("gpt2", resid_pdrop=0.5, attn_pdrop=0.5, embd_pdrop=0.5)
    LocalLM(model, name="gpt2")  # the probe would see it
    model = toy_model("llama", attention_dropout=0.5)
    LocalLM(model, name="llama")


def test_a_padding_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="not a padding mask"):
        attention.ragged_mask(1, 1, 1, attention_mask=torch.ones(1, 1))


def test_a_config_without_a_length_is_refused() -> None:
    config = transformers.MambaConfig(
        vocab_size=VOCAB, hidden_size=32, num_hidden_layers=1
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(ValueError, match="max_position_embeddings"):
        LocalLM(model, name="endless")
