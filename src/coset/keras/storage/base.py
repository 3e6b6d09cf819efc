"""The contract of a storage of layers: `ArrayStorage`, a choice, and `LayerArray`, which reads what it chose.

A new storage is one new file in this folder, or of another package through the entry-point group
`coset.keras_storages`, with the name and the fields of the storage of `coset.storage` that keeps the same arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from keras import ops

from coset import settings
from coset.registry import Registry

S = TypeVar("S", bound="ArrayStorage")
Tensor = Any


@dataclass(frozen=True)
class Weight:
    """A weight that a layer makes for an array.

    Args:
        shape, dtype: as of `add_weight`.
        initializer: its values, or what draws them: a function of shape and dtype.
        trainable: whether optimizers train it.
        is_numbers: whether it holds the numbers of the array, so that the layer's regularizer applies to it.
    """

    shape: tuple[int, ...]
    dtype: str
    initializer: Any
    trainable: bool = True
    is_numbers: bool = False

    def initial(self) -> Callable[..., Tensor]:
        """The initializer as a function."""
        if not isinstance(self.initializer, np.ndarray):
            initializer: Callable[..., Tensor] = self.initializer
            return initializer
        return lambda shape, dtype=None: ops.convert_to_tensor(self.initializer.reshape(shape), dtype=dtype)


class LayerArray(ABC):
    """One stored array of a layer: `rows` rows of `width` numbers.

    Args:
        rows, width: its sizes.
        dtype: of the layer's variables.

    Attributes:
        variables: of the layer, by their keys in the state of the array's torch module; the layer puts them here.
    """

    def __init__(self, rows: int, width: int, dtype: str) -> None:
        self.rows, self.width, self.dtype = rows, width, dtype
        self.variables: dict[str, Any] = {}

    @abstractmethod
    def fresh(self, initializer: Any) -> dict[str, Weight]:
        """The weights of the training form, with values that an initializer draws for the shape `(rows, width)`."""

    @abstractmethod
    def holding(self, numbers: np.ndarray) -> dict[str, Weight]:
        """The weights of the training form for these numbers, shape `(rows, width)`."""

    @abstractmethod
    def at(self, row_ids: Tensor) -> Tensor:
        """Rows, shape `(*row_ids.shape, width)`, in floats. It reads these alone, never the whole array."""

    @abstractmethod
    def whole(self) -> Tensor:
        """All rows, for small arrays that are used as matrices."""

    # -- the stored form, where it differs from the training form ---------------------------------------------------

    @property
    def is_packed(self) -> bool:
        """Whether the variables are those of the stored form."""
        return False

    def unfilled(self) -> dict[str, Weight]:
        """The weights of the stored form, whose values are to be loaded."""
        raise NotImplementedError

    def pack(self) -> dict[str, Weight]:
        """The weights of the stored form, which read the same."""
        raise NotImplementedError

    def unpack(self) -> dict[str, Weight]:
        """The weights of the training form, which read the same."""
        raise NotImplementedError

    def fault(self) -> str | None:
        """Why `pack` would refuse, as a phrase; None where it would not."""
        return None

    # -- the torch module of the array ------------------------------------------------------------------------------

    def torch_state(self) -> dict[str, np.ndarray]:
        """The state of the array's torch module; floats are float64."""
        return {key: _exact(ops.convert_to_numpy(variable)) for key, variable in self.variables.items()}

    @abstractmethod
    def from_torch_state(self, state: Mapping[str, np.ndarray]) -> dict[str, Weight]:
        """The weights for the state of a torch module, in the form that it has."""


@dataclass(frozen=True)
class ArrayStorage(ABC):
    """A way to keep the numbers of arrays: a frozen dataclass that holds choices, never data."""

    name: ClassVar[str]
    version: ClassVar[int]
    has_forms: ClassVar[bool] = False
    """Whether its arrays have a stored form beside the training form, in which weights of one storage mean nothing to
    another."""

    def __post_init__(self) -> None:
        settings.check(self, f"storage {self.name!r}")

    @abstractmethod
    def build(self, rows: int, width: int, dtype: str) -> LayerArray:
        """An array without variables.

        Raises:
            InputError: the storage cannot hold an array of these sizes.
        """

    def to_json(self) -> dict[str, Any]:
        """The storage as plain JSON values, those of coset's storage of its name."""
        return {"storage": self.name, "version": self.version} | {
            field: settings.plain(getattr(self, field)) for field in settings.fields(type(self))
        }


LAYER_STORAGES: Registry[ArrayStorage] = Registry("storage", "coset.keras.storage", group="coset.keras_storages")


def register_layer_storage(name: str, version: int = 1) -> Callable[[type[S]], type[S]]:
    """Class decorator: make a storage of layers known by `name`, whose fields have the meaning of `version`."""

    def enter(cls: type[S]) -> type[S]:
        LAYER_STORAGES.add(name, cls)
        cls.version = version
        return cls

    return enter


def _exact(values: np.ndarray) -> np.ndarray:
    """Floats of any type, which torch may not know, as float64; whole numbers as they are."""
    return values if values.dtype.kind in "iu" else values.astype(np.float64)
