"""`TextArena`: a single-player game of the package `textarena`, turn by turn.

Guertler et al. 2025 (arXiv:2504.11442). What the game tells its player is the user's message, the
agent's reply the move, and the game's own reward is paid when it ends, which for all of these
games is the only time when it gives one.

The games draw from Python's global `random`. Here each episode has a random state of its own,
lent to the game for the length of a call (`BorrowedRandomness`), so episodes depend on their seed
alone and the state of the process stays as it was.

Nothing is downloaded: games that read nltk's word lists want them on disk, and games whose other
side is played by a language model behind a network are refused.
"""

from __future__ import annotations

import contextlib
import logging
import re
from typing import Any, Iterator, Mapping

import numpy as np

from chat_envs.bridges._text_arena_expert import EXPERTS
from chat_envs.bridges.borrowed_randomness import BorrowedRandomness
from chat_envs.bridges.optional_package import load_package, nearest
from chat_envs.core import ChatEnv, Turn
from chat_envs.message import Message, system, user
from chat_envs.vector import vector_entry_point

__all__ = ["TextArena", "make_vector"]

_LOG = logging.getLogger(__name__)

# The part of an entry point that names a game, for those that need more than the package.
_WORDS = {
    "Hangman": ("words",),
    "WordLadder": ("words",),
    "WordSearch": ("words",),
    "Wordle": ("words", "averaged_perceptron_tagger_eng"),
}
_NLTK_FOLDERS = {"words": "corpora", "averaged_perceptron_tagger_eng": "taggers"}
_JUDGED = frozenset({"GuessWho", "TwentyQuestions"})
# Importing some of the others would reach for a network.
_SINGLE_PLAYER = frozenset(
    "BabyAiText Bandit Blackjack Countdown Crosswords Cryptarithm FifteenPuzzle FrozenLake"
    " Game2048 GuessTheNumber Hangman Klondike LightsOut LogicPuzzle Mastermind Minesweeper"
    " PegJump RushHour Secretary Set Slitherlink Sokoban Sudoku ThreeCardMonte TowerOfHanoi"
    " UltimateTexasHoldem WordLadder WordSearch Wordle".split()
)
_RULES = (
    "Play the game. You have {turns} replies; one that is no valid move costs a reply too, and "
    "{allowance}. Write your move in square brackets."
)
_ALLOWANCES = {0: "the first such reply ends the game", 1: "two in a row end the game"}
_MORE = "{count} in a row end the game"
_TURNS = 30  # of a game that has no limit of its own
_NAME = re.compile(r"textarena\.envs\.(\w+)\.")


