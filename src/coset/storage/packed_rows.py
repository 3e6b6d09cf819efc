"""Packed rows: floats that are rounded when they are read, or the codes of their levels, beside the steps of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coset.errors import InputError
from coset.formulas import Formula, levels
from coset.schema import Component
from coset.storage.base import CodedColumn, Coding, KernelView, Rounding, StoredRows
from coset.storage.dense import rows_at
from coset.storage.levels import rows_looked_at
from coset.storage.packing import Packing
from coset.storage.pages import in_large_pages
from coset.storage.rounding import as_stored, rounded
from coset.storage.steps import RATE, scales_of, steps_of, usable
from coset.vectors import Vectors

_ROWS_AT_ONCE = 1 << 16
_NUMBERS_AT_ONCE = 1 << 18
"""Numbers that are drawn or fitted at once where rows have steps of their own."""


class PackedRows(StoredRows):
    """Rows in one of two forms, each beside `scales`, the logarithms of the steps: `master`, floats, both trained; or
    `codes`, and neither is.

    Args:
        packing: what is kept of them.
        rows, width, dtype: see `StoredRows`.

    Attributes:
        rounds: whether masters are read as they will be stored; false for the first part of a training, that has yet to
            find the range of values.
    """

    adjusted: ClassVar[tuple[str, ...]] = ("scales",)
    rounds: bool
    master: nn.Parameter
    scales: Tensor
    codes: Tensor

    def __init__(self, packing: Packing, rows: int, width: int, dtype: torch.dtype) -> None:
        super().__init__(rows, width, dtype)
        self.packing, self.rounds = packing, True
        self._layout, self._by = packing.layout, packing.steps
        self._levels = self._by.levels
        take = self._take_training_form if packing.masters else self._take_stored_form
        take(torch.empty(0).device)

    @property
    def bits(self) -> tuple[int, ...]:
        """Of each column."""
        return self._layout.bits

    @property
    def is_packed(self) -> bool:
        """Whether this is the stored form."""
        return "codes" in self._buffers

    def forward(self, row_ids: Tensor, padding_idx: int | None = None, scale_grad_by_freq: bool = False) -> Tensor:
        """Rows at `row_ids`: those of the masters, rounded, or those of the codes."""
        if self.is_packed:
            found = self._levels.values(self._layout.read(self.codes, row_ids), self._steps_at(row_ids))
            return self._widened(self._padded(found, row_ids, padding_idx).to(self.dtype))
        master = rows_at(self.master, row_ids, padding_idx=padding_idx, scale_grad_by_freq=scale_grad_by_freq)
        if not self.rounds:
            return self._widened(master.to(self.dtype))
        found = rounded(master, self._steps_at(row_ids), self._levels)
        if padding_idx is not None:  # which gives no gradient to its steps either
            found = torch.where((row_ids == padding_idx).unsqueeze(-1), found.detach(), found)
        return self._widened(self._padded(found, row_ids, padding_idx).to(self.dtype))

    def _padded(self, found: Tensor, row_ids: Tensor, padding_idx: int | None) -> Tensor:
        """With zeros for padding in columns of 1 or 2 bits, which have no level 0."""
        if padding_idx is None or not self._without_zero:
            return found
        columns = torch.tensor([self._layout.bits[at] <= 2 for at in self._layout.columns], device=found.device)
        return torch.where((row_ids == padding_idx).unsqueeze(-1) & columns, found.new_zeros(()), found)

    @property
    def _without_zero(self) -> bool:
        """Whether a stored column has no level 0."""
        return any(self._layout.bits[column] <= 2 for column in self._layout.columns)

    @property
    def left_by_kernels(self) -> str:
        """A step a row beside floats, or columns that are not stored."""
        return "floats that are rounded by a step of their row" if self._by.kind == "row" else "columns of 0 bits"

    @property
    def needs_kernels(self) -> bool:
        """Where there are no masters."""
        return not self.packing.masters

    def whole(self) -> Tensor:
        """All rows."""
        if self.is_packed or self.rounds:
            return self.forward(torch.arange(self.rows, device=self.device))
        return self._widened(self.master.to(self.dtype))

    @property
    def device(self) -> torch.device:
        """Where the array is."""
        found: torch.device = (self.codes if self.is_packed else self.master).device
        return found

    # -- the two forms ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def pack(self) -> None:
        """Leave codes and steps alone. What is read stays the same to the bit; masters are gone. Where these were read
        as floats until now, steps are fitted first."""
        if self.is_packed:
            return
        if not self.rounds:  # steps have not followed the floats
            self.rounding_(True)
        scales, master = self.scales, self.master
        self._take_stored_form(master.device)
        self.scales.copy_(scales)
        if not master.is_meta:
            self._store(torch.arange(self.rows, device=master.device), master)

    @torch.no_grad()
    def fault(self) -> str | None:
        """The first row, or step, that is not finite."""
        if self.is_packed or self.master.is_meta:
            return None
        if not bool((fine := self.master.isfinite()).all()):
            return f"row {int((~fine).any(1).nonzero()[0])} has a number that is not finite"
        return None if usable(self.scales.to(self.packing.step_dtype)) else "a step is 0 or not finite"

    def unpack(self) -> None:
        """Masters at the levels of the codes, where the storage has masters."""
        if self.packing.masters:
            self._unpack()

    @torch.no_grad()
    def _unpack(self) -> None:
        if self.is_packed:
            numbers, scales = self._numbers(), self.scales
            self._take_training_form(numbers.device)
            self.master.copy_(numbers)
            self.scales.copy_(scales)

    @torch.no_grad()
    def widen(self, dtype: torch.dtype) -> None:
        """Masters of this type, also where there were codes."""
        self._narrow = self.dtype, self.is_packed
        self._unpack()
        self.dtype = dtype
        wide = torch.promote_types(dtype, torch.float32)
        self.master.data, self.scales.data = self.master.data.to(dtype), self.scales.data.to(wide)

    @torch.no_grad()
    def narrow(self) -> None:
        """Masters of the type that is read, or codes."""
        self.dtype, was_packed = self._narrow
        wide = torch.promote_types(self.dtype, torch.float32)
        self.master.data, self.scales.data = self.master.data.to(self.dtype), self.scales.data.to(wide)
        if was_packed:
            self.pack()

    def _take_stored_form(self, device: torch.device) -> None:
        for name in ("master", "scales"):
            self._parameters.pop(name, None)
        size, steps = self._layout.bytes(self.rows), self._by.number(self.rows)
        self.register_buffer("codes", in_large_pages(torch.empty(size, dtype=torch.uint8, device=device)).zero_())
        self.register_buffer("scales", torch.zeros(steps, dtype=self.packing.step_dtype, device=device))

    def _take_training_form(self, device: torch.device) -> None:
        for name in ("codes", "scales"):
            self._buffers.pop(name, None)
        steps = self._by.number(self.rows)
        self.master = nn.Parameter(torch.empty(self.rows, len(self._layout.columns), dtype=self.dtype, device=device))
        wide = torch.promote_types(self.dtype, torch.float32)  # narrow types would round small changes away
        self.scales = nn.Parameter(torch.zeros(steps, dtype=wide, device=device))

    # -- writing ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def write_(
        self, values: Tensor, rows: Tensor | None = None, columns: slice = slice(None), weights: Tensor | None = None
    ) -> None:  # fmt: skip
        """The nearest levels. Steps are fitted to values that are written where these come with weights or fit the
        present steps badly."""
        wanted = list(range(self.width)[columns])
        place = {column: at for at, column in enumerate(self._layout.columns)}
        kept = [at for at, column in enumerate(wanted) if column in place]
        into = [place[wanted[at]] for at in kept]
        if not into or not len(values):
            return
        part = values[:, kept].to(self.device)
        if not bool(part.isfinite().all()):
            row = int((~part.isfinite()).any(1).nonzero()[0])
            raise InputError(f"packed rows hold finite numbers, and row {row} of the values is not finite")
        some = None if rows is None else rows.to(self.device)
        if self._by.kind == "row":
            self._write_by_row(part, some, into, weights is not None)
            return
        every = torch.arange(self.rows, device=self.device)
        which = every if some is None else some
        all_of_it = some is None and len(into) == len(place)
        numbers = part if all_of_it else self._numbers()
        if not all_of_it:
            numbers[which.unsqueeze(1), torch.tensor(into, device=which.device)] = part.to(numbers.dtype)
        refit = weights is not None or not self._by.fit(self._steps_at(which), part, into, some is not None)
        if refit:
            share = weights if weights is None or some is None else _spread(weights, some, self.rows)
            self._set_steps(self._by.fitted(numbers, share))
        if not self.is_packed:
            self.master.copy_(numbers)
        elif refit:
            self._store(every, numbers)
        else:
            self._store(which, numbers[which])

    @torch.no_grad()
    def write_from_(self, vectors: Vectors, weights: Tensor | None = None) -> None:
        """Steps are fitted first, to the rows that `write_` would look at."""
        columns = self._layout.columns
        if not columns:
            return
        every = list(range(len(columns)))
        if self._by.kind != "row":
            looked = rows_looked_at(self.rows, weights)
            looked = torch.arange(self.rows) if looked is None else looked
            share = None if weights is None else weights[looked]
            steps = self._by.fitted(vectors.at(looked)[:, columns].to(self.device), share)
            self.scales.copy_(scales_of(steps).to(torch.promote_types(self.dtype, torch.float32)))
        for rows, numbers in vectors.pieces():
            which, part = rows.to(self.device), numbers[:, columns].to(self.device)
            if self._by.kind == "row":
                self._write_by_row(part, which, every, fit=True)
            elif self.is_packed:
                self._store(which, part)
            else:
                self.master[which] = part.to(self.master.dtype)

    def _write_by_row(self, part: Tensor, which: Tensor | None, into: list[int], fit: bool) -> None:
        """`write_` where rows have steps of their own: some rows at a time, and no others are touched."""
        columns, most = torch.tensor(into, device=self.device), max(1, _NUMBERS_AT_ONCE // self.width)
        fitted = self._by.fitted if self.packing.masters else self._by.covering
        for at in range(0, len(part), most):
            some = slice(at, at + most)
            numbers = part[some]
            rows = torch.arange(at, at + len(numbers), device=self.device) if which is None else which[some]
            if len(into) < len(self._layout.columns):
                numbers = self._numbers(rows).index_copy(1, columns, numbers.to(self.dtype))
            if fit or not self._by.fit(self._steps_at(rows), part[some], into, True):
                self.scales[rows] = scales_of(fitted(numbers)).to(self.scales.dtype)
            if self.is_packed:
                self._store(rows, numbers)
            else:
                self.master[rows] = numbers.to(self.master.dtype)

    @torch.no_grad()
    def draw_(self, law: Callable[[Tensor], Any]) -> None:
        """What is drawn is written, with steps of its own; where these are of rows, some rows at a time, so that there
        never is a float for every number."""
        step = max(1, _NUMBERS_AT_ONCE // self.width) if self._by.kind == "row" else self.rows
        for start in range(0, self.rows, step):
            rows = torch.arange(start, min(start + step, self.rows), device=self.device)
            drawn = torch.empty(len(rows), self.width, dtype=self.dtype, device=self.device)
            law(drawn)
            if not drawn.is_meta and self._layout.columns:
                self.write_(drawn, None if step >= self.rows else rows, weights=drawn.new_ones(len(rows)))

    @torch.no_grad()
    def settle_(self, values: Tensor, steps: Tensor) -> None:
        """Store these levels of these steps, which were found elsewhere, in the training form.

        Args:
            values: shape `(rows, width)`.
            steps: shape `(steps,)`.
        """
        self.unpack()
        self._set_steps(steps)
        numbers = values[:, self._layout.columns]
        if self.is_packed:
            self._store(torch.arange(self.rows, device=self.device), numbers)
        else:
            self.master.copy_(numbers)

    @torch.no_grad()
    def rounding_(self, on: bool, fit: bool = True, weights: Tensor | None = None) -> None:
        """Steps are fitted by least squares."""
        if self.is_packed:
            return
        self.rounds = on
        if on and fit and self._layout.columns:
            self._set_steps(self._by.fitted(self.master, weights))

    def _numbers(self, rows: Tensor | None = None) -> Tensor:
        """All stored numbers, or those of some rows, as floats: a copy."""
        if not self.is_packed:
            return self.master.detach().clone() if rows is None else self.master.detach()[rows]
        found = self.whole() if rows is None else self.forward(rows)
        return found[:, self._layout.columns]

    def _store(self, rows: Tensor, numbers: Tensor) -> None:
        """Round numbers to codes, a part of the rows at a time."""
        for at in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[at : at + _ROWS_AT_ONCE]
            own = self._steps_at(some).detach()
            codes = self._levels.codes(numbers[at : at + _ROWS_AT_ONCE].to(own.dtype), own)
            self._layout.write_(self.codes, some, codes)

    # -- steps -----------------------------------------------------------------------------------------------------

    def _steps_at(self, row_ids: Tensor) -> Tensor:
        """The steps of rows, shape `(*row_ids.shape, columns)` or `(columns,)`; differentiable in the training form,
        where they are those that will be stored."""
        scales = self.scales[row_ids] if self._by.kind == "row" and self._by.bits else self.scales
        wide = torch.promote_types(self.dtype, torch.float32)
        return self._by.at(
            steps_of(scales.to(wide) if self.is_packed else as_stored(scales, self.packing.step_dtype).to(wide))
        )

    def _set_steps(self, steps: Tensor) -> None:
        self.scales.copy_(scales_of(steps))

    def _widened(self, numbers: Tensor) -> Tensor:
        """With 0 in the columns that are not stored."""
        if numbers.shape[-1] == self.width:
            return numbers
        if self._layout.columns == list(range(numbers.shape[-1])):  # as where late columns have no bits
            return F.pad(numbers, (0, self.width - numbers.shape[-1]))
        wide = numbers.new_zeros(*numbers.shape[:-1], self.width)
        columns = torch.tensor(self._layout.columns, device=numbers.device, dtype=torch.int64)
        return wide.index_copy(-1, columns, numbers)

    def kernel_view(self) -> KernelView | None:
        """Codes, which kernels read, and train where there are no masters; but for columns that cannot hold the zeros
        of padding. Or masters, which they train, where all columns are stored and rows have no steps of their own."""
        stored = self._layout.columns
        tops = self._levels.top(torch.empty(0, dtype=torch.float64, device="cpu")).expand(len(stored)).tolist()
        if not self.is_packed:
            if self.packing.form != "masters":
                return None
            found = Rounding("scales", self._by.in_common, tuple(map(int, tops)), self.packing.step_dtype)
            return KernelView("masters", "master", rounding=found)
        if self._without_zero:
            return None
        columns = tuple(
            CodedColumn(self._layout.begins[column], self._layout.bits[column], int(top), column)
            for column, top in zip(stored, tops, strict=True)
        )
        coding = Coding(columns, self._layout.row_bits, "scales", self._by.in_common)
        return KernelView("codes", "codes", coding, trained=not self.packing.masters)

    def reading(self, name: str) -> Formula:
        """Levels times steps."""
        of = self.packing
        return levels(f"{name}.codes", f"{name}.scales", of.bits, of.layout.row_bits, of.kind, of.block, RATE)

    def components(self, name: str) -> list[Component]:
        """Those of the stored form, in either form."""
        return self.packing.stored(name, self.rows)

    # -- states and casts ------------------------------------------------------------------------------------------

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take the form that the state has.

        Raises:
            InputError: its steps are not finite.
        """
        scales = state.get(f"{prefix}scales")
        if isinstance(scales, Tensor) and not scales.is_meta and not usable(scales):
            raise InputError(f"{prefix}scales: a step is 0 or not finite, so its rows cannot be read")
        if self._is_of(state, prefix, "codes", self._layout.bytes(self.rows)) and not self.is_packed:
            self._take_stored_form(self.device)
        elif (
            self.packing.masters
            and self._is_of(state, prefix, "master", self.rows, len(self._layout.columns))
            and self.is_packed
        ):
            self._take_training_form(self.device)
        super()._load_from_state_dict(state, prefix, *rest)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """A cast changes the type of what is read and of masters, not of what is stored."""
        self.dtype = fn(torch.empty(0, dtype=self.dtype)).dtype
        kept = {"scales": self.scales.detach(), **dict(self.named_buffers())}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        wide = torch.promote_types(self.dtype, torch.float32)
        for name, before in kept.items():  # in their own type again, with the bits they had
            after = getattr(self, name)
            if isinstance(after, nn.Parameter):
                after.data = before.to(after.device, wide)
            elif after.dtype != before.dtype:
                self.register_buffer(name, before.to(after.device))
        return self

    def _is_of(self, state: dict[str, Any], prefix: str, name: str, *shape: int) -> bool:
        """Whether a state has this form of the array, whole and of its sizes; torch says what is wrong otherwise."""
        steps = (self._by.number(self.rows),)
        found = {each: state.get(f"{prefix}{each}") for each in (name, "scales")}
        return all(
            isinstance(value, Tensor) and tuple(value.shape) == wanted
            for value, wanted in zip(found.values(), (shape, steps), strict=True)
        )

    def extra_repr(self) -> str:
        """The sizes, the types, the bits and the form."""
        bits = sorted({*self.bits}, reverse=True)
        said = f"{bits[0] if len(bits) == 1 else bits} bits, a step by {self._by.kind}"
        return f"{super().extra_repr()}, {said}, {'packed' if self.is_packed else 'training'}"


def _spread(weights: Tensor, rows: Tensor, many: int) -> Tensor:
    """Weights of some rows as those of all, of which the others have none."""
    return weights.new_zeros(many).index_copy(0, rows, weights)
