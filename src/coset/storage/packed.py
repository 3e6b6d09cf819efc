"""`packed`: numbers rounded to a few levels, in 0 to 8 bits each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch

from coset import settings
from coset.errors import InputError
from coset.schema import Component
from coset.storage.base import Storage, register_storage
from coset.storage.levels import normal_loss
from coset.storage.packed_rows import PackedRows
from coset.storage.packing import Packing

MOST_BITS = 8


@register_storage("packed")
@dataclass(frozen=True)
class Packed(Storage):
    """Numbers rounded to the levels of a few bits, times a step.

    Two bits are the levels ±½ and ±1½, one bit ±½; b bits are 2^b - 1 levels around 0. A column of 0 bits is not stored
    and reads as 0, so that rare ids and late dimensions may take fewer bits or none. Steps are learned while a table
    trains (learned step size quantization, Esser et al., 2019, arXiv 1902.08153), and fitted by least squares to values
    that are written.

    A fresh array is in its training form: float masters, which forward rounds, and steps. `pack` leaves codes and
    steps alone, which is what counts as stored; these read the same to the bit, and are not trained.

    Without masters, codes of 8 bits are trained as they lie, by the optimizers of `coset.optimizers` alone: a row is
    widened, takes its step and is rounded stochastically to levels of its own step, which grows where the row does
    (Li et al., 2022, arXiv 2212.05735; Gupta et al., 2015, arXiv 1502.02551). So a table never takes more than a byte a
    number and a step a row.

    Bytes: `⌈rows · Σ bits / 8⌉` and the steps; with `padded` rows, `rows · ⌈Σ bits / 8⌉`.

    Args:
        bits: of a number; one for all columns, or one for each.
        step: what has a step in common: the whole `"array"`, a `"column"`, a `"block"` of columns or a `"row"`.
        block: columns of a block.
        padded: whether every row begins at a byte, which is faster to read where rows are not whole bytes anyway.
        step_dtype: the type of steps.
        masters: whether floats are trained; without, `bits` is 8 and `step` is `"row"`.

    Example:
        >>> Packed(4).components("rows", 6040, 8, torch.float32)[0].bytes
        24160
        >>> sum(c.bytes for c in Packed((4, 3, 2, 0), step="array").components("rows", 1000, 4, torch.float32))
        1129
    """

    by_bits: ClassVar[bool] = True

    bits: int | tuple[int, ...] = 8
    step: Literal["array", "column", "block", "row"] = "column"
    block: int = 8
    padded: bool = False
    step_dtype: Literal["float32", "float16"] = "float32"
    masters: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        bits = self.bits if isinstance(self.bits, tuple) else (self.bits,)
        if not bits or any(not 0 <= each <= MOST_BITS for each in bits):
            raise InputError(f"storage 'packed': bits are 0 to {MOST_BITS}, not {settings.plain(self.bits)}")
        if len(bits) == 1:  # so that equal choices are equal
            object.__setattr__(self, "bits", bits[0])
        if self.block < 1:
            raise InputError(f"storage 'packed': block must be at least 1 column, not {self.block}")
        if not self.masters and (self.bits, self.step) != (MOST_BITS, "row"):
            raise InputError(
                f"storage 'packed': without masters kernels train codes of 8 bits with a step a row, not of "
                f"{settings.plain(self.bits)} bits with a step by {self.step}; give bits=8, step='row', or masters"
            )

    @property
    def form(self) -> str | None:
        """As `PackedRows.kernel_view` in the form that is trained."""
        return self.packing(1 if isinstance(self.bits, int) else len(self.bits)).form

    @classmethod
    def examples(cls) -> list[Self]:
        """Whole bytes and less, by column, row and block."""
        return [cls(), cls(4, step="row", padded=True), cls(2, step="block", block=2, step_dtype="float16")]

    @classmethod
    def candidates(cls) -> list[Self]:
        """A step a column, and bits in which each one more halves the error."""
        return [cls(bits, step_dtype="float16") for bits in (8, 6, 5, 4, 3, 2)]

    def loss(self, width: int) -> tuple[float, ...]:
        """That of the best step, by the bits of each column."""
        return tuple(normal_loss(bits) for bits in self.bits_of(width))

    def bits_of(self, width: int) -> tuple[int, ...]:
        """The bits of each column.

        Raises:
            InputError: bits by column for another number of columns.
        """
        if isinstance(self.bits, int):
            return (self.bits,) * width
        if len(self.bits) != width:
            raise InputError(
                f"storage 'packed': bits of {len(self.bits)} columns for an array of {width}; give one number a column"
            )
        return self.bits

    def packing(self, width: int) -> Packing:
        """What is kept of an array of so many columns."""
        of = getattr(torch, self.step_dtype)
        return Packing(self.bits_of(width), self.step, self.block, self.padded, of, self.masters)

    def components(self, name: str, rows: int, width: int, dtype: torch.dtype) -> list[Component]:
        """The codes, and the logarithms of the steps."""
        return self.packing(width).stored(name, rows)

    def training_components(self, name: str, rows: int, width: int, dtype: torch.dtype) -> list[Component]:
        """The masters, and the logarithms of the steps; without masters, what is stored."""
        return self.packing(width).trained(name, rows, dtype)

    @property
    def coarseness(self) -> float:
        """Of the fewest bits that a column is stored in."""
        bits = (self.bits,) if isinstance(self.bits, int) else self.bits
        least: int = min((each for each in bits if each), default=MOST_BITS)
        return float(3 / 2**least)

    def build(self, rows: int, width: int, dtype: torch.dtype) -> PackedRows:
        """An array in its training form, not yet filled."""
        return PackedRows(self.packing(width), rows, width, dtype)
