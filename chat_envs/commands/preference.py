"""Train the preference model that `Preference` scores replies with, or check the stored one."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, Sequence

from chat_envs.commands.argument import CommandParser
from chat_envs.simulators.preference_gold import draw_pairs
from chat_envs.simulators.preference_model import PreferenceModel, accuracy, train

__all__ = ["run"]

_NUM_TRAIN, _NUM_TEST = 8000, 1000
_TRAIN_SEED, _TEST_SEED, _ORDER_SEED = 1, 2, 3
_TOLERANCE = 0.01  # sums of floats may differ in the last bit from machine to machine


def run(argv: Sequence[str]) -> int:
    """Write `data/preference_model.json`; with --check, 1 if training now gives a worse one."""
    parser = CommandParser(
        "preference",
        "Train the Bradley-Terry model on pairs labelled by the gold rule, and store its weights "
        "with its accuracy on held-out prompts and replies.",
        "chat-envs preference --check",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; say whether the stored accuracies hold",
    )
    parser.add_argument(
        "--pairs",
        type=int,
        default=_NUM_TRAIN,
        help="pairs to train on (default: 8000)",
    )
    parser.add_argument("--output", type=Path, help="another file than the suite's own")
    arguments = parser.parse(argv)
    own = Path(str(resources.files("chat_envs") / "data" / "preference_model.json"))
    path: Path = arguments.output or own
    if arguments.check:
        return _check(path)
    pairs = draw_pairs(arguments.pairs, _TRAIN_SEED, "train")
    model = train(pairs, seed=_ORDER_SEED)
    record = {
        "version": 1,
        "licence": "Apache-2.0",
        "note": "Written by `chat-envs preference`, never by hand.",
        "num_train_pairs": arguments.pairs,
        **_accuracies(model),
        **model.as_json(),
    }
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"accuracy {_in_words(record)}\nwrote {path}")
    return 0


def _check(path: Path) -> int:
    record = json.loads(path.read_text(encoding="utf-8"))
    found = _accuracies(PreferenceModel.from_json(record))
    print(f"stored   {_in_words(record)}\nmeasured {_in_words(found)}")
    return int(any(abs(found[key] - record[key]) > _TOLERANCE for key in found))


def _accuracies(model: PreferenceModel) -> dict[str, float]:
    train_pairs = draw_pairs(_NUM_TEST, _TRAIN_SEED, "train")
    test_pairs = draw_pairs(_NUM_TEST, _TEST_SEED, "test")
    return {
        "train_accuracy": round(accuracy(model, train_pairs), 4),
        "held_out_accuracy": round(accuracy(model, test_pairs), 4),
    }


def _in_words(record: dict[str, Any]) -> str:
    return (
        f"{record['train_accuracy']:.3f} on training pairs, "
        f"{record['held_out_accuracy']:.3f} on held-out ones"
    )
