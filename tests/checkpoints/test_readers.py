"""What readers find in checkpoints: the tensors that were saved, in any pieces; and what they refuse."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from coset.checkpoints.base import is_checkpoint, open_checkpoint
from coset.checkpoints.tables import OnDisk, tables_in
from coset.checkpoints.tensors import TensorsFile, bytes_of, entry_of, read_header
from coset.errors import InputError
from tests.checkpoints.files import every_format, state


def test_every_format_gives_what_was_saved(tmp_path: Path) -> None:
    tensors = state() | {"half": torch.randn(5, 3).half(), "none": torch.zeros(0, 4), "flags": torch.tensor([True])}
    for name, path in every_format(tmp_path, tensors).items():
        assert is_checkpoint(path), name
        opened = open_checkpoint(path)
        assert set(opened.entries) == set(tensors)
        assert opened.bytes == sum(of.nbytes for of in tensors.values())
        assert opened.left_out == (("epoch",) if name == "larger.ckpt" else ())
        for key, tensor in tensors.items():
            of = opened.entries[key]
            assert (of.dtype, of.shape, of.bytes) == (tensor.dtype, tuple(tensor.shape), tensor.nbytes)
            assert b"".join(map(bytes, opened.copied(key))) == bytes(bytes_of(tensor))
            if tensor.dim() == 2:
                assert torch.equal(opened.rows(key, 0, len(tensor)), tensor)
        rows = torch.tensor([7, 8, 3, 1199, 0, 9])
        vectors = OnDisk(opened, opened.entries["user.weight"])
        assert torch.equal(vectors.at(rows), tensors["user.weight"][rows])
        assert torch.equal(vectors.whole(), tensors["user.weight"])
        assert [(of.name, of.why) for of in tables_in(opened)] in (
            [("user", "shape"), ("items/movie_emb", "name")],
            [("items/movie_emb", "name"), ("user", "shape")],
        )


def test_views_and_ties_of_a_pickled_file(tmp_path: Path) -> None:
    """Rows of what is transposed or cut are those that torch has, and a weight of two names is one."""
    whole = torch.arange(24.0).reshape(4, 6)
    torch.save({"t": whole.t(), "cut": whole[1:3, ::2], "a": whole, "b": whole}, tmp_path / "x.pt")
    opened = open_checkpoint(tmp_path / "x.pt")
    assert torch.equal(opened.rows("t", 1, 6), whole.t()[1:])
    assert b"".join(map(bytes, opened.copied("cut"))) == bytes(bytes_of(whole[1:3, ::2].contiguous()))
    assert [of.tied for of in opened.entries.values()] == [None, None, None, "a"]
    (found,) = tables_in(opened, ["a"])
    assert found.tied == ("b",)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["float32", "float16", "uint8", "int64"]), st.integers(0, 9)), max_size=6))
def test_what_is_written_in_pieces_is_read_by_the_library(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("written") / "x.safetensors"
    tensors = {str(at): torch.arange(n * 3).to(getattr(torch, of)).reshape(n, 3) for at, (of, n) in enumerate(sizes)}
    with TensorsFile(path, [entry_of(name, of.dtype, tuple(of.shape)) for name, of in tensors.items()]) as file:
        for step in range(3):
            for name, of in tensors.items():
                file.write(name, bytes(bytes_of(of))[step * of.nbytes // 3 : (step + 1) * of.nbytes // 3])
    found = load_file(path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], of) and found[name].dtype == of.dtype for name, of in tensors.items())
    assert set(read_header(path)[0]) == set(tensors)


class Odd:
    """Something that only its own code can make again."""


def test_what_may_run_code_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 3), tmp_path / "model.pt")
    torch.save({"a.weight": torch.ones(2, 2), "how": Odd()}, tmp_path / "beside.bin")
    for name in ("model.pt", "beside.bin"):
        with pytest.raises(InputError, match=rf"{name}: holds pickled objects .* torch.save\(model.state_dict"):
            open_checkpoint(tmp_path / name)
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"list.pt: holds a list, not tensors by name"):
        open_checkpoint(tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    with pytest.raises(InputError, match=r"none.pt: has no tensors by name, but \['epoch'\]"):
        open_checkpoint(tmp_path / "none.pt")
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"old.pt: not of the format .* save it again"):
        open_checkpoint(tmp_path / "old.pt")


def test_damaged_files(tmp_path: Path) -> None:
    good = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(4, 4)}, good)
    text = good.read_bytes()
    header = json.dumps({"a": {"dtype": "F32", "shape": [4, 5], "data_offsets": [0, 64]}}).encode()
    cases = {
        text[:6]: "ends within its header",
        text[:20]: "ends within its header",
        text[:-1]: "tensor 'a' of F32 and shape",
        struct.pack("<Q", len(header)) + header + bytes(64): r"tensor 'a' of F32 and shape \[4, 5\]",
        struct.pack("<Q", 2) + b"[]": "no JSON object",
        struct.pack("<Q", 2) + b"\xff\xff": "no text in UTF-8",
        struct.pack("<Q", 8) + b'{"a": 1}': "says 1 of tensor 'a'",
    }
    for damaged, said in cases.items():
        good.write_bytes(damaged)
        with pytest.raises(InputError, match=rf"x.safetensors: .*{said}"):
            open_checkpoint(good)
    (tmp_path / "x.pt").write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(InputError, match=r"x.pt: damaged"):
        open_checkpoint(tmp_path / "x.pt")


def test_bad_shards(tmp_path: Path) -> None:
    index = every_format(tmp_path, state())["index"]
    (index.parent / "a-2.safetensors").rename(tmp_path / "kept")
    with pytest.raises(InputError, match=r"its shard a-2.safetensors is missing; copy it to .*shards"):
        open_checkpoint(index)
    save_file({"other": torch.ones(1)}, index.parent / "a-2.safetensors")
    with pytest.raises(InputError, match=r"tensor '.*' is not in its shard a-2.safetensors"):
        open_checkpoint(index.parent)
    for text, said in (('{"weight_map": {"a": "../x"}}', "not a file beside it"), ("[]", "no weight_map")):
        index.write_text(text)
        with pytest.raises(InputError, match=said):
            open_checkpoint(index)
    with pytest.raises(InputError, match="no checkpoint that coset knows"):
        open_checkpoint(tmp_path / "x.csv")
