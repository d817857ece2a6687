"""`Preference`: one prompt, one reply, and a reward model's opinion of it.

The third step of the usual pipeline, after imitation and reward modelling (Ouyang et al. 2022,
arXiv:2203.02155). Prompts come from the shipped sample, from a file of JSON lines, or from a
directory that `datasets` saved. The reward is how likely a Bradley-Terry model finds the reply
better than one at its threshold (`chat_envs.simulators.preference_model`), in (0, 1). Any other
scorer takes its place by the keyword `reward`: a function, an id or "package.module:name".

The shipped model was trained on pairs of the shipped sample and knows nothing else, so for prompts
of your own bring a reward. It is a model, not the truth: for the sample the rule that labelled its
pairs (`chat_envs.simulators.preference_gold`) is reported as the metric "gold".
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.data_file import load_json
from chat_envs.message import Message, Role, system, user
from chat_envs.record_file import report_broken
from chat_envs.simulators.preference_gold import load_catalogue
from chat_envs.simulators.preference_model import load_model
from chat_envs.simulators.prompt_source import Prompt, read_prompts
from chat_envs.simulators.stream import Stream, split_streams
from chat_envs.vector import vector_entry_point

__all__ = ["Preference", "make_vector"]

_data = functools.partial(load_json, "preference.json")

_PREFERRED = 0.5


class Preference(ChatEnv):
    """Reply to one prompt. There is one tier.

    Held-out prompts of the sample are unseen combinations of a topic, a greeting, a core and an
    ending; of a file, the last of every ten. `success` is a reward of the default scorer of at
    least one half, whatever scorer is plugged in.

    Args:
        prompts: path of a file of JSON lines or of a directory saved by `datasets`; None for the
            shipped sample.
        prompt_field: the field that holds a prompt: a text, or a list of messages.
        on_broken: what a line that is no prompt, or too long for the context, does: "stop" raises
            and names file and line, "skip" leaves it out with a warning in the log.
        instruction: system text before each prompt; "{turns}" is the turn limit. None for the
            sample's own, and for no system text before prompts of a file.
        **kwargs: those of `ChatEnv`; `max_turns` is 1.

    Raises:
        ValueError, FileNotFoundError, ImportError: see `read_prompts`; or there is more than one
            turn.
    """

    metric_names = ("gold", "logit")

    def __init__(
        self,
        prompts: str | None = None,
        *,
        prompt_field: str = "prompt",
        on_broken: str = "stop",
        instruction: str | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.setdefault("max_turns", 1) != 1:
            raise ValueError(
                f"Preference has one turn, got max_turns={kwargs['max_turns']}."
            )
        self._path = prompts
        self._field = prompt_field
        self._on_broken = on_broken
        self._instruction = instruction
        self._prompts: tuple[Prompt, ...] | None = None
        self._data = _data()
        self._catalogue = load_catalogue()
        self.model = load_model()
        super().__init__(**kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal, phrasing, voice = split_streams(rng, 3)
        self._voice = [voice.random(), voice.random()]
        if self._path is None:
            self._topic, text = self._catalogue.draw_prompt(goal, self.split)
            rules = self._data["rules"][self.split]
            rule = rules[int(phrasing.random() * len(rules))]
            self._text = text
            return [self._system(rule), user(text)]
        if self._prompts is None:
            self._prompts = self._fitting(self._path)
        prompt = self._prompts[int(goal.random() * len(self._prompts))]
        self._topic = ""
        self._text = prompt.messages[-1].content
        return self._with_instruction(prompt)

    def _fitting(self, path: str) -> tuple[Prompt, ...]:
        """Return the prompts that leave room for a reply; the others are broken."""
        fitting = []
        for prompt in read_prompts(
            path, self.split, field=self._field, on_broken=self._on_broken
        ):
            ids = self.template.opening(self._with_instruction(prompt))
            needed = len(ids) + self._reply_room
            if needed <= self.context_length:
                fitting.append(prompt)
                continue
            report_broken(
                prompt.source,
                f"the prompt and a reply need a context_length of {needed}, not "
                f"{self.context_length}.",
                self._on_broken,
            )
        if not fitting:
            raise ValueError(
                f"No prompt of {path} fits into a context_length of {self.context_length}."
            )
        return tuple(fitting)

    def _with_instruction(self, prompt: Prompt) -> list[Message]:
        if self._instruction is None:
            return list(prompt.messages)
        return [self._system(self._instruction), *prompt.messages]

    def _system(self, rule: str) -> Message:
        if self._instruction is not None:
            rule = self._instruction
        return system(rule.replace("{turns}", str(self.max_turns)))

    def _respond(self, reply: str) -> Turn:
        logit = self.model.logit(self._text, reply)
        probability = self.model.as_probability(logit)
        gold = self._catalogue.gold(self._topic, reply) if self._topic else 0.0
        return Turn(
            messages=[user(self._data["done"])] if self._path is None else [],
            reward=probability,
            ended=True,
            success=probability >= _PREFERRED,
            why="scored",
            metrics={"gold": gold, "logit": logit},
        )

    def expert_reply(self) -> str:
        """Return a reply with gold 1 to a prompt about a known topic, else a question."""
        said = self.conversation.last(Role.USER)
        topic = None if said is None else self._catalogue.topic_of(said.content)
        if topic is None:
            return "What do you need?"
        voice = Stream(
            [*self._voice, 0.0]
        )  # the same reply however often it is asked for
        return self._catalogue.draw_good_reply(topic, voice, "train")

    def blind_reply(self) -> str:
        """Return a good reply to a prompt about one topic: none is likelier."""
        return "It likes fish."

    def candidate_replies(self) -> list[str]:
        """Return every word that helps with some topic."""
        return list(self._catalogue.owners)


make_vector = vector_entry_point(Preference)
