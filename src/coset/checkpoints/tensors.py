"""The layout of safetensors files: a header in JSON, and the bytes of all tensors after it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from coset.checkpoints.base import Entry
from coset.documents import parse_json
from coset.errors import InputError, brief

_LARGEST_HEADER = 100_000_000
"""Bytes, as in the library."""
_META = "__metadata__"
TYPES: dict[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "U16": torch.uint16,
    "U32": torch.uint32, "U64": torch.uint64, "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2, "C64": torch.complex64,
}  # fmt: skip
KINDS = {dtype: kind for kind, dtype in TYPES.items()}


def read_header(path: Path) -> tuple[dict[str, Entry], dict[str, int]]:
    """The tensors of a file, and where the bytes of each begin.

    Raises:
        InputError: no such file, or its header does not describe it.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _LARGEST_HEADER):
                raise InputError(f"{path}: damaged, as it ends within its header; copy it again")
            text = file.read(length).decode("utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a safetensors file, as its header is no text in UTF-8") from None
    header = parse_json(text, path)
    if not isinstance(header, dict):
        raise InputError(f"{path}: not a safetensors file, as its header is no JSON object")
    entries: dict[str, Entry] = {}
    places: dict[str, int] = {}
    for name, of in header.items():
        if name != _META:
            entries[name], begin = _entry(path, name, of, size - 8 - length)
            places[name] = 8 + length + begin
    order = sorted(entries, key=places.__getitem__)
    return {name: entries[name] for name in order}, places


def _entry(path: Path, name: str, of: Any, size: int) -> tuple[Entry, int]:
    given = of if isinstance(of, dict) else {}
    kind, shape, place = given.get("dtype"), given.get("shape"), given.get("data_offsets")
    if not isinstance(kind, str) or not _are_sizes(shape) or not _are_sizes(place) or len(place) != 2:
        raise InputError(f"{path}: damaged, as its header says {brief(of)} of tensor {name!r}; copy it again")
    begin, end = place
    dtype = TYPES.get(kind)
    if not begin <= end <= size or (dtype is not None and prod(shape) * dtype.itemsize != end - begin):
        raise InputError(
            f"{path}: damaged, as tensor {name!r} of {kind} and shape {shape} has bytes {begin} to {end} of "
            f"{size}; copy it again"
        )
    return Entry(name, dtype, tuple(shape), kind, end - begin), begin


def _are_sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 2**63 for each in value)


def bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    array: Any = tensor.detach().reshape(-1).view(torch.uint8).numpy()
    return memoryview(array)


def read_into(file: FileIO, place: int, buffer: memoryview, path: Path) -> None:
    """Fill a buffer from a place of an unbuffered file, past any mapping of it, so that its pages do not count as
    memory of this process."""
    file.seek(place)
    done = 0
    while done < len(buffer):
        count = file.readinto(buffer[done:])
        if not count:
            raise InputError(f"{path}: ended while it was read; copy it again")
        done += count


class TensorsFile:
    """A file that is being written, tensor by tensor and piece by piece, in any order.

    Args:
        path: of a new file.
        entries: all that it will hold; numbers of wide types come first, so that all of them are aligned.
    """

    def __init__(self, path: Path, entries: Iterable[Entry], metadata: Mapping[str, str] | None = None) -> None:
        every = sorted(entries, key=lambda of: -of.dtype.itemsize if of.dtype else 0)
        header: dict[str, Any] = {_META: dict(metadata)} if metadata else {}
        self._places: dict[str, list[int]] = {}
        at = 0
        for of in every:
            header[of.name] = {"dtype": of.kind, "shape": list(of.shape), "data_offsets": [at, at + of.bytes]}
            self._places[of.name] = [at, at + of.bytes]
            at += of.bytes
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._begin = 8 + len(text)
        self._file = FileIO(path, "w")
        self._put(len(text).to_bytes(8, "little") + text)
        self._file.truncate(self._begin + at)

    def write(self, name: str, piece: bytes | memoryview) -> None:
        """The next bytes of a tensor."""
        place = self._places[name]
        assert place[0] + len(piece) <= place[1], f"{name} is longer than said"
        self._file.seek(self._begin + place[0])
        self._put(piece)
        place[0] += len(piece)

    def _put(self, piece: bytes | memoryview) -> None:
        left = memoryview(piece)
        while len(left):
            left = left[self._file.write(left) :]

    def __enter__(self) -> TensorsFile:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._file.close()
        short = [name for name, (at, end) in self._places.items() if at < end]
        assert kind is not None or not short, f"{short[:1]} is shorter than said"


def entry_of(name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> Entry:
    """A tensor of this type and shape.

    Raises:
        InputError: safetensors has no such type.
    """
    if dtype not in KINDS:
        raise InputError(f"tensor {name!r} is of {dtype}, which safetensors files cannot hold")
    return Entry(name, dtype, shape, KINDS[dtype], prod(shape) * dtype.itemsize)


def renamed(of: Entry, name: str) -> Entry:
    """The same tensor under another name, of its own."""
    return replace(of, name=name, tied=None)
