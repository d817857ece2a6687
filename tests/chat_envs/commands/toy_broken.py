"""An environment that breaks the contract: it counts its episodes on the class."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from chat_envs.message import Message, user
from chat_envs.vector import vector_entry_point
from tests.chat_envs.toy import SayIt

__all__ = ["Forgetful", "make_vector"]


class Forgetful(SayIt):
    """Says how many episodes all of them had."""

    num_episodes: ClassVar[int] = 0

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        Forgetful.num_episodes += 1
        return [*super()._opening(rng), user(str(Forgetful.num_episodes))]


make_vector = vector_entry_point(Forgetful)
