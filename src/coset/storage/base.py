"""The contract of a storage: how the numbers of one stored array are kept, and what reads and writes them.

A method says which arrays a table has (`coset.methods`); a storage says how each is kept. A new storage is one new file
in this folder, or of another package through the entry-point group `coset.storages`: a `Storage`, which is a choice and
holds no data, and the `StoredRows` that it builds.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import torch
from torch import Tensor, nn

from coset import settings
from coset.errors import InputError
from coset.formulas import Formula
from coset.registry import Registry
from coset.schema import Component
from coset.vectors import Vectors

S = TypeVar("S", bound="Storage")
_SHORTER = 1.0, 0.998, 0.995, 0.95, 0.9, 0.8, 0.6
"""Of the norm that rows are shortened to, what is tried where rounding leaves them longer."""


class CodedColumn(NamedTuple):
    """A stored column of an array of codes: the bit of a row that its code begins at, its bits, its largest code, which
    is twice the level of code 0, and its place in the row that is read."""

    begin: int
    bits: int
    top: int
    place: int


class Coding(NamedTuple):
    """What the codes of an array mean.

    Args:
        columns: those that are stored; others read as 0.
        row_bits: from one row to the next.
        scales: the name of the array of the logarithms of steps.
        in_common: how many columns have one step in common; 0 where a row has.
    """

    columns: tuple[CodedColumn, ...]
    row_bits: int
    scales: str
    in_common: int


class Rounding(NamedTuple):
    """How numbers are rounded when they are read, while they are trained as floats.

    Args:
        scales: the name of the parameter with the logarithms of steps.
        in_common: how many columns have one step in common.
        tops: the largest code of each column.
        stored: the type that logarithms are stored in later, and are rounded to now.
    """

    scales: str
    in_common: int
    tops: tuple[int, ...]
    stored: torch.dtype


class KernelView(NamedTuple):
    """How kernels see an array.

    Args:
        form: the name of the array's layout; an engine that does not know it leaves the table to plain torch.
        array: the name of the parameter or buffer with the rows.
        coding: what rows of codes mean.
        rounding: of masters, how they are read.
        trained: whether kernels may train what is there.
    """

    form: str
    array: str
    coding: Coding | None = None
    rounding: Rounding | None = None
    trained: bool = True


class StoredRows(nn.Module, ABC):
    """One stored array: `rows` rows of `width` numbers, kept as a storage says, and read as floats of type `dtype`.

    Args:
        rows: number of rows.
        width: numbers in a row.
        dtype: of what is read.
    """

    adjusted: ClassVar[tuple[str, ...]] = ()
    """Parameters that say how numbers are rounded, which get no gradient where rounding loses nothing."""
    rounds: bool = True
    """Whether the training form is read as it will be stored (`rounding_`)."""

    def __init__(self, rows: int, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.rows, self.width, self.dtype = rows, width, dtype

    @abstractmethod
    def forward(self, row_ids: Tensor, padding_idx: int | None = None, scale_grad_by_freq: bool = False) -> Tensor:
        """Rows at `row_ids` (any shape), of shape `(*row_ids.shape, width)` and type `dtype`, differentiable. The
        options are those of `torch.nn.functional.embedding`. It reads these rows alone, never the whole array."""

    @abstractmethod
    def whole(self) -> Tensor:
        """All rows, of shape `(rows, width)` and type `dtype`, differentiable: for small arrays that are used as
        matrices, and for fits."""

    @abstractmethod
    def write_(
        self, values: Tensor, rows: Tensor | None = None, columns: slice = slice(None), weights: Tensor | None = None
    ) -> None:  # fmt: skip
        """Store these floats, as near as the storage can hold them.

        Args:
            values: of shape `(rows written, columns written)`.
            rows: numbers of the rows to write, distinct; all by default.
            columns: to write; all by default.
            weights: how much each row that is written counts, shape `(rows written,)`, where not all can be held
                equally well; equal by default.
        """

    def write_from_(self, vectors: Vectors, weights: Tensor | None = None) -> None:
        """`write_` all rows, piece by piece, in either form; by default as if each piece was alone.

        Args:
            vectors: `rows` of them, of `width` numbers.
            weights: as there, shape `(rows,)`.
        """
        for rows, numbers in vectors.pieces():
            self.write_(numbers, rows)

    @abstractmethod
    def draw_(self, law: Callable[[Tensor], Any]) -> None:
        """Store the values that `law` writes into an array of shape `(rows, width)`."""

    def renorm_(self, row_ids: Tensor, max_norm: float, norm_type: float) -> None:
        """Shorten these rows to `max_norm` where their norm is longer, as `torch.embedding_renorm_` does."""
        with torch.no_grad():
            distinct = row_ids.unique()
            given = found = self(distinct)
            lengths = torch.linalg.vector_norm(given, norm_type, dim=-1, keepdim=True)
            for share in _SHORTER:  # rounding may leave rows longer again
                longer = torch.linalg.vector_norm(found, norm_type, dim=-1, keepdim=True) > max_norm * (1 + 1e-6)
                if not bool(longer.any()):
                    return
                # Of the rows as they were given, so that only one rounding is lost.
                self.write_(torch.where(longer, given * (share * max_norm / (lengths + 1e-7)), found), distinct)
                found = self(distinct)

    def widen(self, dtype: torch.dtype) -> None:
        """Keep parameters of this type from now on, to be trained by an optimizer that needs its precision."""

    def narrow(self) -> None:
        """Go back to what was there before `widen`; rows that were not changed since have the same bits."""

    def pack(self) -> None:
        """Leave the stored form alone, which `Storage.components` describes and nothing trains. What is read stays the
        same to the bit. By default both forms are one."""

    def rounding_(self, on: bool, fit: bool = True, weights: Tensor | None = None) -> None:
        """Read the training form as it will be stored from now on, or as it is trained.

        Args:
            on: as it will be stored; how a fresh array is read.
            fit: whether the levels that numbers are rounded to are fitted to them first.
            weights: how much each row counts in a fit, shape `(rows,)`; equal by default.
        """

    def fault(self) -> str | None:
        """Why `pack` would refuse, as a phrase; None where it would not."""
        return None

    def unpack(self) -> None:
        """Go to the training form, in which a fresh array begins, and whose parameters optimizers of torch train;
        `pack` leads back to the same bits."""

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """As torch's.

        Raises:
            InputError: the rows are packed.
        """
        if self.needs_kernels or (requires_grad and self.is_packed):
            raise InputError(f"packed rows ({self.extra_repr()}) are codes, which have no gradients; {self.way_out}")
        return super().requires_grad_(requires_grad)

    @property
    def way_out(self) -> str:
        """What trains rows that are codes, and what stops it, for errors."""
        if self.needs_kernels:
            return "an optimizer of coset.optimizers trains them as they are, until its release()"
        return "coset.unpack_ brings them back to floats that are trained"

    @property
    def is_packed(self) -> bool:
        """Whether this is the stored form, where that is not the training form, too."""
        return False

    def components(self, name: str) -> list[Component] | None:
        """The arrays of the stored form, below `name`; None where they are those of the state, in either form."""
        return None

    @property
    def left_by_kernels(self) -> str:
        """What kernels do not train in it, where `kernel_view` is None, as the object of a sentence."""
        return f"rows of {type(self).__name__}"

    @property
    def needs_kernels(self) -> bool:
        """Whether optimizers of torch cannot train it, since it has no floats to be trained."""
        return False

    def kernel_view(self) -> KernelView | None:
        """The array as kernels see it; None where they cannot read it."""
        return None

    def reading(self, name: str) -> Formula:
        """How rows of the stored form are read from its tensors, as data (`coset.formulas`), for readers that know no
        storage.

        Args:
            name: of the array; its tensors are called `<name>.<key in the state>`.

        Raises:
            InputError: this storage does not say so, and therefore cannot be in an artifact.
        """
        raise InputError(f"{type(self).__name__} does not say as data how its rows are read, by `reading`")

    @property
    def device(self) -> torch.device:
        """Where the array is."""
        return next(self.parameters()).device

    def extra_repr(self) -> str:
        """The sizes and the type."""
        return f"{self.rows}, {self.width}, dtype={str(self.dtype)[6:]}"


@dataclasses.dataclass(frozen=True)
class Storage(ABC):
    """A way to store the numbers of an array: a frozen dataclass that holds choices, never data."""

    name: ClassVar[str]
    version: ClassVar[int]
    by_bits: ClassVar[bool] = False
    """Whether a planner may give it bits by column and by block of popularity (`coset.planning.bits`)."""

    def __post_init__(self) -> None:
        settings.check(self, f"storage {self.name!r}")

    @abstractmethod
    def components(self, name: str, rows: int, width: int, dtype: torch.dtype) -> list[Component]:
        """The stored arrays, in closed form; their keys are those of the state of the module that `build` makes, below
        `name`.

        Args:
            name: of the array in the state of its table.
            rows, width: its sizes.
            dtype: of what is read of it.
        """

    def training_components(self, name: str, rows: int, width: int, dtype: torch.dtype) -> list[Component]:
        """The arrays of the training form, likewise."""
        return self.components(name, rows, width, dtype)

    @abstractmethod
    def build(self, rows: int, width: int, dtype: torch.dtype) -> StoredRows:
        """A fresh array in its training form, not yet filled."""

    @property
    def form(self) -> str | None:
        """The form in which kernels train its arrays (`KernelView.form`); None where they cannot."""
        return None

    @property
    def coarseness(self) -> float:
        """The largest error of a stored number, as a share of the largest number of the array, within which the
        contract suite takes numbers for equal; by default that of bfloat16."""
        return 2**-7

    @classmethod
    def examples(cls) -> list[Self]:
        """One instance of every variant: what the contract suite runs over."""
        return [cls()]

    @classmethod
    def candidates(cls) -> list[Self]:
        """What a planner tries where it may choose the storage, from the most bytes to the fewest; by default the one
        without choices."""
        return [cls()]

    def loss(self, width: int) -> tuple[float, ...]:
        """The share of their squares that normally distributed numbers lose when they are stored, by column; by default
        nothing, as of floats."""
        return (0.0,) * width

    def to_json(self) -> dict[str, Any]:
        """The storage as plain JSON values; `from_json` gives an equal one back."""
        return {"storage": self.name, "version": self.version} | {
            field: settings.plain(getattr(self, field)) for field in settings.fields(type(self))
        }


@dataclasses.dataclass(frozen=True)
class InTraining(Storage):
    """A storage whose components are those of the training form of another: what a ledger of a training counts.

    Args:
        of: the other one.
    """

    name: ClassVar[str] = "in training"
    version: ClassVar[int] = 1
    of: Storage

    def __post_init__(self) -> None:
        """It is only made by methods, and never read from JSON."""

    def components(self, name: str, rows: int, width: int, dtype: torch.dtype) -> list[Component]:
        """Those of the training form."""
        return self.of.training_components(name, rows, width, dtype)

    def build(self, rows: int, width: int, dtype: torch.dtype) -> StoredRows:
        """What the other one builds."""
        return self.of.build(rows, width, dtype)


STORAGES: Registry[Storage] = Registry("storage", "coset.storage", group="coset.storages")


def register_storage(name: str, version: int = 1) -> Callable[[type[S]], type[S]]:
    """Class decorator: make a storage known by `name`, whose fields have the meaning of `version`."""

    def enter(cls: type[S]) -> type[S]:
        STORAGES.add(name, cls)
        cls.version = version
        return cls

    return enter
