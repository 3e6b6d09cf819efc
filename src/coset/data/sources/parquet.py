"""Columns out of Parquet."""

from __future__ import annotations

import io
from collections.abc import Iterator

from coset.data.columns import import_polars, reading
from coset.data.files import DataFile, begins
from coset.data.sources.base import Block, Wanted


class Parquet:
    """Reads Parquet; only the columns that are wanted."""

    name = "Parquet"

    def sniff(self, file: DataFile) -> bool:
        """Whether the file begins as Parquet does."""
        return begins(file, (b"PAR1",), (".parquet", ".pq"))

    def blocks(self, file: DataFile, wanted: Wanted) -> Iterator[Block]:
        """See `Source.blocks`."""
        polars = import_polars(f"{file.where}: reading Parquet")
        path = file.on_disk
        # As an open file, where there is one: polars takes brackets in a path for a pattern.
        with path.open("rb") if path is not None else io.BytesIO(file.read()) as source:
            with reading(polars, file.where, self.name):
                names = list(polars.read_parquet_schema(source))
            picks = wanted.columns.find(names, file.where)
            source.seek(0)
            with reading(polars, file.where, self.name):
                frame = polars.read_parquet(
                    source if path is None else path,
                    columns=list(dict.fromkeys(names[pick] for pick in picks)),
                    glob=False,
                )
        yield Block([frame[names[pick]] for pick in picks], file.where, lambda row: f"{file.where}, row {row + 1}")
