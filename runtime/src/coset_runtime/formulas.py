"""Formulas: the vectors of a table, computed of stored arrays as its manifest says (docs/artifact.md).

A formula becomes a tree of nodes. Each has the `width` of its vectors and is called with ids, a column of int64 or a
range of them; all sizes are checked when it is made, so no id of its table reads beyond an array.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np

from coset_runtime.arrays import Array, Products, Rows, products
from coset_runtime.errors import Damaged, brief, entry, whole
from coset_runtime.hashes import hash_words

Columns = Mapping[str, np.ndarray]
Arrays = Mapping[str, Array]


class Node(ABC):
    """A part of a formula.

    Args:
        width: elements of its vectors.
    """

    def __init__(self, width: int) -> None:
        self.width = width

    @abstractmethod
    def __call__(self, ids: Rows) -> np.ndarray:
        """The vectors of ids, of shape `(ids, width)`; not to be changed."""

    def products(self, ids: Rows, with_: np.ndarray) -> Products:
        """The products of other vectors, shape `(others, width)`, with those of ids."""
        return products(self(ids), with_)


class _Picked(Node):
    def __init__(self, array: Array, rows: Callable[[Rows], Rows]) -> None:
        super().__init__(array.width)
        self.array, self.rows = array, rows

    def __call__(self, ids: Rows) -> np.ndarray:
        return self.array.read(self.rows(ids))

    def products(self, ids: Rows, with_: np.ndarray) -> Products:
        return self.array.products(self.rows(ids), with_)


class _Joined(Node):
    def __init__(self, of: list[Node], join: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        super().__init__(of[0].width)
        self.of, self.join = of, join

    def __call__(self, ids: Rows) -> np.ndarray:
        found: np.ndarray = reduce(self.join, [each(ids) for each in self.of])
        return found


class _Concatenated(Node):
    def __init__(self, of: list[Node]) -> None:
        super().__init__(sum(each.width for each in of))
        self.of = of

    def __call__(self, ids: Rows) -> np.ndarray:
        return np.concatenate([each(ids) for each in self.of], axis=1)


class _Projected(Node):
    """In float64, rounded once, so that equal vectors stay equal wherever a library finds them in a batch."""

    def __init__(self, of: Node, matrix: np.ndarray, bias: np.ndarray | None) -> None:
        super().__init__(matrix.shape[1])
        self.of, self.dtype, self.matrix = of, matrix.dtype, matrix.astype(np.float64)
        self.bias = np.zeros(self.width) if bias is None else bias[0].astype(np.float64)

    def __call__(self, ids: Rows) -> np.ndarray:
        found: np.ndarray = self.of(ids).astype(np.float64) @ self.matrix
        return (found + self.bias).astype(self.dtype)

    def products(self, ids: Rows, with_: np.ndarray) -> Products:
        """Of narrow vectors with what the matrix makes of the others."""
        narrow, wide, eps = self.of(ids), with_.astype(np.float64), float(np.finfo(self.dtype).eps)
        most = (np.abs(wide) @ np.abs(self.matrix).T).sum(1) * float(np.abs(narrow).max(initial=0))
        scores = (wide @ self.matrix.T).astype(self.dtype) @ narrow.T
        scores += (wide @ self.bias).astype(self.dtype)[:, None]
        return Products(scores, eps * ((self.of.width + 8) * most + 4 * np.abs(wide) @ np.abs(self.bias)))


class _Product(Node):
    """In float64, likewise."""

    def __init__(self, left: Node, right: Node, inner: int, dtype: np.dtype[Any]) -> None:
        super().__init__(left.width // inner * (right.width // inner))
        self.left, self.right, self.inner, self.dtype = left, right, inner, dtype

    def __call__(self, ids: Rows) -> np.ndarray:
        left, right = (of(ids).astype(np.float64) for of in (self.left, self.right))
        found: np.ndarray = left.reshape(len(left), -1, self.inner) @ right.reshape(len(right), self.inner, -1)
        return found.reshape(len(left), self.width).astype(self.dtype)


class _Activated(Node):
    def __init__(self, of: Node, function: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__(of.width)
        self.of, self.function = of, function

    def __call__(self, ids: Rows) -> np.ndarray:
        return self.function(self.of(ids))


class _Blocks(Node):
    def __init__(self, edges: list[int], of: list[Node]) -> None:
        super().__init__(of[0].width)
        self.edges, self.of = edges, of

    def __call__(self, ids: Rows) -> np.ndarray:
        if isinstance(ids, slice):
            return self._range(*ids.indices(self.edges[-1])[:2])
        number = np.searchsorted(np.array(self.edges[1:-1]), ids, side="right")
        found: np.ndarray | None = None
        for block in np.unique(number).tolist():
            at = np.flatnonzero(number == block)
            part: np.ndarray = self.of[block](ids[at] - self.edges[block])
            if len(at) == len(ids):
                return part
            found = np.empty((len(ids), self.width), part.dtype) if found is None else found
            found[at] = part
        return self.of[0](ids) if found is None else found

    def products(self, ids: Rows, with_: np.ndarray) -> Products:
        if not isinstance(ids, slice):
            return super().products(ids, with_)
        parts = [of.products(some, with_) for of, some in self._within(*ids.indices(self.edges[-1])[:2])]
        if not parts:
            return super().products(ids, with_)
        scores = parts[0].scores if len(parts) == 1 else np.concatenate([part.scores for part in parts], axis=1)
        errors: np.ndarray = np.max([part.errors for part in parts], axis=0)
        return Products(scores, errors)

    def _range(self, begin: int, end: int) -> np.ndarray:
        parts = [of(some) for of, some in self._within(begin, end)]
        if not parts:
            return self.of[0](slice(0, 0))
        found: np.ndarray = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return found

    def _within(self, begin: int, end: int) -> Iterator[tuple[Node, slice]]:
        """The blocks that have some of these ids, and which of theirs."""
        for of, (first, last) in zip(self.of, pairwise(self.edges), strict=True):
            if max(begin, first) < min(end, last):
                yield of, slice(max(begin, first) - first, min(end, last) - first)


class _Ordered(Node):
    def __init__(self, of: Node, ranks: np.ndarray) -> None:
        super().__init__(of.width)
        self.of, self.ranks = of, ranks

    def __call__(self, ids: Rows) -> np.ndarray:
        return self.of(self.ranks[ids].astype(np.int64))


class _Hashes(Node):
    def __init__(self, count: int, seed: int, n: int, dtype: np.dtype[Any]) -> None:
        super().__init__(count)
        self.n, self.seed, self.dtype = n, seed, dtype
        numbers, one = np.arange(count), np.uint64(1)
        self.factors = [hash_words(numbers, seed + more) >> one | one for more in (0, 1)]

    def __call__(self, ids: Rows) -> np.ndarray:
        numbers = _numbers(ids, self.n)
        x, y = (hash_words(numbers, self.seed + more)[:, None] >> np.uint64(1) for more in (0, 1))
        a, b = self.factors
        words = (x * a + y * b) & np.uint64(0xFFFFFFFF)
        uniform = words.astype(np.float32) / np.float32(2**31) - np.float32(1)
        return (uniform * np.float32(3**0.5)).astype(self.dtype)


class _Chunks(Node):
    def __init__(self, array: Array, size: int, chunk: int, dim: int, seed: int, n: int) -> None:
        super().__init__(dim)
        self.array, self.size, self.chunk, self.n = array, size, chunk, n
        self.seeds = hash_words(np.arange(-(-dim // chunk)), seed)

    def __call__(self, ids: Rows) -> np.ndarray:
        words = hash_words(_numbers(ids, self.n)[:, None], self.seeds).astype(np.int64)
        places = ((words % self.size)[:, :, None] + np.arange(self.chunk)) % self.size
        places = places.reshape(len(words), -1)[:, : self.width]
        return self.array.read(places.reshape(-1)).reshape(places.shape)


def formula(of: Any, n: int, dtype: np.dtype[Any], arrays: Arrays, columns: Columns, where: str) -> Node:
    """The node of a formula of `n` ids.

    Raises:
        Damaged: an unknown operation, or one that reads beyond an array.
    """

    def inner(value: Any, count: int = n) -> Node:
        return formula(value, count, dtype, arrays, columns, where)

    def several() -> list[Node]:
        values = entry(of, "of", list, where)
        if not values:
            raise Damaged(f"{where}: {op} of nothing")
        return [inner(value) for value in values]

    op = entry(of, "op", str, where)
    if op == "rows":
        return _picked(of, n, arrays, columns, where)
    if op == "concat":
        return _Concatenated(several())
    if op in ("add", "mult"):
        return _Joined(_alike(several(), where), np.add if op == "add" else np.multiply)
    if op == "project":
        return _projected(of, inner(of.get("of")), arrays, where)
    if op == "product":
        left, right = inner(of.get("left")), inner(of.get("right"))
        across = whole(of, "inner", where, 1)
        if left.width % across or right.width % across:
            raise Damaged(f"{where}: vectors of {left.width} and {right.width} elements are no matrices by {across}")
        return _Product(left, right, across, dtype)
    if op == "mish":
        return _Activated(inner(of.get("of")), _mish)
    if op == "leaky_relu":
        slope = dtype.type(entry(of, "slope", (float, int), where))
        return _Activated(inner(of.get("of")), lambda values: np.where(values > 0, values, values * slope))
    if op == "blocks":
        return _blocks(of, n, inner, where)
    if op == "order":
        ranks = _column(of, columns, n, where)
        return _Ordered(inner(of.get("of")), _within(ranks, n, where))
    if op == "hashes":
        seed = whole(of, "seed", where, 0, 2**32 - 2)
        return _Hashes(whole(of, "count", where, 1, 2**24), seed, n, dtype)
    if op == "chunks":
        return _chunks(of, n, arrays, where)
    raise Damaged(f"{where}: the operation {brief(op)} is unknown to this coset-runtime; update it")


def _picked(of: Any, n: int, arrays: Arrays, columns: Columns, where: str) -> Node:
    array = _array(of, "array", arrays, where)
    at = entry(of, "at", dict, where)
    kind = entry(at, "map", str, where)
    if kind == "same":
        return _reaching(array, n, lambda ids: ids, where)
    if kind == "arithmetic":
        divisor, modulus = whole(at, "divisor", where, 1), whole(at, "modulus", where, 1)
        if divisor == 1 and modulus >= n:
            return _reaching(array, n, lambda ids: ids, where)
        return _reaching(
            array, min(modulus, -(-n // divisor)), lambda ids: _numbers(ids, n) // divisor % modulus, where
        )
    if kind == "hash":
        modulus, seed = whole(at, "modulus", where, 1, 2**31), whole(at, "seed", where, 0, 2**32 - 1)
        one, by = np.uint64(1), np.uint64(modulus)
        return _reaching(
            array, modulus, lambda ids: ((hash_words(_numbers(ids, n), seed) >> one) % by).astype(np.int64), where
        )
    if kind == "codes":
        codes = _within(_column(at, columns, n, where), array.rows, where)
        return _reaching(array, array.rows, lambda ids: codes[ids].astype(np.int64), where)
    raise Damaged(f"{where}: the map {brief(kind)} is unknown to this coset-runtime; update it")


def _reaching(array: Array, rows: int, at: Callable[[Rows], Rows], where: str) -> Node:
    if rows > array.rows:
        raise Damaged(f"{where}: its ids reach {rows} rows of an array of {array.rows}")
    return _Picked(array, at)


def _projected(of: Any, inner: Node, arrays: Arrays, where: str) -> Node:
    matrix = _array(of, "matrix", arrays, where)
    if matrix.rows != inner.width:
        raise Damaged(f"{where}: vectors of {inner.width} elements do not fit a matrix of {matrix.rows} rows")
    bias = None
    if of.get("bias") is not None:
        row = _array(of, "bias", arrays, where)
        if (row.rows, row.width) != (1, matrix.width):
            raise Damaged(f"{where}: a bias of shape {(row.rows, row.width)}, not {(1, matrix.width)}")
        bias = row.read(slice(0, 1))
    return _Projected(inner, matrix.read(slice(0, matrix.rows)), bias)


def _blocks(of: Any, n: int, inner: Callable[[Any, int], Node], where: str) -> Node:
    bounds, values = entry(of, "bounds", list, where), entry(of, "of", list, where)
    edges = [0, *bounds, n]
    if any(type(edge) is not int for edge in edges) or any(first >= last for first, last in pairwise(edges)):
        raise Damaged(f"{where}: the bounds {brief(bounds)} do not rise within 1 … {n - 1}")
    if len(values) != len(bounds) + 1:
        raise Damaged(f"{where}: {len(values)} formulas for {len(bounds) + 1} blocks")
    parts = [inner(value, last - first) for value, (first, last) in zip(values, pairwise(edges), strict=True)]
    return _Blocks(edges, _alike(parts, where))


def _chunks(of: Any, n: int, arrays: Arrays, where: str) -> Node:
    array = _array(of, "array", arrays, where)
    size, dim = whole(of, "size", where, 1, 2**31), whole(of, "dim", where, 1, 2**24)
    if (array.rows, array.width) != (size, 1):
        raise Damaged(f"{where}: chunks of {size} elements, and an array of shape {(array.rows, array.width)}")
    return _Chunks(array, size, whole(of, "chunk", where, 1, dim), dim, whole(of, "seed", where, 0, 2**32 - 1), n)


def _alike(nodes: list[Node], where: str) -> list[Node]:
    if len(widths := {node.width for node in nodes}) > 1:
        raise Damaged(f"{where}: vectors of {sorted(widths)} elements are joined, which must be of one width")
    return nodes


def _array(of: Any, key: str, arrays: Arrays, where: str) -> Array:
    name = entry(of, key, str, where)
    if name not in arrays:
        raise Damaged(f"{where}: it reads the array {brief(name)}, which is not there")
    return arrays[name]


def _column(of: Any, columns: Columns, n: int, where: str) -> np.ndarray:
    name = entry(of, "codes", str, where)
    if name not in columns or len(columns[name]) != n:
        raise Damaged(f"{where}: it reads the column {brief(name)}, which is not there or has not {n} numbers")
    return columns[name]


def _within(codes: np.ndarray, rows: int, where: str) -> np.ndarray:
    if len(codes) and int(codes.max()) >= rows:
        raise Damaged(f"{where}: a code is {int(codes.max())}, of an array of {rows} rows")
    return codes


def _numbers(ids: Rows, n: int) -> np.ndarray:
    return np.arange(*ids.indices(n)) if isinstance(ids, slice) else ids


def _mish(values: np.ndarray) -> np.ndarray:
    return np.asarray(values * np.tanh(np.logaddexp(values.dtype.type(0), values)))
