"""`Reader`: tables that no optimizer owns, looked up by kernels where their rows are read and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakMethod

import numpy as np
import torch
from torch import Tensor, nn

from coset.engine.base import Lookup
from coset.engine.gradients import Bare, WithGradient
from coset.engine.program import DTYPES, NARROW
from coset.kernels import layout
from coset.kernels.pool import Pool
from coset.methods.base import TableModule
from coset.methods.composition import RowComposition
from coset.partitions import Partition
from coset.storage import KernelView, StoredRows

Asked = Sequence[Lookup] | Tensor
PATIENCE = 1 << 14
"""Ids that torch looks up in a process before kernels do: to load them takes a second, and to compile them more."""
FEW = 256
"""Ids of one feature of floats that torch looks up faster: its call takes less than ours."""
_left = [PATIENCE]
"""Of these, how many are left; a list, as all readers count them together."""

_plain: ContextVar[bool] = ContextVar("plain", default=False)

_KERNELS = {layout.BYTES: "read_codes", layout.NIBBLES: "read_codes", layout.BITS: "read_bits"}
"""Which kernel reads what is stored so, if not floats."""


@contextmanager
def by_torch_alone() -> Iterator[None]:
    """Have torch look up all tables that no optimizer owns. Sums of kernels round otherwise, and take over at some
    point of a process: so what a training reports would depend on where it was stopped and continued."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def torch_alone() -> bool:
    """Whether this is within `by_torch_alone`."""
    return _plain.get()


@dataclass(frozen=True)
class Source:
    """A table that kernels can read.

    Args:
        line: as a kernel takes it, see `coset.kernels.layout`.
        kernel: which one.
        stored: the array.
        weight: its parameter, where it is trained.
        order: the ranks of ids, where there is an order.
        kept: what `line` has the addresses of.
    """

    line: list[int]
    kernel: str
    stored: StoredRows
    weight: nn.Parameter | None = None
    order: Tensor | None = None
    kept: Any = None


@dataclass
class Facts:
    """The tables of a collection as they were when somebody last looked.

    Args:
        places: dictionaries, keys, and what was there.
        arrays: tensors, with type, address, dtype and shape.
        sources: those that can be read, by name of the table.
        hooks: of the arrays, and whether there were any; kernels go round them.
    """

    places: list[tuple[Mapping[str, Any], str, Any]] = field(default_factory=list)
    arrays: list[tuple[Tensor, type, int, torch.dtype, torch.Size]] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)
    hooks: list[tuple[Mapping[int, Any], bool]] = field(default_factory=list)

    def hold(self) -> bool:
        """Whether all is as it was."""
        if any(holder.get(name) is not kept for holder, name, kept in self.places):
            return False
        if any(bool(of) is not there for of, there in self.hooks):
            return False
        return all(
            tensor.data_ptr() == address
            and tensor.dtype is dtype
            and tensor.shape == shape
            and tensor.is_contiguous()
            and tensor.__class__ is kind
            for tensor, kind, address, dtype, shape in self.arrays
        )

    def note(self, holder: Mapping[str, Any], name: str) -> Any:
        """What is at a place, to be noticed when it changes."""
        found = holder.get(name)
        self.places.append((holder, name, found))
        if (
            isinstance(found, Tensor)
            and type(found) in (Tensor, nn.Parameter)
            and found.layout == torch.strided
            and found.is_cpu
        ):
            self.arrays.append((found, type(found), found.data_ptr(), found.dtype, found.shape))
        return found


