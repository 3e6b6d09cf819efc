"""Descriptions of tables and of their stored arrays: `Table` and `Component`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from coset.errors import InputError, brief
from coset.settings import LARGEST_SIZE, number, whole

COMPUTED = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
"""Types that vectors may have: float8 and narrower ones are for storage, and torch has no arithmetic for them."""
Kind = Literal["parameter", "index", "codes"]
EXTRA = "_extra_state"
"""How torch ends the keys of what a state holds beside arrays."""
CHOICE = f"choice.{EXTRA}"
"""The key, below that of a table, of its method and sizes in a state."""

LARGEST_STD = 1e4
"""Largest deviation of fresh vectors: float16 holds values of six deviations."""


@dataclass(frozen=True)
class Table:
    """The table of one categorical feature: ids `0 … num_embeddings - 1`, each mapped to a vector.

    Args:
        name: of the feature or table; every error about it says this name.
        num_embeddings: number of ids n.
        embedding_dim: number of elements of a vector.
        std: standard deviation of the elements of fresh vectors, whatever the method: of every element where rows
            are composed, on average over the elements (their root mean square) where a projection widens rows.
            0.05 keeps the dot product of two fresh vectors near zero at the usual dims (torch's 1.0 would
            saturate a sigmoid).
        dtype: of the vectors and of what is stored.
        frequencies: how often each id occurs in the training data, shape `(num_embeddings,)`, finite and not
            negative; a list or a tensor becomes a numpy array.
        attributes: columns of integer codes, one code an id, for partitions given by the user; lists and tensors
            likewise.

    Example:
        >>> Table("movie", 3706, 64).full_bytes
        948736
    """

    name: str
    num_embeddings: int
    embedding_dim: int
    std: float = 0.05
    dtype: torch.dtype = torch.float32
    frequencies: np.ndarray | None = field(default=None, compare=False, repr=False)
    attributes: Mapping[str, np.ndarray] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or "." in self.name:  # a dot would split torch's state keys
            raise InputError(f"a table needs a name, a string without dots, not {self.name!r}")
        self._set_whole("num_embeddings", self.num_embeddings)
        self._set_whole("embedding_dim", self.embedding_dim)
        object.__setattr__(self, "std", number(f"table {self.name!r}: std", self.std))
        if not 0 < self.std <= LARGEST_STD:
            raise InputError(
                f"table {self.name!r}: std must be positive and at most {LARGEST_STD:g}, not {brief(self.std)}"
            )
        if not isinstance(self.dtype, torch.dtype) or self.dtype not in COMPUTED:
            raise InputError(
                f"table {self.name!r}: dtype must be a floating-point type that torch computes in, float16, bfloat16, "
                f"float32 or float64, not {self.dtype!r}"
            )
        if self.frequencies is not None:
            counts = self._column("frequencies", self.frequencies)
            if not bool(np.isfinite(counts).all()) or counts.min() < 0:
                raise InputError(f"table {self.name!r}: frequencies must be finite and not negative")
            object.__setattr__(self, "frequencies", counts)
        if self.attributes is not None:
            if not isinstance(self.attributes, Mapping):
                raise InputError(f"table {self.name!r}: attributes must map names to columns, not {self.attributes!r}")
            columns = {name: self._column(f"attribute {name!r}", codes) for name, codes in self.attributes.items()}
            for name, codes in columns.items():
                if codes.dtype.kind not in "iu" or codes.min() < 0:
                    raise InputError(
                        f"table {self.name!r}: attribute {name!r} must hold whole numbers of 0 or more, not "
                        f"{codes.min() if codes.dtype.kind in 'iu' else codes.dtype}; number its values 0, 1, 2 …"
                    )
            object.__setattr__(self, "attributes", columns)

    def _set_whole(self, what: str, value: int) -> None:
        object.__setattr__(self, what, whole(f"table {self.name!r}: {what}", value, 1, LARGEST_SIZE))

    def _column(self, what: str, values: Any) -> np.ndarray:
        """One number an id, as a numpy array of the type that it has."""
        if isinstance(values, torch.Tensor):
            if values.is_meta or values.layout != torch.strided:
                kind = "on the meta device, without values" if values.is_meta else str(values.layout)[6:]
                raise InputError(f"table {self.name!r}: {what} must be a dense tensor, not {kind}")
            values = values.detach().cpu()
            values = (values.double() if values.is_floating_point() else values).numpy()
        try:
            column = np.asarray(values)
        except ValueError:  # lists of different lengths
            column = np.asarray(None)
        if column.dtype.kind not in "biuf":
            raise InputError(f"table {self.name!r}: {what} must be {self.num_embeddings} numbers, one an id")
        if column.shape != (self.num_embeddings,):
            raise InputError(
                f"table {self.name!r}: {what} has shape {column.shape}, "
                f"expected ({self.num_embeddings},), one value an id"
            )
        return column

    @property
    def full_bytes(self) -> int:
        """Bytes of the uncompressed table."""
        return self.num_embeddings * self.embedding_dim * self.dtype.itemsize

    def of_dim(self, embedding_dim: int) -> Table:
        """The same table with vectors of another length."""
        table = self._unchecked()
        table._set_whole("embedding_dim", embedding_dim)
        return table

    def block(self, start: int, stop: int) -> Table:
        """The table of the ids `start … stop - 1`, renumbered from 0."""
        cut, block = slice(start, stop), self._unchecked()
        block._set_whole("num_embeddings", stop - start)
        if self.frequencies is not None:
            object.__setattr__(block, "frequencies", self.frequencies[cut])
        if self.attributes is not None:
            object.__setattr__(block, "attributes", {name: codes[cut] for name, codes in self.attributes.items()})
        return block

    def _unchecked(self) -> Table:
        """A copy that does not check the columns again."""
        table = object.__new__(Table)
        table.__dict__.update(self.__dict__)  # `copy` takes ten times as long, and planners cut tables by the thousand
        return table


def pairs(tables: Any) -> list[tuple[Table, Any]]:
    """Tables with their methods, as a collection takes them.

    Raises:
        InputError: something else, such as a mapping of names or tables alone.
    """
    try:
        given = list(tables)
    except TypeError:
        given = [tables]
    for pair in given:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], Table):
            raise InputError(f"tables are pairs of a Table and its method, not {brief(pair)}")
    return [(table, how) for table, how in given]


@dataclass(frozen=True)
class Component:
    """One stored array of a table.

    Args:
        key: its name in the state of the table's module, so a table `user` stores it as `tables.user.<key>`.
        rows: length of its first dimension.
        width: number of elements of a row; 0 for a one-dimensional array.
        dtype: of its elements.
        kind: `"parameter"`, trained; `"index"`, whole numbers that say where to look; or `"codes"`, trained numbers,
            rounded to a few bits each.
        shared: the name by which tables of one collection hold this array in common; None for a table's own.
        computed: the type that kernels compute its numbers in, where it may differ from `dtype`.
        numbers: how many trained numbers codes stand for.
        state_rows: of codes that are trained as they lie, how many rows they are; 0 where nothing trains them.
    """

    key: str
    rows: int
    width: int
    dtype: torch.dtype = torch.float32
    kind: Kind = "parameter"
    shared: str | None = field(default=None, compare=False)
    computed: torch.dtype | None = field(default=None, compare=False)
    numbers: int = 0
    state_rows: int = field(default=0, compare=False)

    @property
    def trained(self) -> int:
        """Number of trained values."""
        return {"parameter": self.numel, "index": 0, "codes": self.numbers}[self.kind]

    @property
    def is_trained(self) -> bool:
        """Whether an optimizer trains the array as it lies."""
        return self.kind == "parameter" or self.state_rows > 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the stored array."""
        return (self.rows, self.width) if self.width else (self.rows,)

    @property
    def numel(self) -> int:
        """Number of elements."""
        return self.rows * (self.width or 1)

    @property
    def bytes(self) -> int:
        """Bytes of the elements."""
        return self.numel * self.dtype.itemsize

    def under(self, prefix: str) -> Component:
        """The same array, stored below `prefix`."""
        return replace(self, key=f"{prefix}.{self.key}")


class LookupBytes(NamedTuple):
    """Upper bounds on what a lookup in plain torch takes for each id, in bytes.

    Args:
        kept: from the lookup until its backward pass is done, beside the vector.
        forward: during the lookup only, beside `kept`; with the vector, which a bag drops later.
        backward: during the backward pass only, beside `kept`; with the gradient of the vector.
    """

    kept: int
    forward: int
    backward: int
