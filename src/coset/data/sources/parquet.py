"""Columns out of Parquet."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from coset.data.columns import import_polars, reading
from coset.data.files import DataFile, begins
from coset.data.sources.base import Block, Source, Wanted, register_source


@register_source("parquet")
class Parquet(Source):
    """Reads Parquet; only the columns and the rows that are wanted."""

    title = "Parquet"
    starts_anywhere = True

    def sniff(self, file: DataFile) -> bool:
        """Whether the file begins as Parquet does."""
        return begins(file, (b"PAR1",), (".parquet", ".pq"))

    def columns(self, file: DataFile) -> list[str]:
        """The names in its schema."""
        polars = import_polars(f"{file.where}: reading Parquet")
        path = file.on_disk
        # As an open file, where there is one: polars takes brackets in a path for a pattern.
        opened = io.BytesIO(file.read()) if path is None else path.open("rb")
        with opened, reading(polars, file.where, self.title):
            return list(polars.read_parquet_schema(opened))

    def rows(self, file: DataFile) -> int | None:
        """What its footer says; None of what is packed."""
        polars, path = import_polars(f"{file.where}: reading Parquet"), file.on_disk
        if path is None:
            return None
        with reading(polars, file.where, self.title):
            found: int = polars.scan_parquet(path, glob=False).select(polars.len()).collect().item()
        return found

    def blocks(self, file: DataFile, wanted: Wanted) -> Iterator[Block]:
        """See `Source.blocks`."""
        polars = import_polars(f"{file.where}: reading Parquet")
        names = self.columns(file)
        picks = wanted.columns.find(names, file.where)
        chosen = list(dict.fromkeys(names[pick] for pick in picks))
        path = file.on_disk
        if path is None:
            with reading(polars, file.where, self.title):
                rest = polars.read_parquet(io.BytesIO(file.read()), columns=chosen, glob=False).lazy()
        else:
            with reading(polars, file.where, self.title):
                rest = polars.scan_parquet(path, glob=False, hive_partitioning=False).select(chosen)
        start = wanted.start
        while True:
            with reading(polars, file.where, self.title):
                frame = rest.slice(start, wanted.rows).collect()
            if frame.height or start == wanted.start:
                yield Block([frame[names[pick]] for pick in picks], file.where, _spot(file.where, start))
            start += frame.height
            if frame.height < wanted.rows:
                return


def _spot(where: str, start: int) -> Callable[[int], str]:
    return lambda row: f"{where}, row {start + row + 1}"
