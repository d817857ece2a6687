"""Speakers: whose words are said, and that the same seed says the same."""

from __future__ import annotations

from contextlib import ExitStack

from agents.experience.dialogue import make_env
from agents.experience.speaker import ModelPolicy, make_speakers
from chat_envs.vector import ChatVectorEnv
from tests.agents.toys import make_lm

SOCIAL = "chat_envs/SocialChat-easy-v0"


def make_table(num_envs: int = 6) -> ChatVectorEnv:
    table = make_env(SOCIAL, num_envs)
    for place, env in enumerate(table.envs):
        env.reset(seed=place)
    return table


def say(name: str | ModelPolicy, table: ChatVectorEnv, seed: int = 0) -> list[str]:
    """Return what a policy says at every place in turn, three times over."""
    with ExitStack() as stack:
        (speaker,) = make_speakers([name], table, seed, stack)
        said = []
        for _ in range(3):
            for place, action in enumerate(speaker(range(len(table.envs)))):
                said.append(table.envs[place].decode(action))
    return said


def test_a_script_says_its_replies() -> None:
    table = make_table()
    assert say("expert", table)[:6] == [env.expert_reply() for env in table.envs]


def test_a_mixture_is_one_of_its_parts_throughout_a_dialogue() -> None:
    table = make_table(24)
    with ExitStack() as stack:
        (speaker,) = make_speakers(["expert+blind"], table, 0, stack)
        places = range(24)
        first = [table.envs[i].decode(a) for i, a in zip(places, speaker(places))]
        is_expert = [
            said == env.expert_reply()
            for said, env in zip(first, table.envs, strict=True)
        ]
        assert 4 < sum(is_expert) < 20
        for env in table.envs:
            env.step(env.encode("Well."))
        for place, action in zip(places, speaker(places), strict=True):
            env = table.envs[place]
            said = env.decode(action)
            own = env.expert_reply() if is_expert[place] else env.blind_reply()
            assert said == own


def test_misplaced_replies_are_the_experts_of_other_contexts() -> None:
    table = make_table()
    experts = [env.expert_reply() for env in table.envs]
    said = say("misplaced", table)
    assert set(said) <= set(experts)
    assert sum(a != b for a, b in zip(said[6:], experts * 2)) > 4


def test_an_edited_reply_differs_in_one_word_of_another_reply() -> None:
    table = make_table()
    experts = [env.expert_reply() for env in table.envs]
    words = {word for reply in experts for word in reply.split()}
    num_changed = 0
    for said, reply in zip(say("edited", table), experts * 3, strict=True):
        changed = [
            (a, b) for a, b in zip(said.split(), reply.split(), strict=True) if a != b
        ]
        assert len(changed) <= 1 and all(a in words for a, _ in changed)
        num_changed += len(changed)
    assert num_changed > 3


def test_the_seed_decides() -> None:
    table = make_table()
    for name in ("misplaced", "edited", "guess+random"):
        assert say(name, table, seed=1) == say(name, table, seed=1)
        assert say(name, table, seed=1) != say(name, table, seed=2)


def test_a_model_speaks_at_its_temperature() -> None:
    table, lm = make_table(), make_lm()
    cold, hot = (ModelPolicy(lm, temperature) for temperature in (1e-4, 2.0))
    # Next to 0 whatever is drawn is the likeliest.
    assert say(cold, table, seed=1) == say(cold, table, seed=2)
    assert say(hot, table, seed=1) != say(hot, table, seed=2)
    assert say(hot, table, seed=1) == say(hot, table, seed=1)
