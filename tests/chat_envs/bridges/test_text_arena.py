"""TextArena: games by seed alone, the game's own rewards, no network, nothing left behind."""

from __future__ import annotations

import logging
import random
import threading
from pathlib import Path
from typing import Any, Callable

import gymnasium
import numpy as np
import pytest

from chat_envs.bridges.optional_package import load_package
from chat_envs.bridges.text_arena import TextArena, make_vector
from chat_envs.core import SPLITS
from chat_envs.message import Role
from chat_envs.replier import REPLIERS, play, play_many
from chat_envs.testing import check_chat_env
from chat_envs.testing.trajectory import Line, difference, lines, trace
from chat_envs.vector import ChatVectorEnv
from tests.chat_envs.registered import registered

ENTRY_POINT = "chat_envs.bridges.text_arena:TextArena"
# Games that draw again after the opening, or in numpy, besides those with an expert.
DRAWING = ["2048-v0-ultra-easy", "Blackjack-v0", "FrozenLake-v0-random", "Bandit-v0"]
EXPERT = ["GuessTheNumber-v0", "Mastermind-v0"]
MOVES = {
    "2048-v0-ultra-easy": ("[left]", "[up]", "[right]", "[down]"),
    "Blackjack-v0": ("[hit]", "[stand]"),
    "FrozenLake-v0-random": ("[down]", "[right]"),
    "Bandit-v0": ("[red]", "[blue]"),
}


def mover(game: str) -> Callable[[Any], str]:
    moves = MOVES[game]
    return lambda env: moves[env.turn % len(moves)]


def said(env: TextArena) -> list[str]:
    return [m.content for m in env.conversation if m.role is Role.USER]


def reply(env: TextArena, text: str) -> tuple[float, bool, dict[str, Any]]:
    _, reward, terminated, _, info = env.step(env.encode(text))
    return reward, terminated, info


def reply_to_new(env: TextArena, text: str) -> tuple[float, bool, dict[str, Any]]:
    env.reset(seed=3)
    return reply(env, text)


def own_game(name: str, **kwargs: Any) -> TextArena:
    """Return an environment of a game that is registered with textarena by ourselves."""
    arena = load_package("textarena.envs.registration", extra="textarena")
    if name not in arena.ENV_REGISTRY:
        arena.register(name, "tests.chat_envs.bridges.toy_game:Divide", **kwargs)
    return TextArena(name)


def test_the_whole_contract_holds() -> None:
    with registered("toy/game-v0", ENTRY_POINT, game=EXPERT[0]) as env_id:
        check_chat_env(env_id, num_episodes=8)


@pytest.mark.slow
def test_the_whole_contract_holds_in_mastermind() -> None:
    with registered("toy/game-v0", ENTRY_POINT, game=EXPERT[1]) as env_id:
        check_chat_env(env_id)


def test_a_game_that_garbles_its_notes_of_moves_is_played_all_the_same() -> None:
    env = TextArena("Countdown-v0")
    env.reset(seed=0)
    _, terminated, _ = reply(env, "[0 1 +]")
    assert not terminated and "100 + 75 = 175" in said(env)[-1]


def test_a_game_for_two_of_somebody_else_is_refused() -> None:
    with pytest.raises(ValueError, match="does not start with one player"):
        own_game("Toy-v0-for-two", num_players=2)
    with pytest.raises(ValueError, match="is no single-player game"):
        own_game("Toy-v0-for-many", state="FFAMultiPlayerState")


@pytest.mark.parametrize("game", EXPERT)
def test_the_expert_wins_on_both_splits(game: str) -> None:
    for split in SPLITS:
        records = play_many(TextArena(game, split=split), REPLIERS["expert"], range(15))
        assert {r.episode_return for r in records} == {1.0}
        assert all(r.success and r.termination_reason == "game_over" for r in records)


@pytest.mark.parametrize("game", DRAWING)
def test_a_seed_is_an_episode_whatever_the_process_draws(game: str) -> None:
    random.seed(1)
    first = trace(TextArena(game), 5, mover(game))
    random.seed(2)
    np.random.seed(2)
    used = TextArena(game)
    play(used, mover(game), 6)
    assert difference(first, trace(used, 5, mover(game))) == ""
    assert difference(first, trace(used, 7, mover(game))) != ""


