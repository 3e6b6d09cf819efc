"""The report of a compression: bytes of tables before and after, and the errors of the fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coset.ledger import bytes_by_table
from coset.methods import Method, TableModule
from coset.sizes import format_size
from coset.tables.owner import Tables


@dataclass(frozen=True)
class Fitted:
    """One table that was compressed, or left as it is.

    Args:
        name: of the table, or of the module of the model.
        num_embeddings: number of its ids.
        embedding_dim: elements of a vector.
        method: the method that stores it now.
        bytes_before, bytes_after: of what is stored.
        error: root mean square difference of an element from what it was, each id weighted by its frequency; None where
            nothing was fitted.
        relative: `error` over the root mean square of the elements before; None where these are all zero as well.
        note: a remark, such as why it is left as it is.
        tied: names of other modules that hold the same weight; its bytes are counted here.
    """

    name: str
    num_embeddings: int
    embedding_dim: int
    method: Method
    bytes_before: int
    bytes_after: int
    error: float | None = None
    relative: float | None = None
    note: str = ""
    tied: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**vars(self), "method": self.method.to_json(), "tied": list(self.tied)}


@dataclass(frozen=True)
class Left:
    """A table that is no `nn.Embedding` or `nn.EmbeddingBag` of plain numbers, and stays as it is.

    Args:
        name: of the module of the model.
        kind: of the module.
        bytes: of what it holds, in this process.
        why: the reason.
    """

    name: str
    kind: str
    bytes: int
    why: str


@dataclass(frozen=True)
class Compression:
    """What a compression did to all tables of a model; `print` shows a table.

    Args:
        tables: one by one, in the order of the model.
        left: tables of other libraries, and those that are quantized or sharded already; `bytes_before` and
            `bytes_after` do not count them.

    Example:
        >>> from coset import Full
        >>> print(Compression((Fitted("user", 100, 8, Full(), 3200, 3200, 0.0, 0.0, "left as it is"),)))
        table  ids  dim  method  before  after  error  relative
        user   100    8  Full()   3.2KB  3.2KB      0         0  left as it is
        all                       3.2KB  3.2KB
    """

    tables: tuple[Fitted, ...]
    left: tuple[Left, ...] = ()

    @property
    def bytes_before(self) -> int:
        """Of all tables."""
        return sum(of.bytes_before for of in self.tables)

    @property
    def bytes_after(self) -> int:
        """Of all tables."""
        return sum(of.bytes_after for of in self.tables)

    @property
    def methods(self) -> dict[str, Method]:
        """The method of every table, by name; as rules of `compress_`, they give a fresh model of the same kind the
        same tables."""
        return {name: of.method for of in self.tables for name in (of.name, *of.tied)}

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "tables": [of.to_json() for of in self.tables],
            "left": [dict(vars(of)) for of in self.left],
        }

    def __str__(self) -> str:
        heads = ("table", "ids", "dim", "method", "before", "after", "error", "relative", "")
        lines = [heads, *(_line(of) for of in self.tables)]
        lines.append(("all", "", "", "", format_size(self.bytes_before), format_size(self.bytes_after), "", "", ""))
        widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
        words = (0, 3, 8)  # columns of words; numbers stand to the right
        rows = [
            "  ".join(
                word.ljust(width) if column in words else word.rjust(width)
                for column, (word, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join(
            [*rows, *(f"left: {of.name} ({of.kind}, {format_size(of.bytes)}): {of.why}" for of in self.left)]
        )


def fit_tables_(new: Tables, old: Tables) -> tuple[Fitted, ...]:
    """Fit the tables of a collection to those of another one, of the same names; ids are weighted by the frequencies of
    the new table.

    A table that keeps its method keeps its values to the bit.

    Raises:
        InputError: a table whose vectors have another shape, or whose array is shared with other tables.

    Example:
        >>> from coset import EmbeddingCollection, LowRank, Table
        >>> table = Table("user", 100, 8)
        >>> old, new = EmbeddingCollection([(table, "full")]), EmbeddingCollection([(table, LowRank(2))])
        >>> [(of.bytes_before, of.bytes_after) for of in fit_tables_(new, old)]
        [(3200, 864)]
    """
    sizes, sizes_before = _sizes(new), _sizes(old)
    found = []
    for name, module in ((name, new.tables[name]) for name in sizes):
        before: TableModule = old.tables[name]
        table, method = module.table, module.method
        same = method == before.method and not any(module._shareable_within())
        if same:
            module.load_state_dict(before.state_dict())
            left: tuple[float, float | None] = 0.0, 0.0
        else:
            left = fit_(module, before.materialize(), frequency_weights(table.frequencies))
        found.append(
            Fitted(name, table.num_embeddings, table.embedding_dim, method, sizes_before[name], sizes[name],
                   *left, "left as it is" if same else "")
        )  # fmt: skip
    return tuple(found)


def fit_(module: Any, weight: Tensor, frequencies: Tensor | None) -> tuple[float, float | None]:
    """Fit a table to `weight`, and return `Fitted.error` and `Fitted.relative`."""
    error = float(module.fit_(weight, frequencies)) ** 0.5
    pieces = weight.detach().split(65536)  # memory does not hold a large table once more in float64
    power = torch.cat([piece.double().square().flatten(1).mean(-1) for piece in pieces]).cpu()
    share = torch.ones_like(power) if frequencies is None else frequencies.double().cpu()
    scale = float((power * share).sum() / share.sum()) ** 0.5
    return error, error / scale if scale else (None if error else 0.0)


def frequency_weights(frequencies: np.ndarray | None) -> Tensor | None:
    """Frequencies as a tensor; None where no id has any, so that all weights are equal."""
    if frequencies is None:
        return None
    # A copy, since those of prepared data are read-only, and others may be views with negative strides.
    found = torch.from_numpy(np.array(frequencies, dtype=np.float64))
    return found if bool(found.any()) else None


def _sizes(tables: Tables) -> dict[str, int]:
    modules: dict[str, TableModule] = {name: tables.tables[name] for name in tables._names}
    return bytes_by_table({name: of.method.components(of.table) for name, of in modules.items()})


def _line(of: Fitted) -> tuple[str, ...]:
    error, relative = ("–" if value is None else f"{value:.3g}" for value in (of.error, of.relative))
    note = of.note or (f"with {', '.join(of.tied)}" if of.tied else "")
    return (
        of.name, f"{of.num_embeddings:,}", str(of.embedding_dim), repr(of.method), format_size(of.bytes_before),
        format_size(of.bytes_after), error, relative, note,
    )  # fmt: skip
