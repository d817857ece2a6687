"""Which names of scripts are good, and what is said of the others."""

from __future__ import annotations

import numpy as np
import pytest

from agents.experience.dialogue import make_env, play_script, script_of
from agents.experience.script import check_script
from chat_envs.replier import RANDOM_REPLIERS, REPLIERS

ENV = "chat_envs/CustomerService-easy-v0"


@pytest.mark.parametrize(
    "name", [*REPLIERS, *RANDOM_REPLIERS, "careless", "blind+careless"]
)
def test_what_is_let_through_can_play(name: str) -> None:
    check_script(name, ENV)
    script = script_of(name, np.random.default_rng(0))
    assert len(play_script(make_env(ENV, 1), [0], script).episodes) == 1


@pytest.mark.parametrize(
    ("name", "near"),
    [("exprt", "expert"), ("carelss", "careless"), ("expert+blnd", "blind")],
)
def test_another_is_answered_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"Did you mean '{near}'"):
        check_script(name, ENV)


def test_a_script_of_another_environment_is_none_here() -> None:
    with pytest.raises(ValueError, match="no script 'careless' for Echo"):
        check_script("careless", "Echo-easy-v0")
