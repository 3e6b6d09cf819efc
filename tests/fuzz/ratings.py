"""Files of ratings: good ones written in every way that is read, which must give the rows that were written; and such
files with a few bytes changed, which must be read or refused in one sentence that names the file."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import zipfile
from pathlib import Path
from random import Random

import mutate
import numpy as np
import polars
import zstandard
from judge import Fault, call, command

from coset.data import load_ratings
from coset.errors import InputError

Table = list[tuple[str, str, str]]

NAMES = (("userId", "movieId", "rating"), ("user_id", "item_id", "stars"), ("customer", "product", "score"))
PACKINGS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
USERS = (("7", "12", "-3", "9223372036854775807"), ("07", "x y", "Zoë", "7"), ("a", "b", "1.5", "+7"))
ITEMS = (("1", "20", "300", "4000"), ("B01", "B02", "000", "ü"))


class RatingsFiles:
    """Files made from a table that is drawn, too."""

    def try_input(self, draw: Random, scratch: Path) -> str:
        """One file in three is left as it is written."""
        table = _table(draw)
        data, ending = _written(draw, table)
        good = draw.random() < 1 / 3
        if not good:
            data = mutate.text(draw, data)
        packing = draw.choice((*PACKINGS, "", "", ""))
        data = PACKINGS[packing](data)
        if not good and draw.random() < 0.1:
            data = mutate.text(draw, data)
        if draw.random() < 0.1:
            data, packing = _zipped(data, f"ratings{ending}{packing}"), ".zip"
        path = scratch / f"mine{ending}{packing}"
        path.write_bytes(data)
        if draw.random() < 0.05:
            ended = command("inspect", path, "--json", named=("mine",))
            if good and ended.code == 0 and ended.json["rows"] != len(table):
                raise Fault(f"{len(table)} ratings were written and {ended.json['rows']} are told of")
            return "refused" if ended.code else "taken"
        end, found = call(lambda: load_ratings(path, to_learn=False), (InputError,), "mine")
        if good and end == "refused":
            raise Fault(f"a good file is refused: {found}\n{path.name}: {data[:300]!r}")
        if good:
            _compare(found, table)
        return end


def _table(draw: Random) -> Table:
    users, items = draw.choice(USERS), draw.choice(ITEMS)
    number = draw.choice((lambda: str(draw.randint(1, 5)), lambda: f"{draw.randint(0, 10) / 2:.1f}", lambda: "-1e-1"))
    return [(draw.choice(users), draw.choice(items), number()) for _ in range(draw.randint(2, 12))]


def _written(draw: Random, table: Table) -> tuple[bytes, str]:
    """The table in one of the formats, and the end of the name of such a file."""
    names, form = draw.choice(NAMES), draw.randrange(10)
    if form == 0:
        frame = polars.DataFrame(table, schema=list(names), orient="row").with_columns(polars.col(names[2]).cast(float))
        file = io.BytesIO()
        frame.write_parquet(file)
        return file.getvalue(), ".parquet"
    if form == 1 and not any(" " in user or not item.isascii() for user, item, _ in table):
        return "".join("::".join((*row, "978300760")) + "\n" for row in table).encode(), ".dat"
    if form == 2:
        head = "user_id:token\titem_id:token\trating:float\n"
        return (head + "".join("\t".join(row) + "\n" for row in table)).encode(), ".inter"
    separator = draw.choice((",", ";", "\t", "|"))
    text = io.StringIO()
    ends = draw.choice(("\n", "\r\n", "\n\n"))
    quoting = draw.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    writer = csv.writer(text, delimiter=separator, lineterminator=ends, quoting=quoting)
    order = draw.sample(range(4), 4)
    writer.writerow([(*names, "note")[at] for at in order])
    for row in table:
        writer.writerow([(*row, draw.choice(("", "a, b; c", 'say "x"', "two\nlines")))[at] for at in order])
    if draw.random() < 0.2:
        text.write((separator * 3 + ends) * draw.randint(1, 5))
    written = text.getvalue()
    if draw.random() < 0.2:
        written = written.rstrip("\r\n")
    return written.encode(draw.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16"))), draw.choice(
        (".csv", ".tsv")
    )


def _zipped(data: bytes, name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", "about the ratings")
        archive.writestr(name, data)
    return file.getvalue()


def _compare(found: object, table: Table) -> None:
    """Raise a `Fault` unless the ratings that were found are the table's."""
    for column, at in (("users", 0), ("items", 1)):
        ids = getattr(found, column).tolist()
        written = [row[at] for row in table]
        if list(map(str, ids)) != written:
            raise Fault(f"{column} {written} are read as {ids}")
        if all(id_.lstrip("-").isdecimal() and str(int(id_)) == id_ for id_ in written) != isinstance(ids[0], int):
            raise Fault(f"{column} {written} are of type {type(ids[0]).__name__}")
    ratings = np.array([float(row[2]) for row in table], dtype=np.float32)
    if not np.array_equal(found.ratings, ratings):  # type: ignore[attr-defined]
        raise Fault(f"ratings {ratings.tolist()} are read as {found.ratings.tolist()}")  # type: ignore[attr-defined]


def group(folder: Path) -> RatingsFiles:
    """The group of this file."""
    return RatingsFiles()
