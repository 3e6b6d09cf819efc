"""`safetensors`: one file, of which header and pieces are read."""

from __future__ import annotations

from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from coset.checkpoints.base import BYTES_AT_ONCE, Checkpoint, register_reader
from coset.checkpoints.tensors import bytes_of, read_header, read_into
from coset.errors import InputError


@register_reader("safetensors")
class SafetensorsFile(Checkpoint):
    """A `.safetensors` file. Its pages are read past any mapping, so they are in the cache of the system alone."""

    _places: dict[str, int]
    _file: FileIO

    @classmethod
    def claims(cls, path: Path) -> bool:
        """By its name."""
        return path.suffix == ".safetensors" and not path.is_dir()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the header."""
        entries, places = read_header(path)
        found = cls(path, entries)
        found._places = places
        found._file = FileIO(path)
        return found

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Read from their place."""
        of = self.entry(name)
        if of.dtype is None:
            raise InputError(f"{self.path}: tensor {name!r} is of {of.kind}, which torch has no type for")
        found = torch.empty(stop - start, of.width, dtype=of.dtype)
        if found.numel():
            place = self._places[name] + start * of.width * of.dtype.itemsize
            read_into(self._file, place, bytes_of(found), self.path)
        return found

    def copied(self, name: str) -> Iterator[bytes | memoryview]:
        """Read from the first to the last."""
        size, place, buffer = self.entry(name).bytes, self._places[name], memoryview(bytearray(BYTES_AT_ONCE))
        for at in range(0, size, BYTES_AT_ONCE):
            piece = buffer[: min(BYTES_AT_ONCE, size - at)]
            read_into(self._file, place + at, piece, self.path)
            yield piece

    def __del__(self) -> None:
        if (file := getattr(self, "_file", None)) is not None:
            file.close()