@pytest.mark.parametrize("game", DRAWING)
def test_interleaved_episodes_do_not_leak_into_each_other(game: str) -> None:
    alone = [trace(TextArena(game), seed, mover(game)) for seed in (1, 2, 3)]
    together: list[list[Line]] = [[], [], []]
    open_ones = [lines(TextArena(game), seed, mover(game)) for seed in (1, 2, 3)]
    for _ in range(max(map(len, alone))):
        for kept, source in zip(together, open_ones):
            kept += [line for line in [next(source, None)] if line is not None]
            random.random()  # and the process draws too
    assert [difference(a, b) for a, b in zip(alone, together)] == ["", "", ""]


def test_the_state_of_the_process_is_untouched() -> None:
    random.seed(1)
    before = random.getstate(), str(np.random.get_state())
    for game in DRAWING:
        play(TextArena(game), mover(game), 3)
    assert (random.getstate(), str(np.random.get_state())) == before


def test_eight_threads_play_as_one_would() -> None:
    game = DRAWING[0]
    alone = [trace(TextArena(game), seed, mover(game)) for seed in range(8)]
    random.seed(1)
    before = random.getstate()
    found: dict[int, list[Line]] = {}
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        env = TextArena(game)
        start.wait()
        found[seed] = trace(env, seed, mover(game))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [difference(alone[seed], found[seed]) for seed in range(8)] == [""] * 8
    assert random.getstate() == before


def test_the_games_words_are_the_users_and_the_agents_are_not_repeated() -> None:
    env = TextArena("GuessTheNumber-v0")
    env.reset(seed=3)
    assert env.conversation[0].role is Role.SYSTEM
    assert "You have 11 replies" in env.conversation[0].content
    assert "number between 1 and 20 within 10 turns" in said(env)[0]
    reward, terminated, info = reply(env, "well, [10] perhaps")
    assert said(env)[1] in (
        "The target number is higher.",
        "The target number is lower.",
    )
    assert (reward, terminated, info["termination_reason"]) == (0.0, False, "")


def test_a_move_without_brackets_is_one_where_the_game_takes_it() -> None:
    env = TextArena("GuessTheNumber-v0")
    env.reset(seed=3)
    _, _, info = reply(env, "10")
    assert info["metrics"]["invalid_moves"] == 0.0 and "target number" in said(env)[1]


def test_two_invalid_moves_in_a_row_end_the_game() -> None:
    env = TextArena("GuessTheNumber-v0")
    env.reset(seed=3)
    assert "two in a row end the game" in env.conversation[0].content
    for text in ("none", "[10]", "[99]"):
        _, terminated, info = reply(env, text)
        assert not terminated
    assert "invalid move" in said(env)[-1] and info["metrics"]["invalid_moves"] == 2.0
    _, terminated, info = reply(env, "[10]")
    assert terminated and info["termination_reason"] == "invalid_move"
    assert info["metrics"]["invalid_moves"] == 3.0 and not info["success"]


@pytest.mark.parametrize(
    ("allowance", "told"), [(0, "the first such"), (3, "4 in a row")]
)
def test_the_allowance_is_told_and_kept(allowance: int, told: str) -> None:
    env = TextArena("Mastermind-v0", error_allowance=allowance)
    env.reset(seed=3)
    assert told in env.conversation[0].content
    for _ in range(allowance):
        assert not reply(env, "none")[1]
    assert reply(env, "none")[1]


def test_the_game_pays_for_a_near_miss_itself() -> None:
    # Its own rule, known in docs/bridges.md: the last guess pays by its distance.
    env = TextArena("GuessTheNumber-v0")
    env.reset(seed=3)
    for _ in range(2):
        reply(env, "[10]")
    reward, terminated, info = reply(env, "[10]")
    assert terminated and 0.4 < reward < 1.0 and not info["success"]


def test_the_turn_limit_is_terminated_and_pays_nothing_for_an_open_game() -> None:
    env = TextArena("Mastermind-v0", max_turns=2)
    env.reset(seed=3)
    assert "You have 2 replies" in env.conversation[0].content
    reply(env, "[1 2 3 4]")
    reward, terminated, info = reply(env, "[2 1 3 4]")
    assert (reward, terminated) == (0.0, True)
    assert info["termination_reason"] == "turn_limit"


def test_the_reply_beyond_the_games_limit_is_read_and_the_game_ends_itself() -> None:
    env = TextArena("Mastermind-v0", options={"max_turns": 2})
    assert env.max_turns == 3
    env.reset(seed=3)
    for text in ("[1 2 3 4]", "[2 1 3 4]"):
        assert not reply(env, text)[1]
    reward, terminated, info = reply(env, "[4 3 2 1]")
    assert terminated and info["termination_reason"] == "game_over"
    assert 0.0 < reward < 1.0 and "Turn limit reached" in said(env)[-1]


