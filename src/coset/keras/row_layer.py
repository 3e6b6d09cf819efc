"""`RowLayer`: a layer whose vectors are composed of rows in one way for all ids."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

from coset.keras.base import TableLayer
from coset.keras.composition import Array, Composition


class RowLayer(TableLayer):
    """A subclass only says how vectors are composed, in `composition`."""

    @abstractmethod
    def composition(self) -> Composition:
        """How the vectors are made."""

    def arrays(self) -> list[Array]:
        """The arrays of the composition."""
        return self._composition.arrays()

    def vectors(self, ids: Any) -> Any:
        """Vectors of ids that are in range."""
        return self._composition.vectors(ids, self._stored_arrays, self.compute_dtype)

    @cached_property
    def _composition(self) -> Composition:
        return self.composition()
