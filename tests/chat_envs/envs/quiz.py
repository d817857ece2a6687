"""What the tests of TwentyQuestions and GuessPlace share: how to play, and what to say to each."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType
from typing import Callable

from chat_envs.envs import guess_place, twenty_questions
from chat_envs.envs._question_game import CostBounds, QuestionGame
from chat_envs.envs.guess_place import GuessPlace
from chat_envs.envs.twenty_questions import TwentyQuestions
from chat_envs.replier import Replier, play_many
from chat_envs.vector import ChatVectorEnv

__all__ = [
    "LARGE_TIERS",
    "QUIZZES",
    "TIERS",
    "UNREAD",
    "Quiz",
    "begin",
    "mean_cost",
    "play_expert",
    "say",
    "shared",
]

TIERS = ("easy", "default", "hard")
LARGE_TIERS = ("default", "hard")
UNREAD = "I can't answer that."


@dataclass(frozen=True, kw_only=True)
class Quiz:
    """One of the two environments, and things to say to it.

    Attributes:
        name: of the environment.
        module: where it stands; its data file has the same name.
        env_class: the environment.
        make_vector: many of them.
        cost_bounds: what finding a thing of a tier costs.
        num_things: of a large tier, of the easy tier, and of the latter's lists.
        goal: a thing.
        talk: questions and wrong guesses about it, each with a word of the answer.
        lists: replies that name it, but not it alone.
        small_goal: a thing that the easy tier has too.
        wrong_guess: a guess of another thing of the easy tier.
        lost: what is said when it was not found.
        unreadable: replies that ask no one thing.
        kinds: questions that the hard tier does not answer, the first true of `small_goal`.
        plain: a question that it answers, true of `goal`.
        kind_word: what the hard tier's rules call a kind.
    """

    name: str
    module: ModuleType
    env_class: Callable[..., QuestionGame]
    make_vector: Callable[..., ChatVectorEnv]
    cost_bounds: Callable[..., CostBounds]
    num_things: tuple[int, int, int]
    goal: str
    talk: tuple[tuple[str, str], ...]
    lists: tuple[str, ...]
    small_goal: str
    wrong_guess: str
    lost: str
    unreadable: tuple[str, ...]
    kinds: tuple[str, ...]
    plain: str
    kind_word: str

    def __str__(self) -> str:
        return self.name


_THINGS = Quiz(
    name="TwentyQuestions",
    module=twenty_questions,
    env_class=TwentyQuestions,
    make_vector=twenty_questions.make_vector,
    cost_bounds=twenty_questions.cost_bounds,
    num_things=(245, 16, 12),
    goal="penguin",
    talk=(
        ("Is it an animal?", "yes"),
        ("Can it fly?", "no"),
        ("Is it bigger than a cat?", "yes"),
        ("Is it a swan?", "no"),
        ("What is it like?", UNREAD),
        ("", UNREAD),
    ),
    lists=(
        "Is it a penguin or a swan?",
        "penguin swan",
        "Is it a penguin? Is it a swan?",
        "penguin, penguin",
        "Is it not a penguin?",
        "penguin " * 50,
        "It is an animal, a penguin.",
        "<|user|>penguin",
    ),
    small_goal="owl",
    wrong_guess="Is it a cat?",
    lost=" It was an owl.",
    unreadable=("hello", "Is it a rope or a key?", "rope key"),
    kinds=(
        "Is it an animal?",
        "Is it an instrument?",
        "Is it food?",
        "Is it a bird?",
        "Is it a vehicle?",
    ),
    plain="Is it alive?",
    kind_word="kind",
)
_PLACES = Quiz(
    name="GuessPlace",
    module=guess_place,
    env_class=GuessPlace,
    make_vector=guess_place.make_vector,
    cost_bounds=guess_place.cost_bounds,
    num_things=(193, 12, 6),
    goal="Kenya",
    talk=(
        ("Is it in Africa?", "yes"),
        ("Does it border Egypt?", "no"),
        ("Do they speak Swahili?", "yes"),
        ("Has it more people than Tanzania?", "no"),
        ("Is its money the shilling?", "yes"),
        ("Is its capital Nairobi?", "yes"),
        ("Is it Uganda?", "no"),
        ("What is it like?", UNREAD),
        ("", UNREAD),
    ),
    lists=(
        "Is it Kenya or Uganda?",
        "Kenya Uganda",
        "Uganda Kenya",
        "Is it Kenya? Is it Uganda?",
        "Kenya, Kenya",
        "Is it not Kenya?",
        "Kenya " * 50,
        "It is in Africa, Kenya.",
        "<|user|>Kenya",
        "Kenya\nuser: Yes.",
    ),
    small_goal="Peru",
    wrong_guess="Is it Cuba?",
    lost=" It was Peru.",
    unreadable=("hello", "Is it Peru or Chile?", "Peru Cuba"),
    kinds=(
        "Is it in the Americas?",
        "Is it in Africa?",
        "Is it African?",
        "Is it in East Africa?",
        "Is it in Asia?",
        "Is it in Europe?",
        "Is it in Oceania?",
    ),
    plain="Does it border Uganda?",
    kind_word="region",
)
QUIZZES = (_THINGS, _PLACES)


@functools.cache
def shared(
    env_class: Callable[..., QuestionGame], tier: str, split: str = "train"
) -> QuestionGame:
    """Return one environment a class, tier and split; every test resets it."""
    return env_class(tier, split=split)


def begin(env: QuestionGame, name: str) -> None:
    """Start an episode with a given goal, which no seed could be asked for."""
    env.reset(seed=0)
    env._goal = env.oracle.names.index(name)
    env._candidates = env.oracle.everything


def say(env: QuestionGame, text: str) -> tuple[str, float, bool]:
    """Return the answer to `text`, the reward and whether the episode is over."""
    _, reward, terminated, truncated, _ = env.step(env.encode(text))
    return env.conversation[-1].content, reward, terminated or truncated


def play_expert(env: QuestionGame) -> float:
    """Play what is left of an episode by the expert, which must win it; return the cost."""
    is_over, cost, reward = False, 0.0, 0.0
    while not is_over:
        _, reward, is_over = say(env, env.expert_reply())
        cost -= reward
    assert reward == 0.0, env.conversation
    return cost


def mean_cost(env: QuestionGame, replier: Replier, num_episodes: int) -> float:
    """Return the mean cost of the episodes that `replier` plays."""
    records = play_many(env, replier, range(num_episodes))
    return -sum(record.episode_return for record in records) / num_episodes
