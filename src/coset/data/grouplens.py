"""GroupLens' files of users and movies, beside its ratings: one line an id, no header.

Of `users.dat` and `u.user`: gender, age and occupation. The postal code is left out: with more than half as many values
as users it would be another id rather than a partition of them, and it identifies people.

Of `movies.dat` and `u.item`: the `year` at the end of the title (empty where there is none), the `genres` as the one
combination that they are, such as `Action|Crime`, and the `first_genre` of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from coset.data.attributes import Attributes
from coset.data.columns import import_polars
from coset.data.ids import ids_from_text
from coset.errors import InputError

Line = Mapping[str, str]
"""Field → value."""


@dataclass(frozen=True)
class Listing:
    """The layout of a file of users or of movies.

    Args:
        name: of the file.
        separator: between the fields of a line.
        fields: their names; the first is the id.
        columns: name of an attribute → the function that makes it from a line, or raises a `ValueError` about the line.
    """

    name: str
    separator: str
    fields: tuple[str, ...]
    columns: Mapping[str, Callable[[Line], str]]

    def read(self, data: bytes, where: str) -> Attributes:
        """The attributes in the file whose contents are `data`.

        Raises:
            InputError: names `where`, the line (counted from 1), the column, and what was expected.

        Example:
            >>> LISTINGS["ratings.dat"]["user"].read(b"1::F::1::10::48067\\n", "users.dat").columns["gender"]
            array(['F'], dtype=object)
        """
        polars = import_polars(f"{where}: reading attributes")
        ids: list[str] = []
        columns: dict[str, list[str]] = {name: [] for name in self.columns}
        # Titles are in Latin-1 or in UTF-8; all else is ASCII, which either reads alike.
        for number, text in enumerate(data.decode("latin-1").split("\n"), start=1):
            if not (line := text.rstrip("\r")):
                continue
            values = line.split(self.separator)
            if len(values) != len(self.fields):
                raise InputError(
                    f"{where}, line {number}: {len(values)} {'field' if len(values) == 1 else 'fields'} separated by "
                    f"{self.separator!r}, expected {len(self.fields)} ({', '.join(self.fields)})"
                )
            of = dict(zip(self.fields, values, strict=True))
            try:
                ids.append(_filled(self.fields[0])(of))
                for name, make in self.columns.items():
                    columns[name].append(make(of))
            except ValueError as error:
                raise InputError(f"{where}, line {number}, {error}") from None
        if not ids:
            raise InputError(f"{where}: the file is empty; expected lines of {self.separator.join(self.fields)}")
        return Attributes(
            ids_from_text(polars.Series(ids)),
            {name: ids_from_text(polars.Series(values)) for name, values in columns.items()},
            where,
        )


def _filled(field: str) -> Callable[[Line], str]:
    def make(of: Line) -> str:
        if not of[field]:
            raise ValueError(f"column {field!r}: the {field} is missing; fill it in or remove the line")
        return of[field]

    return make


def _whole(field: str) -> Callable[[Line], str]:
    def make(of: Line) -> str:
        if not re.fullmatch("[0-9]+", of[field]):
            raise ValueError(f"column {field!r}: the {field} {of[field][:40]!r} is not a whole number")
        return of[field]

    return make


def _year(of: Line) -> str:
    years = re.findall(r"\(([0-9]{4})\)", of["title"])  # the last, as a name or a remark may be in brackets too
    return years[-1] if years else ""


def _first_genre(of: Line) -> str:
    return of["genres"].partition("|")[0]


_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


def _flagged(of: Line) -> str:
    for genre in _GENRES:
        if of[genre] not in ("0", "1"):
            raise ValueError(f"column {genre!r}: {of[genre][:40]!r} is neither 0 nor 1")
    return "|".join(genre for genre in _GENRES if of[genre] == "1")


def _first_flagged(of: Line) -> str:
    return next((genre for genre in _GENRES if of[genre] == "1"), "")


MEMBERS: Mapping[str, str | None] = {"ratings.dat": "::", "u.data": "\t", "ratings.csv": None}
"""GroupLens' files of ratings → separator; `ratings.csv`, of the newer sets, has a header, the others do not."""

LISTINGS: Mapping[str, Mapping[str, Listing]] = {
    "ratings.dat": {
        "user": Listing(
            "users.dat", "::", ("user", "gender", "age", "occupation", "zip"),
            {"gender": _filled("gender"), "age": _whole("age"), "occupation": _whole("occupation")},
        ),
        "item": Listing(
            "movies.dat", "::", ("movie", "title", "genres"),
            {"year": _year, "genres": _filled("genres"), "first_genre": _first_genre},
        ),
    },
    "u.data": {
        "user": Listing(
            "u.user", "|", ("user", "age", "gender", "occupation", "zip"),
            {"gender": _filled("gender"), "age": _whole("age"), "occupation": _filled("occupation")},
        ),
        "item": Listing(
            "u.item", "|", ("movie", "title", "released", "released on video", "address", *_GENRES),
            {"year": _year, "genres": _flagged, "first_genre": _first_flagged},
        ),
    },
}  # fmt: skip
"""GroupLens' file of ratings → whose attributes stand beside it, `"user"` or `"item"` → how."""
