"""`train`: a run from its config to its last evaluation, on the disk, resumable at any moment.

    warm start -> (evaluation of the start) -> learning, with checkpoints -> evaluation

All randomness of an update is a function of (seed, iteration): a checkpoint is weights, optimizer
and counters, and a run that was killed goes on to the same numbers, bit for bit on one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.algorithm import Algorithm, IterationReport
from agents.checkpoint import (
    Checkpoint,
    DamagedFileError,
    newest_checkpoint,
    save_checkpoint,
)
from agents.dialogue_data import Blend
from agents.engine import process_group
from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import TrainingConfig
from agents.engine.threads import use_threads
from agents.evaluation import EvaluationResult, evaluate, gold_gain, success_gain
from agents.hyperparameter import build_config
from agents.observer import Observer
from agents.preparation import prepare, read_mixture
from agents.tracking import (
    LOGS,
    RunDirectory,
    RunError,
    RunFollower,
    check_run_name,
    check_tokenizer,
    read_config,
)
from agents.train_config import AGENTS, TrainConfig
from agents.transcript import describe_episode, notable_episodes
from agents.warm_start import build_lm, starting_lm

__all__ = [
    "RUNS",
    "RunScores",
    "TrainResult",
    "load_run",
    "prepare",
    "read_mixture",
    "score",
    "train",
]

RUNS = Path("runs")
Run = RunDirectory | RunFollower


@dataclass(frozen=True)
class RunScores:
    """The same episodes played by one model twice: sampled at temperature 1, and greedily."""

    sampled: EvaluationResult
    greedy: EvaluationResult

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {"sampled": self.sampled.as_dict(), "greedy": self.greedy.as_dict()}


@dataclass(frozen=True)
class TrainResult:
    """What `train` leaves behind.

    Attributes:
        directory: of the run.
        lm: the trained model.
        num_iterations: updates made since the beginning of the run.
        num_timesteps: turns played since then.
        before: scores of the start model, if the config asks for them.
        after: scores of the trained model, unless the config asks for no evaluation.
        remarks: what the user should know: files skipped, machinery that differs.
    """

    directory: Path
    lm: CausalLM
    num_iterations: int
    num_timesteps: int
    before: RunScores | None
    after: RunScores | None
    remarks: tuple[str, ...]


def train(
    config: TrainConfig,
    *,
    lm: CausalLM | None = None,
    mixture: Blend | None = None,
    root: Path = RUNS,
    is_resuming: bool = False,
    is_replacing: bool = False,
    observer: Observer | None = None,
    at: Callable[[str], None] = lambda point: None,
) -> TrainResult:
    """Carry out a run, or what is left of it.

    Of several processes that a launcher started all call this; the first one alone writes.

    Args:
        config: the run.
        lm: what `prepare(config)` returned; None calls it.
        mixture: what `read_mixture(config, lm)` returned; None calls it.
        root: directory of runs; this one's is `root / config.run_name`.
        is_resuming: go on from the newest whole checkpoint; `total_timesteps` may have grown,
            unless the step size falls linearly towards it.
        is_replacing: remove the run of that name first.
        observer: told how it goes.
        at: told of every step of every save (see `save_checkpoint`).

    Raises:
        RunError: the run directory is in use, or holds another run.
        DamagedFileError: a file of the run that nothing can replace is damaged.
    """
    observer = observer or Observer()
    path = root / check_run_name(config.run_name)
    # Before anything is written, so that what is wrong costs nobody a warm start.
    lm = lm or prepare(config)
    mixture = read_mixture(config, lm) if mixture is None else mixture

    def open_run() -> RunDirectory:
        return RunDirectory(
            path,
            config.as_dict(),
            is_resuming=is_resuming,
            is_replacing=is_replacing,
            growing=_growing(config),
        )

    with use_threads(config.num_threads), _opened(path, open_run) as run:
        return _carry_out(config, run, lm, mixture, observer, at)


def _opened(path: Path, open_run: Callable[[], RunDirectory]) -> Run:
    """Return the run that the first process has opened, or does not: then nobody goes on."""
    run: Run = RunFollower(path)
    if process_group.rank() == 0:
        try:
            run = open_run()
        except (RunError, DamagedFileError, OSError) as error:
            process_group.agree(error)
            raise
    process_group.agree(None)
    return run


def _growing(config: TrainConfig) -> tuple[str, ...]:
    """Return the fields that may be larger on resuming: a run may be continued, not cut short.

    Where the step size falls linearly to the end, another end is another run from its first update.
    """
    is_linear = config.agent_config().learning_rate_schedule == "linear"
    return () if is_linear else ("total_timesteps",)


def _carry_out(
    config: TrainConfig,
    run: Run,
    lm: CausalLM,
    mixture: Blend | None,
    observer: Observer,
    at: Callable[[str], None],
) -> TrainResult:
    """Go from the newest whole checkpoint, or from the start, to the last evaluation."""
    checkpoint, remarks = _find_checkpoint(run)
    for remark in remarks:
        observer.remark(remark)
    has_scores = config.num_eval_episodes > 0
    has_before = config.has_start_evaluation and has_scores
    if checkpoint is None or has_before:
        lm = starting_lm(config, lm, observer)
    before = score(lm, config, "start model", observer) if has_before else None
    algorithm = AGENTS[config.agent](
        lm,
        config.env,
        config.agent_config(),
        env_kwargs=config.full_env_kwargs(),
        **({} if mixture is None else {"mixture": mixture}),
    )
    _restore(algorithm, run, checkpoint)
    _learn(algorithm, run, config, observer, at)
    after = score(lm, config, "trained model", observer) if has_scores else None
    if after is not None:
        run.write("evaluation.json", _describe(before, after))
    return TrainResult(
        directory=run.path,
        lm=lm,
        num_iterations=algorithm.iteration,
        num_timesteps=algorithm.num_timesteps,
        before=before,
        after=after,
        remarks=tuple(remarks),
    )


def _find_checkpoint(run: Run) -> tuple[Checkpoint | None, list[str]]:
    """Return what to go on from, and all that the user should know about the run."""
    checkpoint, skipped = newest_checkpoint(run.checkpoints)
    if not process_group.is_same(str(checkpoint and checkpoint.step)):
        raise RunError(
            f"{run.path} is not the same in all processes: several machines must share the "
            "directory of the run."
        )
    remarks = [
        *run.remarks,
        *(f"Skipped a checkpoint: {reason}" for reason in skipped),
    ]
    if checkpoint is not None:
        remarks.append(f"Resuming from {checkpoint.directory}.")
    elif skipped:
        remarks.append("No checkpoint is whole; the run begins again.")
    return checkpoint, remarks


def score(
    lm: CausalLM, config: TrainConfig, whose: str, observer: Observer | None = None
) -> RunScores:
    """Return how a model fares on the config's held-out goals, on the seeds of the anchors."""
    observer = observer or Observer()
    observer.begin(
        f"evaluation of the {whose}", 2 * config.num_eval_episodes, "episodes"
    )
    results: list[EvaluationResult] = []
    for is_greedy in (False, True):
        result = evaluate(
            lm,
            config.env,
            num_episodes=config.num_eval_episodes,
            split=config.eval_split,
            is_greedy=is_greedy,
            env_kwargs=config.full_env_kwargs(),
            progress=lambda num_over: observer.advance(
                len(results) * config.num_eval_episodes + num_over
            ),
        )
        results.append(result)
        share = result.success_interval().mean
        words = f"{'greedy' if is_greedy else 'sampled'} success {share:.2f}"
        observer.advance(len(results) * config.num_eval_episodes, words)
    observer.end()
    return RunScores(*results)


