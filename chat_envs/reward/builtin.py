"""The built-in rewards by id: where each is found, so that none is imported before it is used."""

from __future__ import annotations

from typing import Mapping

__all__ = ["BUILTIN"]

BUILTIN: Mapping[str, str] = {
    "exact_match": "chat_envs.rewards.exact_match:ExactMatch",
    "json_format": "chat_envs.rewards.json_format:JSONFormat",
    "length_band": "chat_envs.rewards.length_band:LengthBand",
    "llm_judge": "chat_envs.rewards.llm_judge:LLMJudge",
    "overlap": "chat_envs.rewards.overlap:Overlap",
    "politeness": "chat_envs.rewards.politeness:Politeness",
    "profanity": "chat_envs.rewards.profanity:Profanity",
    "readability": "chat_envs.rewards.readability:Readability",
    "regex_match": "chat_envs.rewards.regex_match:RegexMatch",
    "repetition": "chat_envs.rewards.repetition:Repetition",
    "sentiment": "chat_envs.rewards.sentiment:Sentiment",
    "similarity": "chat_envs.rewards.similarity:Similarity",
}
"""Id -> "module:Class". Each class is a `chat_envs.rewards.description.BuiltinReward`."""
