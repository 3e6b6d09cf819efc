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
from coset.engine.gradients import BareLookup, WithGradient
from coset.engine.singles import alike
from coset.engine.sources import Composed
from coset.engine.view import View
from coset.kernels import layout

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
        self.modules, self.features, self._order = modules, dict(features), list(features)
        self._torch = WeakMethod(by_torch)  # Python frees reference cycles late, and tables are large
        self._view = View(modules, self.features)

    def reads(self, modules: dict[str, Any], features: Mapping[str, str]) -> bool:
        """Whether it is of these tables and features."""
        return modules is self.modules and features == self.features and [*features] == self._order

    @property
    def dtype(self) -> torch.dtype:
        """The type of the vectors."""
        return self._view.dtype

    @property
    def numbers(self) -> Mapping[str, int]:
        """The features that kernels look up now, by name, with their numbers."""
        return self._view.numbers

    def ready(self) -> bool:
        """Whether kernels look up any feature."""
        view = self._view if self._view.whole else self._now()
        return bool(view.numbers)

    def _now(self) -> View:
        """The tables as they are."""
        view = self._view
        if not view.facts.hold():
            view = self._view = View(self.modules, self.features)
        return view

    def look_up(self, asked: Asked, joined: bool) -> Tensor:
        """Vectors of all lookups in one tensor; see `coset.engine.base.Engine`."""
        if isinstance(asked, Tensor) and joined:
            found = self.one_each(dict(zip(self._order, asked.unbind(), strict=True)), joined)
            if isinstance(found, Tensor):
                return found
        view = self._now()
        lookups = [Lookup(at, ids) for at, ids in enumerate(asked.unbind())] if isinstance(asked, Tensor) else asked
        if not _fits(view, lookups):
            return self._by_torch(asked, joined)
        weights = [view.weights[lookup.feature] for lookup in lookups] if torch.is_grad_enabled() else []
        if any(weight is not None and weight.requires_grad for weight in weights):
            found = self._with_gradients(view, lookups, joined)
        else:
            found = self._vectors(view, lookups, joined)
        return self._by_torch(asked, joined) if found is None else found

    def one_each(self, given: dict[str, Any], joined: bool) -> Tensor | tuple[Tensor, ...] | None:
        """Vectors of one id a bag of several features, all with as many bags; see `coset.engine.base.Engine`.

        This is `look_up` for the most frequent call of a server, without a loop of Python over the features.
        """
        view = self._now()
        numbers, of = view.numbers, view.singles(tuple(given))
        if of is None or (numbers is not view.whole and not all(map(numbers.__contains__, given))):
            return None
        if (torch.is_grad_enabled() and of.is_trained()) or (ids := alike(given)) is None:
            return None
        bags = len(ids[0])
        count = bags * len(ids)
        if _left[0] > 0 or (len(ids) == 1 and count < FEW and of.weights):
            return None
        tensor = torch.from_numpy(view.pool.take(bags * of.width))
        if self._run(view, of.frame(ids, bags, tensor.data_ptr(), joined), of.numbers, count):
            return None
        return tensor.view(bags, of.width) if joined else of.parts(tensor, bags)

    def _by_torch(self, asked: Asked, joined: bool) -> Tensor:
        by_torch = self._torch()
        assert by_torch is not None
        return by_torch(asked, joined)

    def _vectors(self, view: View, lookups: Sequence[Lookup], joined: bool) -> Tensor | None:
        """What kernels find; None where they meet an id out of range, or offsets that do not cut ids into bags."""
        dims, pieces, item = view.dims, view.pieces, view.dtype.itemsize
        lines, begins, kept, ids, size = [], [], [], 0, 0
        for feature, values, offsets, weights, mean, is_open in lookups:
            order = view.of[feature].order  # type: ignore[union-attr]
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
                weights = weights.detach().resolve_neg().to(view.dtype).contiguous()
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
            tensor = torch.from_numpy(view.pool.take(lines[0][3] * size).reshape(lines[0][3], size))
        else:
            tensor = torch.from_numpy(view.pool.take(size))
        base = tensor.data_ptr()
        features[:, layout.VECTORS] = [base + begin for begin in begins]
        return None if self._run(view, features, [lookup.feature for lookup in lookups], ids) else tensor

    def _run(self, view: View, features: np.ndarray, asked: list[int], ids: int) -> bool:
        """Have the kernels find the vectors of so many ids; whether one has met something wrong."""
        from coset.kernels import composed, reading
        from coset.kernels.launch import alongside

        for kernel, numbers in view.by_kernel.items():
            some = features if len(view.by_kernel) == 1 else features[numbers[asked]]
            room, given = (composed, view.composed) if kernel == Composed.kernel else (reading, view.rows)
            if len(some) and any(alongside(getattr(room, kernel), ids, some, *given, view.like)):
                return True
        return False

    def _with_gradients(self, view: View, lookups: Sequence[Lookup], joined: bool) -> Tensor | None:
        """The same with a gradient for every weight."""
        of: list[Any] = [view.of[lookup.feature] for lookup in lookups]
        weights = list({id(source.weight): source.weight for source in of if source.weight is not None}.values())
        places = {id(weight): place for place, weight in enumerate(weights)}
        bare = [
            BareLookup(lookup, source.order, places.get(id(source.weight), -1), source.dim)
            for lookup, source in zip(lookups, of, strict=True)
        ]
        find = partial(self._vectors, view, lookups, joined)
        found: Tensor | None = WithGradient.apply(find, bare, joined, *weights)  # type: ignore[no-untyped-call]
        return found


_COLUMNS = [
    layout.VALUES, layout.COUNT, layout.OFFSETS, layout.BAGS, layout.WEIGHTS, layout.MEAN, layout.STRIDE, layout.DIM,
    layout.OPEN, layout.PIECE, layout.PIECES, layout.IDS,
]  # fmt: skip


def _fits(view: View, lookups: Sequence[Lookup]) -> bool:
    """Whether kernels are to look these up."""
    ids, sources, numbers = 0, view.of, view.numbers
    if numbers is not view.whole and not {lookup.feature for lookup in lookups} <= {*numbers.values()}:
        return False  # tables were changed since the collection asked for the numbers
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
    return len(lookups) > 1 or ids >= FEW or (len(lookups) == 1 and view.weights[lookups[0].feature] is None)


def _rows(ids: Tensor, order: Tensor | None) -> Tensor | None:
    """The rows of ids, int64; None where one is out of the range of an order."""
    if order is None:
        return ids.long()
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= len(order)):
        return None
    return order[ids.long()].long()
