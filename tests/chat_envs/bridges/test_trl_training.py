"""TRL's own GRPOTrainer takes real steps in our environments, reply by reply and in dialogues.

Marked slow, and TRL and torch are reached by name, because importing them alone takes its time.
"""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import pytest

from chat_envs.bridges.borrowed_randomness import BorrowedRandomness
from chat_envs.bridges.trl import (
    dialogue_reward,
    environment_factory,
    environment_reward,
    let_replies_be_calls,
    make_dataset,
)
from tests.chat_envs.bridges.chat_tokenizer import make_tokenizer

pytestmark = pytest.mark.slow

OWN = "tests.chat_envs.bridges.test_trl_training"
NUM_TURNS, TURN_LENGTH = 4, 6


def share_of_vowels(reply: str) -> float:
    return sum(letter in "aeiou" for letter in reply) / max(1, len(reply))


def make_model(tokenizer: Any) -> Any:
    """Return a model of one layer with random weights."""
    transformers = importlib.import_module("transformers")
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return transformers.LlamaForCausalLM(config)


def train(tmp_path: Path, tokenizer: Any, dataset: Any, **kwargs: Any) -> Any:
    """Return a trainer after three steps, and how far its weights moved."""
    torch = importlib.import_module("torch")
    trl = importlib.import_module("trl")
    settings = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": 4,
        "num_generations": 4,
        "max_steps": 3,
        "learning_rate": 1e-2,
        "beta": 0.0,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "generation_kwargs": {"max_new_tokens": TURN_LENGTH},
    } | kwargs.pop("settings")
    # The trainer seeds all global generators.
    own, forked = BorrowedRandomness(0).installed(), torch.random.fork_rng()
    with own, forked, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TRL's own, about what it may yet change
        torch.manual_seed(0)
        model = make_model(tokenizer)
        before = [p.detach().clone() for p in model.parameters()]
        trainer = trl.GRPOTrainer(
            model=model,
            args=trl.GRPOConfig(**settings),
            train_dataset=dataset,
            processing_class=tokenizer,
            **kwargs,
        )
        trainer.train()
    after = [p.detach() for p in model.parameters()]
    moved = sum(float((a - b).abs().sum()) for a, b in zip(before, after))
    return trainer, moved


def logged(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def test_single_replies_are_trained_on_the_environments_reward(tmp_path: Path) -> None:
    dataset = make_dataset(
        "chat_envs/Echo-easy-v0", range(8), reward=f"{OWN}:share_of_vowels"
    )
    trainer, moved = train(
        tmp_path,
        make_tokenizer(),
        dataset,
        reward_funcs=environment_reward,
        settings={"max_completion_length": TURN_LENGTH},
    )
    rewards = logged(trainer, "rewards/environment_reward/mean")
    assert len(rewards) == 3 and all(0.0 < reward < 1.0 for reward in rewards)
    assert moved > 0.0


def test_whole_dialogues_are_trained_by_a_model_that_knows_no_tools(
    tmp_path: Path,
) -> None:
    env_id, kwargs = "chat_envs/GuessNumber-easy-v0", {
        "reward": f"{OWN}:share_of_vowels"
    }
    seen: list[tuple[str, bool, float | None]] = []

    def reward(prompts: Any, completions: Any, environments: Any, **_: Any) -> Any:
        rewards = dialogue_reward(prompts, completions, environments=environments)
        seen.extend((e.transcript, e.is_over, r) for e, r in zip(environments, rewards))
        for completion, environment in zip(completions, environments):
            # What TRL has as the rollout is what the environment has as the dialogue.
            for message in completion:
                if message["role"] == "tool":
                    assert message["content"] in environment.transcript
        return rewards

    trainer, moved = train(
        tmp_path,
        let_replies_be_calls(make_tokenizer()),
        make_dataset(env_id, range(8), **kwargs),
        reward_funcs=reward,
        environment_factory=environment_factory(env_id, **kwargs),
        settings={
            "max_completion_length": 200,
            "max_tool_calling_iterations": NUM_TURNS - 1,
        },
    )
    assert len(seen) == 12 and moved > 0.0
    assert all(is_over for _, is_over, _ in seen)
    lengths = [transcript.count("assistant:") for transcript, _, _ in seen]
    assert max(lengths) == NUM_TURNS
    assert logged(trainer, "tools/failure_frequency") == [0.0] * 3
    assert len({reward for _, _, reward in seen}) > 3


def test_trl_accepts_the_changed_template() -> None:
    template = importlib.import_module("trl.chat_template_utils")
    assert not template.supports_tool_calling(make_tokenizer())
    tokenizer = let_replies_be_calls(make_tokenizer())
    assert template.supports_tool_calling(tokenizer)
    assert template.is_chat_template_prefix_preserving(tokenizer)
