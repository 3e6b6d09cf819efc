"""What kernels are given of tables that no optimizer owns: those of a collection, and the features that read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from coset.engine.composed import DTYPES
from coset.engine.facts import Facts
from coset.engine.singles import Singles
from coset.engine.sources import Bare, Composed, Source, sources_of
from coset.kernels import layout
from coset.kernels.pool import Pool

_KNOWN = 32
"""Choices of features that a view keeps its preparations for."""


class View:
    """What kernels are given of the tables of a collection. It is never changed: a call reads what it began with, and
    keeps it in memory, whatever others put in its place meanwhile.

    Args:
        modules: the tables by name, as a module holds them.
        features: feature → table.
    """

    def __init__(self, modules: Mapping[str, Any], features: Mapping[str, str]) -> None:
        self.facts = Facts()
        """What kernels may be given this as long as."""
        found = sources_of(modules, self.facts)
        types = [source.dtype for source in found.values()]
        self.dtype: torch.dtype = types[0] if types else torch.float32
        """The type of the vectors."""
        sources = {name: source for name, source in found.items() if source.dtype == self.dtype}
        self.of = [sources.get(table) for table in features.values()]
        read = [(name, at, of) for name, at, of in zip(features, range(len(self.of)), self.of, strict=True) if of]
        self.whole = {name: at for name, at, _ in read}
        """The features that kernels look up, by name, with their numbers."""
        self.exact = {name: at for name, at, of in read if not of.loses_gradients}
        """Those of which no gradient is lost."""
        self.bare = {name: at for name, at, of in read if isinstance(of, Bare)}
        self.dims = [0 if source is None else source.dim for source in self.of]
        self.weights = [None if source is None else source.weight for source in self.of]
        self.pool, self.like = Pool(DTYPES[self.dtype]), np.empty(0, DTYPES[self.dtype])
        kernels = np.array(["" if source is None else source.kernel for source in self.of])
        self.by_kernel = {str(kernel): kernels == kernel for kernel in set(kernels.tolist()) - {""}}
        """Which features each kernel reads."""
        lines = [of.array.line if isinstance(of, Bare) else [0] * layout.SOURCE_COLUMNS for of in self.of]
        self.rows = (np.array(lines, np.int64).reshape(-1, layout.SOURCE_COLUMNS),)
        """What kernels of bare rows are given: a line a feature."""
        self.composed, places = _joined(sources)
        self.pieces = [places.get(table, (at, 1, 0)) for at, table in enumerate(features.values())]
        self._singles: dict[tuple[str, ...], Singles | None] = {}

    @property
    def numbers(self) -> Mapping[str, int]:
        """The features that kernels look up now: nothing composed and trained where its gradient is wanted, or whose
        projection autocast may have in another type."""
        if torch.is_autocast_enabled("cpu"):
            return self.bare
        return self.exact if torch.is_grad_enabled() else self.whole

    def singles(self, names: tuple[str, ...]) -> Singles | None:
        """What lookups of one id a bag of these features have in common; None where they do not suit it."""
        known = self._singles
        if names not in known:
            if len(known) >= _KNOWN:
                known.clear()
            known[names] = self._single(names)
        return known.get(names)

    def _single(self, names: tuple[str, ...]) -> Singles | None:
        if not names or not all(map(self.whole.__contains__, names)):
            return None
        numbers = [self.whole[name] for name in names]
        chosen = [self.of[number] for number in numbers]
        if any(of.order is not None or of.outputs > 1 for of in chosen if of):
            return None
        weights = list({id(weight): weight for of in chosen if of and (weight := of.weight) is not None}.values())
        return Singles(names, numbers, [self.dims[each] for each in numbers], [self.pieces[each] for each in numbers],
                       weights, self.dtype)  # fmt: skip


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
