"""A game of textarena by somebody else: it divides 12, and crashes on what is no number."""

from __future__ import annotations

from typing import Any

import textarena


class Divide(textarena.Env):  # type: ignore[misc]
    """Divide 12 without a remainder; the word "win" wins at once."""

    def __init__(self, num_players: int = 1, state: str = "SinglePlayerState") -> None:
        self._num_players = num_players
        self._make_state = getattr(textarena, state)

    def reset(self, num_players: int, seed: int | None = None) -> None:
        assert num_players == self._num_players, f"it is for {self._num_players}"
        self.state = self._make_state(num_players=num_players, seed=seed)
        self.state.reset(player_prompt_function=lambda **_: "Divide 12: divide by ...")

    def step(self, action: str) -> Any:
        if "win" in action:
            self.state.set_outcome(reward=1.0, reason="Won.")
        divisor = int(action.rpartition(" ")[2])
        if 12 % divisor == 0:
            self.state.add_observation(
                f"It is {12 // divisor}.", textarena.ObservationType.GAME_MESSAGE
            )
        return self.state.step()