class TextArena(ChatEnv):
    """Play one single-player game. Even seeds of the game are for training, odd ones for testing.

    `success` is a reward of at least 1, which is what the games pay for a win.

    Args:
        game: an id of textarena, e.g. "GuessTheNumber-v0".
        options: keywords of the game's constructor in place of the registered ones, JSON-able.
        error_allowance: invalid moves in a row that the game forgives; None for its own, 1.
        max_turns: replies. None for one more than the game's own limit, since textarena reads one
            more than it tells, and 30 where the game has none. A game that is not over by then
            pays 0.
        **kwargs: those of `ChatEnv`.

    Raises:
        ImportError: if the package, or one that the game needs, is not installed.
        FileNotFoundError: if the game reads data that is not on disk.
        ValueError: if there is no such game, it is not for one player, or it needs a network.
    """

    metric_names = ("game_error", "invalid_moves")

    def __init__(
        self,
        game: str,
        *,
        options: Mapping[str, Any] | None = None,
        error_allowance: int | None = None,
        max_turns: int | None = None,
        **kwargs: Any,
    ) -> None:
        if error_allowance is not None and error_allowance < 0:
            raise ValueError(
                f"error_allowance must be at least 0, got {error_allowance}."
            )
        self.game = game
        self._options = dict(options or {})
        self._error_allowance = error_allowance
        with BorrowedRandomness(0).installed():  # not even the import touches ours
            self._package = load_package("textarena", extra="textarena")
            self._kind = _require_playable(game)
            self._start(0)
        limit = self._state.max_turns
        if max_turns is None:
            max_turns = _TURNS if limit is None else int(limit) + 1
        kwargs.setdefault("context_length", 2048)
        kwargs.setdefault("reply_length", 32)
        super().__init__(max_turns=max_turns, **kwargs)

    def _start(self, seed: int) -> None:
        """Make the game afresh: what an earlier episode left in it is gone."""
        with _no_download(self._kind):
            try:
                self._game = self._package.make(self.game, **self._options)
                self._game.reset(num_players=1, seed=seed)
            except SyntaxError as error:
                raise ImportError(
                    f"textarena's module of {self.game!r} is broken: {error}"
                ) from error
            except AssertionError as error:
                raise ValueError(
                    f"{self.game!r} does not start with one player: {error}"
                ) from error
        # The wrappers that reformat moves stay; those that reformat texts repeat what was said.
        self._inner = self._game
        while isinstance(self._inner, self._package.Wrapper):
            self._inner = self._inner.env
        self._state = self._inner.state
        if not isinstance(self._state, self._package.SinglePlayerState):
            raise ValueError(f"{self.game!r} is no single-player game of textarena.")
        if self._error_allowance is not None:
            self._state.error_allowance = self._error_allowance

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        seed = 2 * int(rng.integers(2**30)) + (self.split == "test")
        self._seed = seed
        self._randomness = BorrowedRandomness(seed)
        self._num_invalid = 0
        with self._randomness.installed():
            self._start(seed)
            text = self._told()
        allowance = int(self._state.error_allowance)
        rules = _RULES.format(
            turns=self.max_turns,
            allowance=_ALLOWANCES.get(allowance, _MORE.format(count=allowance + 1)),
        )
        return [system(rules), user(text)]

    def _told(self) -> str:
        """Return what the game said since it was last asked, without the player's own words."""
        own = self._package.ObservationType.PLAYER_ACTION
        _, told = self._inner.get_observation()
        # Some games swap the arguments when they note a move, and its text is a number then.
        return "\n".join(
            text.strip()
            for _, text, kind in told
            if kind != own and isinstance(text, str)
        )

    def _respond(self, reply: str) -> Turn:
        errors_before = self._state.error_count
        is_crashed = False
        with self._randomness.installed():
            try:
                is_over, _ = self._game.step(reply)
            except Exception:  # a defect of the game, met by what the agent wrote
                _LOG.warning(
                    "%s crashed on the reply %r", self.game, reply, exc_info=True
                )
                is_over, is_crashed = True, True
            text = self._told()
        outcome: Mapping[str, Any] = self._state.game_info[0]
        is_invalid = self._state.error_count > errors_before or outcome["invalid_move"]
        self._num_invalid += bool(is_invalid)
        score = 0.0
        if is_over and not is_crashed:
            score = float((self._state.rewards or {}).get(0, 0.0))
            text = "\n".join([text, str(outcome.get("reason") or "")]).strip()
        if is_crashed:
            why = "game_error"
        else:
            why = "invalid_move" if outcome["invalid_move"] else "game_over"
        return Turn(
            messages=[user(text)] if text else [],
            reward=score,
            ended=bool(is_over),
            success=score >= 1.0,
            why=why if is_over else "",
            metrics={
                "game_error": float(is_crashed),
                "invalid_moves": float(self._num_invalid),
            },
        )

    def expert_reply(self) -> str:
        """Return the move of a scripted expert: GuessTheNumber and Mastermind have one."""
        if self._kind not in EXPERTS:
            raise NotImplementedError(
                f"{self.game!r} has no scripted expert; {', '.join(sorted(EXPERTS))} have."
            )
        return EXPERTS[self._kind](self.conversation)


def _require_playable(game: str) -> str:
    """Return the kind of a game: the folder of textarena in which it is, "" for one of others.

    Raises:
        ValueError: if it is unknown or needs a network.
        FileNotFoundError: if its word lists are not here.
    """
    registry = load_package("textarena.envs.registration", extra="textarena")
    games: Mapping[str, Any] = registry.ENV_REGISTRY
    if game not in games:
        raise ValueError(f"textarena has no game {game!r}.{nearest(game, games)}")
    match = _NAME.match(str(games[game].entry_point))
    kind = match[1] if match else ""
    if kind in _JUDGED:
        raise ValueError(
            f"The other side of {game!r} is a language model behind a network; no environment "
            "of this suite asks one at run time."
        )
    if kind and kind not in _SINGLE_PLAYER:
        raise ValueError(f"{game!r} is no single-player game of textarena 0.7.")
    missing = [name for name in _WORDS.get(kind, ()) if not _has_data(name)]
    if missing:
        raise FileNotFoundError(
            f"{game!r} reads {' and '.join(missing)} of nltk, which is not on this machine, and "
            "nothing is downloaded at run time. Where there is a network: python -m "
            f"nltk.downloader {' '.join(missing)}"
        )
    return kind


def _has_data(name: str) -> bool:
    data = load_package("nltk.data", extra="textarena")
    for suffix in ("", ".zip"):
        try:
            data.find(f"{_NLTK_FOLDERS[name]}/{name}{suffix}")
        except LookupError:
            continue
        return True
    return False


@contextlib.contextmanager
def _no_download(kind: str) -> Iterator[None]:
    """Keep the games of words, which call it when they are imported, from `nltk.download`."""
    if kind not in _WORDS:
        yield
        return
    nltk = load_package("nltk", extra="textarena")
    download = nltk.download
    nltk.download = lambda *_, **__: True  # what it would fetch is here
    try:
        yield
    finally:
        nltk.download = download


make_vector = vector_entry_point(TextArena)
