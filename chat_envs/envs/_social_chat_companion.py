"""Scripted policies of `SocialChat`: an expert, and four that lack something.

They know the conversation and the words of the language, not what is on the user's mind.
"""

from __future__ import annotations

from chat_envs.envs._social_chat_language import Language, data
from chat_envs.envs._social_chat_partner import REMEMBERED_REPLIES
from chat_envs.message import Conversation, Role

__all__ = ["Companion"]


class Companion:
    """Replies by script.

    Args:
        words: the language of the tier.

    >>> from chat_envs.envs._social_chat_language import language
    >>> from chat_envs.message import system, user
    >>> talk = Conversation.of(system("Chat."), user("I cried with my dog."))
    >>> Companion(language("easy", "train")).expert(talk)
    'You are sad. Your dog?'
    """

    def __init__(self, words: Language) -> None:
        self._words = words
        self._emotion_of = {
            words.reader.words(cue): emotion
            for emotion, cues in words.cues.items()
            for cue in cues
        }
        self._cue_lengths = sorted({len(cue) for cue in self._emotion_of})

    def expert(self, conversation: Conversation) -> str:
        """Return a reply that names the emotion and asks about the thing."""
        parts = (self.validation(conversation), self.question(conversation))
        return " ".join([part for part in parts if part])

    def validation(self, conversation: Conversation) -> str:
        """Return a sentence that names the emotion, in other words than lately; "" for none."""
        emotion = self.emotion(conversation)
        if not emotion:
            return ""
        lately = set().union(*self._replies(conversation)[-REMEMBERED_REPLIES:])
        names = self._words.names[emotion]
        name = next((name for name in names if name not in lately), names[0])
        return f"You are {name}."

    def question(self, conversation: Conversation) -> str:
        """Return a question about the thing, one that was not asked yet; "" for no thing."""
        thing = self.thing(conversation)
        if not thing:
            return ""
        asked: set[str] = set()
        for words in self._replies(conversation):
            if thing in words:
                asked.update(self._words.aspects_of(words))
        aspects = self._words.aspects
        aspect = next((name for name in aspects if name not in asked), "")
        aspect = aspect or next(iter(aspects), "")
        form: str = aspects[aspect]["question"] if aspect else "Your {thing}?"
        return form.format(thing=thing)

    def generic(self, conversation: Conversation) -> str:
        """Return a friendly sentence that fits everywhere."""
        texts = data()["generic"]
        return str(texts[len(self._replies(conversation)) % len(texts)])

    def praise(self, conversation: Conversation) -> str:
        """Return praise and nothing else."""
        texts = data()["spam"]
        return str(texts[len(self._replies(conversation)) % len(texts)])

    def emotion(self, conversation: Conversation) -> str:
        """Return the emotion of the user's last words: the last cue counts."""
        words = self._heard(conversation)
        for start in range(len(words) - 1, -1, -1):
            for length in self._cue_lengths:
                emotion = self._emotion_of.get(words[start : start + length])
                if emotion is not None:
                    return emotion
        return ""

    def thing(self, conversation: Conversation) -> str:
        """Return the thing that the user spoke of last."""
        thing_of = self._words.thing_of
        words = reversed(self._heard(conversation))
        return next((thing_of[word] for word in words if word in thing_of), "")

    def _heard(self, conversation: Conversation) -> tuple[str, ...]:
        message = conversation.last(Role.USER)
        return self._words.reader.words(message.content) if message else ()

    def _replies(self, conversation: Conversation) -> list[frozenset[str]]:
        """Return the words of each of one's own replies."""
        read = self._words.reader.words
        return [
            frozenset(read(message.content))
            for message in conversation
            if message.role is Role.ASSISTANT
        ]
