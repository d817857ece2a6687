"""`--set`: read the same by every command, and told in `--help`."""

from __future__ import annotations

import pytest

from agents.commands.setting import describe_settings, read_settings
from agents.commands.terminal import BadInput
from agents.fine_tuning import FineTuneConfig


def test_the_last_of_a_key_wins_over_earlier_ones_and_over_flags() -> None:
    found = read_settings(["seed=3", "rate=1e-4", "rate=2e-4", "on=yes"], seed=1)
    assert found == {"seed": 3, "rate": 2e-4, "on": True}


@pytest.mark.parametrize("assignment", ["rate", "=1", "", "rate=[1"])
def test_what_is_no_assignment_is_named(assignment: str) -> None:
    with pytest.raises(BadInput, match="--set"):
        read_settings([assignment])


def test_an_empty_value_is_null_as_in_yaml() -> None:
    assert read_settings(["rate="]) == {"rate": None}


def test_the_help_lists_every_field_but_the_seed() -> None:
    text = describe_settings("--set KEY=VALUE", FineTuneConfig)
    assert text.startswith("--set KEY=VALUE:\n  ")
    assert "learning_rate=0.003" in text and "seed=" not in text
    assert max(map(len, text.splitlines())) <= 78
