"""Stored arrays, of which rows are widened as they are read: one class for each `form` of docs/artifact.md."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from threading import local
from typing import Any, NamedTuple

import numpy as np

from coset_runtime.errors import Damaged, brief, entry, whole
from coset_runtime.tensors import Tensor, Tensors

FLOATS = ("F64", "F32", "F16", "BF16")
TYPES: dict[str, np.dtype[Any]] = {
    "float64": np.dtype(np.float64), "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float32), "bfloat16": np.dtype(np.float32),
}  # fmt: skip
"""What numbers of each type are computed in; what torch would round to 16 bits stays as it is."""
Rows = np.ndarray | slice
"""Numbers of rows, int64, or a range of them."""


class Products(NamedTuple):
    """Products of some vectors with others.

    Args:
        scores: of shape `(vectors, others)`.
        errors: a bound of how far rounding has led each vector's from those of the others as they are read, float64,
            shape `(vectors,)`.
    """

    scores: np.ndarray
    errors: np.ndarray


def products(others: np.ndarray, vectors: np.ndarray) -> Products:
    """Products of `vectors`, shape `(vectors, width)`, with `others`, shape `(others, width)`.

    The bound is that of sums in any order (Higham, 2002, Accuracy and Stability of Numerical Algorithms, section 3.1).
    """
    width = others.shape[1]
    longest = width**0.5 * float(max(others.max(initial=0), -others.min(initial=0)))
    lengths = np.sqrt(np.square(vectors, dtype=np.float64).sum(1))
    return Products(vectors @ others.T, float(np.finfo(vectors.dtype).eps) * (width + 4) * lengths * longest)


class Array(ABC):
    """Rows of floats.

    Args:
        rows, width: its sizes.
        dtype: of what is read.
    """

    def __init__(self, rows: int, width: int, dtype: np.dtype[Any]) -> None:
        self.rows, self.width, self.dtype = rows, width, dtype

    @abstractmethod
    def read(self, rows: Rows) -> np.ndarray:
        """These rows, of shape `(rows, width)`; not to be changed, as they may lie in the file."""

    def products(self, rows: Rows, vectors: np.ndarray) -> Products:
        """The products of vectors, shape `(vectors, width)`, with these rows."""
        return products(self.read(rows), vectors)


class Floats(Array):
    """Rows of floats as they lie."""

    def __init__(self, rows: int, width: int, dtype: np.dtype[Any], tensor: Tensor) -> None:
        super().__init__(rows, width, dtype)
        self.tensor = tensor

    def read(self, rows: Rows) -> np.ndarray:
        """Widened."""
        return widened(Tensor(self.tensor.type, self.tensor.array[rows]), self.dtype)


class Common(Array):
    """One row that all have in common."""

    def __init__(self, rows: int, width: int, dtype: np.dtype[Any], tensor: Tensor) -> None:
        super().__init__(rows, width, dtype)
        self.row = widened(tensor, dtype)

    def read(self, rows: Rows) -> np.ndarray:
        """The row, as often as it is asked for."""
        count = len(range(*rows.indices(self.rows))) if isinstance(rows, slice) else len(rows)
        return np.broadcast_to(self.row, (count, self.width))


class Sum(Array):
    """The sum of other readings."""

    def __init__(self, rows: int, width: int, dtype: np.dtype[Any], of: list[Array]) -> None:
        super().__init__(rows, width, dtype)
        self.of = of

    def read(self, rows: Rows) -> np.ndarray:
        """Added in order."""
        found = self.of[0].read(rows)
        for each in self.of[1:]:
            found = found + each.read(rows)
        return found


class Levels(Array):
    """Codes of a few bits, which stand for levels around 0, times steps.

    Args:
        codes: bytes.
        scales: logarithms of steps, over `rate`.
        bits: of each column.
        row_bits: from one row to the next.
        in_common: how many stored columns have a step in common; 0 where a row has.
    """

    def __init__(
        self, rows: int, width: int, dtype: np.dtype[Any], codes: np.ndarray, scales: Tensor, bits: list[int],
        row_bits: int, in_common: int, rate: float,
    ) -> None:  # fmt: skip
        super().__init__(rows, width, dtype)
        self.codes, self.scales, self.rate, self.in_common = codes, scales, rate, in_common
        self.columns = [column for column, each in enumerate(bits) if each]
        self.row_bits = row_bits
        kept = np.array([each for each in bits if each], np.int64)
        self.begins = np.cumsum(kept) - kept
        self.masks = (1 << kept) - 1
        tops = np.where(kept <= 2, self.masks, self.masks - 1)
        self.outermost = (tops / 2).astype(dtype)
        self.in_bytes = len(kept) > 0 and bool((kept == 8).all()) and row_bits == 8 * len(kept)
        self.steps = None if in_common == 0 else self._each(self._steps_of(slice(None)))

    def read(self, rows: Rows) -> np.ndarray:
        """Levels times steps, and 0 in columns of no bits."""
        if not self.columns:
            count = len(range(*rows.indices(self.rows))) if isinstance(rows, slice) else len(rows)
            return np.zeros((count, self.width), self.dtype)
        found = self._codes_of(rows).astype(self.dtype)
        found -= self.outermost
        found *= self._steps_of(rows)[:, None] if self.steps is None else self.steps
        if len(self.columns) == self.width:
            return found
        wide = np.zeros((len(found), self.width), self.dtype)
        wide[:, self.columns] = found
        return wide

    def products(self, rows: Rows, vectors: np.ndarray) -> Products:
        """Of vectors times steps with codes, where steps are not those of rows: nothing is done for each row but to
        make floats of its codes."""
        if self.steps is None or not self.columns:
            return super().products(rows, vectors)
        scaled = vectors[:, self.columns].astype(np.float64) * self.steps
        middle = (scaled * self.outermost).sum(1)
        # Codes reach twice as far as levels, and what is taken off again is rounded as well.
        most = (np.abs(scaled) * self.outermost).sum(1) * 4
        codes = self._codes_of(rows)
        wide = _scratch(codes.size, self.dtype).reshape(codes.shape)
        np.copyto(wide, codes, casting="unsafe")
        scores = scaled.astype(self.dtype) @ wide.T
        scores -= middle.astype(self.dtype)[:, None]
        return Products(scores, float(np.finfo(self.dtype).eps) * (self.width + 8) * most)

    def _codes_of(self, rows: Rows) -> np.ndarray:
        if self.in_bytes:
            return self.codes.reshape(-1, len(self.columns))[rows]
        numbers = np.arange(*rows.indices(self.rows)) if isinstance(rows, slice) else rows
        place = numbers[:, None] * self.row_bits + self.begins
        first = place >> 3
        # The byte after the last one is not there; no code that needs it begins in the last one.
        later = np.minimum(first + 1, len(self.codes) - 1)
        both = self.codes[first].astype(np.uint16) | self.codes[later].astype(np.uint16) << 8
        return np.asarray(both >> (place & 7).astype(np.uint16) & self.masks.astype(np.uint16))

    def _steps_of(self, rows: Rows) -> np.ndarray:
        wide = np.float64 if self.dtype == np.float64 else np.float32
        scales = widened(Tensor(self.scales.type, self.scales.array[rows]), np.dtype(wide))
        # In float64, so that the step is the nearest number whatever the library of exponentials.
        return np.exp((scales * wide(self.rate)).astype(np.float64)).astype(wide)

    def _each(self, steps: np.ndarray) -> np.ndarray:
        """The step of each stored column."""
        return np.repeat(steps, self.in_common)[: len(self.columns)]


_OF_THREAD = local()


def _scratch(count: int, dtype: np.dtype[Any]) -> np.ndarray:
    """Memory for so many numbers, the same at every call of a thread: fresh memory is filled with zeros by the system,
    page by page, which takes longer than the work on it."""
    kept: np.ndarray | None = getattr(_OF_THREAD, dtype.name, None)
    if kept is None or len(kept) < count:
        kept = np.empty(count, dtype)
        setattr(_OF_THREAD, dtype.name, kept)
    return kept[:count]


def widened(tensor: Tensor, dtype: np.dtype[Any]) -> np.ndarray:
    """The numbers of a tensor in a wider type."""
    if tensor.type == "BF16":
        return (tensor.array.astype(np.uint32) << 16).view(np.float32).astype(dtype, copy=False)
    return tensor.array.astype(dtype, copy=False)


def array(of: Any, tensors: Tensors, where: str) -> Array:
    """The array of an entry of the manifest.

    Raises:
        Damaged: an unknown form, or tensors of other types or sizes than it says.
    """
    rows, width = whole(of, "rows", where), whole(of, "width", where, 1)
    kind = entry(of, "type", str, where)
    if kind not in TYPES:
        raise Damaged(f"{where}: its type is {brief(kind)}, not one of {', '.join(TYPES)}")
    return _read(of, rows, width, TYPES[kind], tensors, where)


def _read(of: Any, rows: int, width: int, dtype: np.dtype[Any], tensors: Tensors, where: str) -> Array:
    form = entry(of, "form", str, where)
    if form not in _FORMS:
        raise Damaged(f"{where}: its form is {brief(form)}, which this coset-runtime does not know; update it")
    return _FORMS[form](of, rows, width, dtype, tensors, where)


def _floats(of: Any, rows: int, width: int, dtype: np.dtype[Any], tensors: Tensors, where: str) -> Array:
    return Floats(rows, width, dtype, _tensor(of, "tensor", tensors, FLOATS, (rows, width), where))


def _common(of: Any, rows: int, width: int, dtype: np.dtype[Any], tensors: Tensors, where: str) -> Array:
    return Common(rows, width, dtype, _tensor(of, "tensor", tensors, FLOATS, (1, width), where))


def _sum(of: Any, rows: int, width: int, dtype: np.dtype[Any], tensors: Tensors, where: str) -> Array:
    inner = entry(of, "of", list, where)
    if not inner:
        raise Damaged(f"{where}: a sum of nothing")
    return Sum(rows, width, dtype, [_read(each, rows, width, dtype, tensors, where) for each in inner])


def _levels(of: Any, rows: int, width: int, dtype: np.dtype[Any], tensors: Tensors, where: str) -> Array:
    bits = of.get("bits")
    bits = [bits] * width if type(bits) is int else bits
    if not isinstance(bits, list) or len(bits) != width or any(type(b) is not int or not 0 <= b <= 8 for b in bits):
        raise Damaged(f"{where}: its bits are {brief(of.get('bits'))}, not one or {width} numbers of 0 … 8")
    row_bits = whole(of, "row_bits", where, sum(bits), 8 * width + 7)
    steps, block = entry(of, "steps", str, where), whole(of, "block", where, 1)
    columns = sum(each > 0 for each in bits)
    numbers = {"array": 1, "column": columns, "block": -(-columns // block), "row": rows}
    if steps not in numbers:
        raise Damaged(f"{where}: its steps are by {brief(steps)}, not by {', '.join(numbers)}")
    count = numbers[steps] if columns else 0
    codes = _tensor(of, "codes", tensors, ("U8",), (-(-rows * row_bits // 8),), where)
    scales = _tensor(of, "scales", tensors, FLOATS, (count,), where)
    rate = entry(of, "rate", (float, int), where)
    in_common = {"array": columns, "column": 1, "block": block, "row": 0}[steps] if columns else 1
    return Levels(rows, width, dtype, codes.array, scales, bits, row_bits, in_common, float(rate))


_FORMS: dict[str, Callable[..., Array]] = {"floats": _floats, "common": _common, "sum": _sum, "levels": _levels}


def column(of: Any, tensors: Tensors, where: str) -> np.ndarray:
    """A column of whole numbers, int64 of shape `(rows,)`, or a smaller type.

    Raises:
        Damaged: as `array`; or a number below 0.
    """
    rows = whole(of, "rows", where)
    if entry(of, "form", str, where) != "whole numbers":
        raise Damaged(f"{where}: {brief(of['form'])} is no column of whole numbers")
    tensor = tensors[entry(of, "tensor", str, where)]
    numbers = tensor.array
    if tensor.type == "U8" and numbers.shape == (rows, 2):
        numbers = np.ascontiguousarray(numbers).view("<u2").reshape(-1)
    if numbers.shape != (rows,) or tensor.type in FLOATS or tensor.type in ("BOOL", "U64"):
        raise Damaged(f"{where}: its tensor is of {tensor.type} and shape {numbers.shape}, and it has {rows} rows")
    if rows and int(numbers.min()) < 0:
        raise Damaged(f"{where}: a number is {int(numbers.min())}")
    return numbers


def _tensor(
    of: Any, key: str, tensors: Tensors, types: tuple[str, ...], shape: tuple[int, ...], where: str
) -> Tensor:  # fmt: skip
    found = tensors[entry(of, key, str, where)]
    if found.type not in types or found.array.shape != shape:
        raise Damaged(
            f"{where}: its {key} are of {found.type} and shape {found.array.shape}, and should be of "
            f"{' or '.join(types)} and {shape}"
        )
    return found
