"""Hugging Face sequence classifiers: the right place is read, whatever the padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    LlamaConfig,
    PreTrainedConfig,
    RobertaConfig,
)

from agents.engine.sequence_classifier import (
    SequenceClassifier,
    is_sequence_classifier,
)

SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 48,
    "num_labels": 1,
}
CONFIGS = {
    "llama": LlamaConfig(**SMALL, pad_token_id=None),
    "padded_llama": LlamaConfig(**SMALL, pad_token_id=7),
    "bert": BertConfig(**SMALL, pad_token_id=0),
    "roberta": RobertaConfig(**SMALL, pad_token_id=1),
}


def write(path: Path, config: PreTrainedConfig, **changes: object) -> Path:
    """Write a random classifier; return its directory."""
    config = type(config)(**(config.to_dict() | changes))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module = AutoModelForSequenceClassification.from_config(config)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(8.0)  # random logits are too alike to tell places apart
    module.save_pretrained(path)
    return path


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Return ragged rows; one ends with id 7, another has it inside."""
    ids = np.random.default_rng(0).integers(8, 40, size=(4, 12))
    ids[1, 4] = 7
    ids[2, 3] = 7
    return ids, np.array([12, 5, 9, 1])


@pytest.mark.parametrize("family", CONFIGS)
def test_a_row_has_the_logit_that_it_has_alone(family: str, tmp_path: Path) -> None:
    directory = write(tmp_path, CONFIGS[family])
    classifier = SequenceClassifier(directory, 40, "cpu")
    bare = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    if "llama" in family:  # without padding it reads the last id, whatever that is
        bare.config.pad_token_id = None
    ids, lengths = rows()
    with torch.inference_mode():
        together = classifier.logits(ids, lengths)
        for row, length in enumerate(lengths):
            alone = bare(input_ids=torch.from_numpy(ids[row : row + 1, :length]))
            assert together[row] == pytest.approx(float(alone.logits), abs=1e-4)
            single = classifier.logits(ids[row : row + 1, :length], lengths[row][None])
            assert together[row] == pytest.approx(float(single), abs=1e-4)
    assert len({round(float(x), 3) for x in together}) == 4


def test_saving_gives_the_config_back_as_it_was(tmp_path: Path) -> None:
    classifier = SequenceClassifier(
        write(tmp_path / "a", CONFIGS["llama"]), 40, device="cpu"
    )
    ids, lengths = rows()
    with torch.inference_mode():
        before = classifier.logits(ids, lengths)
        classifier.save(tmp_path / "b")
        again = SequenceClassifier(tmp_path / "b", 40, device="cpu")
        assert torch.equal(again.logits(ids, lengths), before)
    assert again._own_pad_id is None


def test_what_is_no_reward_is_refused(tmp_path: Path) -> None:
    two = write(tmp_path / "two", CONFIGS["bert"], num_labels=2)
    with pytest.raises(ValueError, match="2 labels"):
        SequenceClassifier(two, 40)
    one = write(tmp_path / "one", CONFIGS["bert"])
    with pytest.raises(ValueError, match="has 41 ids but the model only 40"):
        SequenceClassifier(one, 41)
    (one / "model.safetensors").rename(one / "pytorch_model.bin")
    with pytest.raises(ValueError, match="no \\*.safetensors"):
        SequenceClassifier(one, 40)


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    directory = write(tmp_path, CONFIGS["bert"])
    config = (directory / "config.json").read_text("utf-8")
    more = config.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')
    assert more != config
    (directory / "config.json").write_text(more, "utf-8")
    with pytest.raises(ValueError, match="lack .*damaged"):
        SequenceClassifier(directory, 40)


def test_a_classifier_is_known_by_its_architecture() -> None:
    assert is_sequence_classifier({"architectures": ["LlamaForSequenceClassification"]})
    assert not is_sequence_classifier({"architectures": ["LlamaForCausalLM"]})
    assert not is_sequence_classifier({})
