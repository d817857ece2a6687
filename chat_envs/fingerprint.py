"""A hash of what an environment's episodes depend on: source, data files and keywords.

The same on every machine and Python version: it reads files as text with normalised line ends,
in a fixed order. Any edit of the source changes it, a comment too; it says "compute the
anchors again", not "the dynamics changed".
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from importlib import resources
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping

__all__ = ["fingerprint", "source_modules"]

_LENGTH = 16
# Modules of the suite that hold dynamics. The core is the same for every environment.
_OWN_PREFIXES = ("chat_envs.envs.", "chat_envs.simulators.")
_NOT_DYNAMICS = frozenset({"anchors.json"})
_SHARED_DATA = frozenset({"tokenizer.json"})


def fingerprint(env_class: type, kwargs: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of source, data and keywords.

    Args:
        env_class: The environment's class. Its module and the modules that this imports count,
            as far as they lie in the suite's `envs` and `simulators`, or, for a class of
            another package, in that package.
        kwargs: JSON-able keywords of the registration.

    Data files of the suite count if a counted module names them in a string, with or without
    folders before the name and the suffix behind; the built-in tokenizer always counts.
    """
    digest = hashlib.sha256()
    sources = source_modules(env_class.__module__)
    for name in sorted(sources):
        _add(digest, name, sources[name])
    for name, text in sorted(_data_files(sources.values())):
        _add(digest, name, text)
    _add(digest, "kwargs", json.dumps(kwargs, sort_keys=True))
    _add(digest, "class", env_class.__qualname__)
    return digest.hexdigest()[:_LENGTH]


def source_modules(module_name: str) -> dict[str, str]:
    """Return source by module name: the module and all that it imports, transitively.

    Raises:
        ValueError: If the module has no source file, as in an interactive session.
    """
    if module_name.startswith("chat_envs."):
        prefixes: tuple[str, ...] = _OWN_PREFIXES
    else:
        prefixes = (module_name.partition(".")[0] + ".",)
    found: dict[str, str] = {}
    pending = [module_name]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        source = _source(name)
        if source is None:
            if name == module_name:
                raise ValueError(
                    f"{module_name} has no source file to hash; put the class into a module"
                )
            continue
        found[name] = source
        pending += [n for n in _imports(source) if n.startswith(prefixes)]
    return found


def _source(module_name: str) -> str | None:
    """Return a module's source, or None where the name is no module with a file."""
    parent = module_name.rpartition(".")[0]
    try:
        # Of `from a.b import c` it is not known whether c is a module: ask for it.
        spec = importlib.util.find_spec(module_name)
    except ModuleNotFoundError as error:
        if error.name in (module_name, parent):
            return None
        raise
    except ValueError:  # __main__ has no spec
        return None
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    return Path(spec.origin).read_text(encoding="utf-8")


def _imports(source: str) -> Iterator[str]:
    """Yield every absolute name that may be an imported module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _data_files(sources: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield name and text of the data files that some source names in a string."""
    literals = {
        node.value
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    pending = [("", resources.files("chat_envs") / "data")]
    while pending:
        folder, place = pending.pop()
        for entry in place.iterdir():
            name = folder + entry.name
            if entry.is_dir():
                pending.append((f"{name}/", entry))
                continue
            forms = {
                name,
                entry.name,
                name.rpartition(".")[0],
                entry.name.rpartition(".")[0],
            }
            tails = tuple(f"/{form}" for form in forms)
            is_named = name in _SHARED_DATA or any(
                literal in forms or literal.endswith(tails) for literal in literals
            )
            if is_named and name not in _NOT_DYNAMICS:
                yield name, entry.read_text(encoding="utf-8")


def _add(digest: Any, name: str, text: str) -> None:
    """Feed one named text; its length keeps the parts apart."""
    data = text.replace("\r\n", "\n").encode("utf-8")
    digest.update(f"{name}:{len(data)}:".encode())
    digest.update(data)
