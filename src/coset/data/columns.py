"""Which columns of a file hold the user, the item and the rating: named by the caller, or guessed.

Attributes of users and of items are only named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from coset.errors import InputError

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
}


@dataclass(frozen=True)
class Columns:
    """The names of the columns as the caller gave them; `None` means: guess.

    Example:
        >>> Columns(rating="stars").find(["user_id", "item_id", "rating", "stars"], "reviews.csv")
        (0, 1, 3)
    """

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    user_attributes: tuple[str, ...] = ()
    item_attributes: tuple[str, ...] = ()

    @property
    def attributes(self) -> list[tuple[str, str]]:
        """Whose attribute, `"user"` or `"item"`, and the name of the column, in the order of what files give."""
        return [("user", name) for name in self.user_attributes] + [("item", name) for name in self.item_attributes]

    def find(self, names: Sequence[str], where: str) -> tuple[int, ...]:
        """Positions of the user, item and rating columns among `names`, then of the attributes.

        Raises:
            InputError: names `where`; a column is not there or ambiguous.
        """
        user, item, rating = (self._find_one(role, names, where) for role in ROLES)
        if len({user, item, rating}) < 3:
            raise InputError(
                f"{where}: user, item and rating must be three columns, but two of them are the same one: "
                f"{names[user]!r}, {names[item]!r}, {names[rating]!r}"
            )
        of_attributes = (_find_named(f"{role} attribute", name, names, where) for role, name in self.attributes)
        return user, item, rating, *of_attributes

    def _find_one(self, role: str, names: Sequence[str], where: str) -> int:
        given: str | None = getattr(self, role)
        if given is None:
            listed = ", ".join(map(repr, names))
            plain = ["".join(filter(str.isalnum, name.lower())) for name in names]
            found = next((plain.index(guess) for guess in _GUESSES[role] if guess in plain), None)
            if found is None:
                raise InputError(
                    f"{where}: no column looks like the {role}; the columns are {listed}: "
                    f"say which one with {role}=… (on the command line --{role})"
                )
            alike = [name for name, other in zip(names, plain, strict=True) if other == plain[found]]
            if len(set(alike)) > 1:
                raise InputError(
                    f"{where}: {len(alike)} columns look like the {role}: {', '.join(map(repr, alike))}; "
                    f"say which one with {role}=… (on the command line --{role})"
                )
            _check_single(role, names[found], names, where)
            return found
        return _find_named(role, given, names, where)


def _find_named(role: str, given: str, names: Sequence[str], where: str) -> int:
    if given not in names:
        near = get_close_matches(given, names, n=1, cutoff=0.5)
        hint = f": did you mean {near[0]!r}?" if near else ""
        listed = ", ".join(map(repr, names))
        raise InputError(f"{where}: no column {given!r} for the {role}; the columns are {listed}{hint}")
    _check_single(role, given, names, where)
    return list(names).index(given)


def _check_single(role: str, name: str, names: Sequence[str], where: str) -> None:
    if list(names).count(name) > 1:
        raise InputError(f"{where}: two columns are called {name!r}, so the {role} is ambiguous; rename one")


def import_polars(what: str) -> Any:
    """The polars module, which coset needs only to read files; `what` begins the error when it is missing."""
    try:
        import polars
    except ImportError:
        raise InputError(f"{what} needs polars, which is not installed: pip install 'coset[cli]'") from None
    return polars
