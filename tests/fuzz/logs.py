"""Click logs as what they say, drawn and written in every way that is read."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

import polars
import writing

USERS = {
    "text": (("1", "22", "333", "-4"), ("07", "7", "1e5", "ü"), ("a", "b c", 'say "x"', "a,b;c|d")),
    "integer": (("1", "22", "-9223372036854775808", "9007199254740993"),),
    "hex": (("1", "a2", "ff0", "8000000000000000"),),
}
TAGS = ("red", "blue", "x y", "7", "07", 'say "x"', "ü")
MARK = "NA"


@dataclass(frozen=True)
class Log:
    """A log as what it says: numbers or None, categories or "", lists of categories; and in which order rows were."""

    labels: list[int]
    numbers: dict[str, list[float | None]]
    categories: dict[str, list[str]]
    lists: dict[str, list[list[str]]]
    ranks: list[int]
    type: str = "text"
    constants: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, start: int, stop: int) -> Log:
        """Some of the rows."""
        numbers, categories, lists = (
            {name: of[start:stop] for name, of in each.items()}  # type: ignore[attr-defined]
            for each in (self.numbers, self.categories, self.lists)
        )
        return Log(self.labels[start:stop], numbers, categories, lists, self.ranks[start:stop], self.type)


def drawn(draw: Random) -> Log:
    """Four to thirty rows."""
    rows = range(draw.randint(4, 30))
    kind = draw.choice(("text", "text", "text", "integer", "hex"))
    users = draw.choice(USERS[kind])
    return Log(
        [draw.randint(0, 1) for _ in rows],
        {
            "price": [draw.choice((None, 1.5, -2.0, 300.0, 0.1)) for _ in rows],
            "age": [draw.choice((None, 7.0, 41.0)) for _ in rows],
        },
        {
            "user": [draw.choice(users) for _ in rows],
            "page": [draw.choice(("/home", "/a b", "", "ü", "07", 'a "b" c')) for _ in rows],
        },
        {"tags": [[draw.choice(TAGS) for _ in range(draw.randint(0, 3))] for _ in rows]},
        [draw.randint(0, 5) for _ in rows],
        kind,
    )


def written(draw: Random, log: Log) -> tuple[bytes, str, dict[str, Any] | None]:
    """The log in one of the formats, the end of the name of such a file, and the schema that it needs, if any."""
    schema: dict[str, Any] = {
        "label": "click", "numeric": ["price", "age"], "categorical": ["user", "page"], "lists": ["tags"],
        "time": "when", "types": {"user": log.type},
    }  # fmt: skip
    times: Callable[[int], str] = draw.choice((str, lambda k: f"1700000000000000{k:03}", lambda k: f"0.{k}5",
                            lambda k: f"2020-02-2{k}T10:00:00.{k}Z"))  # fmt: skip
    form = draw.randrange(8)
    if form <= 1:
        return _parquet(draw, log), ".parquet", schema
    missing = draw.choice(("", "", MARK))
    if missing:
        schema["missing"] = [missing]
    plain = (lambda text: f"{text}.0") if draw.random() < 0.2 and log.type != "hex" else str

    def padded(text: str) -> str:
        return f" {text}  " if draw.random() < 0.05 else text

    def spelled(text: str) -> str:
        whole = text.lstrip("-").isdecimal() and text.lstrip("-")[0] != "0"
        return padded((plain(text) if whole else text) or missing)

    between = draw.choice("^ |,;")
    separator, quoting = draw.choice(",;\t|^"), draw.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    ends = draw.choice(("\n", "\r\n", "\n\n", "\r"))
    lines = () if separator == "\t" or ends == "\r" else ('two\n"lines"',)
    prices, ages = ([missing if value is None else padded(f"{value:g}") for value in of] for of in log.numbers.values())
    columns = {
        "click": list(map(str, log.labels)),
        "price": prices, "age": ages,
        "user": list(map(spelled, log.categories["user"])), "page": list(map(spelled, log.categories["page"])),
        "tags": [between.join(of) for of in log.lists["tags"]], "when": list(map(times, log.ranks)),
        "note": [draw.choice(("", "a, b; c|d", "é", *lines)) for _ in log.labels],
    }  # fmt: skip
    names = draw.sample(sorted(columns), len(columns))
    if between == " ":
        log.lists["tags"] = [[item for text in of for item in text.split()] for of in log.lists["tags"]]
    if separator == "\t":  # between which a quote is a character like others
        quoting = csv.QUOTE_NONE
    schema |= {"separator": separator, "list_separator": between}
    rows = [list(row) for row in zip(*(columns[name] for name in names), strict=True)]
    if draw.random() < 0.2:
        schema["names"] = names
    else:
        rows.insert(0, names)
    text = writing.separated(rows, separator, ends, quoting)
    if draw.random() < 0.3:
        text = text.rstrip("\r\n")
    return text.encode(draw.choice(("utf-8", "utf-8", "utf-8-sig"))), draw.choice((".csv", ".txt", ".tsv", "")), schema


def _parquet(draw: Random, log: Log) -> bytes:
    """Parquet, whose columns have any of the types that hold their values."""

    def typed(texts: list[str], kinds: list[Any]) -> polars.Series:
        kind = draw.choice(kinds)
        series = polars.Series([text or None for text in texts], dtype=polars.String)
        return series.cast(polars.Int64).cast(kind) if kind in (polars.Int64, polars.Float64) else series.cast(kind)

    users, texts = log.categories["user"], [polars.String, polars.Categorical, polars.Binary]
    whole = all(text.lstrip("-").isdecimal() and text[0] != "0" for text in users) and log.type != "hex"
    small = whole and max(map(len, users)) < 15
    begin = datetime(2020, 1, 31)
    label = draw.choice((polars.Int8, polars.Int64, polars.Float64, polars.Boolean))
    age = draw.choice((polars.Int32, polars.Float32))
    columns = {
        "click": polars.Series(log.labels).cast(label),
        "price": polars.Series(log.numbers["price"], dtype=polars.Float64),
        "age": polars.Series(log.numbers["age"], dtype=polars.Float64).cast(age),
        "user": typed(users, texts + [polars.Int64] * 2 * whole + [polars.Float64] * 2 * small),
        "page": typed(log.categories["page"], texts),
        "tags": polars.Series(log.lists["tags"], dtype=polars.List(polars.String)),
        "when": polars.Series([begin + timedelta(microseconds=rank) for rank in log.ranks])
        if draw.random() < 0.5 else polars.Series(log.ranks),
    }  # fmt: skip
    names = draw.sample(sorted(columns), len(columns))
    file = io.BytesIO()
    polars.DataFrame({name: columns[name] for name in names}).write_parquet(file, row_group_size=draw.choice((5, 1000)))
    return file.getvalue()


def untold(draw: Random) -> tuple[Log, None, bytes, str]:
    """A log in libsvm or libffm text or RecBole's format, which say themselves what their columns are."""
    form = draw.choice((".svm", ".ffm", ".inter"))
    rows = range(draw.randint(4, 30))
    labels = [draw.randint(0, 1) for _ in rows]
    numbers: list[float | None] = [2.5] + [draw.choice((0.0, 1.0, 2.5, -3.0)) for _ in rows[1:]]
    items = [["11", "12"]] + [draw.sample(("11", "12", "13", "20"), draw.randint(0, 3)) for _ in rows[1:]]
    kinds = ["4"] + [draw.choice(("4", "5", "")) for _ in rows[1:]]
    kinds[1] = "5"
    if form == ".inter":
        log = Log(labels, {"price": numbers}, {"user_id": kinds}, {"tags": items}, list(rows))
        told = [f"{label}\t{number:g}\t{kind}\t{' '.join(of)}"
                for label, number, kind, of in zip(labels, numbers, kinds, items, strict=True)]  # fmt: skip
        told.insert(0, "label:float\tprice:float\tuser_id:token\ttags:token_seq")
        return log, None, "\n".join(told).encode(), form
    low, field_of = draw.choice(("0", "-1")), (lambda of: "") if form == ".svm" else (lambda of: f"{of}:")
    told = []
    for label, number, kind, of in zip(labels, numbers, kinds, items, strict=True):
        words = [f"{field_of(1)}1:{number:g}"] if number or draw.random() < 0.5 else []
        words += [f"{field_of(2)}{kind}:1"] * (kind != "" and form == ".ffm")
        words += [f"{field_of(3)}{item}:1" for item in of]
        told.append(" ".join(["1" if label else low, *words]) + draw.choice(("", "", " ", " # seen")))
    categories = {"2": kinds} if form == ".ffm" else {}
    log = Log(labels, {"1": numbers}, categories, {"3" if form == ".ffm" else "features": items}, list(rows))
    return log, None, (draw.choice(("\n", "\r\n")).join(told) + "\n").encode(), draw.choice((form, ".txt"))
