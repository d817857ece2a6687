"""Train the built-in tokenizer again, or check that training gives the stored one."""

from __future__ import annotations

import time
from importlib import resources
from pathlib import Path
from typing import Sequence

from chat_envs.commands.argument import CommandParser
from chat_envs.registration import find
from chat_envs.tokenizer_training import collect_corpus, split_words, train

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Write `data/tokenizer.json`; with --check, 1 if training now gives another one."""
    parser = CommandParser(
        "tokenizer",
        "Train the built-in tokenizer on expert dialogues of every environment. After that the "
        "anchors' versions change: run `chat-envs anchors`.",
        "chat-envs tokenizer --check",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; say whether it is up to date",
    )
    parser.add_argument("--output", type=Path, help="another file than the suite's own")
    arguments = parser.parse(argv)
    own = Path(str(resources.files("chat_envs") / "data" / "tokenizer.json"))
    path: Path = arguments.output or own
    start = time.perf_counter()
    corpus = collect_corpus()
    easy_ids = [env_id for env_id in corpus if find(env_id).tier == "easy"]
    tokenizer = train(corpus, easy_ids)
    seconds = time.perf_counter() - start
    print(
        f"{len(tokenizer)} entries from {len(corpus)} environments in {seconds:.1f} s"
    )
    for env_id in easy_ids:
        whole, pieces = split_words(tokenizer, corpus[env_id])
        rest = f"; in pieces: {', '.join(pieces)}" if pieces else ""
        total = len(whole) + len(pieces)
        print(f"  {env_id}: {len(whole)} of {total} words are one token{rest}")
    text = tokenizer.to_json() + "\n"
    if arguments.check:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            print(f"{path} is up to date")
            return 0
        print(f"{path} is not what training gives now; run `chat-envs tokenizer`")
        return 1
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path}")
    return 0
