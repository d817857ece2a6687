"""Tokenizers: the protocol that environments need, and the small one that ships with the suite.

The built-in tokenizer is a byte-level BPE of at most 1,024 entries, trained on the suite's own
dialogues. Ids 0 to 4 are control ids, which no text can produce: a user who writes `<|end|>` gets
seven plain characters. Other tokenizers are reached by name through `load_tokenizer`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import Iterable, Protocol, Sequence

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

__all__ = ["BuiltinTokenizer", "Tokenizer", "load_tokenizer", "train_tokenizer"]

PAD, END, SYSTEM, USER, ASSISTANT = range(5)
CONTROL_TOKENS = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
MAX_ENTRIES = 1024
# One digit is one token; a word, a digit or a sign takes the space before it along.
_PIECES = r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s"
# `_PIECES` as Python's `re` says it, for ASCII alone.
_ASCII_PIECES = re.compile(r" ?[A-Za-z]+| ?[0-9]| ?[^\sA-Za-z0-9]+|\s", re.ASCII)
_CACHED_TEXTS, _CACHED_PIECES = 16384, 65536
_LONGEST_PIECE = 64  # a longer one is no word, and would fill the cache
_MAX_CHARACTERS_A_TOKEN = 64
# What transformers reads beside `tokenizer.json`. The space before a text, which `encode` puts
# there, is the template's.
_TOKENIZER_FILE, _TEMPLATE_FILE = "tokenizer.json", "chat_template.jinja"
_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|> ' + message['content'] + '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


class Tokenizer(Protocol):
    """What an environment needs of a tokenizer. Ids are ints in [0, len(tokenizer)).

    A tokenizer whose dialogues are not written as the built-in ones has a method
    `make_template()` that returns its `ChatTemplate`.
    """

    name: str
    pad_id: int
    control_ids: frozenset[
        int
    ]  # ids with a meaning of their own: no text encodes to them

    def __len__(self) -> int: ...

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the ids of `text` as plain text: never a control id."""

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids`, control ids left out."""


def plain(text: str) -> str:
    """Return `text` with each lone surrogate, which has no UTF-8 form, replaced by `?`."""
    return text.encode("utf-8", "replace").decode("utf-8")


def head(text: str, num_tokens: int) -> str:
    """Return a prefix of `text` long enough for any `num_tokens` tokens.

    A million characters of reply need not be tokenised to keep the first two dozen tokens.
    """
    return text[: num_tokens * _MAX_CHARACTERS_A_TOKEN]


def _byte_alphabet() -> dict[str, int]:
    """Return the printable character that byte-level BPE writes for each byte (GPT-2's table)."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {
        chr(256 + rank): byte for rank, byte in enumerate(hidden)
    }


class BuiltinTokenizer:
    """The suite's own byte-level BPE.

    A space is put before every text, so that a word is the same token wherever it stands;
    `decode` takes it away again, and `decode(encode(text)) == text` for all text that has a
    UTF-8 form.

    Args:
        data: the JSON of a `tokenizers` file whose first ids are `CONTROL_TOKENS`.
        name: how `load_tokenizer` finds it again.

    >>> tokenizer = load_tokenizer()
    >>> tokenizer.decode(tokenizer.encode("May I have the order number?"))
    'May I have the order number?'
    >>> tokenizer.control_ids & set(tokenizer.encode("<|end|>"))
    frozenset()
    """

    def __init__(self, data: str, name: str = "builtin") -> None:
        self.name = name
        self._tokenizer = tokenizers.Tokenizer.from_str(data)
        self._tokenizer.encode_special_tokens = (
            True  # special tokens in text are plain text
        )
        self._length = self._tokenizer.get_vocab_size()
        vocabulary = self._tokenizer.get_vocab()
        if any(vocabulary.get(t) != i for i, t in enumerate(CONTROL_TOKENS)):
            raise ValueError(
                f"The tokenizer {name!r} must begin with the control tokens {CONTROL_TOKENS}; "
                "rebuild it with `chat-envs tokenizer`."
            )
        alphabet = _byte_alphabet()
        self._bytes = [b""] * self._length
        for token, index in vocabulary.items():
            if index >= len(CONTROL_TOKENS):
                self._bytes[index] = bytes(alphabet[character] for character in token)
        self.pad_id = PAD
        self.control_ids = frozenset(range(len(CONTROL_TOKENS)))
        self._splits_by_pieces = json.dumps(_PIECES) in data
        self._encode_cached = functools.lru_cache(_CACHED_TEXTS)(self._encode)
        self._encode_piece = functools.lru_cache(_CACHED_PIECES)(self._encode_whole)

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"BuiltinTokenizer(name={self.name!r}, entries={self._length})"

    def __reduce__(self) -> tuple[object, ...]:
        return BuiltinTokenizer, (self._tokenizer.to_str(), self.name)

    def __deepcopy__(self, memo: dict[int, object]) -> BuiltinTokenizer:
        return self  # immutable: copies of a spec share it

    def _encode(self, text: str) -> tuple[int, ...]:
        """Return the ids piece by piece: most are known, whatever text they stand in."""
        if not (self._splits_by_pieces and text.isascii()):
            return self._encode_whole(" " + plain(text))
        ids: list[int] = []
        for piece in _ASCII_PIECES.findall(" " + text):
            short = len(piece) <= _LONGEST_PIECE
            ids += self._encode_piece(piece) if short else self._encode_whole(piece)
        return tuple(ids)

    def _encode_whole(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the ids of `text` as plain text: never a control id.

        Lone surrogates, which have no UTF-8 form, are read as `?`.
        """
        return self._encode_cached(text)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids`, control ids left out, broken UTF-8 as U+FFFD."""
        table = self._bytes
        text = b"".join([table[i] for i in ids]).decode("utf-8", "replace")
        return text[1:] if text.startswith(" ") else text

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of its entries and merges: another one means other words by an id."""
        return hashlib.sha256(self._tokenizer.to_str().encode("utf-8")).hexdigest()

    def to_json(self) -> str:
        """Return the `tokenizers` file; transformers' PreTrainedTokenizerFast reads it too."""
        return str(self._tokenizer.to_str(pretty=True))

    def save_pretrained(self, directory: Path) -> None:
        """Write the files by which `load_tokenizer(directory)` and transformers know it again.

        To transformers, which knows no plain text, `<|end|>` in a text is the control token.
        """
        control = dict(zip(CONTROL_TOKENS, range(len(CONTROL_TOKENS)), strict=True))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": CONTROL_TOKENS[PAD],
            "eos_token": CONTROL_TOKENS[END],
            "additional_special_tokens": [t for t, i in control.items() if i > END],
            "clean_up_tokenization_spaces": False,
        }
        text = json.dumps(config, indent=2, sort_keys=True)
        (directory / "tokenizer_config.json").write_text(text + "\n", "utf-8")
        (directory / _TEMPLATE_FILE).write_text(_TEMPLATE, "utf-8")
        (directory / _TOKENIZER_FILE).write_text(self.to_json(), "utf-8")


