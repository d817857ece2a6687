"""Playing: nothing is lost, nothing is invented, and the order of the table does not matter."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import pytest

from agents.experience.dialogue import Reply, make_env, play, play_script, script_of
from chat_envs.vector import ChatVectorEnv
from tests.agents.toys import WORDS, Parrot, make_parrots, make_vector

RNG = np.random.default_rng(0)


def test_the_record_is_what_a_single_environment_lives_through() -> None:
    rollout = play_script(
        make_parrots(3, num_turns=3), range(10), script_of("expert", RNG)
    )
    for seed, episode in enumerate(rollout):
        env = Parrot(num_turns=3)
        env.reset(seed=seed)
        rewards = []
        for _ in range(3):
            _, reward, terminated, truncated, _ = env.step(
                env.encode(env.expert_reply())
            )
            rewards.append(reward)
        assert episode.seed == seed and episode.group == seed
        assert np.array_equal(episode.ids, env.context.ids)
        assert np.array_equal(episode.action_mask, env.context.action_mask.astype(bool))
        assert episode.rewards.tolist() == rewards
        assert (episode.terminated, episode.truncated) == (terminated, truncated)
        assert list(episode.messages) == [m.as_dict() for m in env.conversation]
        assert episode.success and episode.termination_reason == "done"
        assert episode.metrics == {"asked": 3.0}
        assert np.allclose(sum(episode.reward_components.values()), rewards)
        assert episode.reply_lengths.sum() == episode.action_mask.sum()


@pytest.mark.parametrize("num_envs", [1, 2, 7, 20])
def test_the_number_of_places_changes_nothing(num_envs: int) -> None:
    expected = play_script(make_parrots(10), range(10), script_of("expert", RNG))
    rollout = play_script(make_parrots(num_envs), range(10), script_of("expert", RNG))
    for a, b in zip(rollout, expected, strict=True):
        assert a.seed == b.seed and np.array_equal(a.ids, b.ids)
        assert a.rewards.tolist() == b.rewards.tolist()


def test_dialogues_of_different_lengths_keep_their_order() -> None:
    # A reply that fills the context early truncates; others go on.
    env = make_parrots(2, num_turns=6, context_length=28)
    turns = iter(range(1000))

    def uneven(chat: object) -> str:
        return "yes" if next(turns) % 3 else "blue red no"

    rollout = play_script(env, [5, 3, 9, 1, 7], uneven)
    assert [e.seed for e in rollout] == [5, 3, 9, 1, 7]
    assert any(e.truncated and not e.terminated for e in rollout)


def test_an_environment_that_rewrites_a_reply_is_caught() -> None:
    env = make_parrots(1)

    def rewritten(places: Sequence[int]) -> list[Reply]:
        # A control id that ends nothing: the environment drops it and closes the reply itself.
        ids = np.array([10, 2])
        return [Reply(ids, np.zeros(2, dtype=np.float32), False)]

    with pytest.raises(
        RuntimeError, match=r"does not continue with the reply \[10, 2\]"
    ):
        play(env, [0], [0], rewritten)


def test_scripts_by_name() -> None:
    env = Parrot()
    env.reset(seed=0)
    assert script_of("flawed", RNG)(env) == WORDS[0]
    assert script_of("blind", RNG)(env) == ""
    draws = [script_of("random", np.random.default_rng(3))(env) for _ in range(2)]
    assert draws[0] == draws[1]
    with pytest.raises(ValueError, match="'exprt'.*expert"):
        script_of("exprt", RNG)(env)


def test_a_method_that_asks_for_randomness_gets_it() -> None:
    class Moody(Parrot):
        def moody_reply(self, rng: np.random.Generator, share: float = 0.5) -> str:
            return self.word if rng.random() < share else "no"

    env = Moody()
    env.reset(seed=0)
    replies = [
        [script_of("moody", np.random.default_rng(s))(env) for s in range(20)]
        for _ in range(2)
    ]
    assert replies[0] == replies[1] and set(replies[0]) == {env.word, "no"}


def test_several_scripts_take_turns_by_episode() -> None:
    env = make_env("chat_envs/GuessNumber-easy-v0", 8)
    replies = {}
    for name in ("expert", "blind", "expert+blind+blind"):
        script = script_of(name, np.random.default_rng(4))
        rollout = play_script(env, range(90), script)
        replies[name] = [
            [m["content"] for m in episode.messages if m["role"] == "assistant"]
            for episode in rollout
        ]
    both = list(zip(replies["expert"], replies["blind"], strict=True))
    mixed = replies["expert+blind+blind"]
    assert all(said in pair for said, pair in zip(mixed, both, strict=True))
    told = [(said, *pair) for said, pair in zip(mixed, both) if pair[0] != pair[1]]
    share = sum(said == expert for said, expert, _ in told) / len(told)
    assert len(told) > 50 and 0.15 < share < 0.5


def test_environments_that_cannot_wait_are_refused() -> None:
    with pytest.raises(ValueError, match="autoreset_mode='NextStep'.*Disabled"):
        make_env(parrots_that_reset(), 2)
    with pytest.raises(TypeError, match="got Parrot"):
        make_env(Parrot(), 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\['max_turns'\]"):
        make_env(make_parrots(2), 2, max_turns=3)


def parrots_that_reset() -> ChatVectorEnv:
    return make_vector(2)
