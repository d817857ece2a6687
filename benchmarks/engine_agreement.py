"""Whether the engine says what transformers says, and trains on what it said.

    python -m benchmarks.engine_agreement --write

For each family and engine (local; DeepSpeed at ZeRO stage 0 to 3), with new weights, after updates,
and after save and load: are greedy replies those of `transformers.generate` on the weights that
`save_pretrained` writes, and how far are the decoder's log-probs from the trainer's? Dialogues of
two turns and ragged lengths, the second turn on kept caches.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import Generation, Sampling, TrainingConfig
from agents.engine.loading import load_lm
from benchmarks.choice import choose
from benchmarks.family import FAMILIES, VOCAB_SIZE, build_toy
from benchmarks.measurement import write_result
from benchmarks.workload import Ids, log_prob_gap, make_rollout

__all__ = ["Agreement", "ENGINES", "check_family_on", "main"]

ENGINES = ("local", "zero-0", "zero-1", "zero-2", "zero-3")
MOMENTS = ("new", "updated", "loaded")
_LENGTHS = (3, 9, 17, 30)  # of the contexts
_HEARD = 5  # ids between two turns
_REPLY = 8
_NUM_UPDATES = 3
_GAP_LIMIT = {"float32": 1e-5, "bfloat16": 1e-2}  # of the mean |d log p|
_TIE = {
    "float32": 1e-4,
    "bfloat16": 0.25,
}  # logits that rounding may put in either order


@dataclass(frozen=True)
class Agreement:
    """What was found of one family, engine and moment.

    Attributes:
        family: of the model.
        engine: one of `ENGINES`.
        moment: "new", "updated" or "loaded".
        num_replies: greedy replies compared.
        num_identical: of them, those that are `generate`'s.
        margin: at the first difference, how far the logit of the id that we took is below the
            greatest, at most over the replies; 0 where all are identical.
        mean_gap: mean |d log p| between decoder and trainer, over sampled tokens.
        largest_gap: the largest.
        why: why there are no figures, where there are none.
    """

    family: str
    engine: str
    moment: str
    num_replies: int = 0
    num_identical: int = 0
    margin: float = 0.0
    mean_gap: float = 0.0
    largest_gap: float = 0.0
    why: str = ""

    def agrees(self, dtype: str) -> bool:
        """Whether replies are the same but for ties, and log-probs but for rounding."""
        return self.margin <= _TIE[dtype] and self.mean_gap <= _GAP_LIMIT[dtype]


def check_family_on(
    family: str, engine: str, device: torch.device, dtype: str
) -> list[Agreement]:
    """Return what was found at each moment, or one record that says why nothing was.

    An engine that refuses says so by a ValueError, a NotImplementedError or a missing package;
    everything else is a defect and is raised.
    """
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        build_toy(family).save_pretrained(root / "start")
        try:
            lm = _load(root / "start", engine, device, dtype)
        except (ValueError, NotImplementedError, ModuleNotFoundError) as error:
            lines = str(error).splitlines() or [""]
            why = f"not supported: {lines[0]}"
            return [Agreement(family, engine, moment, why=why) for moment in MOMENTS]
        found = [_compare(lm, family, engine, "new", root / "new", dtype)]
        for step in range(_NUM_UPDATES):
            _update(lm, step)
        found.append(_compare(lm, family, engine, "updated", root / "updated", dtype))
        lm.save(root / "training")
        again = _load(root / "start", engine, device, dtype)
        again.load(root / "training")
        _require_equal(lm, again)
        found.append(_compare(again, family, engine, "loaded", root / "loaded", dtype))
    return found


def _load(directory: Path, engine: str, device: torch.device, dtype: str) -> CausalLM:
    """Return a model that is ready to train, so that its engine exists."""
    kind, _, stage = engine.partition("-")
    options: dict[str, Any] = {"engine": "local"}
    if kind == "zero":
        zero = {"zero_optimization": {"stage": int(stage)}}
        options = {"engine": "deepspeed", "deepspeed_config": zero}
    lm = load_lm(directory, device=device, dtype=getattr(torch, dtype), **options)
    lm.configure_training(TrainingConfig(learning_rate=1e-2))
    return lm


def _update(lm: CausalLM, step: int) -> None:
    """Take one policy gradient step on replies of its own; ids below half are rewarded."""
    contexts = _contexts()
    (generation,) = _play(lm, [contexts], is_greedy=False, seed=step)
    rewards = np.array(
        [
            float(np.mean(generation.reply(n) < VOCAB_SIZE // 2))
            for n in range(len(contexts))
        ]
    )
    rollout = make_rollout(contexts, generation, 1, rewards)
    batch = rollout.token_batch(np.arange(len(rollout)), lm.device)
    advantages = torch.from_numpy(rewards - rewards.mean()).float().to(lm.device)
    log_probs = lm.evaluate(batch).log_probs
    lm.backward(-(advantages[:, None] * log_probs).sum() / batch.action_mask.sum())
    lm.step()


def _compare(
    lm: CausalLM, family: str, engine: str, moment: str, directory: Path, dtype: str
) -> Agreement:
    """Compare decoder, trainer and `generate` on the weights of now, written to `directory`."""
    lm.save_pretrained(directory)
    oracle: Any = AutoModelForCausalLM.from_pretrained(
        directory, dtype=getattr(torch, dtype), trust_remote_code=False
    )
    oracle.to(lm.device).eval()
    turns = _dialogue(lm, is_greedy=True)
    margins = [
        _margin(oracle, context, generation.reply(row))
        for contexts, generation in turns
        for row, context in enumerate(contexts)
    ]
    gaps = [log_prob_gap(lm, *turn) for turn in _dialogue(lm, is_greedy=False)]
    return Agreement(
        family,
        engine,
        moment,
        num_replies=len(margins),
        num_identical=sum(margin is None for margin in margins),
        margin=max(0.0 if margin is None else margin for margin in margins),
        mean_gap=float(np.mean([mean for mean, _ in gaps])),
        largest_gap=max(largest for _, largest in gaps),
    )


def _dialogue(lm: CausalLM, *, is_greedy: bool) -> list[tuple[list[Ids], Generation]]:
    """Return (contexts, replies) of two turns; the second goes on where the first ended."""
    first = _contexts()
    rng = np.random.default_rng(1)
    heard = [rng.integers(VOCAB_SIZE, size=_HEARD) for _ in first]
    generations = _play(lm, [first, heard], is_greedy=is_greedy, seed=0)
    second = [
        np.concatenate([context, generations[0].reply(row), heard[row]])
        for row, context in enumerate(first)
    ]
    return list(zip([first, second], generations, strict=True))


def _contexts() -> list[Ids]:
    rng = np.random.default_rng(0)
    return [rng.integers(VOCAB_SIZE, size=length) for length in _LENGTHS]


def _play(
    lm: CausalLM, news: Sequence[Sequence[Ids]], *, is_greedy: bool, seed: int
) -> list[Generation]:
    """Return the replies of each turn, caches kept in between."""
    sampling = Sampling(
        max_new_tokens=_REPLY, stop_ids=frozenset(), is_greedy=is_greedy
    )
    generator = torch.Generator(device=lm.device).manual_seed(seed)
    contexts = [np.zeros(0, dtype=np.int64) for _ in _LENGTHS]
    generations: list[Generation] = []
    with lm.decoder(len(contexts)) as decoder:
        for turn in news:
            contexts = [np.concatenate(p) for p in zip(contexts, turn, strict=True)]
            generation = decoder.generate(
                contexts, range(len(contexts)), sampling, generator
            )
            contexts = [
                np.concatenate([context, generation.reply(row)])
                for row, context in enumerate(contexts)
            ]
            generations.append(generation)
    return generations


def _margin(oracle: Any, context: Ids, reply: Ids) -> float | None:
    """Return None if `reply` is `generate`'s, else how far its first other id is from the best."""
    ids = torch.from_numpy(context)[None].to(oracle.device)
    with torch.no_grad():
        output = oracle.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=len(reply),
            pad_token_id=0,
        )
        expected = output[0, len(context) :].cpu().numpy()
        different = np.flatnonzero(expected != reply)
        if not len(different):
            return None
        before = np.concatenate([context, reply[: different[0]]])
        logits = oracle(torch.from_numpy(before)[None].to(oracle.device)).logits[0, -1]
    return float(logits.max() - logits[int(reply[different[0]])])


