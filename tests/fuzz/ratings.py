"""Files of ratings: good ones, written in every way that is read, must give the rows that were written; such files with
a few bytes changed must be read, in the same way by every reader and with no line lost, or be refused in one sentence
that names the file."""

from __future__ import annotations

import csv
import datetime
import io
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import mutate
import numpy as np
import polars
import writing
from judge import Fault, call, command

from coset.data import Ratings, load_ratings
from coset.data.sources import delimited
from coset.errors import InputError

NAMES = (("userId", "movieId", "rating"), ("user_id", "item_id", "stars"), ("customer", "product", "score"))
USERS = (
    ("7", "12", "-3", "9223372036854775807"), ("7", "12", "300"), ("07", "x y", "Zoë", "7"), ("a", "b", "1.5", "+7"),
    ('5" nail', "b,c", "d;e|f", 'say "x"'),
)  # fmt: skip
ITEMS = (("1", "20", "300", "4000"), ("B01", "B02", "000", "ü"), ("18446744073709551615", "1"), ("1e5", "-0", "a  b"))
GENRES = ("Action", "7", "", "a|b", "Zoë")
NUMBERS = ("3", "3.5", "+2", ".5", "4.", "-1e-1", "5.0")
PLAIN = re.compile("0|-?[1-9][0-9]*")


@dataclass(frozen=True)
class Table:
    """Ratings as text, row by row; `ranks` are what times are in order of."""

    users: list[str]
    items: list[str]
    ratings: list[str]
    times: list[str]
    genres: list[str]
    ranks: list[int]

    @classmethod
    def drawn(cls, draw: Random) -> Table:
        """Two to a dozen rows."""
        rows = range(draw.randint(2, 12))
        users, items, genre = draw.choice(USERS), draw.choice(ITEMS), draw.sample(GENRES, 4)
        form = draw.choice(("9783007{:02}", "9783007600000000{:02}", "978300760.{:02}5", "2020-01-{:02}",
                            "2020-01-31T23:59:{:02}.5+01:00"))  # fmt: skip
        ranks = [draw.randint(1, 5) for _ in rows]
        of_item = [draw.randrange(len(items)) for _ in rows]
        return cls(
            [draw.choice(users) for _ in rows], [items[at] for at in of_item], [draw.choice(NUMBERS) for _ in rows],
            [form.format(rank) for rank in ranks], [genre[at] for at in of_item], ranks,
        )  # fmt: skip

    def part(self, start: int, stop: int) -> Table:
        """Some of the rows."""
        columns = (self.users, self.items, self.ratings, self.times, self.genres)
        return Table(*(column[start:stop] for column in columns), self.ranks[start:stop])

    def check(self, found: Ratings, asked: dict[str, Any]) -> None:
        """Raise a `Fault` unless what was read is what was written."""
        _same_ids("users", found.users, self.users)
        _same_ids("items", found.items, self.items)
        ratings = np.array([float(text) for text in self.ratings], dtype=np.float32)
        if not np.array_equal(found.ratings, ratings):
            raise Fault(f"ratings {ratings.tolist()} are read as {found.ratings.tolist()}")
        if asked["time"]:
            exact = self.times[0].isdecimal()
            written = np.array(list(map(int, self.times)) if exact else self.ranks)
            if not np.array_equal(
                *(of if exact else np.unique(of, return_inverse=True)[1] for of in (found.times, written))
            ):
                raise Fault(f"times {self.times} are read as {found.times}")
        if asked["item_attributes"]:
            assert found.item_attributes is not None
            known = found.item_attributes
            genres = dict(zip(self.items, self.genres, strict=True))
            if sorted(map(str, known.ids.tolist())) != sorted(genres):
                raise Fault(f"genres of {sorted(genres)} are those of {known.ids.tolist()}")
            _same_ids("genres", known.columns["genre"], [genres[str(id_)] for id_ in known.ids.tolist()])


