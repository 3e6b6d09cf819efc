"""Formulas: how vectors are computed of stored arrays, as plain JSON values.

An artifact holds one for each table (docs/artifact.md), so a reader computes vectors without knowing any method.
Methods say theirs by `Method.formula`, storages how rows of an array are read by `StoredRows.reading`; both use the
operations of this file alone, so neither a new method nor a new storage needs a new reader.

A formula is a tree. Its leaves pick rows of arrays by an id, and each node makes one vector an id of those below it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from coset.errors import InputError
from coset.partitions import Codes, MultiplyShift, Partition, RowMap

Formula = dict[str, Any]
"""A formula, a map from ids to rows within one, or a reading: plain JSON values."""
_NAMES = ("array", "matrix", "bias", "codes")
"""The entries of a formula that name arrays."""

# -- maps from ids to rows -------------------------------------------------------------------------------------------


def row_map(partition: RowMap, codes: str = "") -> Formula:
    """A partition as data.

    Args:
        partition: arithmetic, a hash, or a column of codes.
        codes: the name of the column, of codes.

    Raises:
        InputError: a partition of another kind.

    Example:
        >>> row_map(Partition(3, 5))
        {'map': 'arithmetic', 'divisor': 3, 'modulus': 5}
    """
    if isinstance(partition, Partition):
        return {"map": "arithmetic", "divisor": partition.divisor, "modulus": partition.modulus}
    if isinstance(partition, MultiplyShift):
        return {"map": "hash", "modulus": partition.modulus, "seed": partition.seed}
    if isinstance(partition, Codes):
        return {"map": "codes", "codes": codes}
    raise InputError(
        f"{type(partition).__name__} is no arithmetic, hash or column of codes, so no data can describe it"
    )


def same() -> Formula:
    """Every id is its own row."""
    return {"map": "same"}


# -- formulas --------------------------------------------------------------------------------------------------------


def rows(array: str, at: Formula) -> Formula:
    """The row of `array` that the map `at` picks."""
    return {"op": "rows", "array": array, "at": at}


def joined(operation: str, of: Sequence[Formula]) -> Formula:
    """Vectors `concat`enated, or joined element by element by `add` or `mult`; one alone stays as it is."""
    return of[0] if len(of) == 1 else {"op": operation, "of": list(of)}


def projected(of: Formula, matrix: str, bias: str | None = None) -> Formula:
    """`v · matrix + bias`, with a matrix of shape `(width of v, columns)` and a bias of one row."""
    return {"op": "project", "of": of, "matrix": matrix, "bias": bias}


def product(left: Formula, right: Formula, inner: int) -> Formula:
    """The product of matrices, for each id: vectors on the left are matrices `(rows, inner)`, on the right
    `(inner, columns)`, both row by row, and so is the result."""
    return {"op": "product", "left": left, "right": right, "inner": inner}


def activated(of: Formula, function: str, **options: float) -> Formula:
    """A function of every element: `mish`, or `leaky_relu` with a `slope`."""
    return {"op": function, "of": of, **options}


def hashes(count: int, seed: int) -> Formula:
    """So many numbers uniform in ±√3, hashed of the id (`coset.methods.deep_hash`)."""
    return {"op": "hashes", "count": count, "seed": seed}


def chunks(array: str, size: int, chunk: int, dim: int, seed: int) -> Formula:
    """`dim` elements, in chunks of neighbours at hashed places of an array of `size` rows of one element
    (`coset.methods.robe`)."""
    return {"op": "chunks", "array": array, "size": size, "chunk": chunk, "dim": dim, "seed": seed}


def blocks(bounds: Sequence[int], of: Sequence[Formula]) -> Formula:
    """A formula for each range of ids, which begin at 0 and at `bounds`; ids are renumbered from 0 in each."""
    return of[0] if len(of) == 1 else {"op": "blocks", "bounds": list(bounds), "of": list(of)}


def ordered(of: Formula, order: str) -> Formula:
    """A formula of ranks, which the column `order` has by id."""
    return {"op": "order", "of": of, "codes": order}


# -- readings --------------------------------------------------------------------------------------------------------


def floats(tensor: str) -> Formula:
    """Rows of floats, as they lie."""
    return {"form": "floats", "tensor": tensor}


def levels(codes: str, scales: str, bits: Sequence[int], row_bits: int, steps: str, block: int, rate: float) -> Formula:
    """Codes of a few bits, which stand for levels around 0, times steps (`coset.storage.packed`).

    Args:
        codes, scales: tensors: the bytes, and the logarithms of steps, over `rate`.
        bits: of each column; none where the column is 0.
        row_bits: from one row to the next.
        steps: what has one in common: `array`, `column`, `block` (of so many stored columns) or `row`.
    """
    same_bits = len(set(bits)) == 1
    return {"form": "levels", "codes": codes, "scales": scales, "bits": bits[0] if same_bits else list(bits),
            "row_bits": row_bits, "steps": steps, "block": block, "rate": rate}  # fmt: skip


def common(tensor: str) -> Formula:
    """One row of floats, which all rows have in common."""
    return {"form": "common", "tensor": tensor}


def summed(of: Sequence[Formula]) -> Formula:
    """Rows that are the sum of these readings of the same array, added in this order."""
    return {"form": "sum", "of": list(of)}


def renamed(formula: Formula, name: Callable[[str], str]) -> Formula:
    """The same formula, of arrays that are called otherwise.

    Example:
        >>> renamed(rows("rows", same()), lambda name: f"blocks.0.{name}")
        {'op': 'rows', 'array': 'blocks.0.rows', 'at': {'map': 'same'}}
    """

    def inner(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return renamed(value, name)
        if isinstance(value, list):
            return [inner("", of) for of in value]
        return name(value) if key in _NAMES and value is not None else value

    return {key: inner(key, value) for key, value in formula.items()}


def names(formula: Formula) -> tuple[set[str], set[str]]:
    """The names of arrays of numbers, and of columns of whole numbers (codes and orders), in a formula."""
    arrays: set[str] = set()
    columns: set[str] = set()
    waiting: list[Any] = [formula]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            waiting += found.values()
            arrays |= {found[key] for key in _NAMES[:3] if found.get(key) is not None}
            columns |= {found["codes"]} if "codes" in found else set()
    return arrays, columns
