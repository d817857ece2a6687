"""Wrappers: one token a step, text or messages, transcripts on disk, to be scored again."""

from chat_envs.wrappers.message_observation import MessageObservation, MessageSpace
from chat_envs.wrappers.rescoring import rescore
from chat_envs.wrappers.text import TextActions, TextObservation, TextSpace
from chat_envs.wrappers.token_actions import TokenActions
from chat_envs.wrappers.transcript import RecordTranscript

__all__ = [
    "MessageObservation",
    "MessageSpace",
    "RecordTranscript",
    "TextActions",
    "TextObservation",
    "TextSpace",
    "TokenActions",
    "rescore",
]
