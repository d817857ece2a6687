"""Wrappers: one token a step, text in and text out, transcripts on disk."""

from chat_envs.wrappers.text import TextActions, TextObservation, TextSpace
from chat_envs.wrappers.token_actions import TokenActions
from chat_envs.wrappers.transcript import RecordTranscript

__all__ = [
    "RecordTranscript",
    "TextActions",
    "TextObservation",
    "TextSpace",
    "TokenActions",
]
