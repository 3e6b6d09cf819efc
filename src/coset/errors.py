"""Errors of wrong input: one sentence that says what is wrong, where, and what would be right.

The command line turns every `InputError` into that sentence and exit code 2; anything else is a defect of
coset and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 800
"""Most characters of a message, however long the input is."""


class InputError(ValueError):
    """Wrong input; the message is one sentence for the user who gave it.

    A message longer than `LONGEST`, such as one that quotes a file without line ends, loses its middle:
    it begins with where the fault is and ends with what would be right.

    Example:
        >>> error = InputError(f"mine.csv, line 1: {'x' * 5000!r} is no header; add one such as user,item,rating")
        >>> len(str(error)) <= LONGEST, str(error).endswith("add one such as user,item,rating")
        (True, True)
    """

    def __init__(self, message: str) -> None:
        if "\n" in message:  # of an array that is shown
            message = " ".join(line.strip() for line in message.split("\n"))
        super().__init__(bounded(message))


def bounded(message: str) -> str:
    """`message`, or its beginning and its end where it is longer than `LONGEST`."""
    if len(message) <= LONGEST:
        return message
    cut = f" … ({len(message) - LONGEST:,} characters left out) … "
    kept = LONGEST - len(cut)
    return message[: kept - kept // 3] + cut + message[-(kept // 3) :]


class Diverged(InputError):
    """A training whose loss is NaN or infinite, so that its model is useless."""


class Unsuitable(InputError):
    """A method that no choice of its fields makes fit for this table; a search over methods leaves it out."""

    def under(self, where: str) -> Unsuitable:
        """The same error, its message begun with `where`."""
        return Unsuitable(f"{where}: {self}")


class MissingAttributes(Unsuitable):
    """A method that needs attributes, for a table without any; a caller that knows where users name them adds that."""


class InfeasibleBudget(Unsuitable):
    """A byte budget below what a method can reach; `floor` is the smallest feasible number of bytes."""

    def __init__(self, message: str, floor: int) -> None:
        super().__init__(message)
        self.floor = floor

    def under(self, where: str) -> InfeasibleBudget:
        """The same error, its message begun with `where`."""
        return InfeasibleBudget(f"{where}: {self}", self.floor)


class UnownedTables(UserWarning):
    """Tables that an optimizer of coset was given and does not own, so that another has to train them.

    Example:
        >>> import warnings
        >>> warnings.simplefilter("error", UnownedTables)  # wherever that would be a mistake
        >>> warnings.simplefilter("default", UnownedTables)
    """


def unknown(kind: str, given: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not known, with the nearest known name or, failing that, all of them.

    Example:
        >>> str(unknown("method", "low_rnk", ["full", "low_rank"]))
        "unknown method 'low_rnk': did you mean 'low_rank'?"
    """
    names = sorted(known)
    given = given if isinstance(given, str) else brief(given)
    near = get_close_matches(given[:200], names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
    return InputError(f"unknown {kind} {brief(given)}: {hint}")


def brief(value: object, most: int = 80, *, quoted: bool = True) -> str:
    """`value` as a message shows it: the beginning of its `repr`, or of its text where it is not to be quoted.

    Example:
        >>> brief("a" * 100, 10)
        "'aaaaaaaa…"
    """
    if isinstance(value, int) and value.bit_length() > 1000:  # whose digits Python may refuse to write
        return f"a number of {value.bit_length()} bits"
    try:
        text = repr(value) if quoted else str(value)
    except Exception:  # of a number as above within something else, or of a class whose own fails
        return f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 1]}…"