class RatingsFiles:
    """Files made from a table that is drawn, too."""

    def try_input(self, draw: Random, scratch: Path) -> str:
        """One input in two is left as it is written."""
        table = Table.drawn(draw)
        asked: dict[str, Any] = {
            "time": draw.random() < 0.5, "item_attributes": ["genre"] if draw.random() < 0.3 else None,
        }  # fmt: skip
        good = draw.random() < 0.5
        with ExitStack() as stack:
            if good and draw.random() < 0.15:
                path, lines = self._folder(draw, scratch, table, asked), None
            else:
                data, ending = _written(draw, table, bool(asked["item_attributes"]))
                data, lines = (data, None) if good else _mutated(draw, data, ending)
                path = self._file(draw, scratch, data, ending, good, stack)
            if path.parent == scratch and draw.random() < 0.05:
                ended = command("inspect", path, "--json", named=(path.name,))
                if good and ended.code == 0 and ended.json["rows"] != len(table.users):
                    raise Fault(f"{len(table.users)} ratings were written and {ended.json['rows']} are told of")
                return "refused" if ended.code else "taken"
            end, found = _read(path, asked)
            if good and end == "refused":
                raise Fault(f"a good file is refused: {found}")
            if good:
                table.check(found, asked)
            _check_readers(draw, path, asked, end, found)
        if lines is not None and end == "taken" and len(found) + found.left_out != lines:
            raise Fault(f"{lines} lines are read as {len(found)} rows, and {found.left_out} without anything")
        return end

    def _file(self, draw: Random, scratch: Path, data: bytes, ending: str, good: bool, stack: ExitStack) -> Path:
        """The bytes in a file, packed or not, or in a pipe."""
        data, packing = writing.packed(draw, data)
        if packing and not good and draw.random() < 0.2:
            data = draw.choice((mutate.text, mutate.bit))(draw, data)
        if draw.random() < 0.1:
            data, packing = writing.zipped(data, f"my-ratings{ending}{packing}"), ".zip"
        elif draw.random() < 0.1:
            return stack.enter_context(writing.piped(data))
        path = scratch / f"mine{ending}{packing}"
        path.write_bytes(data)
        return path

    def _folder(self, draw: Random, scratch: Path, table: Table, asked: dict[str, Any]) -> Path:
        """The table in files of a folder, in the order of the numbers in their names; not all of one format."""
        folder = scratch / "mine"
        (folder / "_temporary").mkdir(parents=True)
        (folder / "_SUCCESS").touch()
        cut = draw.randrange(1, len(table.users))
        for name, start, stop in (("part-2", 0, cut), ("part-10", cut, len(table.users))):
            data, ending = _written(draw, table.part(start, stop), bool(asked["item_attributes"]), alone=False)
            data, packing = writing.packed(draw, data)
            (folder / f"{name}{ending}{packing}").write_bytes(data)
        return folder


def _read(path: Path, asked: dict[str, Any]) -> tuple[str, Any]:
    return call(lambda: load_ratings(path, to_learn=False, **asked), (InputError,), path.name)


def _check_readers(draw: Random, path: Path, asked: dict[str, Any], end: str, found: Any) -> None:
    """Raise a `Fault` unless the careful reader of text finds what the fast one does, and both do in small pieces."""
    ways = (
        ("line by line", mock.patch.object(delimited, "_read_fast", return_value=None)),
        ("in small pieces", mock.patch("coset.data.sources.text.CHUNK", draw.choice((7, 40, 150)))),
    )
    for way, patch in ways:
        with patch:
            other_end, other = _read(path, asked)
        if other_end != end:
            raise Fault(f"{path.name} is {end} ({found}), and {other_end} {way} ({other})")
        if end == "taken" and _values(other) != _values(found):
            raise Fault(f"{path.name} is read as {_values(found)}, and {way} as {_values(other)}")


def _values(found: Ratings) -> tuple[Any, ...]:
    """All that was read, to be compared."""
    known = found.item_attributes
    columns = None if known is None else {name: of.tolist() for name, of in known.columns.items()}
    times = None if found.times is None else found.times.tolist()
    return found.users.tolist(), found.items.tolist(), found.ratings.tolist(), times, columns, found.left_out


def _same_ids(what: str, found: np.ndarray, written: list[str]) -> None:
    """Raise a `Fault` unless ids are those that were written, and numbers if all of those are."""
    if list(map(str, found.tolist())) != written:
        raise Fault(f"{what} {written} are read as {found.tolist()}")
    if all(PLAIN.fullmatch(id_) and -(2**63) <= int(id_) < 2**63 for id_ in written) != (found.dtype == np.int64):
        raise Fault(f"{what} {written} are of type {found.dtype}")


def _written(draw: Random, table: Table, attributed: bool, alone: bool = True) -> tuple[bytes, str]:
    """The table in one of the formats, and the end of the name of such a file; beside others none of RecBole's, which
    would be all that is taken of a folder."""
    columns = (table.users, table.items, table.ratings, table.times)
    bare = not any(re.search(r"[\s:]|^\"", value) for column in columns for value in column)
    form = draw.randrange(8)
    if form == 0:
        return _parquet(draw, table), ".parquet"
    if form == 1 and not attributed and bare and "-" not in table.times[0]:
        rows = list(zip(*columns, strict=True))
        simple = all(re.fullmatch(r"[\w.+-]+", value) for column in columns for value in column)
        separator = draw.choice(("::", "\t", " ", "   ") if simple else ("::", "\t"))
        return writing.separated(rows, separator, draw.choice(("\n", "\r\n")), csv.QUOTE_NONE).encode(), ".dat"
    if form == 2 and alone:
        head = ("user_id:token", "item_id:token", "rating:float", "timestamp:float", "genre:token")
        rows = [head, *zip(*columns, table.genres, strict=True)]
        return writing.separated(rows, "\t", "\n", csv.QUOTE_NONE).encode(), ".inter"
    return _text(draw, table, bare), draw.choice((".csv", ".tsv", ".txt"))


