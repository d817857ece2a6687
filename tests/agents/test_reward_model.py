"""`RewardModel`: scores that do not depend on company, on the disk and back, and into a critic."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import chat_envs  # noqa: F401  (registers the environments)
from agents.checkpoint import DamagedFileError
from agents.engine.loading import load_lm
from agents.reward_model import RECORD_FILE, Dialogue, RewardModel, start_critic
from chat_envs.message import assistant, system, user
from chat_envs.pretrained_tokenizer import PretrainedTokenizer
from chat_envs.tokenizer import load_tokenizer
from tests.agents.engine.test_sequence_classifier import CONFIGS, write
from tests.agents.toys import make_lm
from tests.chat_envs.request import make_request
from tests.chat_envs.toy_pretrained import make_source

TALK = (system("Be kind."), user("Hi"), assistant("Hello."), user("Where is my cup?"))


def make_model(seed: int = 0, **options: int) -> RewardModel:
    """Return a `tiny` with a random head, normalised on a few replies."""
    lm = make_lm(seed)
    head = lm.network.value_head
    assert head is not None
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator))
        head.bias.fill_(0.25)
    model = RewardModel.of(lm, load_tokenizer(), **options)
    model.normalise(make_dialogues(16))
    return model


def make_dialogues(num_dialogues: int = 40, seed: int = 0) -> list[Dialogue]:
    """Return dialogues of many lengths, some of them with one prompt."""
    rng = np.random.default_rng(seed)
    words = ["cup", "yes", "where", "order", "done", "Kim", ".", "?"]

    def text(most: int) -> str:
        return " ".join(
            words[i] for i in rng.integers(len(words), size=rng.integers(most + 1))
        )

    dialogues: list[Dialogue] = []
    for number in range(num_dialogues):
        own = (user(text(40)), assistant(text(5)), user(text(5)))
        prompt = TALK if number % 3 == 0 else TALK[:2] if number % 3 == 1 else own
        dialogues.append((prompt, text(12)))
    return dialogues


def test_a_score_does_not_depend_on_the_batch() -> None:
    model = make_model()
    batch = [make_request(reply, prompt=prompt) for prompt, reply in make_dialogues()]
    together = model.score(batch)
    alone = [model.score([request])[0] for request in batch]
    assert together == pytest.approx(alone, abs=1e-5)
    model.batch_tokens = 200
    assert model.score(batch) == pytest.approx(alone, abs=1e-5)
    assert model.score(batch[::-1])[::-1] == pytest.approx(alone, abs=1e-5)
    assert len({round(x, 3) for x in alone}) > 30
    assert model.score([]) == []


def test_reference_replies_have_mean_0_and_deviation_1() -> None:
    model = make_model()
    requests = [make_request(reply, prompt=p) for p, reply in make_dialogues(16)]
    scores = np.array(model.score(requests))
    assert scores.mean() == pytest.approx(0, abs=1e-5)
    assert scores.std() == pytest.approx(1, abs=1e-5)
    raw = model.raw_scores(make_dialogues(16))
    assert scores == pytest.approx((raw - model.mean) / model.std)


def test_replies_that_are_all_alike_are_no_reference() -> None:
    model = make_model()
    with pytest.raises(ValueError, match="no spread"):
        model.normalise(make_dialogues(1) * 5)
    with pytest.raises(ValueError, match="no spread"):
        model.normalise([])


def test_what_is_read_is_the_dialogue_as_the_template_writes_it() -> None:
    model = make_model()
    tokenizer = load_tokenizer()
    ids, start = model.encode((user("Hi"),), "Hello.")
    hi, hello = tokenizer.encode("Hi"), tokenizer.encode("Hello.")
    assert ids == (3, *hi, 1, 4, *hello, 1) and start == len(hi) + 3
    # Control tokens in a reply are plain text.
    assert model.encode((user("Hi"),), "<|end|>")[0][start:-1] == (
        tokenizer.encode("<|end|>")
    )


def test_the_oldest_ids_go_where_a_dialogue_is_too_long() -> None:
    model = make_model()
    limit = 1024
    news = (user("A new question?"),)
    prompt = (*(user(f"Old {n} " + "word " * 50) for n in range(40)), *news)
    ids, start = model.encode(prompt, "Yes.")
    whole, _ = model.encode(prompt[-10:], "Yes.")
    assert len(ids) == limit and ids[-200:] == whole[-200:]
    end, begin = model.encode(news, "Yes.")
    assert ids[start:] == end[begin:]
    # Of a reply that is longer than all the room the end stays, whatever it takes.
    ids, start = model.encode(prompt, "no " * 200_000 + "Yes.")
    assert len(ids) == limit and start == 0 and ids[-3:] == end[-3:]
    assert np.isfinite(model.raw_scores([(prompt, "no " * 5_000)])).all()


def test_it_is_the_same_after_a_way_through_the_disk(tmp_path: Path) -> None:
    model = make_model()
    model.save(tmp_path / "rm", {"origin": "a test", "mean": "a note never wins"})
    again = RewardModel(tmp_path / "rm", device="cpu")
    batch = [make_request(reply, prompt=prompt) for prompt, reply in make_dialogues()]
    assert again.score(batch) == model.score(batch)
    record = json.loads((tmp_path / "rm" / RECORD_FILE).read_text("utf-8"))
    assert record["origin"] == "a test" and record["mean"] == model.mean
    # It holds all that it needs: nothing else has to be where it was.
    assert {p.name for p in (tmp_path / "rm").iterdir()} >= {
        "config.json",
        "model.safetensors",
        "value_head.safetensors",
        "tokenizer.json",
    }
    model.save(tmp_path / "rm")  # over itself
    assert [p.name for p in tmp_path.iterdir()] == ["rm"]


def test_nothing_else_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", "utf-8")
    with pytest.raises(FileExistsError, match="holds no reward model"):
        make_model().save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text("utf-8") == "years of work"


def test_an_environment_pays_it(tmp_path: Path) -> None:
    model = make_model()
    model.save(tmp_path)
    reward = {
        "agents.reward_model:RewardModel": {"kwargs": {"directory": str(tmp_path)}}
    }
    json.dumps(reward)
    env = gymnasium.make("chat_envs/Echo-easy-v0", reward=RewardModel(tmp_path))
    env.reset(seed=0)
    chat_env = env.unwrapped
    prompt = chat_env.conversation.messages  # type: ignore[attr-defined]
    _, paid, *_, info = env.step(chat_env.encode("Hello."))  # type: ignore[attr-defined]
    expected = (model.raw_scores([(prompt, "Hello.")])[0] - model.mean) / model.std
    assert paid == pytest.approx(expected, abs=1e-5)
    assert info["reward_components"] == {"reward_model": paid}


def test_a_sequence_classifier_is_a_reward_model(tmp_path: Path) -> None:
    source = make_source("chatml")
    size = {"vocab_size": len(source), "max_position_embeddings": 256}
    directory = write(tmp_path / "hf", CONFIGS["llama"], **size)
    source.save_pretrained(directory)
    model = RewardModel(directory, device="cpu")
    assert isinstance(model.tokenizer, PretrainedTokenizer)
    assert (model.mean, model.std) == (0.0, 1.0)
    dialogues = make_dialogues(12)
    together = model.raw_scores(dialogues)
    alone = [model.raw_scores([dialogue])[0] for dialogue in dialogues]
    model.normalise(dialogues)
    assert together / model.std == pytest.approx(np.array(alone) / model.std, abs=1e-5)
    model.save(tmp_path / "normalised")
    again = RewardModel(tmp_path / "normalised", device="cpu")
    assert (again.mean, again.std) == (model.mean, model.std)
    assert np.array_equal(again.raw_scores(dialogues), model.raw_scores(dialogues))


def test_what_holds_no_reward_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no directory"):
        RewardModel(tmp_path / "none")
    make_model().save(tmp_path / "rm")
    (tmp_path / "rm" / "value_head.safetensors").unlink()
    with pytest.raises(ValueError, match="holds no reward model"):
        RewardModel(tmp_path / "rm")
    with pytest.raises(ValueError, match="no value head"):
        RewardModel.of(make_lm(has_value_head=False), load_tokenizer())
    with pytest.raises(ValueError, match="batch_tokens must be at least 1"):
        make_model(batch_tokens=0)


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"std": 0}, {"mean": None}, {"std": True}, {"mean": float("inf")}],
)
def test_damaged_constants_are_named(tmp_path: Path, change: dict[str, object]) -> None:
    make_model().save(tmp_path)
    path = tmp_path / RECORD_FILE
    record = json.loads(path.read_text("utf-8")) | change
    path.write_text(json.dumps(record), "utf-8")
    with pytest.raises(DamagedFileError, match=RECORD_FILE):
        RewardModel(tmp_path)


def test_weights_that_are_no_numbers_are_told() -> None:
    model = make_model()
    lm = make_lm()
    head = lm.network.value_head
    assert head is not None
    with torch.no_grad():
        head.bias.fill_(torch.nan)
    model = RewardModel.of(lm, load_tokenizer())
    with pytest.raises(FloatingPointError, match="not finite"):
        model.score([make_request()])


def test_a_critic_starts_with_the_normalised_scores(tmp_path: Path) -> None:
    model = make_model(seed=4)
    model.save(tmp_path)
    lm = make_lm(seed=4)  # the weights that the reward model has too
    start_critic(lm, tmp_path)
    critic = RewardModel.of(lm, load_tokenizer())
    dialogues = make_dialogues()
    normalised = (model.raw_scores(dialogues) - model.mean) / model.std
    assert critic.raw_scores(dialogues) == pytest.approx(normalised, abs=1e-5)


def test_a_critic_of_another_width_is_refused(tmp_path: Path) -> None:
    make_model().save(tmp_path / "rm")
    wide = load_lm(
        "small", vocab_size=1024, engine="local", device="cpu", has_value_head=True
    )
    with pytest.raises(ValueError, match="width 128, small has width 256"):
        start_critic(wide, tmp_path / "rm")
    with pytest.raises(ValueError, match="no value head"):
        start_critic(make_lm(has_value_head=False), tmp_path / "rm")
    with pytest.raises(FileNotFoundError, match="is missing"):
        start_critic(make_lm(), tmp_path)
