"""Records of artefacts: what they list, and what they notice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.checkpoint import DamagedFileError
from agents.pipeline.artefact import (
    check_artefact,
    checksums,
    note_artefact,
    read_artefact,
    record_path,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a pipeline with the artefact of a step, not yet noted."""
    step = tmp_path / "sft"
    (step / "below").mkdir(parents=True)
    (step / "model").write_bytes(bytes(100))
    (step / "below/note.txt").write_text("note")
    (step / ".hidden").write_text("half")
    (step / "lock").write_text("1")
    (step / "tensorboard").mkdir()
    (step / "tensorboard/events").write_text("events")
    return tmp_path


def test_what_is_noted_is_read_back(root: Path) -> None:
    assert read_artefact(root, "sft") is None
    noted = note_artefact(root, "sft", {"seed": 1}, {"loss": 0.5}, 2.0)
    assert sorted(noted.files) == ["below/note.txt", "model"]
    assert noted.files["model"]["bytes"] == 100
    found = read_artefact(root, "sft")
    assert found == noted and found.digest == noted.digest
    check_artefact(root, noted)


def test_the_digest_is_of_the_files_alone(root: Path) -> None:
    first = note_artefact(root, "sft", {"seed": 1}, {}, 2.0)
    assert note_artefact(root, "sft", {"seed": 2}, {"x": 1}, 3.0).digest == first.digest
    (root / "sft/model").write_bytes(bytes(99) + b"1")
    assert note_artefact(root, "sft", {"seed": 1}, {}, 2.0).digest != first.digest


def remove(path: Path) -> None:
    path.unlink()


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("accident", "words"),
    [(remove, "missing"), (shorten, "99 bytes long"), (flip, "SHA-256")],
)
def test_damage_is_noticed_and_named(
    root: Path, accident: Callable[[Path], None], words: str
) -> None:
    noted = note_artefact(root, "sft", {}, {}, 0.0)
    accident(root / "sft/model")
    with pytest.raises(DamagedFileError, match=f"sft/model .*{words}"):
        check_artefact(root, noted)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        json.dumps({"format": 9}),
        json.dumps({"format": 1, "step": "ppo"}),
        json.dumps({"format": 1, "step": "sft", "files": {}}),
        json.dumps(
            {
                "format": 1,
                "step": "sft",
                "files": [],
                "cause": {},
                "machinery": {},
                "figures": {},
                "seconds": 0,
            }
        ),
    ],
)
def test_a_record_that_is_none_is_named(root: Path, text: str) -> None:
    path = record_path(root, "sft")
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(DamagedFileError, match="records/sft.json"):
        read_artefact(root, "sft")


def test_checksums_are_of_a_file_a_directory_or_nothing(root: Path) -> None:
    assert list(checksums(root / "sft/model")) == ["model"]
    assert sorted(checksums(root / "sft")) == ["below/note.txt", "model"]
    assert checksums(root / "nowhere") == {}
