"""The suite's tokenizer as one of transformers, with a chat template."""

from __future__ import annotations

from typing import Any

import tokenizers
from transformers import PreTrainedTokenizerFast

from chat_envs.tokenizer import load_tokenizer

__all__ = ["make_tokenizer"]

# The suite's own way to write a dialogue, with the tools before it.
_CHAT_TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|> {{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer() -> Any:
    """Return the suite's tokenizer as one of transformers."""
    data = load_tokenizer().to_json()  # type: ignore[attr-defined]
    wrap: Any = PreTrainedTokenizerFast
    tokenizer = wrap(
        tokenizer_object=tokenizers.Tokenizer.from_str(data),
        eos_token="<|end|>",
        pad_token="<|pad|>",
        padding_side="left",
    )
    tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer
