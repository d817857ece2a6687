"""`Mastermind`: find the user's code of colours; each guess is counted.

A guess is as many colours as the code has, in order. It is answered with how many are exact (right
in their place) and how many of the others are near (in the code at another place), each peg of the
code counted once. Every turn costs 1 but the solving one, so the return is minus the number of
wrong tries. What is no code gets a readable answer and costs the turn.

The expert plays Knuth's minimax strategy (1977, "The computer as Master Mind") and sees the
conversation alone. It finds every code of a tier within `PROMISED` guesses, and no policy can
promise fewer: `chat_envs.simulators.deduction.can_promise` searches them all.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import Any, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from chat_envs.data_file import load_json
from chat_envs.envs._code_breaking import CodeBreaking
from chat_envs.message import Conversation, Message, Role, system, user
from chat_envs.simulators.combination import draw_combination, is_held_out
from chat_envs.simulators.courtesy import Courtesy
from chat_envs.simulators.deduction import Deduction, minimax_choice
from chat_envs.simulators.stream import split_streams
from chat_envs.vector import vector_entry_point

__all__ = ["Mastermind", "PROMISED", "game", "make_vector", "read_code"]

_data = functools.partial(load_json, "mastermind.json")

# tier -> pegs, colours, turns, context length (long replies in every turn must not truncate).
_TIERS: Mapping[str, tuple[int, int, int, int]] = {
    "easy": (3, 4, 6, 384),
    "default": (3, 6, 7, 512),
    "hard": (4, 6, 8, 640),
}
PROMISED: Mapping[str, int] = {"easy": 4, "default": 5, "hard": 5}
"""The guesses that the best policy may need, by tier."""

_FEWEST_COLOURS = 4  # fewer could not hold out combinations of seen values
_MAX_CODES = 2401
_HELD_OUT_CODES = 4  # one code in so many is of the test split
_COUNTS = re.compile(r"\b(\d) exact (\d) near\b")


class Mastermind(CodeBreaking):
    """Mastermind (Meirowitz 1970): colours may repeat, answers are counts.

    Tiers: "easy" 3 pegs of 4 colours (64 codes) in 6 turns; "default" 3 pegs of 6 (216) in 7;
    "hard" the classic 4 pegs of 6 (1,296) in 8. Held-out goals are unseen combinations: every
    colour is seen in training at every peg.

    Reward: -1 a try, 0 for the solving one; "invalid" counts the replies that were no code.

    Args:
        tier: "easy", "default" or "hard".
        pegs: how many colours a code has; None for the tier's.
        colours: how many colours there are, 4 to 8; None for the tier's.
        max_turns: tries; None for the tier's.
        shaping: weight of the component "shaping", the gain in the potential
            1 - log2(candidates) / log2(codes), which is 0 at the start and by definition 0 at the
            end of an episode: each policy keeps its return (Ng et al. 1999, eq. 2, discount 1).
        **kwargs: those of `ChatEnv`.

    Raises:
        ValueError: if the tier is unknown or a number is out of range.
    """

    def __init__(
        self,
        tier: str = "default",
        *,
        pegs: int | None = None,
        colours: int | None = None,
        max_turns: int | None = None,
        shaping: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if tier not in _TIERS:
            raise ValueError(f"tier must be one of {sorted(_TIERS)}, got {tier!r}.")
        tier_pegs, tier_colours, turns, context_length = _TIERS[tier]
        self.tier = tier
        self.pegs = tier_pegs if pegs is None else pegs
        num_colours = tier_colours if colours is None else colours
        names = _data()["colours"]
        if not _FEWEST_COLOURS <= num_colours <= len(names):
            raise ValueError(
                f"colours must be from {_FEWEST_COLOURS} to {len(names)}, got {num_colours}."
            )
        if self.pegs < 2 or num_colours**self.pegs > _MAX_CODES:
            raise ValueError(
                f"pegs must be at least 2 and make at most {_MAX_CODES} codes, got {self.pegs} "
                f"of {num_colours} colours."
            )
        self.colours: tuple[str, ...] = tuple(names[:num_colours])
        self._game = game(self.pegs, num_colours)
        kwargs.setdefault("context_length", context_length)
        limit = turns if max_turns is None else max_turns
        super().__init__(shaping=shaping, max_turns=limit, **kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal, phrasing = split_streams(rng, 2)
        self._start(phrasing)
        num_colours = len(self.colours)
        self._goal = tuple(
            draw_combination(
                [goal.random() for _ in range(self.pegs)],
                [num_colours] * self.pegs,
                self.split,
                _HELD_OUT_CODES,
            )
        )
        texts = _data()
        rule, question = self._draw(texts["rules"], texts["questions"])
        rules = f"{rule} {texts['legends'][self.tier]}".format(
            pegs=self.pegs, turns=self.max_turns, colours=" ".join(self.colours)
        )
        return [system(rules), user(question)]

    def expert_reply(self) -> str:
        """Return the code whose likeliest answer leaves the fewest."""
        guess = minimax_choice(self._game, self.belief(self.conversation))
        return self._named(_codes(self.pegs, len(self.colours))[guess])

    def blind_reply(self) -> str:
        """Return a code, another one each turn: without answers all distinct ones are equal.

        As many of them are held out as goals are, so that they meet both splits alike.
        """
        order = _blind_order(self.pegs, len(self.colours))
        return self._named(order[self.turn % len(order)])

    def candidate_replies(self) -> list[str]:
        """Return the codes, the first hundred of them."""
        codes = _codes(self.pegs, len(self.colours))
        return [self._named(code) for code in codes[:100]]

    def belief(self, conversation: Conversation) -> int:
        """Return the codes that `conversation` leaves possible, a bit a code.

        It knows nothing but what was said. The split is not said: every code counts as possible.
        """
        belief = self._game.everything
        code = None
        for message in conversation:
            if message.role is Role.ASSISTANT:
                code = read_code(message.content)
            elif message.role is Role.USER and code is not None:
                counts = _COUNTS.search(message.content)
                if counts is not None and self._is_valid(code):
                    exact, near = int(counts[1]), int(counts[2])
                    answer = exact * (self.pegs + 1) + near
                    belief = self._game.after(belief, self._number(code), answer)
                code = None
        return belief

    def _guess_in(self, reply: str) -> tuple[int, ...] | None:
        return read_code(reply)

    def _is_valid(self, guess: Sequence[int]) -> bool:
        return len(guess) == self.pegs and max(guess) < len(self.colours)

    def _lost(self) -> str:
        return str(_data()["answers"]["lost"].format(code=self._named(self._goal)))

    def _answer(self, guess: Sequence[int]) -> str:
        number = self._number(guess)
        answer = int(self._game.answers[number, self._number(self._goal)])
        self._belief = self._game.after(self._belief, number, answer)
        texts = _data()
        if answer == self._game.winning:
            return str(texts["answers"]["found"])
        exact, near = divmod(answer, self.pegs + 1)
        counted = str(texts["answers"]["marked"].format(exact=exact, near=near))
        if self.tier == "easy":
            return counted
        lead, tail = self._draw(texts["leads"], texts["tails"])
        return f"{lead} {counted}. {tail}".strip()

    def _refusal(self, code: Sequence[int] | None) -> str:
        """Return what is said of a reply that is no code."""
        answers = _data()["answers"]
        if code is None:
            return str(answers["unread"])
        if len(code) != self.pegs:
            return str(answers["length"].format(pegs=self.pegs))
        return str(answers["unknown"])

    def _number(self, code: Sequence[int]) -> int:
        number = 0
        for colour in code:
            number = number * len(self.colours) + colour
        return number

    def _named(self, code: Sequence[int]) -> str:
        return " ".join([self.colours[colour] for colour in code])


def read_code(text: str) -> tuple[int, ...] | None:
    """Return the colours that `text` names, in order, as numbers; None if it says more.

    >>> read_code("I guess red, blue and RED"), read_code("red blue")
    ((0, 1, 0), (0, 1))
    >>> read_code("red or blue"), read_code("not red"), read_code("1 red"), read_code("")
    (None, None, None, None)
    """
    core = _courtesy().core(text)
    if core is None:
        return None
    meanings = _meanings()
    code: list[int] = []
    for word in core:
        colour = meanings.get(word)
        if colour is None:
            return None
        if colour >= 0:
            code.append(colour)
    return tuple(code) or None


@functools.cache
def game(pegs: int, num_colours: int) -> Deduction:
    """Return the game over all codes, in the order of `itertools.product`.

    An answer is exact * (pegs + 1) + near.
    """
    codes = np.array(_codes(pegs, num_colours), dtype=np.uint8)
    exact = np.zeros((len(codes), len(codes)), dtype=np.uint8)
    for peg in range(pegs):
        exact += codes[:, None, peg] == codes[None, :, peg]
    both = np.zeros_like(exact)  # exact or near: what two codes share, colour by colour
    for colour in range(num_colours):
        often: npt.NDArray[np.uint8] = (codes == colour).sum(axis=1, dtype=np.uint8)
        both += np.minimum(often[:, None], often[None, :])
    return Deduction(exact * np.uint8(pegs) + both)


@functools.cache
def _codes(pegs: int, num_colours: int) -> tuple[tuple[int, ...], ...]:
    return tuple(itertools.product(range(num_colours), repeat=pegs))


@functools.cache
def _blind_order(pegs: int, num_colours: int) -> tuple[tuple[int, ...], ...]:
    """Return all codes, the second of every four a held-out one while there are any."""
    order: list[tuple[int, ...]] = []
    codes = _codes(pegs, num_colours)
    held_out = [code for code in codes if is_held_out(code, _HELD_OUT_CODES)]
    others = [code for code in codes if not is_held_out(code, _HELD_OUT_CODES)]
    held_out.reverse()
    others.reverse()
    while held_out or others:
        is_second = len(order) % _HELD_OUT_CODES == 1
        pool = held_out if (held_out and is_second) or not others else others
        order.append(pool.pop())
    return tuple(order)


@functools.cache
def _courtesy() -> Courtesy:
    return Courtesy(_data()["beginnings"], _data()["endings"])


@functools.cache
def _meanings() -> Mapping[str, int]:
    """Return the number of every colour, and -1 for the words that may stand between them."""
    joints = dict.fromkeys(_data()["joints"], -1)
    return joints | {colour: i for i, colour in enumerate(_data()["colours"])}


make_vector = vector_entry_point(Mastermind)
