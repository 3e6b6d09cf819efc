"""Tensors and JSON in one file that says so when it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from coset.errors import InputError
from coset.training import checkpoint

TENSORS = {
    "model.a.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 7,
    "optimizer.0.step": torch.tensor(3.0),
    "order": torch.tensor([2, 0, 1], dtype=torch.int32),
    "double": torch.tensor([1 / 3], dtype=torch.float64),
    "half": torch.tensor([[0.5]], dtype=torch.bfloat16),
    "none": torch.zeros(0, 4),
}
HEADER = {"history": [{"epoch": 1, "train_mse": 0.8123456789012345, "seconds": 1.5}], "word": "größer"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, "checkpoint", TENSORS, HEADER)
    return path


def same(tensors: dict[str, torch.Tensor]) -> bool:
    return tensors.keys() == TENSORS.keys() and all(
        tensors[name].dtype == of.dtype and tensors[name].shape == of.shape and torch.equal(tensors[name], of)
        for name, of in TENSORS.items()
    )


def test_round_trip(saved: Path) -> None:
    tensors, header = checkpoint.load(saved, "checkpoint")
    assert same(tensors)
    assert header == HEADER
    assert list(saved.parent.iterdir()) == [saved]


def test_views_are_saved_as_they_look(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4).requires_grad_()
    checkpoint.save(tmp_path / "x", "model", {"t": whole.T, "row": whole[1]}, {})
    tensors, _ = checkpoint.load(tmp_path / "x", "model")
    assert torch.equal(tensors["t"], whole.T)
    assert torch.equal(tensors["row"], whole[1])


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_flipped_byte_anywhere_is_found(saved: Path, flip: int) -> None:
    good = saved.read_bytes()
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= flip
        saved.write_bytes(bad)
        with pytest.raises(InputError, match=r"checkpoint\.safetensors"):
            checkpoint.load(saved, "checkpoint")


def test_a_truncated_file_is_found(saved: Path) -> None:
    good = saved.read_bytes()
    for length in range(len(good)):
        saved.write_bytes(good[:length])
        with pytest.raises(InputError, match=r"checkpoint\.safetensors"):
            checkpoint.load(saved, "checkpoint")
    saved.write_bytes(good + b"\0")
    with pytest.raises(InputError):
        checkpoint.load(saved, "checkpoint")


def test_other_files_are_refused(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        checkpoint.load(tmp_path / "missing", "checkpoint")
    with pytest.raises(InputError, match="no such file"):
        checkpoint.load(tmp_path, "checkpoint")
    with pytest.raises(InputError, match="not a model"):
        checkpoint.load(saved, "model")
    foreign = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}, {"coset": "[]"}, {"coset": "1"}, {"coset": "{"}, {"coset": "{}"}):
        save_file({"a": torch.zeros(2)}, foreign, metadata=metadata)
        with pytest.raises(InputError, match=r"foreign\.safetensors"):
            checkpoint.load(foreign, "checkpoint")
    foreign.write_text("user,item,rating\n1,2,3\n")
    with pytest.raises(InputError, match=r"foreign\.safetensors"):
        checkpoint.load(foreign, "checkpoint")


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "newer.safetensors"
    about = {"kind": "checkpoint", "version": 99, "sha256": "", "header": {}}
    save_file({"a": torch.zeros(2)}, path, metadata={"coset": json.dumps(about)})
    with pytest.raises(InputError, match=r"newer coset.*99"):
        checkpoint.load(path, "checkpoint")


def test_a_header_without_a_word_in_json_leaves_the_old_file(saved: Path) -> None:
    good = saved.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        checkpoint.save(saved, "checkpoint", TENSORS, {"loss": float("nan")})
    assert saved.read_bytes() == good


def rotation(folder: Path, steps: int = 3, keep: int = 2) -> checkpoint.Rotation:
    found = checkpoint.Rotation(folder / "checkpoints", keep)
    for step in range(1, steps + 1):
        found.save(step, {"at": torch.tensor([step])}, {"step": step})
    return found


def newest(of: checkpoint.Rotation) -> tuple[int, int] | None:
    with of.latest() as saved:
        return None if saved is None else (saved.header["step"], int(saved.tensor("at")))


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_the_last_few_are_kept(tmp_path: Path, keep: int) -> None:
    found = rotation(tmp_path, steps=4, keep=keep)
    assert len(list(found.folder.iterdir())) == min(4, keep)
    assert newest(found) == (4, 4)


@pytest.mark.parametrize("how", ["truncated", "flipped", "empty", "foreign"])
def test_the_one_before_a_damaged_one_is_used_with_a_warning(tmp_path: Path, how: str) -> None:
    found = rotation(tmp_path)
    last = max(found.folder.iterdir())
    good = last.read_bytes()
    bad = {
        "truncated": good[:-3],
        "flipped": good[:-1] + bytes([good[-1] ^ 1]),
        "empty": b"",
        "foreign": b"user,item\n1,2\n",
    }
    last.write_bytes(bad[how])
    with pytest.warns(UserWarning, match=r"checkpoint-000000000003\.safetensors: .*the one before it is used"):
        assert newest(found) == (2, 2)
    assert newest(found) == (2, 2)  # the damaged one is out of the way
    found.save(3, {"at": torch.tensor([3])}, {"step": 3})
    assert newest(found) == (3, 3)


def test_all_damaged_leaves_none(tmp_path: Path) -> None:
    found = rotation(tmp_path)
    for path in found.folder.iterdir():
        path.write_bytes(path.read_bytes()[:40])
    with pytest.warns(UserWarning, match="damaged") as told:
        assert newest(found) is None
    assert len(told) == 2
    assert "begins anew" in str(told[1].message)


def test_a_newer_version_is_no_damage(tmp_path: Path) -> None:
    found = rotation(tmp_path)
    about = {"kind": "checkpoint", "version": 99, "sha256": "", "header": {}}
    newer = found.folder / "checkpoint-000000000009.safetensors"
    save_file({"a": torch.zeros(2)}, newer, metadata={"coset": json.dumps(about)})
    with pytest.raises(InputError, match=r"newer coset.*99"):
        newest(found)
    assert newer.exists()


def test_a_rotation_is_cleared(tmp_path: Path) -> None:
    found = rotation(tmp_path)
    half_written = found.folder / ".checkpoint-000000000004.safetensors.x.coset-part"
    half_written.touch()
    assert newest(found) == (3, 3)
    assert not half_written.exists()
    found.clear()
    found.clear()
    assert not found.folder.exists()
    assert newest(found) is None
