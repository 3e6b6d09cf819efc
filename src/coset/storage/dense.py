"""`dense`: numbers as they are, of a floating-point type of 16, 32 or 64 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coset.formulas import Formula, floats
from coset.schema import Component
from coset.storage.base import KernelView, Storage, StoredRows, register_storage
from coset.storage.graphs import unseen
from coset.storage.pages import in_large_pages

_DRAWN = 1 << 24
"""Numbers that are drawn at once for a narrow array."""
DType = Literal["float64", "float32", "bfloat16", "float16"]


@register_storage("dense")
@dataclass(frozen=True)
class Dense(Storage):
    """Numbers of one floating-point type.

    bfloat16 and float16 take half the bytes of float32, and are computed with in the type of the table, float32 unless
    it says otherwise: rows are widened when they are read. Kernels keep the state of optimizers in that type, too, and
    round stochastically when they store a row, so that steps smaller than a rounding add up (Gupta et al., 2015,
    arXiv 1502.02551; Zhang et al., 2018, arXiv 1803.04765). Torch's own optimizers round to nearest, and lose them;
    and for rows of float16 their Adam and Adagrad need an `eps` of 1e-3 or so, since 1e-8 is 0 in that type.
    A number beyond 65504, the largest of float16, is stored as that one.

    Bytes: `rows · width · itemsize`.

    Args:
        dtype: of what is stored; that of the table by default.

    Example:
        >>> Dense("bfloat16").components("rows", 6040, 64, torch.float32)[0].bytes
        773120
    """

    dtype: DType | None = None

    if TYPE_CHECKING:

        def __init__(self, dtype: DType | torch.dtype | None = None) -> None: ...

    def __post_init__(self) -> None:
        given: Any = self.dtype
        if isinstance(given, torch.dtype):  # what torch's users write
            object.__setattr__(self, "dtype", str(given).removeprefix("torch."))
        super().__post_init__()

    @classmethod
    def candidates(cls) -> list[Self]:
        """The type of the table, and half of float32."""
        return [cls(), cls("bfloat16")]

    @classmethod
    def examples(cls) -> list[Self]:
        """The type of the table, and both types of 16 bits."""
        return [cls(), cls("bfloat16"), cls("float16")]

    @property
    def form(self) -> str:
        """Rows of floats."""
        return "dense"

    def _stored(self, dtype: torch.dtype) -> torch.dtype:
        stored: torch.dtype = dtype if self.dtype is None else getattr(torch, self.dtype)
        return stored

    def components(self, name: str, rows: int, width: int, dtype: torch.dtype) -> list[Component]:
        """The one array."""
        return [Component(f"{name}.weight", rows, width, self._stored(dtype), computed=dtype)]

    def build(self, rows: int, width: int, dtype: torch.dtype) -> DenseRows:
        """An array whose values are whatever was in memory."""
        return DenseRows(rows, width, dtype, None if self.dtype is None else self._stored(dtype))


class DenseRows(StoredRows):
    """Rows in one parameter, `weight`.

    Args:
        rows, width, dtype: see `StoredRows`.
        stored: the type of `weight`, which it keeps through `.half()` and the like; None for a `weight` that is of type
            `dtype` and follows it.
    """

    weight: nn.Parameter

    def __init__(self, rows: int, width: int, dtype: torch.dtype, stored: torch.dtype | None = None) -> None:
        super().__init__(rows, width, dtype)
        self._stored = stored
        self.weight = nn.Parameter(in_large_pages(torch.empty(rows, width, dtype=stored or dtype)))

    def forward(self, row_ids: Tensor, padding_idx: int | None = None, scale_grad_by_freq: bool = False) -> Tensor:
        """Rows at `row_ids`."""
        found = rows_at(self.weight, row_ids, padding_idx=padding_idx, scale_grad_by_freq=scale_grad_by_freq)
        return found if self._stored is None else found.to(self.dtype)

    def whole(self) -> Tensor:
        """All rows: the parameter itself, or its numbers converted to `dtype`."""
        return self.weight if self._stored is None else self.weight.to(self.dtype)

    @torch.no_grad()
    def write_(
        self, values: Tensor, rows: Tensor | None = None, columns: slice = slice(None), weights: Tensor | None = None
    ) -> None:  # fmt: skip
        """Rounded to nearest; a number beyond the largest that `weight` can hold becomes that one."""
        most = torch.finfo(self.weight.dtype).max
        if most < torch.finfo(values.dtype).max:
            values = values.clamp(-most, most).where(values.isfinite(), values)
        if rows is None:
            self.weight[:, columns] = values
        else:
            self.weight[rows, columns] = values.to(self.weight.dtype)

    @torch.no_grad()
    def draw_(self, law: Callable[[Tensor], Any]) -> None:
        """Into the parameter itself; a narrow one gets what a wide one would have, rounded, some rows at a time."""
        if self._stored is None:
            law(self.weight)
            return
        step = max(1, _DRAWN // self.width)
        for start in range(0, self.rows, step):
            part = self.weight[start : start + step]
            drawn = torch.empty(part.shape, dtype=self.dtype, device=part.device)
            law(drawn)
            part.copy_(drawn)

    @torch.no_grad()
    def renorm_(self, row_ids: Tensor, max_norm: float, norm_type: float) -> None:
        """By torch's own function, where the numbers are read as they are stored."""
        if self._stored is None:
            torch.embedding_renorm_(self.weight, row_ids.contiguous(), max_norm, norm_type)
        else:
            super().renorm_(row_ids, max_norm, norm_type)

    @torch.no_grad()
    def widen(self, dtype: torch.dtype) -> None:
        """In `weight` itself, which stays the same parameter."""
        self._narrow = self.dtype, self.weight.dtype
        self.dtype, self.weight.data = dtype, self.weight.data.to(dtype)

    @torch.no_grad()
    def narrow(self) -> None:
        """Rounded to nearest."""
        self.dtype, stored = self._narrow
        self.weight.data = self.weight.data.to(stored)

    def kernel_view(self) -> KernelView:
        """Rows of `weight`, one after the other."""
        return KernelView("dense", "weight")

    def reading(self, name: str) -> Formula:
        """As they lie."""
        return floats(f"{name}.weight")

    def extra_repr(self) -> str:
        """The sizes and the types."""
        return super().extra_repr() + (f", stored={str(self._stored)[6:]}" if self._stored else "")

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """Keeps a storage dtype that the user chose; the dtype that is read follows the rest of the model."""
        self.dtype = fn(torch.empty(0, dtype=self.dtype)).dtype
        if self._stored is None:
            return super()._apply(fn, recurse)  # type: ignore[no-any-return, no-untyped-call]

        def moved(tensor: Tensor) -> Tensor:
            found: Tensor = fn(tensor)
            return found if found.dtype == tensor.dtype else tensor.to(found.device)

        return super()._apply(moved, recurse)  # type: ignore[no-any-return, no-untyped-call]


def rows_at(weight: Tensor, ids: Tensor, **options: Any) -> Tensor:
    """`torch.nn.functional.embedding`, which without ids has no second derivative: its backward cannot be reshaped."""
    if not unseen(ids) and ids.numel() == 0:
        return weight[:0].reshape(*ids.shape, weight.shape[1])
    return F.embedding(ids, weight, **options)
