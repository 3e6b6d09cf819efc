"""Finds the columns of a file with the user, the item and the rating: named by the caller, or guessed.

Attributes of users and of items must be named.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from coset.errors import InputError, brief

ROLES = ("user", "item", "rating")

# Compared without case, spaces and punctuation, so `userId`, `user_id` and `User ID` are one guess.
_GUESSES = {
    "user": ("user", "userid", "uid", "customer", "customerid", "reviewer", "reviewerid"),
    "item": (
        "item",
        "itemid",
        "iid",
        "movie",
        "movieid",
        "product",
        "productid",
        "book",
        "bookid",
        "asin",
        "isbn",
    ),
    "rating": ("rating", "ratings", "score", "stars", "overall"),
    "time": ("timestamp", "time", "datetime", "date", "unixreviewtime", "unixtime", "ts"),
}
_LABELS = {"label", "click", "clicks", "clicked", "isclick"}
_CRITEO = 40  # columns of Criteo's click logs, which have no header

_NO_RATING = "interactions without a rating need one to learn from, such as 1 for what was chosen and 0 for the rest"


@dataclass(frozen=True)
class Columns:
    """The names of the columns as the caller gave them; `None` means: guess. `time` is `True` to guess the column of
    times, and `False` for none.

    Example:
        >>> Columns(rating="stars").find(["user_id", "item_id", "rating", "stars"], "reviews.csv")
        (0, 1, 3)
    """

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    user_attributes: tuple[str, ...] = ()
    item_attributes: tuple[str, ...] = ()
    time: str | bool = False

    @property
    def attributes(self) -> list[tuple[str, str]]:
        """Whose attribute, `"user"` or `"item"`, and the name of the column, in the order of what files give."""
        return [("user", name) for name in self.user_attributes] + [("item", name) for name in self.item_attributes]

    def find(self, names: Sequence[str], where: str) -> tuple[int, ...]:
        """Positions of the user, item and rating columns among `names`, then of the attributes, and of the times last.

        Raises:
            InputError: names `where`; a column is not there or ambiguous.
        """
        user, item, rating = (self._find_one(role, names, where) for role in ROLES)
        if len({user, item, rating}) < 3:
            raise InputError(
                f"{where}: user, item and rating must be three columns, but two of them are the same one: "
                f"{brief(names[user])}, {brief(names[item])}, {brief(names[rating])}"
            )
        of_attributes = (_find_named(f"{role} attribute", name, names, where) for role, name in self.attributes)
        times = (self._find_one("time", names, where),) if self.time else ()
        return user, item, rating, *of_attributes, *times

    def _find_one(self, role: str, names: Sequence[str], where: str) -> int:
        given: str | bool | None = getattr(self, role)
        if not isinstance(given, str):
            plain = [_plain(name) for name in names]
            found = next((plain.index(guess) for guess in _GUESSES[role] if guess in plain), None)
            if found is None:
                raise InputError(
                    f"{where}: no column looks like the {role}; the columns are {listed(names)}: "
                    f"name it with {role}=… (on the command line --{role}){_hint(role, names, plain)}"
                )
            alike = [name for name, other in zip(names, plain, strict=True) if other == plain[found]]
            if len(set(alike)) > 1:
                raise InputError(
                    f"{where}: {len(alike)} columns look like the {role}: {listed(alike)}; name one with {role}=… (on "
                    f"the command line --{role})"
                )
            _check_single(role, names[found], names, where)
            return found
        return _find_named(role, given, names, where)


def looks_like(role: str, name: str) -> bool:
    """Whether a column of this name counts as the user, item, rating or time where the caller names none.

    Example:
        >>> looks_like("time", "Time-stamp"), looks_like("time", "rating")
        (True, False)
    """
    return _plain(name) in _GUESSES[role]


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _hint(role: str, names: Sequence[str], plain: Sequence[str]) -> str:
    """A hint on what a file without such a column may be."""
    sparse = len(names) > 1 and all(re.fullmatch(r"[0-9]+(:[0-9]+)?:[^:\s]+", name) for name in names[1:])
    if sparse or _LABELS & set(plain) or (len(names) == _CRITEO and names[0] in ("0", "1")):
        return "; if it is a click log, prepare it with coset prepare"
    if any(re.fullmatch(r"[+-]?[0-9]+([.][0-9]*)?", name) for name in names):
        return "; if the first line holds values, put one above it that names the columns, such as user,item,rating"
    return f"; {_NO_RATING}" if role == "rating" else ""


@dataclass(frozen=True)
class Named:
    """Columns by name, whatever they hold.

    Example:
        >>> Named(("b", "a")).find(["a", "b"], "small.csv")
        (1, 0)
    """

    names: tuple[str, ...]

    def find(self, names: Sequence[str], where: str) -> tuple[int, ...]:
        """Positions of the columns among `names`; an `InputError` for one that is missing or occurs twice."""
        return tuple(_find_named("data", name, names, where) for name in self.names)


def _find_named(role: str, given: str, names: Sequence[str], where: str) -> int:
    if given not in names:
        near = get_close_matches(given, names, n=1, cutoff=0.5)
        hint = f": did you mean {brief(near[0])}?" if near else ""
        raise InputError(f"{where}: no column {brief(given)} for the {role}; the columns are {listed(names)}{hint}")
    _check_single(role, given, names, where)
    return list(names).index(given)


def _check_single(role: str, name: str, names: Sequence[str], where: str) -> None:
    if list(names).count(name) > 1:
        raise InputError(f"{where}: two columns are called {brief(name)}, so the {role} is ambiguous; rename one")


def listed(names: Sequence[str]) -> str:
    """Names of columns in a sentence, as many as fit one.

    Example:
        >>> listed(["a", "b"])
        "'a', 'b'"
    """
    shown = ", ".join(brief(name, 40) for name in names[:12])
    return f"{shown} and {len(names) - 12:,} more" if len(names) > 12 else shown


def import_polars(what: str) -> Any:
    """The polars module, which coset needs only to read files; `what` begins the error when it is missing."""
    try:
        import polars
    except ImportError:
        raise InputError(f"{what} needs polars, which is not installed: pip install 'coset[cli]'") from None
    return polars


@contextmanager
def reading(polars: Any, where: str, form: str) -> Iterator[None]:
    """One sentence about the file `where` for whatever polars raises while it reads it as `form`.

    A panic of polars is no `Exception`, and writes to stderr directly, so that descriptor is closed off meanwhile.
    """
    try:
        with _silent():
            try:
                yield
            except polars.exceptions.PanicException:
                time.sleep(0.1)  # other threads of polars may be about to panic as well
                raise
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException) as error:
        raise unreadable(where, form, error) from None


def unreadable(where: str, form: str, error: BaseException) -> InputError:
    """What to raise about a file for what another library, or the system, raised while it was read as `form`."""
    return InputError(f"{where}: not readable as {form} ({reason_of(error)})")


def reason_of(error: BaseException) -> str:
    """The first line of what an error says."""
    return brief((str(error).splitlines() or [type(error).__name__])[0], 200, quoted=False)


@contextmanager
def _silent() -> Iterator[None]:
    sys.stderr.flush()
    with _LOCK, open(os.devnull, "w") as nowhere:
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


_LOCK = threading.Lock()
