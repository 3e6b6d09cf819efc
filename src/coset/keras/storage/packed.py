"""`packed`: numbers rounded to a few levels, in 0 to 8 bits each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import keras
import numpy as np
from keras import ops

from coset import settings
from coset.errors import InputError
from coset.keras.storage.base import ArrayStorage, LayerArray, Weight, register_layer_storage
from coset.keras.storage.bits import CodeLayout
from coset.keras.storage.levels import UNKNOWN, codes, least_squares_steps, rounded, tops, values

Tensor = Any
MOST_BITS = 8
_ROWS_AT_ONCE = 1 << 16
_RATE = 0.05
"""How much of its logarithm a step moves where its weight moves by 1, so that the learning rate of rows fits it."""


@register_layer_storage("packed")
@dataclass(frozen=True)
class PackedNumbers(ArrayStorage):
    """`coset.Packed`: levels, steps and bytes are those that it describes.

    Args:
        bits: of a number; one for all columns, or one for each.
        step: what has a step in common: the whole `"array"`, a `"column"`, a `"block"` of columns or a `"row"`.
        block: columns of a block.
        padded: whether every row begins at a byte.
        step_dtype: the type of steps.
        masters: true: layers train floats, which kernels of `coset.optimizers` alone do without.
    """

    has_forms: ClassVar[bool] = True
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
        if not self.masters:
            raise InputError(
                "storage 'packed': layers train floats, not codes without masters; leave masters=False out"
            )

    def build(self, rows: int, width: int, dtype: str) -> PackedArray:
        """An array in either form."""
        return PackedArray(self, rows, width, dtype)

    def bits_of(self, width: int) -> tuple[int, ...]:
        """The bits of each column."""
        if isinstance(self.bits, int):
            return (self.bits,) * width
        if len(self.bits) != width:
            raise InputError(
                f"storage 'packed': bits of {len(self.bits)} columns for an array of {width}; give one number a column"
            )
        return self.bits


class PackedArray(LayerArray):
    """Rows in one of two forms, each beside `scales`, the logarithms of the steps: `master`, floats that are rounded
    when they are read, both trained; or `codes`, and neither is."""

    def __init__(self, storage: PackedNumbers, rows: int, width: int, dtype: str) -> None:
        super().__init__(rows, width, dtype)
        self.storage = storage
        self._layout = CodeLayout(rows, storage.bits_of(width), storage.padded)
        self._top = tops(self._layout.stored_bits)
        self._wide = keras.backend.result_type(dtype, "float32")  # narrow types would round small changes away

    @property
    def is_packed(self) -> bool:
        """Whether there are codes."""
        return "codes" in self.variables

    # -- reading ----------------------------------------------------------------------------------------------------

    def at(self, row_ids: Tensor) -> Tensor:
        """Rows: those of the masters, rounded, or those of the codes; the same numbers."""
        if not self._layout.columns:
            return ops.zeros((*ops.shape(row_ids), self.width), dtype=self._wide)
        steps = self._steps_at(row_ids)
        if self.is_packed:
            return self._widened(values(self._layout.read(self.variables["codes"], row_ids), steps, self._top))
        return self._widened(rounded(ops.take(self.variables["master"], row_ids, axis=0), steps, self._top))

    def whole(self) -> Tensor:
        """All rows."""
        return self.at(np.arange(self.rows, dtype=np.int32))

    def _steps_at(self, row_ids: Tensor) -> Tensor:
        """The steps that are or will be stored, of a shape that broadcasts to `(*row_ids.shape, columns)`."""
        scales = ops.convert_to_tensor(self.variables["scales"])
        kind, columns = self.storage.step, len(self._layout.columns)
        if kind == "row":
            scales = ops.expand_dims(ops.take(scales, row_ids, axis=0), -1)
        elif kind == "block":
            scales = ops.take(scales, np.arange(columns, dtype=np.int32) // self.storage.block, axis=0)
        return ops.exp(_RATE * ops.cast(ops.cast(scales, self.storage.step_dtype), self._wide))

    def _widened(self, found: Tensor) -> Tensor:
        """With 0 in the columns that are not stored."""
        stored = self._layout.columns
        if len(stored) == self.width:
            return found
        wide = ops.concatenate([found, ops.zeros_like(found[..., :1])], axis=-1)
        places = np.full(self.width, len(stored), dtype=np.int32)
        places[stored] = np.arange(len(stored))
        return ops.take(wide, places, axis=-1)

    # -- weights of both forms --------------------------------------------------------------------------------------

    def fresh(self, initializer: Any) -> dict[str, Weight]:
        """Masters as they are drawn, and steps fitted to these."""

        def drawn(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
            numbers = initializer((self.rows, self.width), dtype=dtype)
            kept = np.array(self._layout.columns, dtype=np.int32)
            return numbers if len(kept) == self.width else ops.take(numbers, kept, axis=1)

        def fitted(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
            master = _known(self.variables["master"].value)
            found = np.zeros(shape) if master is None else self._fitted(master).reshape(shape)
            return ops.convert_to_tensor(found, dtype=dtype)

        return self._training(drawn, fitted)

    def holding(self, numbers: np.ndarray) -> dict[str, Weight]:
        """Masters that are the numbers, and steps fitted to them."""
        master = np.asarray(numbers)[:, self._layout.columns]
        return self._training(master, self._fitted(master))

    def unfilled(self) -> dict[str, Weight]:
        """Codes of the levels nearest to 0."""
        return self._stored(self._layout.repeated(self._top // 2), np.full(self._many_steps, np.log(UNKNOWN) / _RATE))

    def pack(self) -> dict[str, Weight]:
        """Codes of the masters, rounded some rows at a time, by the backend that reads them."""
        master, found = self.variables["master"], np.empty((self.rows, len(self._layout.columns)), dtype=np.uint8)
        for start in range(0, self.rows, _ROWS_AT_ONCE):
            row_ids = np.arange(start, min(start + _ROWS_AT_ONCE, self.rows), dtype=np.int32)
            if found.shape[1]:
                some = codes(ops.take(master, row_ids, axis=0), self._steps_at(row_ids), self._top)
                found[row_ids] = ops.convert_to_numpy(some).astype(np.uint8)
        return self._stored(self._layout.written(found), _floats(self.variables["scales"]))

    def unpack(self) -> dict[str, Weight]:
        """Masters at the levels of the codes."""
        numbers = _floats(self.whole())[:, self._layout.columns]
        return self._training(numbers, _floats(self.variables["scales"]))

    def fault(self) -> str | None:
        """The first row, or step, that is not finite."""
        if self.is_packed:
            return None
        if not (fine := np.isfinite(_floats(self.variables["master"]))).all():
            return f"row {int(np.argmin(fine.all(axis=1)))} has a number that is not finite"
        return None if self.usable(_floats(self.variables["scales"])) else "a step is 0 or not finite"

    def usable(self, scales: np.ndarray) -> bool:
        """Whether steps of these logarithms are positive and finite, as they will be stored."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            steps = np.exp(_RATE * scales.astype(self.storage.step_dtype).astype(np.float32))
        return bool((np.isfinite(steps) & (steps > 0)).all())

    def torch_state(self) -> dict[str, np.ndarray]:
        """Bytes in one row, whatever their shape is here."""
        state = super().torch_state()
        return state if not self.is_packed else {**state, "codes": state["codes"].reshape(-1)}

    def from_torch_state(self, state: Mapping[str, np.ndarray]) -> dict[str, Weight]:
        """Codes or masters."""
        if not self.usable(np.asarray(state["scales"])):
            raise InputError("a step is 0 or not finite, so its rows cannot be read")
        if "codes" in state:
            return self._stored(state["codes"], state["scales"])
        return self._training(state["master"], state["scales"])

    def _training(self, master: Any, scales: Any) -> dict[str, Weight]:
        return {
            "master": Weight((self.rows, len(self._layout.columns)), self.dtype, master, is_numbers=True),
            "scales": Weight((self._many_steps,), self._wide, scales),
        }

    def _stored(self, data: np.ndarray, scales: np.ndarray) -> dict[str, Weight]:
        return {
            "codes": Weight(self._layout.shape, "uint8", data, trainable=False),
            "scales": Weight((self._many_steps,), self.storage.step_dtype, scales, trainable=False),
        }

    # -- steps ------------------------------------------------------------------------------------------------------

    @property
    def _many_steps(self) -> int:
        columns = len(self._layout.columns)
        many = {"array": 1, "column": columns, "row": self.rows, "block": -(-columns // self.storage.block)}
        return many[self.storage.step] if columns else 0

    def _fitted(self, master: np.ndarray) -> np.ndarray:
        """The logarithms of the steps that fit these numbers best."""
        columns, kind = master.shape[1], self.storage.step
        if not columns:
            return np.zeros(0)
        master = master.astype(np.float64)
        if not (fine := np.isfinite(master)).all():
            row = int(np.argmin(fine.all(axis=1)))
            raise InputError(f"packed rows hold finite numbers, and row {row} has one that is not")
        if kind != "block":
            over: tuple[int, ...] = {"array": (0, 1), "column": (0,), "row": (1,)}[kind]
            found = [least_squares_steps(master, self._top, over)]
        else:
            found = []
            for start in range(0, columns, self.storage.block):
                part = slice(start, start + self.storage.block)
                found.append(least_squares_steps(master[:, part], self._top[part], (0, 1)))
        return np.asarray(np.log(np.concatenate([steps.reshape(-1) for steps in found])) / _RATE)


def _known(values: Any) -> np.ndarray | None:
    """Numbers as numpy's; None while Keras asks for shapes alone, and initializes variables later."""
    try:
        return np.asarray(ops.convert_to_numpy(values))
    except Exception:  # every backend has an error of its own for this
        return None


def _floats(values: Any) -> np.ndarray:
    """As float64, which holds floats of any type."""
    return np.asarray(ops.convert_to_numpy(values), dtype=np.float64)
