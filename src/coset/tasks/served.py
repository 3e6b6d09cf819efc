"""What an artifact holds of a finished run, as its task says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from coset.documents import Json


class RawIds(Protocol):
    """A vocabulary, as far as an artifact holds it."""

    @property
    def values(self) -> np.ndarray:
        """Raw ids in the order of their ids, distinct; int64 or text (an object array of `str`)."""

    @property
    def unseen(self) -> str:
        """What becomes of other raw ids: `"error"`, or `"shared"`, where all of them have the last id."""


@dataclass(frozen=True)
class Served:
    """A model with what its users know its ids by.

    Args:
        model: how tables and other numbers become what the model gives, as plain JSON values that docs/artifact.md
            defines: its `kind` and the names of tables, vocabularies and tensors of its state.
        tables: name → path of the table's module in the model.
        vocabularies: by name.
        data: on the data that it was trained on, for people: `dataset`, and names of columns.
    """

    model: Json
    tables: Mapping[str, str]
    vocabularies: Mapping[str, RawIds]
    data: Json
