"""Observations become contexts and replies become actions, padding aside."""

from __future__ import annotations

import numpy as np

from agents.engine.language_model import Generation
from agents.experience.action import actions_of, contexts_of
from tests.agents.toys import make_parrots


def test_contexts_are_those_of_the_environment() -> None:
    env = make_parrots(3)
    observation, _ = env.reset(seed=2)
    found = contexts_of(observation)
    for context, expected in zip(found, env.contexts(), strict=True):
        assert context.tolist() == expected.ids.tolist()


def test_one_observation_is_one_context() -> None:
    env = make_parrots(2)
    observation, _ = env.reset(seed=2)
    one = {name: value[1] for name, value in observation.items()}
    assert [c.tolist() for c in contexts_of(one)] == [env.contexts()[1].ids.tolist()]


def test_actions_are_padded_replies() -> None:
    generation = Generation(
        ids=np.array([[5, 6, 9], [7, 8, 0]]),
        lengths=np.array([3, 2]),
        log_probs=np.zeros((2, 3), dtype=np.float32),
        finished=np.array([True, True]),
    )
    actions = actions_of(generation, 5, pad_id=3)
    assert actions.tolist() == [[5, 6, 9, 3, 3], [7, 8, 3, 3, 3]]
    assert actions.dtype == np.int64