def _text(draw: Random, table: Table, bare: bool) -> bytes:
    """Text with a header, its columns in any order, beside one that nobody asks for."""
    spelled = [[f"{id_}.0" if draw.random() < 0.1 and PLAIN.fullmatch(id_) and len(id_) < 16 else id_ for id_ in ids]
               for ids in (table.users, table.items)]  # fmt: skip
    names = (*draw.choice(NAMES), "timestamp", "genre")
    quoting, ends = draw.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)), draw.choice(("\n", "\r\n", "\n\n", "\r"))
    separator = draw.choice((",", ";", "\t", "|"))
    notes = [draw.choice(("", "a, b; c", 'say "x"', "two\nlines" if ends != "\r" else "é")) for _ in table.users]
    if bare and draw.random() < 0.2 and "" not in table.genres:
        quoting, separator, notes = csv.QUOTE_NONE, draw.choice(("::", "  ")), ["-"] * len(notes)
    values = (*spelled, table.ratings, table.times, table.genres, notes)
    columns = [[name, *of] for name, of in zip((*names, "note"), values, strict=True)]
    draw.shuffle(columns)
    text = writing.separated(list(zip(*columns, strict=True)), separator, ends, quoting)
    if quoting != csv.QUOTE_NONE and draw.random() < 0.2:
        text += (separator * 5 + ends) * draw.randint(1, 5)
    if separator in ",;" and ends != "\r" and draw.random() < 0.1:
        text = f"sep={separator}\r\n{text}"
    if draw.random() < 0.2:
        text = text.rstrip("\r\n")
    return text.encode(
        draw.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"))
    )


def _parquet(draw: Random, table: Table) -> bytes:
    """Parquet, whose columns have any of the types that hold their values."""

    def typed(values: list[str], *others: Any) -> polars.Series:
        kinds: list[Any] = [polars.String, *others]
        if all(map(PLAIN.fullmatch, values)) and max(abs(int(value)) for value in values) < 2**63:
            kinds = [polars.Int64, polars.String]
            if max(map(len, values)) < 15:
                kinds += [polars.Float64, polars.Int64]
        kind = draw.choice(kinds)
        if kind == polars.Binary:
            return polars.Series([value.encode() for value in values])
        numbers = kind.is_numeric()
        return polars.Series([int(value) for value in values] if numbers else values).cast(kind)

    dates = [datetime.date.fromisoformat(time) for time in table.times if len(time) == 10 and "-" in time]
    times = polars.Series(dates) if dates and draw.random() < 0.5 else typed(table.times)
    genres = polars.Series([genre.split("|") for genre in table.genres]) if draw.random() < 0.5 else typed(table.genres)
    ratings = polars.Series([float(rating) for rating in table.ratings]).cast(
        draw.choice((polars.Float64, polars.Float32))
    )
    user, item, rating = draw.choice(NAMES)
    users, items = (typed(ids, polars.Categorical, polars.Binary) for ids in (table.users, table.items))
    columns = {user: users, item: items, rating: ratings, "timestamp": times, "genre": genres}
    names = draw.sample(sorted(columns), len(columns))
    file = io.BytesIO()
    frame = polars.DataFrame({name: columns[name] for name in names})
    frame.write_parquet(file, compression=draw.choice(("zstd", "snappy", "uncompressed")), row_group_size=3)
    return file.getvalue()


def _mutated(draw: Random, data: bytes, ending: str) -> tuple[bytes, int | None]:
    """Bytes with a few changes, and how many rows a text has, where no quotes or encoding make that hard to tell."""
    data = mutate.text(draw, data)
    if ending == ".parquet" or b'"' in data or b"\0" in data or data.startswith((b"\xef", b"\xff", b"\xfe")):
        return data, None
    lines = data.replace(b"\r", b"" if b"\n" in data else b"\n").split(b"\n")
    filled = [line for line in lines if line.rstrip(b"\r")]
    if any(not line.strip(b" \t\r") for line in filled):
        return data, None
    named = sum(line.lower().startswith(b"sep=") for line in filled[:1]) + (ending != ".dat")
    return data, len(filled) - named


def group(folder: Path) -> RatingsFiles:
    """The group of this file."""
    return RatingsFiles()
