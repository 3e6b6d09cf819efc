"""Click logs and their schemas: a log written in every way that is read must be prepared to the same bytes; a log or a
schema with a few bytes changed is prepared, or refused in one sentence."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from pathlib import Path
from random import Random

import mutate
import polars
from judge import Fault, command, digests

SCHEMA = """label = "click"
numeric = ["price", "age"]
categorical = ["user", "page"]
lists = ["tags"]
list_separator = "^"
"""
NAMES = ("click", "price", "age", "user", "page", "tags")
Log = list[tuple[str, ...]]


class ClickLogs:
    """Logs made from rows that are drawn, too."""

    def try_input(self, draw: Random, scratch: Path) -> str:
        """One log in three is left as it is written."""
        log = [_row(draw) for _ in range(draw.randint(4, 30))]
        schema = scratch / "mine.toml"
        separator = draw.choice((",", "\t", ";", "|"))
        schema.write_text(f"{SCHEMA}separator = {json.dumps(separator)}\n")
        data, ending = _written(draw, log, separator)
        path = scratch / f"log{ending}"
        if draw.random() < 1 / 3:
            path.write_bytes(data)
            return self._same(scratch, path, log, schema)
        if draw.random() < 0.3:
            schema.write_bytes(mutate.text(draw, schema.read_bytes()))
        else:
            data = mutate.text(draw, data)
        path.write_bytes(data)
        before = path.read_bytes()
        words = [
            "--split",
            draw.choice(("random", "ordered", "random", "time")),
            "--validation",
            draw.choice((0.2, 0.5)),
        ]
        if draw.random() < 0.2:
            words += [
                draw.choice(("--skip-bad", "--seed", "--threads", "--validation")),
                draw.choice((0, 1, 2, -1, 2**70)),
            ]
        ended = command("prepare", path, scratch / "out", "--schema", schema, *words)
        if path.read_bytes() != before:
            raise Fault(f"{path.name} is changed")
        if ended.code == 0:  # what was prepared can be read
            looked = command("inspect", scratch / "out", "--json")
            if looked.code:
                raise Fault(f"what was prepared is refused: {looked.err}")
        return "refused" if ended.code else "taken"

    def _same(self, scratch: Path, path: Path, log: Log, schema: Path) -> str:
        plain, usual = scratch / "plain.csv", scratch / "usual.toml"
        plain.write_bytes(_csv(log, ",", "\n", csv.QUOTE_MINIMAL))
        usual.write_text(SCHEMA)
        found = []
        for source, how, out in ((plain, usual, scratch / "one"), (path, schema, scratch / "two")):
            ended = command("prepare", source, out, "--schema", how, "--split", "ordered", "--validation", 0.25)
            if ended.code:
                raise Fault(f"a good log is refused: {ended.err}\n{source.read_bytes()[:400]!r}")
            found.append({name: digest for name, digest in digests(out).items() if not name.endswith(".json")})
        if found[0] != found[1]:
            differ = sorted(name for name in found[0] if found[0][name] != found[1].get(name))
            raise Fault(f"{path.name} is prepared to other {differ} than {plain.name}:\n{path.read_bytes()[:400]!r}")
        return "taken"


def _row(draw: Random) -> tuple[str, ...]:
    tags = "^".join(draw.choice(("red", "blue", "x y", "7")) for _ in range(draw.randint(0, 3)))
    return (
        str(draw.randint(0, 1)), draw.choice(("", "1.5", "-2", "300")), draw.choice(("", "7", "41")),
        draw.choice(("1", "22", "333", "-4")), draw.choice(("/home", "/a b", "", "ü", "07")), tags,
    )  # fmt: skip


def _csv(log: Log, separator: str, ends: str, quoting: int) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=ends, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([NAMES, *log])
    return text.getvalue().encode()


def _written(draw: Random, log: Log, separator: str) -> tuple[bytes, str]:
    """The log in one of the formats, and the end of the name of such a file."""
    form = draw.randrange(6)
    if form == 0:
        frame = polars.DataFrame(log, schema=list(NAMES), orient="row").with_columns(
            polars.col("click").cast(int),
            *(polars.col(name).replace("", None).cast(float) for name in ("price", "age")),
            polars.col("user").cast(draw.choice((int, float, str))),
            polars.col("page").replace("", None),
            polars.col("tags").str.split("^").list.eval(polars.element().filter(polars.element() != "")),
        )
        file = io.BytesIO()
        frame.write_parquet(file)
        return file.getvalue(), ".parquet"
    if form == 1:
        log = [(*row[:3], f"{row[3]}.0", *row[4:]) for row in log]  # as pandas writes a column with a gap
    # Between tabs a quote is a character like others.
    quoting = csv.QUOTE_MINIMAL if separator == "\t" else draw.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    data = _csv(log, separator, draw.choice(("\n", "\r\n")), quoting)
    if draw.random() < 0.2:
        return draw.choice((gzip.compress, bz2.compress))(data), ".csv"
    return data if draw.random() < 0.7 else data.rstrip(b"\r\n"), draw.choice((".csv", ".txt", ".tsv"))


def group(folder: Path) -> ClickLogs:
    """The group of this file, once the kernels are compiled."""
    ClickLogs().try_input(Random(0), folder)
    return ClickLogs()