class Reader:
    """Looks up the features of a collection that no optimizer owns. Values are those of plain torch, within rounding;
    gradients as well. Whatever kernels do not know is left to torch, and so are errors.

    Args:
        modules: the tables by name, as a module holds them.
        features: feature → table.
        by_torch: what `look_up` is to return, by plain torch; a method of the collection.
    """

    checks_bags = True

    def __init__(
        self, modules: dict[str, Any], features: Mapping[str, str], by_torch: Callable[[Asked, bool], Tensor]
    ) -> None:
        self.modules, self.features = modules, dict(features)
        self._torch = WeakMethod(by_torch)  # Python frees reference cycles late, and tables are large
        self._see(_facts(modules))

    def _see(self, facts: Facts) -> None:
        """Take what was found."""
        types = [source.stored.dtype for source in facts.sources.values()]
        dtype = types[0] if types else torch.float32
        sources = {name: source for name, source in facts.sources.items() if source.stored.dtype == dtype}
        self.numbers = {name: at for at, name in enumerate(self.features) if self.features[name] in sources}
        """The features that kernels look up, by name, with their numbers."""
        self._of = [sources.get(table) for table in self.features.values()]
        self._dims = [0 if source is None else source.stored.width for source in self._of]
        lines = [[0] * layout.SOURCE_COLUMNS if source is None else source.line for source in self._of]
        self._sources = np.array(lines, np.int64).reshape(-1, layout.SOURCE_COLUMNS)
        self._weights = [None if source is None else source.weight for source in self._of]
        kernels = np.array(["" if source is None else source.kernel for source in self._of])
        self._by_kernel = {str(kernel): kernels == kernel for kernel in set(kernels.tolist()) - {""}}
        """Which features each kernel reads."""
        self._pool, self._like = Pool(DTYPES[dtype]), np.empty(0, DTYPES[dtype])
        self.dtype: torch.dtype = dtype
        """The type of the vectors."""
        self._facts = facts

    def ready(self) -> bool:
        """Whether kernels look up any feature."""
        if not self.numbers:
            self._look_again()
        return bool(self.numbers)

    def _look_again(self) -> None:
        """Notice what has changed."""
        if not self._facts.hold():
            self._see(_facts(self.modules))

    def look_up(self, asked: Asked, joined: bool) -> Tensor:
        """Vectors of all lookups in one tensor; see `coset.engine.base.Engine`."""
        self._look_again()
        lookups = [Lookup(at, ids) for at, ids in enumerate(asked.unbind())] if isinstance(asked, Tensor) else asked
        if not self._fits(lookups):
            return self._by_torch(asked, joined)
        weights = [self._weights[lookup.feature] for lookup in lookups] if torch.is_grad_enabled() else []
        if any(weight is not None and weight.requires_grad for weight in weights):
            found = self._with_gradients(lookups, joined)
        else:
            found = self._vectors(lookups, joined)
        return self._by_torch(asked, joined) if found is None else found

    def _by_torch(self, asked: Asked, joined: bool) -> Tensor:
        by_torch = self._torch()
        assert by_torch is not None
        return by_torch(asked, joined)

    def _fits(self, lookups: Sequence[Lookup]) -> bool:
        """Whether kernels are to look these up."""
        ids, sources = 0, self._of
        for feature, values, offsets, weights, _, _ in lookups:
            if sources[feature] is None or type(values) is not Tensor or not values.is_cpu:
                return False
            if offsets is not None and not (type(offsets) is Tensor and offsets.is_cpu and offsets.is_contiguous()):
                return False
            if weights is not None and (type(weights) is not Tensor or not weights.is_cpu or weights.requires_grad):
                return False
            ids += values.shape[0]
        if _left[0] > 0:
            _left[0] -= ids
            if _left[0] > 0:
                return False
        return len(lookups) > 1 or ids >= FEW or (len(lookups) == 1 and self._weights[lookups[0].feature] is None)

    def _vectors(self, lookups: Sequence[Lookup], joined: bool) -> Tensor | None:
        """What kernels find; None where they meet an id out of range, or offsets that do not cut ids into bags."""
        dims, item, lines, begins, kept, ids, size = self._dims, self.dtype.itemsize, [], [], [], 0, 0
        for feature, values, offsets, weights, mean, is_open in lookups:
            order = self._of[feature].order  # type: ignore[union-attr]
            if order is not None or values.dtype is not torch.int64:
                if (rows := _rows(values, order)) is None:
                    return None
                values = rows
                kept.append(rows)
            count, at, factors = values.shape[0], 0, 0
            bags = count
            if offsets is not None:
                bags, at = offsets.shape[0] - 1 + is_open, offsets.data_ptr()
            if weights is not None:
                weights = weights.detach().to(self.dtype).contiguous()
                kept.append(weights)
                factors = weights.data_ptr()
            dim = dims[feature]
            lines.append((values.data_ptr(), count, at, bags, factors, mean, dim, dim, feature, is_open))
            begins.append(size * item)
            ids += count
            size += dim if joined else bags * dim
        features = np.zeros((len(lines), layout.FEATURE_COLUMNS), np.int64)
        features[:, _COLUMNS] = lines
        if joined:
            features[:, layout.STRIDE] = size
            tensor = torch.from_numpy(self._pool.take(lines[0][3] * size).reshape(lines[0][3], size))
        else:
            tensor = torch.from_numpy(self._pool.take(size))
        base = tensor.data_ptr()
        features[:, layout.VECTORS] = [base + begin for begin in begins]
        return None if self._run(features, ids) else tensor

    def _run(self, features: np.ndarray, ids: int) -> bool:
        """Have the kernels find the vectors of so many ids; whether one has met something wrong."""
        from coset.kernels import reading
        from coset.kernels.launch import alongside

        for kernel, numbers in self._by_kernel.items():
            some = features
            if len(self._by_kernel) > 1:
                some = features[numbers[features[:, layout.PIECE]]]
            if any(alongside(getattr(reading, kernel), ids, some, self._sources, self._like)):
                return True
        return False

    def _with_gradients(self, lookups: Sequence[Lookup], joined: bool) -> Tensor | None:
        """The same with a gradient for every weight."""
        of: list[Any] = [self._of[lookup.feature] for lookup in lookups]
        weights = list({id(source.weight): source.weight for source in of if source.weight is not None}.values())
        places = {id(weight): place for place, weight in enumerate(weights)}
        bare = [
            Bare(lookup, source.order, places.get(id(source.weight), -1), source.stored.width)
            for lookup, source in zip(lookups, of, strict=True)
        ]
        find = partial(self._vectors, lookups, joined)
        found: Tensor | None = WithGradient.apply(find, bare, joined, *weights)  # type: ignore[no-untyped-call]
        return found


