"""The built-in tokenizer's training: a BPE on what is said in the suite's own environments.

The corpus is expert dialogues of every environment. They are played with a tokenizer of single
bytes and in contexts without limit, so the result does not depend on the tokenizer of now.

Words of the easy tiers should be one token each, above all the slot values: copying a value out
of the context is what a small model finds hardest. So easy tiers weigh more, and each of their
words, a rare one too, gets a weight of its own. Measured: with a `WORD_WEIGHT` of 800 two names
were left in pieces, with 1,600 none; more of it makes the dialogues of the default tiers longer.
"""

from __future__ import annotations

import re
import string
from typing import Iterable, Mapping

from chat_envs.core import SPLITS
from chat_envs.registration import Registration, registrations
from chat_envs.replier import make_replier, play
from chat_envs.tokenizer import BuiltinTokenizer, Tokenizer, train_tokenizer

__all__ = ["collect", "collect_corpus", "split_words", "train"]

NUM_EPISODES = 60
EASY_WEIGHT = 4
WORD_WEIGHT = 2000
_OWN = "chat_envs.envs."
_NUM_BYTES_ALONE = 261  # entries: 256 bytes and 5 control tokens
_CONTEXT_LENGTH = 65536
_REPLY_LENGTH = 2048
_WORD = re.compile(r"[^\W\d_]+")


def collect(registration: Registration, num_episodes: int = NUM_EPISODES) -> list[str]:
    """Return what is said in expert dialogues of one environment, in both splits.

    Args:
        registration: the environment.
        num_episodes: dialogues of each split, with seeds 0, 1, ...
    """
    make = registration.load()
    bytes_alone: Tokenizer = train_tokenizer([], num_entries=_NUM_BYTES_ALONE)
    expert = make_replier("expert")
    texts: list[str] = []
    for split in SPLITS:
        keywords = dict(registration.kwargs) | {
            "tokenizer": bytes_alone,
            "context_length": _CONTEXT_LENGTH,
            "reply_length": _REPLY_LENGTH,
            "split": split,
        }
        env = make(**keywords)
        for seed in range(num_episodes):
            texts += [message.content for message in play(env, expert, seed).messages]
    return texts


def collect_corpus() -> dict[str, list[str]]:
    """Return what is said in each of the suite's own environments, by id; not in plugins."""
    return {
        registration.id: collect(registration)
        for registration in registrations()
        if registration.entry_point.startswith(_OWN)
    }


def train(
    corpus: Mapping[str, Iterable[str]], easy_ids: Iterable[str]
) -> BuiltinTokenizer:
    """Return the tokenizer of a corpus, the same one each time.

    Args:
        corpus: texts by id.
        easy_ids: those of them that weigh more.

    >>> tokenizer = train({"a": ["hello there"], "b": ["good day"]}, easy_ids=["a"])
    >>> [len(tokenizer.encode(word)) for word in ("hello", "there")]
    [1, 1]
    """
    easy = frozenset(easy_ids)
    # Before all words: a digit is one token, with the space before it too.
    texts = [" ".join(string.digits)] * (10 * WORD_WEIGHT)
    for env_id, said in corpus.items():
        said = list(said)
        texts += said * (EASY_WEIGHT if env_id in easy else 1)
        if env_id in easy:
            texts += [" ".join(_words(said))] * WORD_WEIGHT
    return train_tokenizer(texts)


def split_words(
    tokenizer: Tokenizer, texts: Iterable[str]
) -> tuple[list[str], list[str]]:
    """Return the distinct words of `texts` that are one token, and those that are several."""
    whole: list[str] = []
    pieces: list[str] = []
    for word in _words(texts):
        (whole if len(tokenizer.encode(word)) == 1 else pieces).append(word)
    return whole, pieces


def _words(texts: Iterable[str]) -> list[str]:
    return sorted({word for text in texts for word in _WORD.findall(text)})
