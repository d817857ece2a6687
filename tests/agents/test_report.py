"""Transcripts and the report: complete, self-contained, and deaf to what a model writes."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from agents.checkpoint import DamagedFileError
from agents.evaluation import EvaluationResult
from agents.experience.rollout import Episode, Rollout
from agents.report import pick_pair, write_report
from agents.train import RunScores
from agents.transcript import describe_episode, notable_episodes, turns_of

ENV = "chat_envs/CustomerService-easy-v0"
ATTACK = '<script src="https://example.org/x.js"></script><img onerror=alert(1)>'


def episode(
    seed: int = 0, rewards: tuple[float, ...] = (0.0, 1.0), **fields: object
) -> Episode:
    """Return a dialogue of one-token replies."""
    turns = len(rewards)
    messages = [{"role": "system", "content": "Serve."}]
    for turn in range(turns):
        messages.append({"role": "user", "content": f"user {turn}"})
        messages.append({"role": "assistant", "content": f"reply {turn}"})
    made = Episode(
        seed=seed,
        group=0,
        ids=np.arange(2 * turns),
        action_mask=np.arange(2 * turns) % 2 == 1,
        log_probs=np.zeros(2 * turns, dtype=np.float32),
        turn_index=np.array([t if k else -1 for t in range(turns) for k in range(2)]),
        rewards=np.array(rewards),
        reward_valid=~np.isnan(rewards),
        reward_components={"task": np.array(rewards), "cost": np.zeros(turns)},
        terminated=True,
        truncated=False,
        success=rewards[-1] > 0,
        termination_reason="done",
        messages=tuple(messages),
        reply_lengths=np.ones(turns, dtype=np.int64),
        reply_cut=np.zeros(turns, dtype=np.bool_),
    )
    return dataclasses.replace(made, **fields)  # type: ignore[arg-type]


def scores(*episodes: Episode) -> RunScores:
    result = EvaluationResult(ENV, "test", "tiny", 0, Rollout(episodes), False)
    return RunScores(result, result)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    config = {"agent": "ppo", "env": ENV, "lm": "tiny", "seed": 0}
    record = {"config": config, "machinery": {}}
    (tmp_path / "config.json").write_text(json.dumps(record))
    lines = [
        {"num_timesteps": 10 * i, "success": i / 5, "return": None if i == 2 else i}
        for i in range(5)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    return tmp_path


class Links(HTMLParser):
    """Collects tags and whatever a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [
            str(value)
            for name, value in attrs
            if name in ("src", "href", "xlink:href") and not str(value).startswith("#")
        ]


def test_the_report_shows_scores_curve_and_both_transcripts(run: Path) -> None:
    before = scores(episode(0, (0.0, 0.0)), episode(1, (0.0, 0.0)))
    after = scores(episode(0, (0.0, 0.0)), episode(1, (0.0, 1.0)))
    path = write_report(run, before, after, command="chat-envs demo --seed 0")
    page = path.read_text()
    for words in ("+0.50 success", "Learning curve", "<svg", "reply 1", "task +1.00"):
        assert words in page, words
    assert "chat-envs demo --seed 0" in page and "no anchors" in page
    assert "cost" not in re.sub(
        r"<pre>.*</pre>", "", page, flags=re.S
    ), "zeros are noise"


def test_the_report_loads_nothing_and_runs_nothing(run: Path) -> None:
    wicked = (
        {"role": "user", "content": ATTACK},
        {"role": "assistant", "content": ATTACK},
    )
    evil = episode(0, (1.0,), messages=wicked, termination_reason=ATTACK)
    page = write_report(run, scores(evil, evil), scores(evil, evil), command=ATTACK)
    links = Links()
    links.feed(page.read_text())
    assert links.loads == []
    assert not {"script", "img", "iframe", "link"} & set(links.tags)
    assert "&lt;script" in page.read_text(), "the attack was written down"


def test_half_of_a_surrogate_pair_is_written_as_a_reference(run: Path) -> None:
    messages = ({"role": "user", "content": "a\ud800b"},)
    broken = scores(episode(0, (1.0,), messages=messages), episode(1))
    page = write_report(run, broken, broken).read_text(encoding="utf-8")
    assert "a&#55296;b" in page  # which a browser shows as the replacement character


@pytest.mark.parametrize("name", ["num_timesteps", "success", "return"])
def test_figures_that_are_no_numbers_are_refused_by_file_and_line(
    run: Path, name: str
) -> None:
    good = {"num_timesteps": 1, "success": 0.5, "return": None}
    for bad in (good | {name: ATTACK}, {k: v for k, v in good.items() if k != name}):
        lines = [json.dumps(good), json.dumps(bad), ""]
        (run / "metrics.jsonl").write_text("\n".join(lines))
        with pytest.raises(DamagedFileError, match=f"metrics.jsonl:2 .*{name}"):
            write_report(run)


def test_a_report_of_less_is_still_a_report(run: Path) -> None:
    page = write_report(run).read_text()
    assert "Learning curve" in page and "before and after" not in page
    (run / "metrics.jsonl").write_text("")
    after = scores(episode(), episode(1))
    assert "Learning curve" not in write_report(run, None, after).read_text()


def test_the_same_run_gives_the_same_page(run: Path) -> None:
    first = write_report(run, None, scores(episode(), episode(1))).read_bytes()
    assert write_report(run, None, scores(episode(), episode(1))).read_bytes() == first


def test_the_pair_is_a_goal_that_only_the_trained_model_solved() -> None:
    lost, won = (0.0, 0.0), (0.0, 1.0)
    before = scores(episode(0, won), episode(1, lost), episode(2, lost))
    after = scores(episode(0, won), episode(1, lost), episode(2, won))
    one, other = pick_pair(before, after)
    assert one.seed == other.seed == 2 and not one.success and other.success


def test_where_nothing_was_learned_the_first_goal_is_shown() -> None:
    lost = scores(episode(4, (0.0,)), episode(5, (0.0,)))
    one, other = pick_pair(lost, lost)
    assert one.seed == other.seed == 4


def test_notable_episodes_are_best_worst_and_the_first() -> None:
    rewards = [(1.0,), (3.0,), (float("nan"),), (-2.0,), (2.0,)]
    rollout = Rollout([episode(seed, r) for seed, r in enumerate(rewards)])
    chosen = [[e.seed for e in notable_episodes(rollout, n)] for n in (0, 1, 2, 3, 9)]
    assert chosen == [[], [1], [1, 3], [1, 3, 0], [1, 3, 0, 2, 4]]


def test_where_no_return_is_known_the_first_episodes_are_taken() -> None:
    rollout = Rollout([episode(seed, (float("nan"),)) for seed in (5, 6)])
    assert [e.seed for e in notable_episodes(rollout, 1)] == [5]


def test_an_unknown_return_is_null() -> None:
    record = describe_episode(episode(0, (0.5, float("nan"))))
    assert record["return"] is None
    assert describe_episode(episode(0, (0.5, 1.0)))["return"] == 1.5


def test_every_reply_has_what_it_was_paid() -> None:
    turns = turns_of(describe_episode(episode(0, (-0.1, 1.0))))
    assert [turn["role"] for turn in turns] == ["system", *["user", "assistant"] * 2]
    paid = [turn["reward"] for turn in turns if turn["role"] == "assistant"]
    assert paid == [-0.1, 1.0]
    assert turns[2]["components"] == {"task": -0.1, "cost": 0.0}
    assert all("reward" not in turn for turn in turns if turn["role"] != "assistant")
