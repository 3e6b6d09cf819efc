"""`dense`: numbers as they are, of the layer's type or of another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from keras import ops

from coset.keras.storage.base import ArrayStorage, LayerArray, Weight, register_layer_storage

DType = Literal["float64", "float32", "bfloat16", "float16"]
DTYPES = get_args(DType)


@register_layer_storage("dense")
@dataclass(frozen=True)
class DenseNumbers(ArrayStorage):
    """`coset.Dense`.

    Args:
        dtype: of what is stored; that of the layer's variables by default.
    """

    dtype: DType | None = None

    def build(self, rows: int, width: int, dtype: str) -> DenseArray:
        """An array of one weight."""
        return DenseArray(rows, width, self.dtype or dtype)


class DenseArray(LayerArray):
    """Rows in one weight, `weight`."""

    def fresh(self, initializer: Any) -> dict[str, Weight]:
        """As they are drawn."""
        return {"weight": Weight((self.rows, self.width), self.dtype, initializer, is_numbers=True)}

    def holding(self, numbers: np.ndarray) -> dict[str, Weight]:
        """The numbers, rounded to nearest."""
        return self.fresh(np.asarray(numbers))

    def at(self, row_ids: Any) -> Any:
        """Rows of the weight."""
        return ops.take(self.variables["weight"], row_ids, axis=0)

    def whole(self) -> Any:
        """The weight."""
        return ops.convert_to_tensor(self.variables["weight"])

    def from_torch_state(self, state: Mapping[str, np.ndarray]) -> dict[str, Weight]:
        """The one array."""
        return self.holding(state["weight"])