def load_run(
    path: Path, *, engine: str = "auto", observer: Observer | None = None
) -> tuple[TrainConfig, CausalLM, Checkpoint]:
    """Return the config of a run and its model as of the newest whole checkpoint.

    Args:
        path: directory of the run.
        engine: runs the model; it may be another than the one that trained it.
        observer: told of checkpoints that were skipped because they are not whole.

    Raises:
        RunError: the run used another built-in tokenizer.
        DamagedFileError: there is no whole checkpoint, or `config.json` is none of this version;
            the message says why.
    """
    stored = read_config(path / "config.json")
    check_tokenizer(path / "config.json", stored)
    values = stored["config"] | {"run": path.name, "engine": engine, "zero": 0}
    try:
        config = build_config(TrainConfig, values)
    except (TypeError, ValueError) as error:
        raise DamagedFileError(
            f"{path / 'config.json'} is damaged, or of another version: {error}"
        ) from error
    checkpoint, skipped = newest_checkpoint(path / "checkpoints")
    if checkpoint is None:
        reason = " ".join(skipped) or "None was written yet."
        raise DamagedFileError(f"{path} has no whole checkpoint. {reason}")
    for reason in skipped:
        (observer or Observer()).remark(f"Skipped a checkpoint: {reason}")
    lm = build_lm(config)
    # With an average of the weights if the run kept one: `averaged_weights` then uses it.
    lm.configure_training(TrainingConfig(ema_decay=config.agent_config().ema_decay))
    lm.load(checkpoint.directory)
    return config, lm, checkpoint


