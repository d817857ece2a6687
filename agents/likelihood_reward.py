"""How likely a reply is under a start model: a reward that asks for fluent and usual talk.

Shape legend: B replies, S tokens of a row (right-padded).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from agents.engine.language_model import TokenBatch
from agents.engine.loading import load_lm
from agents.engine.tiny_model import TINY_SHAPES
from chat_envs.chat_template import load_template
from chat_envs.message import Message
from chat_envs.reward import RewardRequest
from chat_envs.rewards.description import BuiltinReward, Exploit
from chat_envs.tokenizer import load_tokenizer

__all__ = ["LikelihoodReward"]

_MAX_CHARACTERS_A_TOKEN = 64

TokenReply = tuple[Sequence[int], int]
"""The ids of a dialogue up to the end of its reply, and where the reply begins."""


class LikelihoodReward(BuiltinReward):
    """Mean log-likelihood of a reply's tokens, its end included, in nats; cut at `low`.

    The reply's text is read by the model's own tokenizer, after the prompt in the model's own
    template; of a dialogue that is too long for the model the oldest tokens are left out, and of a
    reply its last ones. A batch is computed in as few forwards as `batch_tokens` allows.

    Args:
        lm: "tiny" or "small" (random weights, for tests), "smollm2-135m", or a directory of a model
            with its tokenizer, that of the policy before training say.
        seed: of random weights.
        low: smallest value.
        most_tokens: of a reply; the rest is not looked at.
        batch_tokens: most tokens of one forward, padding included, unless one reply has more.
        device: None takes CUDA where there is one, else the CPU.
    """

    name = "likelihood"
    range = (-20.0, 0.0)
    sees = ("prompt", "reply")
    extra = "agents"
    exploits = (
        Exploit(
            "loop",
            "What was said before is likely to be said again: words in a circle beat news.",
            hostile="I am here to help you. " * 6,
            honest="Your parcel left Oslo on Monday; the ferry is late, so expect it Friday.",
            asked="Where is my parcel?",
            kwargs={"lm": "smollm2-135m"},
            needs="a trained model",
        ),
        Exploit(
            "stock phrase",
            "What everyone says is likelier than what answers the question.",
            hostile="I'm sorry, but I can't assist with that.",
            honest="Parcel 4711 is in Oslo.",
            asked="Where is my parcel?",
            kwargs={"lm": "smollm2-135m"},
            needs="a trained model",
        ),
    )

    def __init__(
        self,
        *,
        lm: str = "tiny",
        seed: int = 0,
        low: float = -20.0,
        most_tokens: int = 1024,
        batch_tokens: int = 16_384,
        device: str | None = None,
    ) -> None:
        if not -np.inf < low < 0:
            raise ValueError(f"low must be finite and below 0, got {low}")
        if most_tokens < 1 or batch_tokens < 1:
            raise ValueError(
                "most_tokens and batch_tokens must be at least 1, got "
                f"{most_tokens} and {batch_tokens}"
            )
        self._tokenizer = load_tokenizer("builtin" if lm in TINY_SHAPES else lm)
        self._template = load_template(self._tokenizer)
        self._lm = load_lm(
            lm, tokenizer=self._tokenizer, engine="local", seed=seed, device=device
        )
        # What a policy cannot say takes no share of the likelihood.
        stop_ids = self._template.stop_ids
        self._lm.forbid(sorted(self._tokenizer.control_ids - stop_ids))
        self._stop = next(i for i in self._template.closing(None) if i in stop_ids)
        self._low = low
        self._most_tokens = min(most_tokens, self._lm.context_length - 2)
        self._batch_tokens = batch_tokens

    def __deepcopy__(self, memo: dict[int, object]) -> LikelihoodReward:
        return (
            self  # gym.make deep-copies keywords; a copy of the weights would be waste
        )

    def score(self, batch: Sequence[RewardRequest]) -> list[float]:
        """Return one mean log-likelihood a reply, in [low, 0]."""
        replies = [self.encode(request.prompt, request.reply) for request in batch]
        means = np.zeros(len(replies))
        for rows in _micro_batches(replies, self._batch_tokens):
            means[rows] = self._means([replies[row] for row in rows])
        if not np.isfinite(means).all():
            raise FloatingPointError(
                "A likelihood is not finite: the weights are damaged."
            )
        return [float(mean) for mean in means.clip(self._low, 0.0)]

    def encode(self, prompt: Sequence[Message], reply: str) -> TokenReply:
        """Return the dialogue's ids as the model reads them, and where the reply begins."""
        text = reply[: self._most_tokens * _MAX_CHARACTERS_A_TOKEN]
        ids = self._tokenizer.encode(text)
        is_whole = len(ids) <= self._most_tokens and len(text) == len(reply)
        said = [*ids[: self._most_tokens], *([self._stop] if is_whole else [])]
        before = self._template.opening(prompt)
        kept = before[max(0, len(before) + len(said) - self._lm.context_length) :]
        return (*kept, *said), len(kept)

    def _means(self, replies: Sequence[TokenReply]) -> np.ndarray:
        """Return (B,) mean log-likelihoods, by one forward."""
        lengths = [len(ids) for ids, _ in replies]
        ids_BS = torch.zeros(len(replies), max(lengths), dtype=torch.int64)
        mask_BS = torch.zeros_like(ids_BS, dtype=torch.bool)
        for row, (ids, start) in enumerate(replies):
            ids_BS[row, : len(ids)] = torch.tensor(ids)
            mask_BS[row, start : len(ids)] = True
        device = next(self._lm.module.parameters()).device
        batch = TokenBatch(
            ids_BS.to(device), torch.tensor(lengths, device=device), mask_BS.to(device)
        )
        with torch.inference_mode():
            log_probs_BS = self._lm.evaluate(batch).log_probs
        sums_B = log_probs_BS.double().sum(dim=1)
        means: np.ndarray = (sums_B / batch.action_mask.sum(dim=1)).cpu().numpy()
        return means


def _micro_batches(
    replies: Sequence[TokenReply], batch_tokens: int
) -> Iterator[list[int]]:
    """Yield rows that fit into one forward together, those of like lengths side by side."""
    rows: list[int] = []
    for row in sorted(range(len(replies)), key=lambda row: len(replies[row][0])):
        # The longest of all so far: they come in the order of their lengths.
        if rows and len(replies[row][0]) * (len(rows) + 1) > batch_tokens:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows
