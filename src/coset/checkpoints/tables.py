"""Which tensors of a checkpoint are tables, and their vectors in the file.

A table is a matrix of floats with a row for each id. Which matrices are tables is nowhere said, so coset goes by the
name, a word of it such as `embedding`, and by the shape: many rows, and far more of them than columns, as layers seldom
have. A user who knows better names the tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from coset.checkpoints.base import Checkpoint, Entry
from coset.errors import InputError
from coset.schema import COMPUTED, Table
from coset.vectors import Piece, Vectors

_WORDS = re.compile(r"emb|lookup|(^|[._/])(tables?|w[tp]e|vocab|factors|shared)([._/]|$)", re.IGNORECASE)
_NEVER = re.compile(r"norm|(^|[._/])(ln|bn|bias|pe|position\w*|pos_\w+|token_type\w*)([._/]|$)", re.IGNORECASE)
_MANY, _TALL = 1000, 16
"""Rows of a table that has no such name, and rows a column."""


@dataclass(frozen=True)
class Found:
    """A tensor that is a table.

    Args:
        entry: the tensor.
        why: `"name"`, `"shape"` or `"asked for"`.
        tied: names of tensors that are the same one.
    """

    entry: Entry
    why: str
    tied: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the table: the tensor's, without `.weight` and with slashes for dots, as `compress_` names tables."""
        return module_of(self.entry.name).replace(".", "/")

    def table(self, frequencies: object = None) -> Table:
        """Its sizes."""
        assert self.entry.dtype is not None
        return Table(self.name, self.entry.rows, self.entry.width, dtype=self.entry.dtype, frequencies=frequencies)  # type: ignore[arg-type]


def module_of(tensor: str) -> str:
    """The module that a tensor is the weight of."""
    return tensor.removesuffix(".weight") or tensor


def tables_in(checkpoint: Checkpoint, patterns: Sequence[str] = ()) -> list[Found]:
    """The tables of a checkpoint, in its order.

    Args:
        checkpoint: an open one.
        patterns: names of tensors or modules, or patterns such as `"*.user*"`; these tensors alone are tables then.

    Raises:
        InputError: a pattern that matches no tensor, or one that cannot be a table; or two of one name.
    """
    entries = checkpoint.entries
    asked: dict[str, None] = {}
    for pattern in patterns:
        some = [name for name in entries if fnmatchcase(name, pattern) or fnmatchcase(module_of(name), pattern)]
        if not some:
            raise InputError(f"{checkpoint.path}: no tensor matches --table {pattern!r}: {_nearest(pattern, entries)}")
        able = [name for name in some if is_possible(entries[name])]
        if not able:
            of = entries[some[0]]
            raise InputError(
                f"{checkpoint.path}: tensor {of.name!r} is no table, which is a matrix of floats of 16 to 64 bits, but "
                f"of {of.kind} and shape {list(of.shape)}"
            )
        asked |= dict.fromkeys(able)
    same: dict[str, list[str]] = {}
    for name, of in entries.items():
        if of.tied is not None:
            same.setdefault(of.tied, []).append(name)
    found: dict[str, Found] = {}
    for name, of in entries.items():
        why = ("asked for" if name in asked else "") if patterns else _why(of)
        if of.tied in found or not why:
            continue
        first = entries[of.tied] if of.tied else of
        found[first.name] = Found(first, why, tuple(same.get(first.name, ())))
    named: dict[str, str] = {}
    for each in found.values():
        if (other := named.setdefault(each.name, each.entry.name)) != each.entry.name:
            raise InputError(
                f"{checkpoint.path}: tensors {other!r} and {each.entry.name!r} would be tables of one name; choose by "
                "--table"
            )
    return list(found.values())


def some_tables_in(checkpoint: Checkpoint, patterns: Sequence[str] = ()) -> list[Found]:
    """As `tables_in`.

    Raises:
        InputError: also where there are none.
    """
    if not (found := tables_in(checkpoint, patterns)):
        largest = sorted(checkpoint.entries.values(), key=lambda of: -of.bytes)[:3]
        shown = ", ".join(f"{of.name} {list(of.shape)}" for of in largest) or "nothing"
        raise InputError(
            f"{checkpoint.path}: no tensor looks like an embedding table (the largest are {shown}); name some by "
            "--table"
        )
    return found


def is_possible(of: Entry) -> bool:
    """Whether a tensor can be a table."""
    return of.dtype in COMPUTED and len(of.shape) == 2 and min(of.shape) > 0


def _why(of: Entry) -> str:
    """Why a tensor looks like a table; empty where it does not."""
    if not is_possible(of) or _NEVER.search(of.name):
        return ""
    rows, width = of.shape
    if _WORDS.search(of.name) and rows > width:
        return "name"
    return "shape" if rows >= max(_MANY, _TALL * width) else ""


def _nearest(pattern: str, entries: dict[str, Entry]) -> str:
    names = [*entries, *(module_of(name) for name in entries)]
    near = get_close_matches(pattern.replace("*", "")[:200], names, n=1, cutoff=0.3)
    able = [name for name, of in entries.items() if is_possible(of)]
    return f"did you mean {near[0]!r}?" if near else f"matrices are {', '.join(able[:8]) or 'none'}"


class OnDisk(Vectors):
    """The rows of a tensor of a checkpoint."""

    def __init__(self, checkpoint: Checkpoint, entry: Entry) -> None:
        assert entry.dtype is not None
        super().__init__(entry.rows, entry.width, entry.dtype)
        self._from, self._name = checkpoint, entry.name

    def at(self, rows: Tensor) -> Tensor:
        """Row by row, but for those that follow each other."""
        found = torch.empty(len(rows), self.width, dtype=self.dtype)
        order = torch.argsort(rows)
        sorted_rows = rows[order]
        ends = [*((sorted_rows.diff() != 1).nonzero().squeeze(1) + 1).tolist(), len(rows)] if len(rows) else []
        begin = 0
        for end in ends:
            first = int(sorted_rows[begin])
            found[order[begin:end]] = self._from.rows(self._name, first, first + end - begin)
            begin = end
        return found

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        """From the first to the last."""
        stop = self.rows if stop is None else stop
        for at in range(start, stop, self.at_once):
            end = min(at + self.at_once, stop)
            yield Piece(torch.arange(at, end), self._from.rows(self._name, at, end))


class Sampled(Vectors):
    """As others, but what is said of all rows is said of rows at equal distances alone."""

    def __init__(self, of: Vectors, most: int) -> None:
        super().__init__(*of.shape, of.dtype)
        self._of = of
        self.looked_at = torch.linspace(0, of.rows - 1, min(most, of.rows), dtype=torch.float64).long()

    def at(self, rows: Tensor) -> Tensor:
        """As others."""
        return self._of.at(rows)

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        """Those rows alone."""
        end = self.rows if stop is None else stop
        rows = self.looked_at[(self.looked_at >= start) & (self.looked_at < end)]
        for some in rows.split(self.at_once):
            yield Piece(some, self._of.at(some))
