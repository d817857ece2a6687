"""How the easiest tier of every environment is begun and how long it is learned from.

One table for all that trains `tiny` on the whole suite: which script it imitates first says what is
left to learn, so results that shall be compared must begin alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["IMITATION", "SETTINGS", "Setting"]

IMITATION: Mapping[str, float] = {"num_episodes": 32, "learning_rate": 3e-3}
"""What all imitations share."""


@dataclass(frozen=True)
class Setting:
    """How one environment is learned.

    Attributes:
        total_timesteps: turns of PPO.
        num_steps: optimizer steps of the imitation.
        script: who is imitated.
        num_eval_episodes: held-out dialogues of an evaluation.
        total_tokens: reply tokens that a run of the suite runner may generate: where PPO has
            nearly stopped to rise, so that algorithms which learn in fewer tokens stand out.
    """

    total_timesteps: int
    num_steps: int
    script: str = "expert"
    num_eval_episodes: int = 200
    total_tokens: int = 50_000


SETTINGS: Mapping[str, Setting] = {
    "CustomerService-easy-v0": Setting(9_000, 200, "careless", total_tokens=25_000),
    "VoiceAssistant-easy-v0": Setting(6_000, 150, "expert+never_ask+blind"),
    "SocialChat-easy-v0": Setting(
        9_000, 150, "expert+generic+question", total_tokens=30_000
    ),
    "Tutoring-easy-v0": Setting(16_000, 200, "careless", total_tokens=33_000),
    "Negotiation-easy-v0": Setting(9_000, 150, "expert+blind", total_tokens=28_000),
    "TwentyQuestions-easy-v0": Setting(
        12_000, 250, "expert+blind", total_tokens=70_000
    ),
    "GuessPlace-easy-v0": Setting(9_000, 200, "expert+blind", total_tokens=46_000),
    "GuessNumber-easy-v0": Setting(8_000, 150, "expert+blind", total_tokens=16_000),
    "Wordle-easy-v0": Setting(12_000, 200, "expert+blind", total_tokens=48_000),
    "Mastermind-easy-v0": Setting(12_000, 250, "expert+blind", total_tokens=48_000),
    "Preference-v0": Setting(6_000, 150, "expert+blind", total_tokens=30_000),
    "Echo-easy-v0": Setting(4_000, 100, "expert+blind", total_tokens=18_000),
    "CopyBack-easy-v0": Setting(4_000, 100, "expert+blind", total_tokens=25_000),
    # Of an expert a model would learn which word is right: it begins with the words alone.
    "KeywordBandit-v0": Setting(4_000, 100, "guess", total_tokens=16_000),
    "Umbrella-easy-v0": Setting(8_000, 100, "guess", total_tokens=16_000),
    "Passphrase-easy-v0": Setting(8_000, 100, "guess", total_tokens=16_000),
    "Recall-easy-v0": Setting(6_000, 100, "expert+guess", total_tokens=12_000),
    "RecallMany-easy-v0": Setting(6_000, 100, "expert+guess", total_tokens=12_000),
    "Paraphrase-easy-v0": Setting(4_000, 100, "expert+blind", total_tokens=12_000),
    "ProxyFlaw-easy-v0": Setting(4_000, 100, "expert+blind", total_tokens=16_000),
    "Drift-easy-v0": Setting(4_000, 100, "expert+blind", total_tokens=15_000),
}
"""The easiest tier of every environment, by id without its namespace."""
