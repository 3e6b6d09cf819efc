"""`Attributes`: columns that describe ids, such as a movie's year and genres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from coset.data.ids import are_text, as_ids
from coset.data.vocabulary import Vocabulary
from coset.errors import InputError


@dataclass(frozen=True, eq=False)
class Attributes:
    """One value of every column for each of some ids of one feature.

    Args:
        ids: raw ids, distinct; int64 or text, shape `(m,)`. Ids without ratings may be among them, and ids with
            ratings may be missing.
        columns: name → values, whole numbers or text, shape `(m,)`; an empty text is a value like any other.
        source: where they came from, for errors.

    Raises:
        InputError: no ids or no columns, an id that occurs twice, or a column that is of another length or of
            neither sort.

    Example:
        >>> movies = Attributes([7, 50, 9], {"year": [1999, 1995, 1999]})
        >>> movies.codes(Vocabulary.build("movie", [50, 7, 50, 8]))  # 8 is not listed
        {'year': array([0, 1, 2])}
    """

    ids: np.ndarray = field(repr=False)
    columns: Mapping[str, np.ndarray] = field(repr=False)
    source: str = "attributes"

    def __post_init__(self) -> None:
        ids = as_ids(self.ids, self.source)
        if ids.ndim != 1 or len(ids) == 0:
            raise InputError(f"{self.source}: needs a column of at least one raw id, not shape {ids.shape}")
        if not self.columns:
            raise InputError(f"{self.source}: needs at least one column of attributes")
        columns = {name: as_ids(of, f"{self.source}, column {name!r}", "value") for name, of in self.columns.items()}
        for name, values in columns.items():
            if values.shape != ids.shape:
                raise InputError(
                    f"{self.source}, column {name!r}: has shape {values.shape}, expected {ids.shape}, one value an id"
                )
        place, first = rows_by_id(ids)
        if len(first) < len(ids):
            again = int(np.argmax(first[place] != np.arange(len(ids))))
            raise InputError(
                f"{self.source}: the raw id {ids.tolist()[again]!r} is listed twice, as number "
                f"{first[place[again]] + 1} and number {again + 1} (counted from 1)"
            )
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "columns", columns)

    @classmethod
    def of_rows(cls, ids: np.ndarray, columns: Mapping[str, np.ndarray], source: str, name: str) -> Attributes:
        """The attributes in columns of data that have many rows for each id.

        Args:
            ids: raw id of every row, shape `(rows,)`.
            columns: name → value of every row, likewise.
            source: see the class.
            name: of the feature, for the error.

        Raises:
            InputError: rows of one id have different values.
        """
        place, first = rows_by_id(ids)
        for column, values in columns.items():
            if (differs := values[first[place]] != values).any():
                row = int(differs.argmax())
                before = int(first[place[row]])
                raw_id = ids.tolist()[row]  # a Python value, whose repr is the text of the file
                one, other = values[[before, row]].tolist()
                raise InputError(
                    f"{source}, column {column!r}: the {name} {raw_id!r} has {other!r} in row {row + 1} of the data "
                    f"(counted from 1) and {one!r} in row {before + 1}; an attribute needs one value an id"
                )
        return cls(ids[first], {column: values[first] for column, values in columns.items()}, source)

    def codes(self, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
        """The columns as integer codes of the ids of `vocabulary`.

        The values that its raw ids have are numbered 0, 1, … in ascending order, so codes depend on which ids are
        known and not on their order. Raw ids that are not listed share the next code, and the row of unseen ids
        has one of its own after that: neither shares a code with ids of a known value.

        Returns:
            name → codes, int64, shape `(vocabulary.num_embeddings,)`; each of 0 … the largest occurs.
        """
        # Ids that are not listed are unseen by the vocabulary of listed ids, and so get the place after all of these.
        listed = Vocabulary(self.source, self.ids, np.zeros(len(self.ids) + 1, dtype=np.int64), unseen="shared")
        place = listed.lookup(vocabulary.values, convert=True)
        known = place < len(self.ids)
        found = {}
        for name, values in self.columns.items():
            distinct, of_known = np.unique(values[place[known]], return_inverse=True)
            codes = np.full(vocabulary.num_embeddings, len(distinct), dtype=np.int64)
            codes[: len(place)][known] = of_known
            codes[len(place) :] = len(distinct) + (not known.all())
            found[name] = codes
        return found


def rows_by_id(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each row's id among the distinct ids, and the first row of each distinct id."""
    if not are_text(ids):
        _, first, place = np.unique(ids, return_index=True, return_inverse=True)
        return place, first
    number: dict[str, int] = {}
    place = np.array([number.setdefault(text, len(number)) for text in ids.tolist()], dtype=np.int64)
    return place, np.unique(place, return_index=True)[1]
