"""`Ledger`: every byte that tables need, by array and by purpose, to be read by people and by programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from coset.schema import Kind
from coset.sizes import format_size

Purpose = Kind | Literal["held", "optimizer"]
VERSION = 1
_HEADER = 1 << 16
_ENTRY = 128
"""Most bytes of a file's header for each array, beside its name."""


@dataclass(frozen=True)
class Line:
    """One array.

    Args:
        owner: what it belongs to, `tables.<table>` or `shared.<array>`; in other models, the path of the module.
        key: its name in the state of the model.
        shape: of the array.
        dtype: of its elements.
        kind: `"parameter"`; `"codes"`, numbers of a few bits that stand for parameters, and their steps; `"index"`,
            index state, and whatever else a model keeps in buffers; `"held"`, what modules keep in neither;
            `"optimizer"`, a parameter or buffer that is state of an optimizer.
        bytes: of its elements, in this process.
        optimizer: bytes of what an optimizer keeps beside it.
        saved: whether it is part of the state, and so of an artifact.
        whole: bytes of all its parts together, where it is sharded over processes.
    """

    owner: str
    key: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    kind: Purpose
    bytes: int
    optimizer: int = 0
    saved: bool = True
    whole: int | None = None


@dataclass(frozen=True)
class Sums:
    """Bytes of several arrays, by purpose."""

    parameters: int
    index: int
    held: int
    optimizer: int

    @property
    def inference(self) -> int:
        """Bytes without those of an optimizer."""
        return self.parameters + self.index + self.held


