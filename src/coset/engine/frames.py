"""`Frames`: what a call asks of kernels, with all that calls of the same sizes have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from coset.engine.base import Lookup
from coset.errors import InputError
from coset.kernels import layout
from coset.methods.base import TableModule

_KEPT = 64
"""How many shapes of calls are remembered."""


@dataclass(frozen=True)
class Shape:
    """What calls with the same features and numbers of ids have in common.

    Args:
        features: a matrix of all features that asks for so many ids, one id a bag.
        asked: the numbers of those features.
        dims: elements of a vector of each.
        ids: how many, of all.
        tasks: of sums, and their uses; how they are cut depends on nothing else.
        whole: where each array begins in memory for arrays that are widened as a whole, since the call reads more rows
            than they have; -1 for the others.
        widened: numbers in that memory.
    """

    features: np.ndarray
    asked: np.ndarray
    dims: np.ndarray
    ids: int
    tasks: np.ndarray
    uses: np.ndarray
    whole: np.ndarray
    widened: int

    @cached_property
    def lines(self) -> np.ndarray | slice:
        """`asked`, as numpy is fastest to take it."""
        whole = len(self.asked) == len(self.features) and bool((np.diff(self.asked) > 0).all())
        return slice(None) if whole else self.asked

    @cached_property
    def columns(self) -> np.ndarray:
        """Where the vectors of each feature begin, where they stand side by side."""
        begin: np.ndarray = np.cumsum(self.dims) - self.dims
        return begin

    @cached_property
    def width(self) -> int:
        """Elements of the vectors of all features."""
        return int(self.dims.sum())


class Frame(NamedTuple):
    """A matrix of features that asks for something, and the shape of the call."""

    features: np.ndarray
    shape: Shape


class Frames:
    """Frames of calls, whose shapes are remembered.

    Args:
        template: a matrix of all features that asks for nothing.
        uses: those of every array, see `coset.kernels.layout`.
        arrays: see `coset.kernels.layout`.
        orders: features whose ids are in another order, and the modules that have it.
    """

    def __init__(
        self,
        template: np.ndarray,
        uses: Mapping[int, list[list[int]]],
        arrays: np.ndarray,
        orders: Sequence[tuple[int, TableModule]],
    ) -> None:
        self.template, self._uses, self._arrays, self._orders = template, uses, arrays, orders
        self._shapes: dict[tuple[tuple[int, ...], tuple[int, ...]], Shape] = {}

    def prepare(self, lookups: Sequence[Lookup]) -> Frame:
        """What asks for `lookups`."""
        for lookup in lookups:
            _check_device(lookup.values, lookup.offsets, lookup.weights)
        frame = self.frame(
            tuple(lookup.feature for lookup in lookups), tuple(lookup.values.shape[0] for lookup in lookups)
        )
        features = frame.features
        features[frame.shape.lines, layout.VALUES] = [lookup.values.data_ptr() for lookup in lookups]
        for feature, values, offsets, weights, mean, _ in lookups:
            if offsets is not None:
                features[feature, layout.OFFSETS] = offsets.data_ptr()
                features[feature, layout.BAGS] = offsets.shape[0] - 1
                features[feature, layout.MEAN] = mean
            if weights is not None:
                features[feature, layout.WEIGHTS] = weights.data_ptr()
            if values.dtype == torch.int32:
                features[feature, layout.NARROW_IDS] = 1
        return frame

    def prepare_matrix(self, ids: Tensor) -> Frame:
        """What asks for one id a bag of every feature, a contiguous matrix of shape `(features, bags)`."""
        _check_device(ids)
        features, bags = ids.shape
        frame = self.frame(tuple(range(features)), (bags,) * features)
        frame.features[:, layout.VALUES] = frame.shape.asked * (ids.element_size() * bags) + ids.data_ptr()
        if ids.dtype == torch.int32:
            frame.features[:, layout.NARROW_IDS] = 1
        return frame

    def frame(self, asked: tuple[int, ...], counts: tuple[int, ...]) -> Frame:
        """A frame for so many ids of these features, one id a bag."""
        shape = self._shapes.get((asked, counts))  # looked up once: another thread may clear them
        if shape is None:
            if len(self._shapes) >= _KEPT:
                self._shapes.clear()
            shape = self._shapes[asked, counts] = self._shape(asked, counts)
        features = shape.features.copy()
        for feature, module in self._orders:
            features[feature, layout.ORDER] = module.order.data_ptr()  # type: ignore[operator]
        return Frame(features, shape)

    def _shape(self, asked: tuple[int, ...], counts: tuple[int, ...]) -> Shape:
        numbers, lengths = np.array(asked, np.int64), np.array(counts, np.int64)
        features = self.template.copy()
        features[numbers, layout.COUNT] = features[numbers, layout.BAGS] = lengths
        features[numbers, layout.SPACE] = lengths.cumsum() - lengths
        every = tuple(features[:, layout.COUNT].tolist())
        return Shape(
            features, numbers, features[numbers, layout.DIM], int(lengths.sum()), *self._cut(every), *self._whole(every)
        )

    def _cut(self, counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        tasks: list[list[int]] = []
        uses: list[list[int]] = []
        per_array = {}
        for array, found in self._uses.items():
            asked = [use for use in found if counts[use[layout.USE_FEATURE]]]
            if asked and asked[0][layout.USE_PART] == layout.AS_STEPS:
                per_array[array] = asked, 0
            elif asked:
                per_array[array] = asked, sum(counts[use[layout.USE_FEATURE]] for use in asked)
        total = sum(count for _, count in per_array.values())
        for array, (asked, count) in per_array.items():
            projection = asked[0][layout.USE_PART] < 0
            chunks = 1 if projection else layout.chunks_of(count, total, int(self._arrays[array, layout.ROWS]))
            tasks += [[array, number, chunks, 0, 0, len(uses), len(asked)] for number in range(chunks)]
            uses += asked
        shape = (-1, layout.TASK_COLUMNS), (-1, layout.USE_COLUMNS)
        return np.array(tasks, np.int64).reshape(shape[0]), np.array(uses, np.int64).reshape(shape[1])

    def _whole(self, counts: tuple[int, ...]) -> tuple[np.ndarray, int]:
        whole, size = np.full(len(self._arrays), -1, np.int64), 0
        for array, found in self._uses.items():
            rows, width = self._arrays[array, [layout.ROWS, layout.ARRAY_WIDTH]].tolist()
            if self._arrays[array, layout.STORED] and rows <= sum(counts[use[layout.USE_FEATURE]] for use in found):
                whole[array] = size
                size += rows * width
        return whole, size


def _check_device(*given: Tensor | None) -> None:
    for tensor in given:
        if tensor is not None and not tensor.is_cpu:  # its address, if it has one, is none of this memory
            raise InputError(f"ids, offsets and weights are on the CPU, where the tables are, not on {tensor.device}")
