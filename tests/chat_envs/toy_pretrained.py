"""Fast tokenizers of a few hundred entries with the chat templates of well-known families."""

from __future__ import annotations

import functools
import string
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerFast

__all__ = ["TEMPLATES", "make_source", "make_words_source"]

CORPUS = [
    "May I have the order number? It is order 8812, thanks.",
    "user assistant system model Hello there, the number is seven. Thanks!",
]

CHATML = """{% for m in messages %}{% if loop.first and m['role'] != 'system' %}<|im_start|>system
You help.<|im_end|>
{% endif %}<|im_start|>{{ m['role'] }}
{{ m['content'] }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

LLAMA3 = """{{ bos_token }}{% for m in messages -%}
<|start|>{{ m['role'] }}<|stop|>

{{ m['content'] | trim }}<|eot|>{% endfor %}{% if add_generation_prompt %}<|start|>assistant<|stop|>

{% endif %}"""

GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}
{{- raise_exception('System role not supported') }}{% endif %}{% for m in messages %}
{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate') }}{% endif %}
{%- set role = 'model' if m['role'] == 'assistant' else m['role'] -%}
<|start|>{{ role }}
{{ m['content'] | trim }}<|eot|>
{% endfor %}{% if add_generation_prompt %}<|start|>model
{% endif %}"""

# Without a system message it only appends; with one it moves that to the newest user message.
MISTRAL = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}
{%- set rules, rest = messages[0]['content'], messages[1:] %}{% else %}
{%- set rest = messages %}{% endif %}{% for m in rest %}{% if m['role'] == 'user' %}
{%- if loop.last and rules is defined %}[INST] {{ rules }}

{{ m['content'] }}[/INST]{% else %}[INST] {{ m['content'] }}[/INST]{% endif %}
{%- elif m['role'] == 'assistant' %} {{ m['content'] }}{{ eos_token }}{% else %}
{{- raise_exception('Only user and assistant roles are supported') }}{% endif %}{% endfor %}"""

# Llama 2 and Alpaca: text that anybody can write stands between a user and the reply.
PLAIN = """{% for m in messages -%}
{% if m['role'] == 'user' %}{{ bos_token }}User: {{ m['content'] }}
{% else %}Bot: {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}Bot: {% endif %}"""

# Counts its messages, so the first is written otherwise once there is a second.
COUNTING = "{{ bos_token }}{{ messages | length }}" + CHATML

# Numbers the user's messages: nothing is rewritten, but what is new depends on how much is old.
NUMBERED = CHATML.replace(
    "{{ m['role'] }}",
    "{{ m['role'] }}{% if m['role'] == 'user' %} {{ loop.index }}{% endif %}\n",
)

# Keeps only the newest message of the user.
FORGETFUL = """{% for m in messages[-1:] %}<|im_start|>{{ m['role'] }}
{{ m['content'] }}<|im_end|>
{% endfor %}<|im_start|>assistant
"""

# Says nothing of system messages after the first: text would be lost.
DROPPING = """{% for m in messages -%}
{% if m['role'] != 'system' or loop.first %}<|im_start|>
{{- m['role'] }}
{{ m['content'] }}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

TEMPLATES = {
    "chatml": CHATML,
    "llama3": LLAMA3,
    "gemma": GEMMA,
    "mistral": MISTRAL,
    "plain": PLAIN,
    "counting": COUNTING,
    "numbered": NUMBERED,
    "forgetful": FORGETFUL,
    "dropping": DROPPING,
}

_SPECIAL = ["<|bos|>", "<|eos|>", "<|im_start|>", "<|im_end|>"]
_SPECIAL += ["<|start|>", "<|stop|>", "<|eot|>", "[INST]", "[/INST]"]


@functools.cache
def _byte_level() -> str:
    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return str(tokenizer.to_str())


def make_source(template: str | None = "chatml", **changes: Any) -> Any:
    """Return a byte-level tokenizer of transformers with one of `TEMPLATES`.

    Args:
        template: a key of `TEMPLATES`, or None for a tokenizer without one.
        **changes: passed to `PreTrainedTokenizerFast`.
    """
    source = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_byte_level()),
        **({"bos_token": "<|bos|>", "eos_token": "<|eos|>"} | changes),
    )
    source.chat_template = None if template is None else TEMPLATES[template]
    return source


def make_words_source(template: str = "llama3") -> Any:
    """Return a tokenizer as SentencePiece makes them: a mark for spaces, an unknown token."""
    tokenizer: Any = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("\n"), "isolated"),
            pre_tokenizers.Metaspace(prepend_scheme="first"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(
        vocab_size=220,
        special_tokens=["<unk>", *_SPECIAL],
        initial_alphabet=[*string.ascii_letters, *string.digits, *".,?!-[]<>_|/\né"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    # Added, but not special: as some models mark their roles.
    tokenizer.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    source = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|bos|>",
        eos_token="<|eos|>",
        unk_token="<unk>",
    )
    source.chat_template = TEMPLATES[template]
    return source
