"""`Reader`: tables that no optimizer owns, looked up by kernels where their rows are read and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any
from weakref import WeakMethod

import numpy as np
import torch
from torch import Tensor

from coset.engine.base import Lookup
from coset.engine.composed import DTYPES
from coset.engine.gradients import BareLookup, WithGradient
from coset.engine.sources import Bare, Composed, Facts, Source
from coset.kernels import layout
from coset.kernels.pool import Pool

Asked = Sequence[Lookup] | Tensor
PATIENCE = 1 << 14
"""Ids that torch looks up in a process before kernels do: to load them takes a second, and to compile them more."""
FEW = 256
"""Ids of one feature of floats that torch looks up faster: its call takes less than ours."""
_left = [PATIENCE]
"""Of these, how many are left; a list, as all readers count them together."""

_plain: ContextVar[bool] = ContextVar("plain", default=False)


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
        self._see(Facts.of(modules))

    def _see(self, facts: Facts) -> None:
        """Take what was found."""
        self._facts = facts
        types = [source.dtype for source in facts.sources.values()]
        self.dtype: torch.dtype = types[0] if types else torch.float32
        """The type of the vectors."""
        sources = {name: source for name, source in facts.sources.items() if source.dtype == self.dtype}
        self._of = [sources.get(table) for table in self.features.values()]
        self._all = {name: at for name, at, of in zip(self.features, range(len(self._of)), self._of, strict=True) if of}
        self._exact = {name: at for name, at in self._all.items() if not self._of[at].loses_gradients}  # type: ignore[union-attr]
        self._dims = [0 if source is None else source.dim for source in self._of]
        self._weights = [None if source is None else source.weight for source in self._of]
        self._pool, self._like = Pool(DTYPES[self.dtype]), np.empty(0, DTYPES[self.dtype])
        kernels = np.array(["" if source is None else source.kernel for source in self._of])
        self._by_kernel = {str(kernel): kernels == kernel for kernel in set(kernels.tolist()) - {""}}
        """Which features each kernel reads."""
        lines = [of.array.line if isinstance(of, Bare) else [0] * layout.SOURCE_COLUMNS for of in self._of]
        self._bare = (np.array(lines, np.int64).reshape(-1, layout.SOURCE_COLUMNS),)
        """What kernels of bare rows are given: a line a feature."""
        self._composed, self._places = _joined(sources)
        self._piece_of = [self._places.get(table, (at, 1, 0)) for at, table in enumerate(self.features.values())]

    @property
    def numbers(self) -> Mapping[str, int]:
        """The features that kernels look up, by name, with their numbers: no composed ones that are trained, where
        their gradient is wanted."""
        return self._exact if torch.is_grad_enabled() else self._all

    def ready(self) -> bool:
        """Whether kernels look up any feature."""
        if not self._all:
            self._look_again()
        return bool(self.numbers)

    def _look_again(self) -> None:
        """Notice what has changed."""
        if not self._facts.hold():
            self._see(Facts.of(self.modules))

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
        dims, pieces, item = self._dims, self._piece_of, self.dtype.itemsize
        lines, begins, kept, ids, size = [], [], [], 0, 0
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
            lines.append((values.data_ptr(), count, at, bags, factors, mean, dim, dim, is_open, *pieces[feature]))
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
        return None if self._run(features, [lookup.feature for lookup in lookups], ids) else tensor

    def _run(self, features: np.ndarray, asked: list[int], ids: int) -> bool:
        """Have the kernels find the vectors of so many ids; whether one has met something wrong."""
        from coset.kernels import composed, reading
        from coset.kernels.launch import alongside

        for kernel, numbers in self._by_kernel.items():
            some = features if len(self._by_kernel) == 1 else features[numbers[asked]]
            room, given = (composed, self._composed) if kernel == Composed.kernel else (reading, self._bare)
            if len(some) and any(alongside(getattr(room, kernel), ids, some, *given, self._like)):
                return True
        return False

    def _with_gradients(self, lookups: Sequence[Lookup], joined: bool) -> Tensor | None:
        """The same with a gradient for every weight."""
        of: list[Any] = [self._of[lookup.feature] for lookup in lookups]
        weights = list({id(source.weight): source.weight for source in of if source.weight is not None}.values())
        places = {id(weight): place for place, weight in enumerate(weights)}
        bare = [
            BareLookup(lookup, source.order, places.get(id(source.weight), -1), source.dim)
            for lookup, source in zip(lookups, of, strict=True)
        ]
        find = partial(self._vectors, lookups, joined)
        found: Tensor | None = WithGradient.apply(find, bare, joined, *weights)  # type: ignore[no-untyped-call]
        return found


_COLUMNS = [
    layout.VALUES, layout.COUNT, layout.OFFSETS, layout.BAGS, layout.WEIGHTS, layout.MEAN, layout.STRIDE, layout.DIM,
    layout.OPEN, layout.PIECE, layout.PIECES, layout.IDS,
]  # fmt: skip


def _rows(ids: Tensor, order: Tensor | None) -> Tensor | None:
    """The rows of ids, int64; None where one is out of the range of an order."""
    if order is None:
        return ids.long()
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= len(order)):
        return None
    return order[ids.long()].long()


def _joined(sources: Mapping[str, Source]) -> tuple[tuple[np.ndarray, ...], dict[str, tuple[int, int, int]]]:
    """What the kernel of composed tables is given: pieces, parts and arrays of all; and, by name of the table, its
    first piece, how many it has, and how many ids."""
    pieces: list[list[int]] = []
    parts: list[list[int]] = []
    arrays: list[list[int]] = []
    places = {}
    for name, of in sources.items():
        if not isinstance(of, Composed):
            continue
        places[name] = len(pieces), len(of.pieces), of.ids
        for line in of.pieces:
            moved = line.copy()
            moved[layout.PART] += len(parts)
            for column in (layout.PROJECTION, layout.BIAS):
                moved[column] += len(arrays) if line[column] >= 0 else 0
            pieces.append(moved)
        parts += [[line[layout.ARRAY] + len(arrays), *line[1:]] for line in of.parts]
        arrays += [array.line for array in of.arrays]
    columns = layout.PIECE_COLUMNS, layout.PART_COLUMNS, layout.SOURCE_COLUMNS
    given = tuple(
        np.array(lines, np.int64).reshape(-1, width)
        for lines, width in zip((pieces, parts, arrays), columns, strict=True)
    )
    return given, places
