"""`chat-envs COMMAND`: finds a command by name and runs it.

Commands are entry points of the group `chat_envs.commands`, each a function `run(argv) -> int`,
so this module knows none of them, and anybody may add one. The first line of a command's
module says what it does; it is read from the file, so that listing commands imports none.

Exit codes: 0 done, 1 found something wrong, 2 called wrongly, 130 interrupted.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import io
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Sequence

import chat_envs

__all__ = ["GROUP", "find_commands", "main", "summary"]

GROUP = "chat_envs.commands"
_USAGE = "usage: chat-envs [--help] [--version] COMMAND ..."
_OWN_NAME = re.compile(r"^`chat-envs [\w-]+`: ")  # the list names the command already
# The deepspeed launcher puts this in front of everything; $LOCAL_RANK says the same.
_LAUNCHER_RANK = "--local_rank="
_EXAMPLE = "example: chat-envs play chat_envs/Echo-easy-v0 --seed 3"


def find_commands() -> dict[str, metadata.EntryPoint]:
    """Return the installed commands by name, in alphabetical order."""
    found: dict[str, metadata.EntryPoint] = {}
    for entry_point in metadata.entry_points(group=GROUP):
        found.setdefault(entry_point.name, entry_point)
    return dict(sorted(found.items()))


def summary(entry_point: metadata.EntryPoint) -> str:
    """Return the first line of the docstring of a command's module, without importing that."""
    try:
        spec = importlib.util.find_spec(entry_point.module)
    except ModuleNotFoundError as error:
        return f"(not installed: there is no module {error.name})"
    if spec is None or spec.origin is None:
        return f"(not installed: there is no module {entry_point.module})"
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    line = (ast.get_docstring(tree) or "").partition("\n")[0]
    text = _OWN_NAME.sub("", line)
    return text[:1].upper() + text[1:]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: what stands behind `chat-envs` on the command line; None for the real one.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0].startswith(_LAUNCHER_RANK):
        del arguments[0]
    _accept_any_text()
    _see_own_modules()
    try:
        return _dispatch(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; keep Python from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _accept_any_text() -> None:
    """Read bytes that are no text as U+FFFD; write what the terminal lacks as an escape."""
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace")):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a caller's own stream need not be one
            stream.reconfigure(errors=errors)


def _see_own_modules() -> None:
    """Let `module:name` find a module that lies here; what is installed goes before it."""
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        print(_help(), file=sys.stderr)
        return 2
    name, *rest = arguments
    if name in ("-h", "--help", "help"):
        print(_help())
        return 0
    if name in ("-V", "--version"):
        print(f"chat-envs {chat_envs.__version__}")
        return 0
    commands = find_commands()
    if name not in commands:
        print(f"{_USAGE}\nchat-envs: {_unknown(name, list(commands))}", file=sys.stderr)
        return 2
    run = commands[name].load()
    return int(run(rest) or 0)


def _unknown(name: str, known: list[str]) -> str:
    if not known:
        return (
            f"there is no command {name!r}, nor any other: the package is not installed, only "
            "importable; run `pip install -e .` where its setup.cfg is."
        )
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return f"there is no command {name!r}. Did you mean {near!r}? There are {', '.join(known)}."


def _help() -> str:
    commands = find_commands()
    width = max(map(len, commands), default=0)
    lines = [
        f"  {name:{width}}  {summary(command)}" for name, command in commands.items()
    ]
    return "\n".join(
        [
            _USAGE,
            "",
            "Dialogue as gymnasium.Env, and agents that learn in it.",
            "",
            "commands (chat-envs COMMAND --help says more):",
            *lines,
            "",
            _EXAMPLE,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
