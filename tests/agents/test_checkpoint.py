"""Checkpoints: whole or not there, and nothing is read that is not what was written."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from agents.checkpoint import (
    DamagedFileError,
    checksum,
    newest_checkpoint,
    read_checkpoint,
    read_json,
    save_checkpoint,
    write_json,
)
from tests.agents.damage import ACCIDENTS, malicious_pickle

FILES = ("manifest.json", "model.safetensors", "state.json", "training.json")


class Stop(Exception):
    """Stands for a power cut in the middle of a save."""


def write(directory: Path, value: float = 1.0) -> None:
    save_file({"weight": torch.full((64,), value)}, directory / "model.safetensors")
    write_json(directory / "training.json", {"num_updates": 3})


def save(root: Path, step: int, **options: object) -> Path:
    return save_checkpoint(
        root, step, lambda d: write(d, step), {"step": step}, **options
    )  # type: ignore[arg-type]


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    directory = save(tmp_path, 7)
    checkpoint, skipped = newest_checkpoint(tmp_path)
    assert checkpoint is not None and skipped == ()
    assert checkpoint.directory == directory == tmp_path / "step_7"
    assert (checkpoint.step, checkpoint.state) == (7, {"step": 7})
    weights = load_file(checkpoint.directory / "model.safetensors")
    assert weights["weight"].tolist() == [7.0] * 64
    assert sorted(path.name for path in directory.iterdir()) == sorted(FILES)


def test_the_manifest_lists_every_other_file_with_size_and_checksum(
    tmp_path: Path,
) -> None:
    directory = save(tmp_path, 0)
    files = read_json(directory / "manifest.json")["files"]
    assert set(files) == set(FILES) - {"manifest.json"}
    for name, entry in files.items():
        assert entry["bytes"] == (directory / name).stat().st_size
        assert entry["sha256"] == checksum(directory / name)


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) == (None, ())
    assert newest_checkpoint(tmp_path / "nowhere") == (None, ())


def test_the_newest_is_found_by_number_not_by_name(tmp_path: Path) -> None:
    save(tmp_path, 9)
    save(tmp_path, 10)
    checkpoint, _ = newest_checkpoint(tmp_path)
    assert checkpoint is not None and checkpoint.step == 10


@pytest.mark.parametrize("num_kept", [1, 2, 3])
def test_only_the_newest_are_kept(tmp_path: Path, num_kept: int) -> None:
    for step in range(5):
        save(tmp_path, step, num_kept=num_kept)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == [f"step_{step}" for step in range(5 - num_kept, 5)]


def test_a_future_that_was_left_is_removed(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        save(tmp_path, step, num_kept=3)
    save(tmp_path, 15, num_kept=3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_10", "step_15"]


def test_a_step_can_be_saved_again(tmp_path: Path) -> None:
    directory = save(tmp_path, 4)
    ACCIDENTS["flipped"](directory / "model.safetensors")
    with pytest.raises(DamagedFileError):
        read_checkpoint(directory)
    save(tmp_path, 4)
    assert read_checkpoint(directory).step == 4
    assert [path.name for path in tmp_path.iterdir()] == ["step_4"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("accident", ACCIDENTS)
def test_a_damaged_file_is_named_and_the_checkpoint_before_it_is_used(
    tmp_path: Path, name: str, accident: str
) -> None:
    save(tmp_path, 1)
    path = save(tmp_path, 2) / name
    ACCIDENTS[accident](path)
    checkpoint, skipped = newest_checkpoint(tmp_path)
    assert checkpoint is not None and checkpoint.step == 1
    assert len(skipped) == 1 and "step_2" in skipped[0]
    if name != "manifest.json" or accident != "flipped":
        # One bit of the manifest may name another file: then that file is what is missing.
        assert name in skipped[0]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("has_new_manifest", [False, True])
def test_a_pickle_is_refused_unread(
    tmp_path: Path, name: str, has_new_manifest: bool
) -> None:
    root, proof = tmp_path / "checkpoints", tmp_path / "proof"
    path = save(root, 1) / name
    path.write_bytes(malicious_pickle(proof))
    if has_new_manifest and name != "manifest.json":  # the attacker knows of checksums
        manifest = json.loads((path.parent / "manifest.json").read_text())
        entry = {"bytes": path.stat().st_size, "sha256": checksum(path)}
        manifest["files"][name] = entry
        (path.parent / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DamagedFileError, match=f"{name} is refused unread.*a pickle"):
        read_checkpoint(path.parent)
    assert not proof.exists()


def test_the_malicious_pickle_works(tmp_path: Path) -> None:
    """The control of the test above: reading it would have left the proof."""
    pickle.loads(malicious_pickle(tmp_path / "proof"))
    assert (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    "name", ["../outside.json", "/etc/outside.json", "weights.bin", ".hidden.json", ""]
)
def test_a_manifest_may_not_name_other_files(tmp_path: Path, name: str) -> None:
    directory = save(tmp_path, 1)
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": 0, "sha256": ""}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DamagedFileError, match="manifest.json"):
        read_checkpoint(directory)


def test_a_link_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 1) / "model.safetensors"
    path.rename(tmp_path / "elsewhere.safetensors")
    path.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(DamagedFileError, match="model.safetensors"):
        read_checkpoint(path.parent)


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"step": 5}, {"files": []}, {"files": {}}, {"step": "1"}]
)
def test_a_manifest_of_something_else_is_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    directory = save(tmp_path, 1)
    manifest = json.loads((directory / "manifest.json").read_text()) | change
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DamagedFileError, match="manifest.json"):
        read_checkpoint(directory)


def test_a_model_that_writes_a_pickle_cannot_be_saved(tmp_path: Path) -> None:
    def write_pickle(directory: Path) -> None:
        (directory / "optimizer.pt").write_bytes(b"\x80")

    with pytest.raises(DamagedFileError, match="optimizer.pt"):
        save_checkpoint(tmp_path, 1, write_pickle, {})
    assert newest_checkpoint(tmp_path) == (None, ())


@pytest.mark.parametrize("text", [b"[1]", b"{", b'{"a": ', b'{"a": \xff}', b"{" * 9999])
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "state.json").write_bytes(text)
    with pytest.raises(DamagedFileError, match="state.json"):
        read_json(tmp_path / "state.json")


def test_json_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "state.json", {"loss": float("nan")})


@pytest.mark.parametrize(("step", "num_kept"), [(-1, 2), (0, 0)])
def test_numbers_out_of_range_are_refused(
    tmp_path: Path, step: int, num_kept: int
) -> None:
    with pytest.raises(ValueError, match="at least"):
        save(tmp_path, step, num_kept=num_kept)


def points_of_a_save(root: Path) -> list[str]:
    points: list[str] = []
    save(root, 0)
    save(root, 1)
    ACCIDENTS["removed"](root / "step_1" / "state.json")
    save(root, 1, num_kept=1, at=points.append)
    return points


def test_a_cut_at_any_point_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    points = points_of_a_save(tmp_path / "all")
    assert len(points) == len(set(points)) == 11
    for number, point in enumerate(points):
        root = tmp_path / str(number)
        save(root, 0)
        save(root, 1)
        ACCIDENTS["removed"](root / "step_1" / "state.json")

        def cut(reached: str, here: str = point) -> None:
            if reached == here:
                raise Stop

        with pytest.raises(Stop):
            save(root, 1, num_kept=1, at=cut)
        checkpoint, _ = newest_checkpoint(root)
        is_published = number >= points.index("renamed")
        assert checkpoint is not None and checkpoint.step == int(is_published), point
        # The next save clears whatever was left.
        save(root, 2, num_kept=1)
        assert [path.name for path in root.iterdir()] == ["step_2"], point
