"""Agents by name: each is what its paper and its page say, and each makes a run."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from agents.algorithm import Algorithm
from agents.grpo import GRPO, GRPOConfig
from agents.recipe import RECIPES
from agents.tracking import read_lines
from agents.train_config import AGENTS, TrainConfig
from tests.agents.small_run import NAME, carry_out
from tests.agents.toys import make_lm, make_parrots

PAGE = Path(__file__).parents[2] / "docs" / "algorithms.md"
SMALL: dict[str, Any] = {"num_episodes": 8, "group_size": 4, "num_envs": 8}


def test_the_agents_of_a_run_are_the_recipes() -> None:
    assert AGENTS is RECIPES
    expected = (
        "ppo reinforce rloo remax reinforce_pp reinforce_pp_baseline grpo dr_grpo dapo"
    )
    assert list(RECIPES) == [*expected.split(), "gspo", "cispo", "expert_iteration"]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_changes_what_it_says_and_nothing_else(name: str) -> None:
    recipe = RECIPES[name]
    config = dataclasses.asdict(recipe.config())
    default = dataclasses.asdict(recipe.config_class())
    for key, value in recipe.hyperparameters.items():
        assert config.pop(key) == value
        default.pop(key)
    assert config == default


def test_no_two_recipes_are_the_same() -> None:
    seen = [(r.algorithm, r.config()) for r in RECIPES.values()]
    assert all(a != b for i, a in enumerate(seen) for b in seen[:i])


@pytest.mark.parametrize("name", RECIPES)
def test_a_user_may_change_anything(name: str) -> None:
    values = dict(SMALL) | {"learning_rate": 0.125}
    if "aggregation" in {
        f.name for f in dataclasses.fields(RECIPES[name].config_class)
    }:
        values["aggregation"] = "seq-mean-token-sum"  # over the recipe's own
    config = TrainConfig(agent=name, hyperparameters=values, seed=3)
    record = json.loads(json.dumps(config.as_dict()))["hyperparameters"]
    assert {key: record[key] for key in values} == values
    again = TrainConfig(**config.as_dict())
    assert again.agent_config() == config.agent_config()
    algorithm = AGENTS[name](make_lm(), make_parrots(8), **values)
    assert type(algorithm) is RECIPES[name].algorithm
    assert dataclasses.replace(algorithm.config, seed=3) == config.agent_config()


def test_an_unknown_hyperparameter_is_answered_with_the_nearest() -> None:
    with pytest.raises(TypeError, match="Did you mean 'clip_high'"):
        RECIPES["dapo"](make_lm(), make_parrots(8), clip_hihg=0.3)
    with pytest.raises(ValueError, match="Did you mean 'dr_grpo'"):
        TrainConfig(agent="dr_gropo")


def test_a_config_that_is_given_is_taken_whole() -> None:
    config = GRPOConfig(**SMALL)
    algorithm = RECIPES["dapo"](make_lm(), make_parrots(8), config)
    assert algorithm.config is config


FIGURES = {"return", "success", "kl", "trained_tokens", "grad_norm", "entropy"}


@pytest.mark.parametrize("name", RECIPES)
def test_every_agent_makes_a_run(name: str, tmp_path: Path) -> None:
    carry_out(tmp_path, fields={"agent": name, "total_timesteps": 4})
    line, *_ = read_lines(tmp_path / NAME / "metrics.jsonl")
    if name == "dapo":  # a random model earns the same everywhere, so all was in vain
        assert line["refilled_episodes"] > 0 and line["overlong_share"] > 0
        assert line["dropped_groups"] > 0 and line["trained_tokens"] >= 0
        return
    assert FIGURES <= line.keys()
    if RECIPES[name].algorithm is GRPO:
        assert {"clip_fraction", "old_kl", "policy_loss", "ratio_error"} <= line.keys()
        assert line["ratio_error"] <= 1e-5


@pytest.mark.parametrize("name", [n for n, r in RECIPES.items() if r.algorithm is GRPO])
def test_the_first_ratio_is_one_by_measurement(name: str) -> None:
    algorithm: Algorithm = RECIPES[name](make_lm(), make_parrots(8), **SMALL)
    for _ in range(2):
        metrics = algorithm.iterate().metrics
        assert metrics["ratio_error"] <= 1e-5 and metrics["log_prob_gap"] <= 1e-6


# ----------------------------------------------------------------------------------- the page


def rows() -> dict[str, str]:
    """Return the row of each agent in the table of the page."""
    text = PAGE.read_text("utf-8")
    return dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", text, re.MULTILINE))


def test_the_page_has_a_row_for_every_agent() -> None:
    assert list(rows()) == list(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_row_says_class_paper_and_setting(name: str) -> None:
    row, recipe = rows()[name], RECIPES[name]
    assert f"`{recipe.algorithm.__name__}`" in row
    (number,) = re.findall(r"arXiv:[\d.]+", recipe.paper) or [recipe.paper]
    assert number in row
    setting = dict(re.findall(r"`(\w+)=([^`]+)`", row))
    assert setting == {key: str(value) for key, value in recipe.hyperparameters.items()}
