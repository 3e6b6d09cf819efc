"""The built-in data sets: the one list of their names and tasks."""

from __future__ import annotations

from collections.abc import Mapping

CRITEO, TWIN = "criteo-kaggle", "synthetic-clicks"
BUILT_IN: Mapping[str, str] = {
    "movielens-1m": "ratings",
    "movielens-100k": "ratings",
    "synthetic-ratings": "ratings",
    "synthetic-long-tail": "ratings",
    "synthetic-long-tail-factors": "ratings",
    CRITEO: "clicks",
    TWIN: "clicks",
}
"""Name → task. coset downloads those of MovieLens; it looks for `criteo-kaggle/train.txt` in `$COSET_DATA` and in the
cache; it makes the synthetic ones, `synthetic-clicks` directly as prepared columns."""


def built_in(task: str) -> tuple[str, ...]:
    """The built-in data sets of a task.

    Example:
        >>> built_in("clicks")
        ('criteo-kaggle', 'synthetic-clicks')
    """
    return tuple(name for name, of in BUILT_IN.items() if of == task)
