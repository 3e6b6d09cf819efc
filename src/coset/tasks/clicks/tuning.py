"""The epochs that clicks choose themselves, by one short training.

Click models mostly learn in the first epoch and memorise rare ids from the second one on (Zhang et al., 2022, "Towards
understanding the overfitting phenomenon of deep click-through rate prediction models"), so a second epoch must show its
gain before a training takes it. Small logs often need several.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from coset.data.clicks import ClickData
from coset.errors import InputError

CHOSEN = ("epochs",)
MOST_EPOCHS = 10
HELD = 0.1
"""The slice of the rows of a trial that it is scored on."""
LEAST_ROWS, MOST_ROWS, SHARE = 20_000, 200_000, 8
"""A trial sees an eighth of the training rows; of few rows more, up to all."""
FEWEST_ROWS = 50
"""Of fewer training rows no slice tells one number of epochs from another."""
MOST_BYTES = 1 << 30
"""Of full tables: a trial trains these, and so many ids belong to a log that needs no second epoch."""
_GAIN = 1e-3
"""The share of the score by which a further epoch must be better."""


def check(names: Sequence[str]) -> None:
    """Raise an `InputError` for a field that is not chosen."""
    if strange := sorted(set(names) - set(CHOSEN)):
        raise InputError(f"clicks choose {CHOSEN[0]} by themselves, not {strange[0]!r}")


def rows_of_trial(rows: int) -> int:
    """How many of so many training rows a trial sees.

    Example:
        >>> rows_of_trial(8_500), rows_of_trial(1_000_000), rows_of_trial(40_000_000)
        (8500, 125000, 200000)
    """
    return min(rows, MOST_ROWS, max(LEAST_ROWS, rows // SHARE))


class OneClass(NamedTuple):
    """Rows of a sample that all have one label.

    Args:
        rows: how many.
        label: of all of them.
        purpose: what they would do, as a verb.
    """

    rows: int
    label: int
    purpose: str


def one_class(sample: ClickData) -> OneClass | None:
    """The rows of a part that all have one label; None where both parts have both labels."""
    for name, purpose in (("training", "teach"), ("validation", "judge")):
        labels = sample.part(name).column("label")
        if labels.min() == labels.max():
            return OneClass(len(labels), int(labels[0]), purpose)
    return None


def ends(scores: Sequence[float]) -> bool:
    """Whether the last epoch was no gain, by scores that are better when lower."""
    return len(scores) > 1 and not scores[-1] < min(scores[:-1]) * (1 - _GAIN)


def best_epoch(scores: Sequence[float]) -> int:
    """The epoch after which there was no gain.

    Example:
        >>> best_epoch([0.45, 0.58]), best_epoch([0.6, 0.5, 0.4999])
        (1, 2)
    """
    return next((at for at in range(1, len(scores)) if ends(scores[: at + 1])), len(scores))
