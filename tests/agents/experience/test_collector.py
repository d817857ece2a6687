"""The collector: reproducible, grouped, and honest about what the sampler said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.engine.language_model import Sampling
from agents.engine.loading import load_lm
from agents.engine.local import LocalLM
from agents.experience.collector import Collector
from agents.experience.rollout import Rollout, gather_actions
from agents.experience.seeding import episode_seed
from chat_envs.reward import RewardFunction, reward_function
from tests.agents.toys import make_lm, make_parrots

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    return make_lm()


def same(a: Rollout, b: Rollout) -> bool:
    return all(
        np.array_equal(x.ids, y.ids) and np.array_equal(x.log_probs, y.log_probs)
        for x, y in zip(a, b, strict=True)
    )


def test_an_iteration_is_a_function_of_seed_and_counter(lm: LocalLM) -> None:
    first = Collector(lm, make_parrots(4), group_size=2, seed=3)
    rollouts = [first.collect(8, iteration) for iteration in (0, 1)]
    # A fresh collector that never played iteration 0, with the global state disturbed.
    torch.manual_seed(99)
    np.random.seed(99)
    second = Collector(lm, make_parrots(4), group_size=2, seed=3)
    assert same(second.collect(8, 1), rollouts[1])
    assert not same(rollouts[0], rollouts[1])
    assert not same(
        Collector(lm, make_parrots(4), group_size=2, seed=4).collect(8, 1), rollouts[1]
    )


def test_the_global_random_state_is_left_alone(lm: LocalLM) -> None:
    before = torch.get_rng_state()
    Collector(lm, make_parrots(4)).collect(4, 0)
    assert torch.equal(before, torch.get_rng_state())


def test_a_group_shares_its_seed_and_its_prompt_but_not_its_replies(
    lm: LocalLM,
) -> None:
    rollout = Collector(lm, make_parrots(5), group_size=4, seed=1).collect(12, 2)
    assert [e.group for e in rollout] == [0] * 4 + [1] * 4 + [2] * 4
    assert [e.seed for e in rollout] == [
        episode_seed(1, 2, g) for g in range(3) for _ in range(4)
    ]
    for group in range(3):
        members = rollout.episodes[4 * group : 4 * group + 4]
        prompts = {e.messages[0]["content"] for e in members}
        assert len(prompts) == 1
        assert len({e.ids.tobytes() for e in members}) > 1


def test_a_group_of_one_has_the_seed_of_the_group_of_many(lm: LocalLM) -> None:
    collector = Collector(lm, make_parrots(4), group_size=4)
    many = collector.collect(8, 5)
    one = collector.collect(
        2, 5, sampling=replace(collector.sampling, is_greedy=True), group_size=1
    )
    assert [e.seed for e in one] == [many.episodes[0].seed, many.episodes[4].seed]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_samplers_log_probs_are_the_trainers(
    lm: LocalLM, temperature: float
) -> None:
    collector = Collector(lm, make_parrots(4, num_turns=3), temperature=temperature)
    rollout = collector.collect(8, 0)
    actions = rollout.actions(CPU)
    batch = rollout.token_batch(np.arange(8), CPU)
    with torch.no_grad():
        log_probs = gather_actions(
            lm.evaluate(batch, temperature=temperature).log_probs, actions
        )
        wrong = gather_actions(lm.evaluate(batch, temperature=0.5).log_probs, actions)
    assert (log_probs - actions.log_probs).abs().max() < 1e-5
    assert (wrong - actions.log_probs).abs().max() > 1e-2  # the comparison can fail


def test_replies_hold_no_control_id_but_the_stop_id(lm: LocalLM) -> None:
    env = make_parrots(4)
    control = env.tokenizer.control_ids - env.template.stop_ids
    assert control
    rollout = Collector(lm, env).collect(16, 0)
    for episode in rollout:
        assert not np.isin(episode.ids[episode.action_mask], list(control)).any()
        for turn in range(episode.num_turns):
            said = episode.ids[episode.turn_index == turn]
            is_stopped = said[-1] in env.template.stop_ids
            assert episode.reply_cut[turn] == (not is_stopped)
            assert len(said) == episode.reply_lengths[turn]


def test_greedy_dialogues_do_not_depend_on_the_draws(lm: LocalLM) -> None:
    def greedy(seed: int) -> Rollout:
        collector = Collector(lm, make_parrots(3), seed=seed)
        sampling = replace(collector.sampling, is_greedy=True)
        return collector.play(range(6), range(6), 0, sampling)

    assert same(greedy(0), greedy(1))


def test_what_does_not_fit_is_refused(lm: LocalLM) -> None:
    with pytest.raises(ValueError, match="contexts reach 2048.*lower context_length"):
        Collector(lm, make_parrots(1, context_length=2048))
    with pytest.raises(
        ValueError, match=r"max_reply_tokens must lie in \[1, 4\].*got 5"
    ):
        Collector(lm, make_parrots(1), max_reply_tokens=5)
    with pytest.raises(ValueError, match="multiple of group_size=3, got 4"):
        Collector(lm, make_parrots(1), group_size=3).collect(4, 0)


def test_a_shorter_reply_can_be_asked_for(lm: LocalLM) -> None:
    rollout = Collector(lm, make_parrots(2), max_reply_tokens=1).collect(4, 0)
    assert all(e.reply_lengths.max() == 1 for e in rollout)
    assert isinstance(Collector(lm, make_parrots(2)).sampling, Sampling)


def test_a_model_of_another_vocabulary_is_refused() -> None:
    env = make_parrots(1)
    lm = load_lm(
        "tiny", vocab_size=len(env.tokenizer) - 1, engine="local", device="cpu"
    )
    with pytest.raises(ValueError, match="give the environment the model's tokenizer"):
        Collector(lm, env)


def _best(seen: list[int]) -> RewardFunction:
    @reward_function(group=True)
    def best(reply: list[str], turn: list[int]) -> list[float]:
        if turn[0] == 1:
            seen.append(len(reply))
        longest = max(map(len, reply))
        return [float(len(text) == longest) for text in reply]

    return best


def test_a_group_reward_sees_the_first_replies_of_whole_groups(lm: LocalLM) -> None:
    seen: list[int] = []
    # Six places for groups of four: two places stay free until a whole group fits.
    env = make_parrots(6, num_turns=2, reward=_best(seen))
    rollout = Collector(lm, env, group_size=4, seed=2).collect(16, 0)
    assert seen == [4] * 4
    assert [e.group for e in rollout] == [g for g in range(4) for _ in range(4)]


def test_a_group_that_finds_no_room_is_refused(lm: LocalLM) -> None:
    with pytest.raises(ValueError, match="only num_envs=2 .* raise num_envs"):
        Collector(lm, make_parrots(2, reward=_best([])), group_size=4)


def test_a_second_draw_of_an_iteration_is_other_groups_with_other_noise(
    lm: LocalLM,
) -> None:
    collector = Collector(lm, make_parrots(4), group_size=2, seed=3)
    first = collector.collect(4, 1)
    second = collector.collect(4, 1, first_group=2, draw=1)
    assert [e.group for e in second] == [2, 2, 3, 3]
    assert [e.seed for e in second] == [episode_seed(3, 1, g) for g in (2, 2, 3, 3)]
    # The same seeds with the other noise: the draw alone makes other replies.
    again = collector.collect(4, 1, draw=1)
    assert [e.seed for e in again] == [e.seed for e in first]
    assert not same(again, first)
    assert same(collector.collect(4, 1, first_group=2, draw=1), second)
    assert same(collector.collect(4, 1), first)


def test_all_that_was_played_is_counted(lm: LocalLM) -> None:
    collector = Collector(lm, make_parrots(4), group_size=2)
    rollouts = [collector.collect(4, i) for i in range(2)]
    assert collector.num_turns == 16
    lengths = [int(e.reply_lengths.sum()) for rollout in rollouts for e in rollout]
    assert collector.num_tokens == sum(lengths)
    assert collector.generation_seconds > 0