def _restore(algorithm: Algorithm, run: Run, checkpoint: Checkpoint | None) -> None:
    """Put algorithm, model and logs where they were when the checkpoint was written."""
    if checkpoint is None:
        run.open_logs(None)
        return
    state = checkpoint.state
    if not {"algorithm", "logs"} <= state.keys() or set(state["logs"]) != set(LOGS):
        raise DamagedFileError(
            f"{checkpoint.directory}/state.json has {sorted(state)}; it is not of a run."
        )
    algorithm.lm.load(checkpoint.directory)
    algorithm.load_state_dict(state["algorithm"])
    run.open_logs(state["logs"], algorithm.num_timesteps)


def _learn(
    algorithm: Algorithm,
    run: Run,
    config: TrainConfig,
    observer: Observer,
    at: Callable[[str], None],
) -> None:
    """Iterate to the end, writing logs and checkpoints."""
    saved = algorithm.iteration

    def save() -> None:
        nonlocal saved
        # The logs go first: a checkpoint never knows of a line that is not on the disk.
        state = {"logs": run.marks(), "algorithm": algorithm.state_dict()}
        at("logs synced")
        save_checkpoint(
            run.checkpoints,
            algorithm.iteration,
            algorithm.lm.save,
            state,
            num_kept=config.num_checkpoints,
            at=at,
        )
        saved = algorithm.iteration

    def callback(report: IterationReport) -> None:
        _log(run, report, config.num_transcripts)
        metrics, speed = report.metrics, report.timings["tokens_per_second"]
        words = (
            f"return {metrics['return']:.2f}, success {metrics['success']:.2f}, "
            f"{speed:.0f} tokens/s"
        )
        observer.advance(report.num_timesteps, words)
        if algorithm.iteration % config.checkpoint_every == 0:
            save()

    observer.begin(config.agent, config.total_timesteps, "turns")
    algorithm.learn(config.total_timesteps, callback)
    if saved != algorithm.iteration:
        save()
    observer.end()


def _log(run: Run, report: IterationReport, num_transcripts: int) -> None:
    place = {"iteration": report.iteration, "num_timesteps": report.num_timesteps}
    run.log("metrics.jsonl", place | dict(report.metrics))
    run.log("timing.jsonl", place | dict(report.timings))
    for episode in notable_episodes(report.rollout, num_transcripts):
        run.log("transcripts.jsonl", place | describe_episode(episode))
    run.log_scalars(report.metrics, report.num_timesteps)
    times = {f"time/{name}": value for name, value in report.timings.items()}
    run.log_scalars(times, report.num_timesteps)


def _describe(before: RunScores | None, after: RunScores) -> Mapping[str, Any]:
    """Return what `evaluation.json` holds."""
    if before is None:
        return {"after": after.as_dict()}
    return {
        "before": before.as_dict(),
        "after": after.as_dict(),
        "gain": success_gain(before.sampled, after.sampled).as_dict(),
        "gold_gain": gold_gain(before.sampled, after.sampled).as_dict(),
    }