def _require_equal(lm: CausalLM, again: CausalLM) -> None:
    """Refuse a model that was loaded and says something else than the one that was saved.

    Raises:
        RuntimeError: says which turn.
    """
    pairs = zip(_dialogue(lm, is_greedy=False), _dialogue(again, is_greedy=False))
    for turn, ((_, before), (_, after)) in enumerate(pairs):
        if not np.array_equal(before.ids, after.ids):
            raise RuntimeError(
                f"After save and load the replies of turn {turn} are others on the same noise."
            )


def table(found: Sequence[Agreement], dtype: str) -> str:
    """Return what was found as a Markdown table; the gap is mean and largest |d log p|."""
    lines = [
        "| family | engine | moment | greedy as `generate` | gap of log p | agrees |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in found:
        labels = f"| {one.family} | {one.engine} | {one.moment} "
        if one.why:
            lines.append(f"{labels}| - | {one.why.replace('|', '/')} | - |")
            continue
        tie = f", margin {one.margin:.1e}" if one.margin else ""
        lines.append(
            f"{labels}| {one.num_identical} of {one.num_replies}{tie} | {one.mean_gap:.1e}, "
            f"{one.largest_gap:.1e} | {'yes' if one.agrees(dtype) else 'NO'} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Check, print the table, write the dated result; 1 if something does not agree."""
    is_cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--families", nargs="+", default=list(FAMILIES), help=", ".join(FAMILIES))
    add("--engines", nargs="+", default=list(ENGINES), help=", ".join(ENGINES))
    add("--device", default="cuda" if is_cuda else "cpu")
    add("--dtype", choices=tuple(_TIE), default="float32")
    add("--write", action="store_true", help="leave DATE_engine_agreement_DEVICE.json")
    add("--results", type=Path, help="where; default: benchmarks/results")
    arguments = parser.parse_args(argv)
    try:
        choose(arguments.families, list(FAMILIES), "family")
        choose(arguments.engines, ENGINES, "engine")
    except ValueError as error:
        parser.error(str(error))
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    os.environ.setdefault("DS_ACCELERATOR", arguments.device)
    device = torch.device(arguments.device)
    found = [
        record
        for engine in arguments.engines
        for family in arguments.families
        for record in check_family_on(family, engine, device, arguments.dtype)
    ]
    print(table(found, arguments.dtype))
    if arguments.write:
        record = {
            "device": arguments.device,
            "dtype": arguments.dtype,
            "seed": 0,
            "rows": [asdict(one) for one in found],
        }
        name = f"engine_agreement_{arguments.device}_{arguments.dtype}"
        print(write_result(name, record, arguments.results))
    return int(not all(one.agrees(arguments.dtype) for one in found))


if __name__ == "__main__":
    sys.exit(main())
