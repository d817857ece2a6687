"""A model as a directory: transformers alone says the same, and it can be loaded here again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import Sampling, TrainingConfig
from agents.engine.loading import load_lm
from agents.export import export_model, is_model_directory, load_model, write_whole
from agents.train_config import TrainConfig
from agents.warm_start import build_lm
from chat_envs.chat_template import load_template
from chat_envs.message import assistant, system, user
from chat_envs.tokenizer import BuiltinTokenizer, Tokenizer, train_tokenizer

TALK = [
    system("Be brief."),
    user("What is the order number, please?"),
    assistant("It is 12."),
    user("Thanks  a lot!"),
]

# What somebody runs who has never heard of this project.
ELSEWHERE = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
directory, messages = sys.argv[1], json.loads(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(directory)
model = AutoModelForCausalLM.from_pretrained(directory)
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
output = model.generate(**inputs, do_sample=False, max_new_tokens=24)
length = inputs["input_ids"].shape[1]
reply = output[0, length:]
ours = [name for name in sys.modules if name.partition(".")[0] in ("agents", "chat_envs")]
print(json.dumps({
    "context": inputs["input_ids"][0].tolist(),
    "ids": reply.tolist(),
    "text": tokenizer.decode(reply, skip_special_tokens=True),
    "ours": ours,
}))
"""


def write_in(lm: CausalLM, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return the context of TALK and the model's greedy reply."""
    template = load_template(tokenizer)
    context = template.opening(TALK[:2])
    context += [*tokenizer.encode(TALK[2].content), min(template.stop_ids)]
    context += template.extension(TALK[3:])
    sampling = Sampling(max_new_tokens=24, stop_ids=template.stop_ids, is_greedy=True)
    with lm.decoder(1) as decoder:
        generation = decoder.generate([np.array(context)], [0], sampling)
    return context, generation.reply(0).tolist()


def check_elsewhere(lm: CausalLM, tokenizer: Tokenizer, directory: Path) -> None:
    context, reply = write_in(lm, tokenizer)
    messages = json.dumps([message.as_dict() for message in TALK])
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(directory), messages],
        capture_output=True,
        text=True,
        cwd=directory,  # not where our packages lie
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["ours"] == []
    assert said["context"] == context
    assert said["ids"] == reply
    stop_ids = load_template(tokenizer).stop_ids
    text = tokenizer.decode([i for i in reply if i not in stop_ids])
    assert said["text"].strip() == text.strip()


@pytest.mark.slow
def test_transformers_alone_says_the_same_as_smollm2(tmp_path: Path) -> None:
    lm, tokenizer = load_model("smollm2-135m", engine="local")
    export_model(lm, tokenizer, tmp_path / "model")
    check_elsewhere(lm, tokenizer, tmp_path / "model")


def test_transformers_alone_says_the_same_as_a_tiny_model(tmp_path: Path) -> None:
    lm, tokenizer = load_model("tiny", engine="local", seed=3)
    with torch.no_grad():  # <|user|>, which is forbidden here, would often be the likeliest
        embedding = lm.module.get_input_embeddings().weight
        embedding[3] = 3 * embedding[5]
    context, reply = write_in(lm, tokenizer)
    with torch.no_grad():
        logits = lm.module(torch.tensor([context + reply])).logits[
            0, len(context) - 1 : -1
        ]
    assert (logits.argmax(-1) != torch.tensor(reply)).any()
    export_model(lm, tokenizer, tmp_path / "model")
    check_elsewhere(lm, tokenizer, tmp_path / "model")
    config = json.loads((tmp_path / "model/generation_config.json").read_text())
    assert config["suppress_tokens"] == [0, 2, 3, 4]
    assert config["eos_token_id"] == [1]


def test_the_directory_is_a_model_here_again(tmp_path: Path) -> None:
    lm, tokenizer = load_model("tiny", engine="local", seed=3)
    export_model(lm, tokenizer, tmp_path / "model")
    again, own = load_model(str(tmp_path / "model"), engine="local")
    assert own is tokenizer
    for one, other in zip(
        lm.module.parameters(), again.module.parameters(), strict=True
    ):
        assert torch.equal(one, other)
    config = TrainConfig(lm=str(tmp_path / "model"), engine="local")
    assert config.warm_start_config() is None
    assert build_lm(config).vocab_size == len(tokenizer)


def test_a_run_finds_its_model_from_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, tokenizer = load_model("tiny", engine="local")
    export_model(lm, tokenizer, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    stored = TrainConfig(lm="model", engine="local").as_dict()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert build_lm(TrainConfig(**stored)).vocab_size == len(tokenizer)


def test_a_directory_keeps_its_own_words_when_the_built_in_ones_change(
    tmp_path: Path,
) -> None:
    old = train_tokenizer(["what it was trained on before"], num_entries=270)
    lm = load_lm("tiny", vocab_size=270, engine="local")
    export_model(lm, old, tmp_path / "model")
    again, tokenizer = load_model(str(tmp_path / "model"), engine="local")
    assert isinstance(tokenizer, BuiltinTokenizer)
    assert tokenizer.fingerprint == old.fingerprint
    assert again.vocab_size == 270
    assert tokenizer.encode("before") == old.encode("before")


def test_the_average_of_the_weights_is_written_on_demand(tmp_path: Path) -> None:
    lm, tokenizer = load_model("tiny", engine="local")
    with pytest.raises(RuntimeError, match="no average"):
        export_model(lm, tokenizer, tmp_path / "none", is_averaged=True)
    assert not (tmp_path / "none").exists()
    lm.configure_training(TrainingConfig(ema_decay=0.5, learning_rate=1e-2))
    before = [p.detach().clone() for p in lm.module.parameters()]
    lm.backward(torch.stack([p.square().sum() for p in lm.module.parameters()]).sum())
    lm.step()
    export_model(lm, tokenizer, tmp_path / "averaged", is_averaged=True)
    again, _ = load_model(str(tmp_path / "averaged"), engine="local")
    after = list(lm.module.parameters())
    for old, new, mean in zip(before, after, again.module.parameters(), strict=True):
        assert torch.allclose(mean, (old + new) / 2, atol=1e-6)
        assert not torch.equal(mean, new)


def test_the_critic_stays_at_home_unless_it_is_asked_for(tmp_path: Path) -> None:
    lm, tokenizer = load_model("tiny", engine="local", has_value_head=True)
    export_model(lm, tokenizer, tmp_path / "plain")
    export_model(lm, tokenizer, tmp_path / "both", has_critic=True)
    assert not (tmp_path / "plain/value_head.safetensors").exists()
    assert (tmp_path / "both/value_head.safetensors").exists()


def test_nothing_but_a_model_is_replaced(tmp_path: Path) -> None:
    lm, tokenizer = load_model("tiny", engine="local")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="holds no model"):
        export_model(lm, tokenizer, tmp_path / "home")
    assert (tmp_path / "home/letter.txt").read_text() == "dear"
    for _ in range(2):  # the second time replaces the first
        export_model(lm, tokenizer, tmp_path / "model")
    assert is_model_directory(tmp_path / "model")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "model"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").write_text("old")

    def fail(aside: Path) -> None:
        (aside / "new").write_text("half")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_whole(target, fail)
    assert [p.name for p in target.iterdir()] == ["old"]
    write_whole(target, lambda aside: (aside / "new").write_text("whole"))
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_run_is_no_model_directory(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"config": {}, "machinery": {}}')
    assert not is_model_directory(tmp_path)
    shutil.rmtree(tmp_path)
    assert not is_model_directory(tmp_path)
