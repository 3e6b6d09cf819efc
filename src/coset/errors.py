"""The errors that a user can mend: one sentence that says what is wrong, where, and what would be right.

The command line turns every `InputError` into that sentence and exit code 2; anything else is a defect of
coset and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Something that was handed in is wrong; the message is one sentence for the person who did."""


class Unsuitable(InputError):
    """A method that no choice of its fields makes fit for this table; a search over methods leaves it out."""

    def under(self, where: str) -> Unsuitable:
        """The same error, its message begun with `where`."""
        return Unsuitable(f"{where}: {self}")


class InfeasibleBudget(Unsuitable):
    """A byte budget below what a method can reach; `floor` is the smallest feasible number of bytes."""

    def __init__(self, message: str, floor: int) -> None:
        super().__init__(message)
        self.floor = floor

    def under(self, where: str) -> InfeasibleBudget:
        """The same error, its message begun with `where`."""
        return InfeasibleBudget(f"{where}: {self}", self.floor)


def unknown(kind: str, given: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not known, with the nearest known name or, failing that, all of them.

    Example:
        >>> str(unknown("method", "low_rnk", ["full", "low_rank"]))
        "unknown method 'low_rnk': did you mean 'low_rank'?"
    """
    names = sorted(known)
    near = get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
    return InputError(f"unknown {kind} {given!r}: {hint}")
