"""A storage outside of coset: rows of 16 bits around one row of 32 bits that all of them have in common.

Where rows lie near each other and far from zero, bfloat16 has few bits left for what tells them apart; around their
mean it has all of its eight. A package names it in its pyproject.toml:

    [project.entry-points."coset.storages"]
    centred = "centred"
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coset.formulas import Formula, common, floats, summed
from coset.schema import Component
from coset.storage import Storage, StoredRows, register_storage


@register_storage("centred")
@dataclass(frozen=True)
class Centred(Storage):
    """Differences from a common row in bfloat16. Bytes: `2 · rows · width + 4 · width`."""

    def components(self, name: str, rows: int, width: int, dtype: torch.dtype) -> list[Component]:
        """The differences, and the common row."""
        return [
            Component(f"{name}.centre", 1, width, torch.float32),
            Component(f"{name}.around", rows, width, torch.bfloat16),
        ]

    def build(self, rows: int, width: int, dtype: torch.dtype) -> StoredRows:
        """A fresh array, not yet filled."""
        return CentredRows(rows, width, dtype)


class CentredRows(StoredRows):
    """`centre + around`, of which training moves both."""

    def __init__(self, rows: int, width: int, dtype: torch.dtype) -> None:
        super().__init__(rows, width, dtype)
        self.centre = nn.Parameter(torch.zeros(1, width, dtype=torch.float32))
        self.around = nn.Parameter(torch.zeros(rows, width, dtype=torch.bfloat16))

    def forward(self, row_ids: Tensor, padding_idx: int | None = None, scale_grad_by_freq: bool = False) -> Tensor:
        """Rows at `row_ids`."""
        options: dict[str, Any] = {"padding_idx": padding_idx, "scale_grad_by_freq": scale_grad_by_freq}
        centre = self.centre[0]
        if padding_idx is not None:  # which gives no gradient to anything
            centre = torch.where((row_ids == padding_idx).unsqueeze(-1), centre.detach(), centre)
        return (centre + F.embedding(row_ids, self.around, **options)).to(self.dtype)

    def whole(self) -> Tensor:
        """All rows."""
        return (self.centre + self.around).to(self.dtype)

    def reading(self, name: str) -> Formula:
        """Their sum, for artifacts."""
        return summed([common(f"{name}.centre"), floats(f"{name}.around")])

    @torch.no_grad()
    def write_(
        self, values: Tensor, rows: Tensor | None = None, columns: slice = slice(None), weights: Tensor | None = None
    ) -> None:  # fmt: skip
        """Differences from the common row, which stays; all are held equally well, so weights do not matter."""
        near = (values - self.centre[:, columns]).to(self.around.dtype)
        if rows is None:
            self.around[:, columns] = near
        else:
            self.around[rows, columns] = near

    @torch.no_grad()
    def draw_(self, law: Callable[[Tensor], Any]) -> None:
        """The common row is the mean of what is drawn."""
        drawn = torch.empty(self.rows, self.width, device=self.device)
        law(drawn)
        self.centre.copy_(drawn.mean(0, keepdim=True))
        self.write_(drawn)

    @torch.no_grad()
    def widen(self, dtype: torch.dtype) -> None:
        """Differences of any precision, to be trained."""
        self._read_as, self.dtype = self.dtype, dtype
        self.around.data, self.centre.data = self.around.data.to(dtype), self.centre.data.to(dtype)

    @torch.no_grad()
    def narrow(self) -> None:
        """Back to what is stored."""
        self.dtype = self._read_as
        self.around.data, self.centre.data = self.around.data.bfloat16(), self.centre.data.float()

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """A cast changes the type of what is read, not of what is stored."""
        self.dtype = fn(torch.empty(0, dtype=self.dtype)).dtype

        def moved(tensor: Tensor) -> Tensor:
            found: Tensor = fn(tensor)
            return found if found.dtype == tensor.dtype else tensor.to(found.device)

        return super()._apply(moved, recurse)  # type: ignore[no-any-return, no-untyped-call]
