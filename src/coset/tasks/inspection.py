"""What `coset inspect` shows of data, as a task gives it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from coset.documents import Json
from coset.schema import Table


@dataclass(frozen=True)
class Inspection:
    """What `coset inspect` shows of data.

    Args:
        dataset: name of the data set.
        rows: number of rows.
        summary: what the rows are, in a few words that end a heading, such as `"9 ratings from 1 to 5"`.
        tables: one for each feature. How often its ids occur, and their attributes, are shown where the table has
            them; its dim is not.
        multi_hot: names of the features whose values are lists of ids.
        synthetic: whether the data are made up.
        noise_floor: the best score that any model can reach, where it is known.
        notes: sentences on what a user should know of the data before training on them.
        details: what else is known of data of this kind, as plain JSON values.
    """

    dataset: str
    rows: int
    summary: str
    tables: Sequence[Table]
    multi_hot: Collection[str] = ()
    synthetic: bool = False
    noise_floor: float | None = None
    notes: Sequence[str] = ()
    details: Json = field(default_factory=dict)


def summary_of(rows: Mapping[str, int]) -> str:
    """How many rows there are, and how many in each part.

    Example:
        >>> summary_of({"training": 1800, "validation": 200})
        '2,000 rows (1,800 training, 200 validation)'
    """
    parts = ", ".join(f"{count:,} {part}" for part, count in rows.items())
    return f"{sum(rows.values()):,} rows ({parts})"
