"""`Wordle`: find the user's word; each letter of a guess is marked.

A guess is one word, its letters apart ("h o u s e") or together. It is answered letter by letter:
"yes" for one in its place, "near" for one that stands elsewhere in the word, "no" for one that is
not, or no further time, in it. Every turn costs 1 but the solving one, so the return is minus the
number of wrong tries. What is no word of the list gets a readable answer and costs the turn.

The expert guesses what may get the most different answers (Kooi 2005, "Yet another Mastermind
strategy") and sees the conversation alone. `chat_envs.simulators.deduction.lower_total` proves how
little any policy can do better.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any, Mapping

import numpy as np

from chat_envs.envs._code_breaking import CodeBreaking
from chat_envs.envs._wordle_word import data, game, marks_of, split_words, word_list
from chat_envs.message import Conversation, Message, Role, system, user
from chat_envs.simulators.courtesy import Courtesy
from chat_envs.simulators.deduction import most_parts_choice
from chat_envs.simulators.stream import split_streams
from chat_envs.vector import vector_entry_point

__all__ = ["Wordle", "make_vector", "read_word"]

_MAX_TURNS = 6
_CACHED_HINTS = 16384
_BLIND_PERIOD = (
    4  # one blind guess in so many is a held-out word, as one goal in so many is
)
_MARK = re.compile(r"\b([a-z]) (no|near|yes|told)\b")


@dataclass(frozen=True, kw_only=True)
class _Tier:
    """What a tier changes; `context_length` holds the longest replies in every turn."""

    num_letters: int = 5
    context_length: int = 512
    is_framed: bool = True
    is_hint_repeated: bool = True


_TIERS: Mapping[str, _Tier] = {
    "easy": _Tier(num_letters=3, context_length=384, is_framed=False),
    "default": _Tier(),
    "hard": _Tier(context_length=640, is_hint_repeated=False),
}


class Wordle(CodeBreaking):
    """Wordle (Wardle 2021) in six tries, over a list of common English words.

    Tiers: "easy" 3 letters, 62 words that have ten letters between them; "default" 5 letters,
    1,296 words; "hard" the same, but no hint is repeated: a letter that was guessed at the same
    place before is answered "told", so the hint must be remembered.

    Reward: -1 a try, 0 for the solving one; "invalid" counts the replies that were no word of
    the list. Held-out goals are words whose letters training has at the same places; both splits
    may guess every word.

    Args:
        tier: "easy", "default" or "hard".
        max_turns: tries; None for six.
        shaping: weight of the component "shaping", the gain in the potential
            1 - log2(candidates) / log2(words), which is 0 at the start and by definition 0 at the
            end of an episode: each policy keeps its return (Ng et al. 1999, eq. 2, discount 1).
        **kwargs: those of `ChatEnv`.

    Raises:
        ValueError: if the tier is unknown or `shaping` is no finite weight.
    """

    def __init__(
        self,
        tier: str = "default",
        *,
        max_turns: int | None = None,
        shaping: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if tier not in _TIERS:
            raise ValueError(f"tier must be one of {sorted(_TIERS)}, got {tier!r}.")
        settings = _TIERS[tier]
        self.tier = tier
        self.num_letters = settings.num_letters
        self.words = word_list(self.num_letters)
        self._is_framed = settings.is_framed
        self._is_hint_repeated = settings.is_hint_repeated
        self._index = _index(self.num_letters)
        self._game = game(self.num_letters)
        kwargs.setdefault("context_length", settings.context_length)
        limit = _MAX_TURNS if max_turns is None else max_turns
        super().__init__(shaping=shaping, max_turns=limit, **kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal, phrasing = split_streams(rng, 2)
        self._start(phrasing)
        pool = split_words(self.num_letters)[self.split]
        self._goal = pool[int(goal.random() * len(pool))]
        self._asked: list[str] = []
        texts = data()
        rule, question = self._draw(texts["rules"], texts["questions"])
        rules = f"{rule} {texts['legends'][self.tier]}"
        return [
            system(rules.format(letters=self.num_letters, turns=self.max_turns)),
            user(question),
        ]

    def expert_reply(self) -> str:
        """Return the word that may get the most different answers, its letters apart."""
        guess = most_parts_choice(self._game, self.belief(self.conversation))
        return " ".join(self.words[guess])

    def blind_reply(self) -> str:
        """Return a word, another one each turn: without answers all distinct ones are equal.

        As many of them are held out as goals are, so that they meet both splits alike.
        """
        pools = split_words(self.num_letters)
        period, place = divmod(self.turn, _BLIND_PERIOD)
        if place == 1:
            pool, index = pools["test"], period
        else:
            index = period * (_BLIND_PERIOD - 1) + max(0, place - 1)
            pool = pools["train"]
        return " ".join(pool[index % len(pool)])

    def candidate_replies(self) -> list[str]:
        """Return the words, the first hundred of them."""
        return list(self.words[:100])

    def belief(self, conversation: Conversation) -> int:
        """Return the words that `conversation` leaves possible, a bit a word.

        It knows nothing but what was said. The split is not said: every word counts as possible.
        """
        belief = self._game.everything
        word = None
        for message in conversation:
            if message.role is Role.ASSISTANT:
                word = read_word(message.content)
            elif message.role is Role.USER and word is not None:
                told = _MARK.findall(message.content)
                spelled = "".join(letter for letter, _ in told)
                if word in self._index and spelled == word:
                    hints = tuple([_HINTS[mark] for _, mark in told])
                    belief &= _consistent(self.num_letters, self._index[word], hints)
                word = None
        return belief

    def _guess_in(self, reply: str) -> str | None:
        return read_word(reply)

    def _is_valid(self, guess: str) -> bool:
        return guess in self._index

    def _lost(self) -> str:
        return str(data()["answers"]["lost"].format(word=" ".join(self._goal)))

    def _answer(self, word: str) -> str:
        """Return what is said of a word of the list; the belief takes note."""
        guess = self._index[word]
        answer = int(self._game.answers[guess, self._index[self._goal]])
        hints: list[int | None] = list(marks_of(answer, self.num_letters))
        if not self._is_hint_repeated:
            for place, letter in enumerate(word):
                if any(asked[place] == letter for asked in self._asked):
                    hints[place] = None
        self._asked.append(word)
        self._belief &= _consistent(self.num_letters, guess, tuple(hints))
        texts = data()
        if word == self._goal:
            self._belief = 1 << guess
            return str(texts["answers"]["found"])
        names = texts["marks"]
        marked = " ".join(
            f"{letter} {names[-1 if hint is None else hint]}"
            for letter, hint in zip(word, hints)
        )
        if not self._is_framed:
            return marked
        lead, tail = self._draw(texts["leads"], texts["tails"])
        return f"{lead} {marked}. {tail}".strip()

    def _refusal(self, word: str | None) -> str:
        """Return what is said of a reply that is no word of the list."""
        answers = data()["answers"]
        if word is None:
            return str(answers["unread"])
        if len(word) != self.num_letters:
            return str(answers["length"].format(letters=self.num_letters))
        return str(answers["unknown"])


_HINTS: Mapping[str, int | None] = {"no": 0, "near": 1, "yes": 2, "told": None}


def read_word(text: str) -> str | None:
    """Return the one word that `text` spells, of whatever length, or None.

    Two words are no guess, even if they are equal.

    >>> read_word("I guess H O U S E."), read_word("Maybe house?"), read_word("h-o-u-s-e")
    ('house', 'house', 'house')
    >>> read_word("house mouse"), read_word("hou se"), read_word("house 1"), read_word("")
    (None, None, None, None)
    """
    core = _courtesy().core(text)
    if core is None:
        return None
    if len(core) == 1 or all(len(part) == 1 for part in core):
        return "".join(core)
    return None


@functools.lru_cache(_CACHED_HINTS)
def _consistent(num_letters: int, guess: int, hints: tuple[int | None, ...]) -> int:
    """Return the words that give these hints to a guess; None leaves a mark open."""
    answers = [0]
    for place, hint in enumerate(hints):
        marks = (0, 1, 2) if hint is None else (hint,)
        answers = [a + mark * 3**place for a in answers for mark in marks]
    words = game(num_letters)
    belief = 0
    for answer in answers:
        belief |= words.after(words.everything, guess, answer)
    return belief


@functools.cache
def _courtesy() -> Courtesy:
    return Courtesy(data()["beginnings"], data()["endings"])


@functools.cache
def _index(num_letters: int) -> Mapping[str, int]:
    return {word: i for i, word in enumerate(word_list(num_letters))}


make_vector = vector_entry_point(Wordle)
