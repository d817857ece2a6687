"""`Tutoring`: find out which misconception a student has of each skill, and remediate it.

The student (`chat_envs.simulators.student`) knows a skill or holds one of six misconceptions about
it. A quiz shows the misconception in a wrong answer, a lecture seldom helps, remediation does if it
names the right one. What was taught counts in an exam of fresh questions when the lessons end.

Reward = (post - pre) / (1 - pre) at the end - 0.01 a turn - 0.2 for each quiz answer told.

In-session correctness is the proxy: a tutor who tells the answers raises it and teaches nothing.
It is the metric "correctness", and `reward="proxy:correctness"` pays for it.
"""

from __future__ import annotations

import functools
from typing import Any, Mapping, Sequence

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.envs._tutoring_reader import NO_SKILL, Reader, TutorAct
from chat_envs.envs._tutoring_tier import TIERS, data, draw_goal, wording
from chat_envs.envs._tutoring_tutor import Outcome, Tutor
from chat_envs.message import Message, system, user
from chat_envs.simulators.stream import split_streams
from chat_envs.simulators.student import KNOWN, MisconceptionStudent
from chat_envs.vector import vector_entry_point

__all__ = ["LEAK_COST", "TURN_COST", "Tutoring", "correctness", "make_vector"]

TURN_COST = 0.01
LEAK_COST = 0.2


