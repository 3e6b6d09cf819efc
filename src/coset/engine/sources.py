"""Tables that kernels can read, as they were when somebody last looked: `engine.reading` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coset.engine.composed import DTYPES, NARROW, OPERATIONS, composition_of, flat, line_of
from coset.engine.facts import Facts
from coset.kernels import layout
from coset.methods.base import TableModule
from coset.methods.composition import RowComposition, RowPart, codes_of
from coset.methods.index import Indexed
from coset.partitions import Codes, MultiplyShift, Partition
from coset.storage import KernelView, StoredRows

_BY_KIND = {layout.BYTES: "read_codes", layout.NIBBLES: "read_codes", layout.BITS: "read_bits"}
"""Which kernel reads bare rows that are stored so, if not floats."""


@dataclass(frozen=True)
class Array:
    """A stored array that kernels can read.

    Args:
        line: as a kernel takes it, see `coset.kernels.layout`.
        stored: the array.
        weight: its parameter, where it is trained.
        kept: what `line` has the addresses of.
    """

    line: list[int]
    stored: StoredRows
    weight: nn.Parameter | None = None
    kept: Any = None


@dataclass(frozen=True)
class Bare:
    """A table of bare rows, one an id.

    Args:
        array: the rows.
        order: the ranks of ids, where there is an order.
    """

    array: Array
    order: Tensor | None = None

    outputs = 1

    @property
    def kernel(self) -> str:
        """Which kernel reads it."""
        return _BY_KIND.get(self.array.line[layout.STORED], "read_floats")

    @property
    def dtype(self) -> torch.dtype:
        """The type of its vectors."""
        return self.array.stored.dtype

    @property
    def dim(self) -> int:
        """Elements of a vector."""
        return self.array.stored.width

    @property
    def weight(self) -> nn.Parameter | None:
        """What its gradient is of."""
        return self.array.weight

    @property
    def loses_gradients(self) -> bool:
        """Whether something in it is trained, of which kernels that only read find no gradient."""
        return False


@dataclass(frozen=True)
class Composed:
    """A table whose vectors are composed of rows.

    Args:
        pieces, parts: as kernels take them, counted from 0.
        arrays: that these read.
        dim: elements of a vector.
        ids: how many there are.
        outputs: how many vectors an id has.
        order: the ranks of ids, where there is an order.
        kept: the columns of codes, whose addresses `parts` have.
    """

    pieces: list[list[int]]
    parts: list[list[int]]
    arrays: list[Array]
    dim: int
    ids: int
    outputs: int = 1
    order: Tensor | None = None
    kept: list[Tensor] = field(default_factory=list)
    weight: None = None

    kernel = "read_composed"

    @property
    def dtype(self) -> torch.dtype:
        """The type of its vectors."""
        return self.arrays[0].stored.dtype

    @property
    def loses_gradients(self) -> bool:
        """Whether something in it is trained, of which kernels that only read find no gradient."""
        return any(array.weight is not None for array in self.arrays)


Source = Bare | Composed


def sources_of(modules: Mapping[str, Any], facts: Facts) -> dict[str, Source]:
    """Those of tables by name, as a module holds them, that kernels can read; all that this depends on is noted."""
    found = {}
    for name in modules:
        module = facts.note(modules, name)
        if isinstance(module, TableModule) and (source := _source(module, facts)) is not None:
            found[name] = source
    return found


def _source(module: TableModule, facts: Facts) -> Source | None:
    """The table as kernels read it."""
    ids, order = module.table.num_embeddings, facts.note(module._buffers, "order")
    if order is not None and not (type(order) is Tensor and order.is_cpu and order.dim() == 1 and len(order) == ids):
        return None
    pieces = list(flat(composition_of(module), 0, ids))
    if not pieces:
        return None
    if len(pieces) == 1 and (part := _only_rows(pieces[0][2], ids)) is not None:
        array = _array(module, part.name, facts)
        return Bare(array, order) if array is not None and array.stored.rows >= ids else None
    found = _Composing(module, facts)
    whole = all(found.add(*piece) for piece in pieces)
    if not whole or len({array.stored.dtype for array in found.arrays.values()}) > 1:
        return None
    arrays, of = list(found.arrays.values()), pieces[0][2]
    return Composed(found.pieces, found.parts, arrays, of.dim, ids, of.outputs, order, found.kept)


def _only_rows(of: RowComposition, ids: int) -> RowPart | None:
    """The rows of a table that has nothing else, one an id."""
    if len(of.parts) > 1 or of.projection is not None or of.outputs > 1 or "." in of.parts[0].name:
        return None
    partition = of.parts[0].partition
    return of.parts[0] if isinstance(partition, Partition) and partition.is_identity(ids) else None


class _Composing:
    """The pieces, the parts and the arrays of one table."""

    def __init__(self, module: TableModule, facts: Facts) -> None:
        self.module, self.facts = module, facts
        self.pieces: list[list[int]] = []
        self.parts: list[list[int]] = []
        self.arrays: dict[str, Array] = {}
        self.kept: list[Tensor] = []

    def add(self, start: int, stop: int, of: RowComposition) -> bool:
        """Add a composition for ids from `start` up to `stop`; whether kernels can read it."""
        first, column = len(self.parts), 0
        for part in of.parts:
            number, kind = self._number(part.name, part.rows, part.width), self._kind(part, stop - start)
            if number is None or kind is None:
                return False
            self.parts.append([number, part.width, column if of.operation == "concat" else 0, *kind])
            column += part.width
        matrix = bias = -1
        if (projection := of.projection) is not None:
            found = self._number(projection.name, of.width, of.dim)
            other = found if (name := projection.bias_name) is None else self._number(name, 1, of.dim)
            if found is None or other is None:
                return False
            matrix, bias = found, -1 if projection.bias_name is None else other
        self.pieces.append([start, stop, OPERATIONS[of.operation], len(of.parts), first, of.width, of.dim, matrix, bias,
                            0])  # fmt: skip
        return True

    def _number(self, name: str, rows: int, width: int) -> int | None:
        """The number of an array; None where kernels cannot read it as so many rows."""
        if name not in self.arrays:
            found = _array(self.module, name, self.facts)
            if found is None or found.stored.width != width or found.stored.rows < rows:
                return None
            self.arrays[name] = found
        return list(self.arrays).index(name)

    def _kind(self, part: RowPart, ids: int) -> list[int] | None:
        """How a part picks rows."""
        codes = None
        if isinstance(part.partition, Codes):
            path, _, name = codes_of(part.name).rpartition(".")
            holder = self.facts.module_at(self.module, path)
            codes = self.facts.note(holder._buffers, name) if isinstance(holder, Indexed) else None
            stored = part.partition.stored
            if codes is None or not _is_plain(codes, stored.shape) or codes.element_size() != stored.itemsize:
                return None
            self.kept.append(codes)
        elif not isinstance(part.partition, (Partition, MultiplyShift)):
            return None
        return line_of(part.partition, ids, codes)


def _array(module: TableModule, name: str, facts: Facts) -> Array | None:
    """A stored array of a table."""
    stored = facts.module_at(module, name)
    if not isinstance(stored, StoredRows):
        return None
    if not facts.note_stored(stored):
        return None
    for holder in (stored._parameters, stored._buffers):
        for each in list(holder):
            facts.note(holder, each)
    view = stored.kernel_view()
    if view is None or stored.dtype not in DTYPES:
        return None
    return {"dense": _floats, "codes": _codes}.get(view.form, _unknown)(stored, view)


def _floats(stored: StoredRows, view: KernelView) -> Array | None:
    weight = stored._parameters.get(view.array)
    if type(weight) is not nn.Parameter or not _is_plain(weight, (stored.rows, stored.width)):
        return None
    if weight.dtype not in (stored.dtype, *NARROW):
        return None
    kind = layout.WIDE if weight.dtype == stored.dtype else NARROW[weight.dtype]
    line = [weight.data_ptr(), stored.rows, stored.width, kind]
    return Array(line + [0] * (layout.SOURCE_COLUMNS - len(line)), stored, weight)


def _codes(stored: StoredRows, view: KernelView) -> Array | None:
    of = view.coding
    assert of is not None
    codes, scales = stored._buffers.get(view.array), stored._buffers.get(of.scales)
    size, steps = -(-stored.rows * of.row_bits // 8), stored.rows if of.in_common == 0 else 0
    if of.in_common:
        steps = -(-len(of.columns) // of.in_common)
    if not of.columns or not _is_plain(codes, (size,)) or not _is_plain(scales, (steps,)):
        return None
    assert codes is not None
    assert scales is not None
    if codes.dtype != torch.uint8 or scales.dtype not in (torch.float32, torch.float16):
        return None
    bits, kind = {column.bits for column in of.columns}, layout.BITS
    if of.row_bits % 8 == 0 and len(of.columns) == stored.width and len(bits) == 1:
        even = stored.width % 2 == 0
        kind = {8: layout.BYTES, 4: layout.NIBBLES if even else layout.BITS}.get(bits.pop(), layout.BITS)
    coded = np.array([(each.begin, (1 << each.bits) - 1, each.top, each.place) for each in of.columns], np.int64)
    half = layout.FLOAT16 if scales.dtype == torch.float16 else layout.WIDE
    line = [codes.data_ptr(), stored.rows, stored.width, kind, scales.data_ptr(), half, of.in_common, of.row_bits, size,
            coded.ctypes.data, len(coded)]  # fmt: skip
    return Array(line, stored, kept=coded)


def _unknown(stored: StoredRows, view: KernelView) -> None:
    return None


def _is_plain(array: Tensor | None, shape: tuple[int, ...]) -> bool:
    """Whether an array lies in the memory of this process, row after row."""
    if array is None or type(array) not in (Tensor, nn.Parameter) or array.layout != torch.strided:
        return False
    return (
        array.is_cpu
        and tuple(array.shape) == tuple(shape)
        and array.is_contiguous()
        and bool(array.data_ptr() or not array.numel())
    )