_COLUMNS = [
    layout.VALUES, layout.COUNT, layout.OFFSETS, layout.BAGS, layout.WEIGHTS, layout.MEAN, layout.STRIDE, layout.DIM,
    layout.PIECE, layout.OPEN,
]  # fmt: skip


def _rows(ids: Tensor, order: Tensor | None) -> Tensor | None:
    """The rows of ids, int64; None where one is out of the range of an order."""
    if order is None:
        return ids.long()
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= len(order)):
        return None
    return order[ids.long()].long()


def _facts(modules: dict[str, Any]) -> Facts:
    facts = Facts()
    for name in modules:
        module = facts.note(modules, name)
        if isinstance(module, TableModule) and (source := _source(module, facts)) is not None:
            facts.sources[name] = source
    return facts


def _source(module: TableModule, facts: Facts) -> Source | None:
    """The table as kernels read it: bare rows, one an id."""
    of, ids = module.method.descriptor(module.table), module.table.num_embeddings
    if not isinstance(of, RowComposition) or len(of.parts) > 1 or of.projection is not None or of.outputs > 1:
        return None
    (part,) = of.parts
    if not isinstance(part.partition, Partition) or not part.partition.is_identity(ids) or "." in part.name:
        return None
    stored, order = facts.note(module._modules, part.name), facts.note(module._buffers, "order")
    if not isinstance(stored, StoredRows):
        return None
    hooks = stored._forward_hooks, stored._forward_pre_hooks
    facts.hooks += [(of, bool(of)) for of in hooks]
    if any(hooks):
        return None
    for holder in (stored._parameters, stored._buffers):
        for name in list(holder):
            facts.note(holder, name)
    view = stored.kernel_view()
    if view is None or stored.dtype not in DTYPES or stored.rows < ids:
        return None
    if order is not None and not (type(order) is Tensor and order.is_cpu and order.dim() == 1 and len(order) == ids):
        return None
    found = {"dense": _floats, "codes": _codes}.get(view.form, _unknown)(stored, view)
    if found is None:
        return None
    line, weight, kept = found
    return Source(line, _KERNELS.get(line[layout.STORED], "read_floats"), stored, weight, order, kept)


Read = tuple[list[int], nn.Parameter | None, Any]


def _floats(stored: StoredRows, view: KernelView) -> Read | None:
    weight = stored._parameters.get(view.array)
    if type(weight) is not nn.Parameter or not _is_plain(weight, (stored.rows, stored.width)):
        return None
    if weight.dtype not in (stored.dtype, *NARROW):
        return None
    kind = layout.WIDE if weight.dtype == stored.dtype else NARROW[weight.dtype]
    line = [weight.data_ptr(), stored.rows, stored.width, kind]
    return line + [0] * (layout.SOURCE_COLUMNS - len(line)), weight, None


def _codes(stored: StoredRows, view: KernelView) -> Read | None:
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
    return line, None, coded


def _unknown(stored: StoredRows, view: KernelView) -> None:
    return None


def _is_plain(array: Tensor | None, shape: tuple[int, ...]) -> bool:
    """Whether an array lies in the memory of this process, row after row."""
    if array is None or type(array) not in (Tensor, nn.Parameter) or array.layout != torch.strided:
        return False
    return (
        array.is_cpu
        and tuple(array.shape) == shape
        and array.is_contiguous()
        and bool(array.data_ptr() or not array.numel())
    )
