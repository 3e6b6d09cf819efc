"""What a table is and what is stored of it, as data: `Table` and `Component`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch

from coset.errors import InputError

Kind = Literal["parameter", "index"]


@dataclass(frozen=True)
class Table:
    """What one categorical feature owns: ids `0 … num_embeddings - 1`, each mapped to a vector.

    Args:
        name: of the feature or table; every error about it says this name.
        num_embeddings: number of ids n.
        embedding_dim: number of elements of a vector.
        std: standard deviation of every element of a fresh vector, whatever the method. 0.05 keeps the dot
            product of two fresh vectors near zero at the usual dims (torch's 1.0 would saturate a sigmoid).
        dtype: of the vectors and of what is stored.
        frequencies: how often each id occurs in the training data, shape `(num_embeddings,)`.
        attributes: columns of integer codes, one code an id, for partitions given by the user.

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
        if not self.name or "." in self.name:  # a dot would split the name in torch's state keys
            raise InputError(f"a table needs a name without dots, not {self.name!r}")
        for what in ("num_embeddings", "embedding_dim"):
            value = getattr(self, what)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InputError(f"table {self.name!r}: {what} must be a positive integer, not {value!r}")
            object.__setattr__(self, what, int(value))
        if not self.std > 0 or not np.isfinite(self.std):
            raise InputError(f"table {self.name!r}: std must be positive and finite, not {self.std!r}")
        if not self.dtype.is_floating_point:
            raise InputError(f"table {self.name!r}: dtype must be a floating-point type, not {self.dtype}")
        for what, column in {"frequencies": self.frequencies, **(self.attributes or {})}.items():
            if column is not None and np.shape(column) != (self.num_embeddings,):
                raise InputError(
                    f"table {self.name!r}: {what} has shape {tuple(np.shape(column))}, "
                    f"expected ({self.num_embeddings},), one value an id"
                )

    @property
    def full_bytes(self) -> int:
        """Bytes of the uncompressed table."""
        return self.num_embeddings * self.embedding_dim * self.dtype.itemsize

    def block(self, start: int, stop: int) -> Table:
        """The table of the ids `start … stop - 1`, renumbered from 0."""
        cut = slice(start, stop)
        return replace(
            self,
            num_embeddings=stop - start,
            frequencies=None if self.frequencies is None else self.frequencies[cut],
            attributes=self.attributes and {name: codes[cut] for name, codes in self.attributes.items()},
        )


@dataclass(frozen=True)
class Component:
    """One stored array of a table.

    Args:
        key: its name in the state of the table's module, so a table `user` stores it as `tables.user.<key>`.
        rows: length of its first dimension.
        width: number of elements of a row; 0 for a one-dimensional array.
        dtype: of its elements.
        kind: `"parameter"`, trained; or `"index"`, whole numbers that say where to look.
    """

    key: str
    rows: int
    width: int
    dtype: torch.dtype = torch.float32
    kind: Kind = "parameter"

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