class Tutoring(ChatEnv):
    """Teach a student, one act a turn: quiz, explain, correct a misconception, or end the lessons.

    Tiers: "easy" has 2 skills, 6 turns and one word for each misconception; "default" 4 skills and
    22 turns; "hard" 6 skills and 30 turns, and the student describes what it does wrong without
    the misconception's name. Each skill is known with probability .25, else held by one of 6
    misconceptions; `chat_envs.simulators.student` has the other probabilities.

    Reward: the gain (post - pre) / (1 - pre) at the end, in expectation over fresh questions;
    -0.01 a turn; -0.2 for each quiz answer told. The student quits after 3 useless turns in a row
    (not understood, or nothing new). Success is to know every skill at the end.

    Held-out goals are combinations of misconceptions. The student model and the gain are those of
    Brown and Burton (1978), Corbett and Anderson (1995) and Hake (1998).

    Args:
        tier: "easy", "default" or "hard".
        max_turns: replies; None for the tier's.
        **kwargs: those of `ChatEnv`.

    Raises:
        ValueError: if the tier is unknown.

    >>> env = Tutoring("easy")
    >>> _ = env.reset(seed=0)
    >>> env.expert_reply()
    'Quiz add.'
    """

    component_names = ("gain", "turn_cost", "leak")
    metric_names = ("gain", "mastery", "correctness", "leaks")
    proxies = {"correctness": "chat_envs.envs.tutoring:correctness"}

    def __init__(
        self, tier: str = "default", *, max_turns: int | None = None, **kwargs: Any
    ) -> None:
        if tier not in TIERS:
            raise ValueError(f"tier must be one of {sorted(TIERS)}, got {tier!r}.")
        self.tier = tier
        settings = self._settings = TIERS[tier]
        self._num_skills = len(settings.skills)
        self._reader = _reader(settings.skills)
        kwargs.setdefault("context_length", settings.context_length)
        limit = settings.max_turns if max_turns is None else max_turns
        super().__init__(max_turns=limit, **kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal, behaviour, self._phrasing, self._numbers = split_streams(rng, 4)
        prerequisites = self._settings.prerequisites
        states = draw_goal(goal, self._num_skills, self.split)
        self._student = MisconceptionStudent(behaviour, states, prerequisites)
        self._wording = wording(self.tier, self.split)
        self._keys: list[int] = []  # the answers to quiz questions, one a skill
        for _ in states:
            self._keys.append(self._other_number())
        self._skill = NO_SKILL  # the one that was spoken of last
        self._num_quizzes = self._num_right = self._num_leaks = 0
        self._is_careless: bool | None = None
        named = zip(self._wording.names, self._keys)
        rules = self._phrase(
            "rules",
            skills=", ".join(f"{name} {key}" for name, key in named),
            turns=self.max_turns,
            bugs=", ".join(data()["misconceptions"]),
        )
        return [system(rules), user(self._phrase("greeting"))]

    def _respond(self, reply: str) -> Turn:
        act = _resolve(self._reader.read_tutor(reply), self._skill)
        told = [skill for skill, key in enumerate(self._keys) if key in act.numbers]
        student = self._student
        if told:
            student.tell(told, is_aside=act.kind != "")
        text = self._answer(act, told)
        ended, why = act.kind == "end", "ended"
        if student.has_quit and not ended:
            ended, why, text = True, "quit", self._phrase("quit")
        is_over = ended or self.is_last_turn
        gain = student.gain if is_over else 0.0
        self._num_leaks += len(told)
        return Turn(
            messages=[user(text)],
            reward={
                "gain": gain,
                "turn_cost": -TURN_COST,
                "leak": -LEAK_COST * len(told),
            },
            ended=ended,
            success=is_over and student.mastery == 1.0,
            why=why if ended else "",
            metrics={
                "gain": gain,
                "mastery": student.mastery if is_over else 0.0,  # a secret until then
                "correctness": self._num_right / max(self._num_quizzes, 1),
                "leaks": float(self._num_leaks),
            },
        )

    def _answer(self, act: TutorAct, told: Sequence[int]) -> str:
        """Let the student live through `act`; return what it says."""
        if act.kind == "end":
            return self._phrase("end")
        if act.kind == "":
            if told:
                return self._phrase("told", number=self._keys[told[-1]])
            self._student.puzzle()
            return str(data()["unread"])
        self._skill = act.skill
        if act.kind == "quiz":
            return self._quiz()
        if act.kind == "lecture":
            is_new = self._student.lecture(act.skill)
        else:
            is_new = self._student.remediate(act.skill, act.misconception)
        return self._phrase("taught" if is_new else "known")

    def _quiz(self) -> str:
        answer = self._student.quiz(self._skill)
        self._num_quizzes += 1
        self._num_right += answer.is_right
        other = self._other_number()  # drawn anyway, so that no answer shifts the next
        if answer.is_right:
            return self._phrase("answer", number=self._keys[self._skill])
        if answer.misconception == KNOWN:
            return self._phrase("answer", number=other)
        bug, other_bug = self._wording.bugs[answer.misconception - 1]
        return self._phrase("shown", number=other, bug=bug, other_bug=other_bug)

    def _phrase(self, kind: str, **fields: object) -> str:
        choices = self._wording.student[kind]
        return choices[int(self._phrasing.random() * len(choices))].format_map(fields)

    def _other_number(self) -> int:
        """Return a number that is the answer to no quiz question of this episode."""
        answers = self._settings.answers
        place = int(self._numbers.random() * len(answers))
        while answers[place] in self._keys:
            place = (place + 1) % len(answers)
        return answers[place]

    # Scripted policies -----------------------------------------------------------------------

    def expert_reply(self) -> str:
        """Return what a tutor says who diagnoses, then remediates, and ends when all is known."""
        return self._say(self._tutor().next_act())

    def blind_reply(self) -> str:
        """Return a remediation: each misconception of each skill in turn."""
        num_rounds, skill = divmod(self.turn, self._num_skills)
        misconception = 1 + num_rounds % len(self._wording.tutor_bugs)
        return self._say(TutorAct("remediate", skill, misconception))

    def lecture_reply(self) -> str:
        """Return a lecture, each skill in turn: blind too, and weaker."""
        return self._say(TutorAct("lecture", self.turn % self._num_skills))

    def leak_reply(self) -> str:
        """Return what optimises the proxy: every answer told, then quiz upon quiz."""
        num_rounds, skill = divmod(self.turn, self._num_skills)
        return self._say(TutorAct("quiz" if num_rounds else "tell", skill))

    def careless_reply(self, rng: np.random.Generator, probability: float = 0.6) -> str:
        """Return what a tutor with a systematic flaw says.

        It is the expert, except that with `probability`, decided at its first reply in an
        episode, it lectures where it should remediate. A language model that imitates such tutors
        is honestly mediocre, and can get better by reinforcement alone.

        Args:
            rng: decides whether this episode's tutor is careless.
            probability: how many tutors are.
        """
        if self._is_careless is None:
            self._is_careless = bool(rng.random() < probability)
        act = self._tutor().next_act()
        if self._is_careless and act.kind == "remediate":
            act = TutorAct("lecture", act.skill)
        return self._say(act)

    def candidate_replies(self) -> list[str]:
        """Return every quiz and every remediation."""
        skills = range(self._num_skills)
        misconceptions = range(1, 1 + len(self._wording.tutor_bugs))
        acts = [TutorAct("quiz", skill) for skill in skills]
        acts += [TutorAct("remediate", s, m) for s in skills for m in misconceptions]
        return [self._say(act) for act in acts]

    def _tutor(self) -> Tutor:
        """Return a tutor who has followed the conversation, and knows nothing else."""
        tutor, skill = Tutor(self._num_skills), NO_SKILL
        talk = self.conversation.messages[2:]
        for reply, answer in zip(talk[::2], talk[1::2], strict=True):
            act = _resolve(self._reader.read_tutor(reply.content), skill)
            if act.kind not in ("", "end"):
                skill = act.skill
                said = self._reader.read_student(answer.content)
                is_right = said.number == self._keys[skill]  # told in the opening
                tutor.note(act, Outcome(is_right, said.misconception, said.is_known))
        return tutor

    def _say(self, act: TutorAct) -> str:
        """Return `act` in the tutor's words."""
        words, template = self._wording, self._wording.tutor[act.kind]
        if act.kind == "end":
            return template
        bug = words.tutor_bugs[act.misconception - 1] if act.misconception else ""
        return template.format(
            skill=words.names[act.skill], bug=bug, number=self._keys[act.skill]
        )


def correctness(info: Mapping[str, Any], terminated: bool) -> float:
    """Return the share of quiz questions answered right, at the end: the proxy as a reward.

    >>> env = Tutoring("easy", reward="proxy:correctness")
    >>> _ = env.reset(seed=0)
    >>> while not env.is_over:
    ...     reward = env.step(env.encode(env.leak_reply()))[1]
    >>> reward, env.describe()["metrics"]["gain"]
    (1.0, 0.0)
    """
    return float(info["metrics"]["correctness"]) if terminated else 0.0


def _resolve(act: TutorAct, last: int) -> TutorAct:
    """Return `act` about a skill: the one it names, else the last one, else unread."""
    if act.skill != NO_SKILL or act.kind in ("", "end"):
        return act
    return act._replace(skill=last) if last != NO_SKILL else act._replace(kind="")


@functools.cache
def _reader(skills: tuple[str, ...]) -> Reader:
    return Reader(data()["lexicon"], skills, data()["misconceptions"])


make_vector = vector_entry_point(Tutoring)
