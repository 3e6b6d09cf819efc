"""The contract of a reader of checkpoints: which tensors a file has, and some rows of one, without all of it in memory.

A new format is one new file in `readers/`, or of another package through the entry-point group `coset.checkpoints`: a
class with `@register_reader`, whose `claims` says which paths it takes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import torch
from torch import Tensor

from coset.errors import InputError, unknown
from coset.registry import Registry

R = TypeVar("R", bound="Checkpoint")
BYTES_AT_ONCE = 1 << 23
"""Of a tensor that is copied."""


@dataclass(frozen=True)
class Entry:
    """A tensor of a checkpoint.

    Args:
        name: its key.
        dtype: None of one that torch has no type for, which can only be copied.
        shape: of any number of dimensions.
        kind: how safetensors names its type.
        bytes: that it takes.
        tied: the name of another tensor of the checkpoint that is the same one in memory, if there is one.
    """

    name: str
    dtype: torch.dtype | None
    shape: tuple[int, ...]
    kind: str
    bytes: int
    tied: str | None = None

    @property
    def rows(self) -> int:
        """Length of the first dimension."""
        return self.shape[0] if self.shape else 1

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return prod(self.shape[1:])


class Checkpoint(ABC):
    """An open checkpoint.

    Args:
        path: as the user gave it.
        entries: its tensors by name, in the order of the file.
        left_out: what else is in it, such as the state of an optimizer, in words.
    """

    name: ClassVar[str]

    def __init__(self, path: Path, entries: Mapping[str, Entry], left_out: tuple[str, ...] = ()) -> None:
        self.path, self.entries, self.left_out = path, dict(entries), left_out

    @classmethod
    @abstractmethod
    def claims(cls, path: Path) -> bool:
        """Whether a path is for this reader, by its name and, where it is there, its first bytes."""

    @classmethod
    @abstractmethod
    def open(cls, path: Path) -> Self:
        """Read what tensors there are, and no numbers.

        Raises:
            InputError: the file is missing or damaged, or holds what may not be read.
        """

    @property
    def files(self) -> list[Path]:
        """The files that it consists of: one, unless a reader has more."""
        return [self.path]

    @abstractmethod
    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows `start … stop - 1` of a tensor as memory of their own, shape `(stop - start, width)`."""

    @abstractmethod
    def copied(self, name: str) -> Iterator[bytes | memoryview]:
        """The bytes of a tensor in little-endian order, some at a time."""

    def entry(self, name: str) -> Entry:
        """The tensor of that name.

        Raises:
            InputError: there is none.
        """
        if name not in self.entries:
            raise unknown(f"tensor of {self.path}", name, self.entries)
        return self.entries[name]

    @property
    def bytes(self) -> int:
        """Of all tensors, where one that has several names counts once."""
        return sum(of.bytes for of in self.entries.values() if of.tied is None)


READERS: Registry[Checkpoint] = Registry("reader of checkpoints", "coset.checkpoints.readers", "coset.checkpoints")


def register_reader(name: str) -> Callable[[type[R]], type[R]]:
    """Class decorator: make a reader known."""

    def enter(cls: type[R]) -> type[R]:
        READERS.add(name, cls)
        return cls

    return enter


def is_checkpoint(path: Path) -> bool:
    """Whether some reader takes this path."""
    return any(reader.claims(path) for reader in READERS.all().values())


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint by the reader that takes it.

    Raises:
        InputError: no reader takes it, or it cannot be read.
    """
    for reader in READERS.all().values():
        if reader.claims(path):
            return reader.open(path)
    raise InputError(f"{path}: no checkpoint that coset knows; give a .safetensors, .pt, .pth or .bin file, a "
                     "model.safetensors.index.json, or the folder of one")  # fmt: skip
