"""The built-in data sets: the one list of what they are called, and of which task they are."""

from __future__ import annotations

from collections.abc import Mapping

CRITEO, TWIN = "criteo-kaggle", "synthetic-clicks"
BUILT_IN: Mapping[str, str] = {
    "movielens-1m": "ratings",
    "movielens-100k": "ratings",
    "synthetic-ratings": "ratings",
    CRITEO: "clicks",
    TWIN: "clicks",
}
"""Name → task. Those of MovieLens are downloaded; `criteo-kaggle` is looked for in `$COSET_DATA` and in the cache, as
`criteo-kaggle/train.txt`; the synthetic ones are made, `synthetic-clicks` as columns, so that there is no log of it."""


def built_in(task: str) -> tuple[str, ...]:
    """The built-in data sets of a task.

    Example:
        >>> built_in("clicks")
        ('criteo-kaggle', 'synthetic-clicks')
    """
    return tuple(name for name, of in BUILT_IN.items() if of == task)
