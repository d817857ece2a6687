"""A speech recogniser between what is said and what is heard: words, and how sure it is of them.

The three errors of recognition are those that the word error rate counts: (substitutions +
deletions + insertions) / words said. A substituted word becomes one that sounds like it. The share
of each error is fixed, and the rate differs from one utterance to the next, as it does in a
house: most are clear, a few are lost in noise (compare Thomson et al. 2012, "N-best error
simulation for training spoken dialogue systems", IEEE SLT, whose confidences vary alike).
"""

from __future__ import annotations

from typing import Mapping, NamedTuple, Sequence

from chat_envs.simulators.stream import Uniform

__all__ = ["Hearing", "SpeechChannel"]


class Hearing(NamedTuple):
    """What is heard of one utterance.

    Attributes:
        words: the words, right or wrong; there may be none.
        confidence: the probability with which each word of the utterance was to be heard right.
        num_errors: substitutions, deletions and insertions that happened; the listener is not
            told.
    """

    words: tuple[str, ...]
    confidence: float
    num_errors: int


class SpeechChannel:
    """Mishears words at random. It keeps no state, so one channel serves many episodes.

    An utterance's own error rate is u^(1/w - 1) for a uniform u, which has the mean w. So the
    confidence, one minus that rate, is calibrated by construction: of the words heard with
    confidence c a share c is right. With w = 0.15, half of all utterances have a rate below .02 and
    one in ten has one above .55.

    Args:
        similar: word -> words that sound like it, each as likely as the others.
        fillers: at least one noise word: what is inserted, and what a word without an entry in
            `similar` becomes.
        word_error_rate: the mean rate w.
        substitution: share of the errors; with the two others it makes 1.
        deletion: share of the errors.
        insertion: share of the errors; the noise word comes after a word heard right.

    Raises:
        ValueError: if the rate is no probability, the shares are not three that sum to 1, no
            filler is given, or a word sounds like nothing or like itself.

    >>> from chat_envs.simulators.stream import Stream
    >>> channel = SpeechChannel({"fifteen": ("fifty",)}, ["uh"], word_error_rate=0.5)
    >>> channel.hear(["timer", "fifteen"], Stream([0.6, 0.9, 0.2, 0.0, 0.5]))
    Hearing(words=('timer', 'fifty'), confidence=0.4, num_errors=1)
    """

    def __init__(
        self,
        similar: Mapping[str, Sequence[str]],
        fillers: Sequence[str],
        word_error_rate: float = 0.15,
        *,
        substitution: float = 0.60,
        deletion: float = 0.25,
        insertion: float = 0.15,
    ) -> None:
        if not 0.0 <= word_error_rate <= 1.0:
            raise ValueError(
                f"word_error_rate must be a probability, not {word_error_rate}."
            )
        shares = (substitution, deletion, insertion)
        if min(shares) < 0.0 or abs(sum(shares) - 1.0) > 1e-9:
            raise ValueError(
                f"substitution, deletion and insertion must be shares that sum to 1, not {shares}."
            )
        if not fillers:
            raise ValueError("fillers must have at least one noise word, such as 'uh'.")
        for word, others in similar.items():
            if not others or word in others:
                raise ValueError(
                    f"{word!r} sounds like {list(others)}; give it words other than itself."
                )
        self.word_error_rate = word_error_rate
        self._similar = {word: tuple(others) for word, others in similar.items()}
        self._fillers = tuple(fillers)
        self._exponent = 1.0 / word_error_rate - 1.0 if word_error_rate else 0.0
        self._substitution = substitution
        self._deletion = substitution + deletion

    def hear(self, words: Sequence[str], rng: Uniform) -> Hearing:
        """Return what is heard of `words`.

        Args:
            words: what is said.
            rng: the channel's own stream, so that noise leaves goal and phrasing intact.
        """
        if not self.word_error_rate:
            return Hearing(tuple(words), 1.0, 0)
        rate = rng.random() ** self._exponent
        heard: list[str] = []
        num_errors = 0
        for word in words:
            draw = rng.random()
            if draw >= rate:
                heard.append(word)
                continue
            num_errors += 1
            share = draw / rate  # the draw, rescaled, is uniform again
            if share < self._substitution:
                heard.append(_pick(self._similar.get(word, self._fillers), rng))
            elif share >= self._deletion:
                heard += (word, _pick(self._fillers, rng))
        return Hearing(tuple(heard), 1.0 - rate, num_errors)


def _pick(words: Sequence[str], rng: Uniform) -> str:
    return words[int(rng.random() * len(words))]