def test_a_crash_of_the_game_ends_it_is_logged_and_pays_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    env = own_game("Toy-v0-crashing")
    env.reset(seed=3)
    with caplog.at_level(logging.WARNING):
        reward, terminated, info = reply(env, "divide by none")
    assert (reward, terminated) == (0.0, True)
    assert info["termination_reason"] == "game_error"
    assert info["metrics"]["game_error"] == 1.0
    assert "crashed on the reply 'divide by none'" in caplog.text
    assert reply_to_new(env, "win none")[0] == 0.0
    assert reply_to_new(env, "win 2")[0] == 1.0
    assert not reply_to_new(env, "divide by 2")[1]


def test_the_splits_have_seeds_of_their_own() -> None:
    games: dict[str, list[int]] = {}
    for split in SPLITS:
        env = TextArena("Mastermind-v0", split=split)
        seeds = []
        for seed in range(20):
            env.reset(seed=seed)
            seeds.append(env._seed)
        games[split] = seeds
    assert {seed % 2 for seed in games["train"]} == {0}
    assert {seed % 2 for seed in games["test"]} == {1}


def test_options_reach_the_game() -> None:
    env = TextArena("GuessTheNumber-v0", options={"max_number": 7})
    env.reset(seed=0)
    assert "between 1 and 7" in said(env)[0]


@pytest.mark.parametrize(
    ("game", "message"),
    [
        ("mastermind", "no game 'mastermind'. Did you mean 'Mastermind-v0"),
        ("TwentyQuestions-v0", "language model behind a network"),
        ("GuessWho-v0", "language model behind a network"),
        ("TicTacToe-v0", "is no single-player game"),
        ("DontSayIt-v0", "is no single-player game"),
    ],
)
def test_a_game_that_cannot_be_played_alone_and_offline_says_why(
    game: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TextArena(game)


def test_a_broken_module_of_a_game_is_an_import_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Klondike is, on Python 3.11.
    (tmp_path / "broken_game.py").write_text("class Game(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    arena = load_package("textarena.envs.registration", extra="textarena")
    arena.register("Toy-v0-broken", "broken_game:Game")
    with pytest.raises(ImportError, match="module of 'Toy-v0-broken' is broken"):
        TextArena("Toy-v0-broken")


def test_a_negative_allowance_is_refused() -> None:
    with pytest.raises(ValueError, match="error_allowance must be at least 0, got -1"):
        TextArena("Mastermind-v0", error_allowance=-1)


def test_a_game_without_expert_says_which_have_one() -> None:
    env = TextArena("Bandit-v0")
    env.reset(seed=0)
    with pytest.raises(NotImplementedError, match="GuessTheNumber, Mastermind have"):
        env.expert_reply()


@pytest.fixture
def nltk_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only folder where nltk looks for data, empty."""
    data = load_package("nltk.data", extra="textarena")
    monkeypatch.setattr(data, "path", [str(tmp_path)])
    return tmp_path


def test_a_game_of_words_names_the_data_that_it_lacks(nltk_folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="python -m nltk.downloader words"):
        TextArena("Hangman-v0")
    with pytest.raises(FileNotFoundError, match="words and averaged_perceptron"):
        TextArena("Wordle-v0")


def test_a_game_of_words_plays_with_its_data_and_downloads_nothing(
    nltk_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nltk = load_package("nltk", extra="textarena")

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"nltk.download was called with {args}")

    monkeypatch.setattr(nltk, "download", refuse)
    folder = nltk_folder / "corpora" / "words"
    folder.mkdir(parents=True)
    for name in ("en", "en-basic"):
        (folder / name).write_text("apple\nbread\ncloud\n")
    (folder / "README").write_text("")
    env = TextArena("Hangman-v0")
    env.reset(seed=0)
    assert "Hangman" in said(env)[0]
    for letter in "aeioubcdlpr":
        if reply(env, f"[{letter}]")[1]:
            break
    assert env.is_over and nltk.download is refuse


def test_gymnasium_makes_one_and_many() -> None:
    with registered("toy/game-v0", ENTRY_POINT, game="Mastermind-v0") as env_id:
        single = gymnasium.make(env_id, error_allowance=2)
        single.reset(seed=0)
        assert single.spec is not None and single.spec.to_json()
        many = gymnasium.make_vec(
            env_id, num_envs=2, vectorization_mode="vector_entry_point"
        )
        assert isinstance(many, ChatVectorEnv)
    assert make_vector(2, game="Mastermind-v0").num_envs == 2