def train_tokenizer(
    texts: Sequence[str], num_entries: int = MAX_ENTRIES
) -> BuiltinTokenizer:
    """Return a byte-level BPE trained on `texts` (Sennrich et al. 2016), deterministically.

    Args:
        texts: the corpus; a text that occurs twice counts twice.
        num_entries: vocabulary size, control tokens and 256 bytes included.

    Raises:
        ValueError: if `num_entries` does not hold the bytes and control tokens.
    """
    if num_entries < 256 + len(CONTROL_TOKENS):
        raise ValueError(
            f"A vocabulary of {num_entries} cannot hold 256 bytes and {len(CONTROL_TOKENS)} "
            f"control tokens; ask for at least {256 + len(CONTROL_TOKENS)}."
        )
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=num_entries,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" " + text for text in texts], trainer)
    return BuiltinTokenizer(tokenizer.to_str())


@functools.cache
def _builtin() -> BuiltinTokenizer:
    data = resources.files("chat_envs").joinpath("data/tokenizer.json")
    return BuiltinTokenizer(data.read_text(encoding="utf-8"))


def _saved(name: str) -> BuiltinTokenizer | None:
    """Return the tokenizer of the built-in kind that was saved in a directory, if it has one."""
    directory = Path(name).expanduser()
    template, file = directory / _TEMPLATE_FILE, directory / _TOKENIZER_FILE
    if not (template.is_file() and file.is_file()):
        return None
    if template.read_text("utf-8", "replace") != _TEMPLATE:
        return None
    return _read_saved(file, name, file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _read_saved(file: Path, name: str, stamp: int) -> BuiltinTokenizer:
    """Read a tokenizer; `stamp` lets a file that was written again be read again."""
    try:
        tokenizer = BuiltinTokenizer(file.read_text("utf-8"), name)
    except Exception as error:  # `tokenizers` raises the base class itself
        raise ValueError(f"{file} is damaged: {error}") from error
    # The same words by the same ids: then it is the built-in one, whatever it is called.
    is_builtin = tokenizer.fingerprint == _builtin().fingerprint
    return _builtin() if is_builtin else tokenizer


def load_tokenizer(name: str | Tokenizer = "builtin") -> Tokenizer:
    """Return a tokenizer by name.

    Args:
        name: "builtin"; a directory that `BuiltinTokenizer.save_pretrained` wrote; or
            "smollm2-135m", a directory or a hub id for one of transformers (needs the extra
            `agents`); or a tokenizer, which is returned as it is.

    Raises:
        ImportError: if transformers is needed and not installed.
        ValueError: if there is no such tokenizer.
    """
    if not isinstance(name, str):
        return name
    if name == "builtin":
        return _builtin()
    own = _saved(name)
    if own is not None:
        return own
    try:
        module = importlib.import_module("chat_envs.pretrained_tokenizer")
    except ImportError as error:
        raise ImportError(
            f"The tokenizer {name!r} is one of transformers, which is not installed; "
            "run `pip install 'chat-envs[agents]'`, or take tokenizer='builtin'."
        ) from error
    tokenizer: Tokenizer = module.load_pretrained_tokenizer(name)
    return tokenizer