@dataclass(frozen=True)
class Ledger:
    """The bytes of tables, or of any model. `predict` makes one from choices, `measure` from real tensors.

    * `parameters` and `index` are what lookups need, `held` what the modules of other libraries keep outside of both,
      and `inference` the sum.
    * `optimizer` is what the optimizer keeps from step to step, in tensors.
    * `step` is what one training step takes beside these at its worst moment, by purpose; see `predict`. Where
      measured, it is what exists of this now: gradients, and arrays that an optimizer of coset keeps to use again.
    * `training` is the sum of all of this, comparable to the resident memory that the tables add to a process. The
      system counts memory as resident when it is first written to; the ledger counts it from the beginning.
    * `artifact` is what a saved model takes: exactly the bytes of its tensors; `header` is the most that the names,
      choices and checksum before them take.

    Args:
        lines: one for each array; shared and tied arrays occur once.
        steps: bytes of a training step by purpose.
        words: bytes of what a state holds beside arrays, by its key: descriptions of modules, such as the method of a
            table.
        kind: whether it was predicted or measured.
        about: the optimizer, engine and batch that it is for, as far as they are known.
    """

    lines: tuple[Line, ...]
    steps: Mapping[str, int] = field(default_factory=dict)
    words: Mapping[str, int] = field(default_factory=dict)
    kind: Literal["predicted", "measured"] = "predicted"
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Bytes of all parameters, and of codes that stand for some."""
        return _sums(self.lines).parameters

    @property
    def index(self) -> int:
        """Bytes of index state and of other buffers."""
        return _sums(self.lines).index

    @property
    def held(self) -> int:
        """Bytes that modules keep outside of parameters and buffers, so that no state has them."""
        return _sums(self.lines).held

    @property
    def inference(self) -> int:
        """Bytes that lookups need, and all others without an optimizer."""
        return _sums(self.lines).inference

    @property
    def optimizer(self) -> int:
        """Bytes that the optimizer keeps."""
        return _sums(self.lines).optimizer

    @property
    def step(self) -> int:
        """Bytes that a training step takes beside parameters, index state and optimizer state."""
        return sum(self.steps.values())

    @property
    def training(self) -> int:
        """Bytes of everything at the worst moment of a training step."""
        return self.inference + self.optimizer + self.step

    @property
    def whole(self) -> int:
        """`parameters` and `index` of all processes together, where tensors are sharded; replicas count once."""
        lines = [line for line in self.lines if line.kind in ("parameter", "codes", "index")]
        return sum(line.bytes if line.whole is None else line.whole for line in lines)

    @property
    def artifact(self) -> int:
        """Bytes of the tensors of a saved model, exactly."""
        return sum(line.bytes for line in self.lines if line.saved) + sum(self.words.values())

    @property
    def header(self) -> int:
        """The most that the rest of a saved model takes: 64 KiB, and more only where there are hundreds of arrays."""
        names = (*(line.key for line in self.lines if line.saved), *self.words)
        return max(_HEADER, _HEADER // 2 + sum(len(name.encode()) + _ENTRY for name in names))

    @property
    def owners(self) -> dict[str, Sums]:
        """The sums of each table, shared array or module, in order."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.owner, []).append(line)
        return {owner: _sums(lines) for owner, lines in found.items()}

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; all sizes in bytes."""
        return {
            "schema": VERSION,
            "kind": self.kind,
            **self.about,
            "bytes": {
                "parameters": self.parameters, "index": self.index, "held": self.held, "inference": self.inference,
                "whole": self.whole, "optimizer": self.optimizer, "step": self.step, "training": self.training,
                "artifact_tensors": self.artifact, "artifact_header_at_most": self.header,
            },
            "step": dict(self.steps),
            "words": dict(self.words),
            "owners": {
                owner: {
                    "parameters": sums.parameters, "index": sums.index, "held": sums.held, "optimizer": sums.optimizer,
                    "arrays": [_line_json(line) for line in self.lines if line.owner == owner],
                }
                for owner, sums in self.owners.items()
            },
        }  # fmt: skip

    def table(self) -> str:
        """A table for people: each size in a readable unit and in bytes."""
        about = ", ".join(f"{name} {value}" for name, value in self.about.items() if value is not None)
        rows = [("array", "shape", "type", "kind", "bytes", "optimizer")]
        for line in self.lines:
            shape = " x ".join(f"{length:,}" for length in line.shape) or "one number"
            type_, kind = str(line.dtype).removeprefix("torch."), _said(line)
            rows.append((line.key, shape, type_, kind, _size(line.bytes), _size(line.optimizer)))
        rows.append(("together", "", "", "", _size(self.inference), _size(self.optimizer)))
        sums = [
            ("parameters", self.parameters), ("index state", self.index),
            *([("both in all processes", self.whole)] if self.whole != self.parameters + self.index else []),
            *([("held beside them", self.held)] if self.held else []),
            ("optimizer state", self.optimizer),
            *((f"a step: {name}", size) for name, size in self.steps.items()),
            ("training, at most" if self.kind == "predicted" else "training, now", self.training),
            ("artifact: tensors", self.artifact), ("artifact: header, at most", self.header),
        ]  # fmt: skip
        return "\n".join([
            self.kind + (f": {about}" if about else ""),
            *_columns(rows, left=4), "",
            *_columns([(name, _size(size)) for name, size in sums], left=1),
        ])  # fmt: skip

    def __str__(self) -> str:
        return self.table()


def owner_of(key: str) -> str:
    """The table, shared array or module that an array of this name in the state of a collection belongs to.

    Example:
        >>> owner_of("tables.user.blocks.0.rows.weight"), owner_of("embeddings.shared.all.weight"), owner_of("0.bias")
        ('tables.user', 'embeddings.shared.all', '0')
    """
    names = key.split(".")
    for at, name in enumerate(names[:-2]):
        if name in ("tables", "shared"):
            return ".".join(names[: at + 2])
    return ".".join(names[:-1]) or key


def _sums(lines: Iterable[Line]) -> Sums:
    found = {"parameter": 0, "codes": 0, "index": 0, "held": 0, "optimizer": 0}
    for line in lines:
        found[line.kind] += line.bytes
        found["optimizer"] += line.optimizer
    return Sums(found["parameter"] + found["codes"], found["index"], found["held"], found["optimizer"])


def _said(line: Line) -> str:
    """The kind of a line, as the table shows it."""
    part = f", of {line.whole:,}" if line.whole not in (None, line.bytes) else ""
    return f"{line.kind}{part}" + ("" if line.saved or line.kind == "held" else ", not saved")


def _line_json(line: Line) -> dict[str, Any]:
    return {
        "key": line.key, "shape": list(line.shape), "dtype": str(line.dtype).removeprefix("torch."), "kind": line.kind,
        "bytes": line.bytes, "whole": line.whole, "optimizer": line.optimizer, "saved": line.saved,
    }  # fmt: skip


def _size(size: int) -> str:
    return f"{format_size(size)} ({size:,})"


def _columns(rows: Sequence[tuple[str, ...]], left: int) -> list[str]:
    """The rows as aligned text: the first `left` columns aligned left, the others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
