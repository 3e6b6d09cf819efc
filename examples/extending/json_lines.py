"""A source outside of coset: JSON Lines, an object a line, for ratings and for clicks.

A package names it in its pyproject.toml, and coset finds it by looking at the file:

    [project.entry-points."coset.sources"]
    json_lines = "json_lines"
"""

from __future__ import annotations

from collections.abc import Iterator

import polars

from coset.data.files import DataFile
from coset.data.sources import Block, Source, Wanted, register_source
from coset.errors import InputError


@register_source("json_lines")
class JsonLines(Source):
    """Reads JSON Lines, such as Amazon's reviews are published in."""

    title = "JSON, an object a line"

    def sniff(self, file: DataFile) -> bool:
        """Whether the first line is an object."""
        first = file.head.lstrip().partition(b"\n")[0].rstrip()
        return first.startswith(b'{"') and first.endswith(b"}")

    def columns(self, file: DataFile) -> list[str]:
        """The keys of the objects."""
        return self._read(file).columns

    def rows(self, file: DataFile) -> int:
        """One for each line."""
        return self._read(file).height

    def blocks(self, file: DataFile, wanted: Wanted) -> Iterator[Block]:
        """All rows at once; an example need not stream."""
        frame = self._read(file)
        picks = wanted.columns.find(frame.columns, file.where)
        columns = [frame[frame.columns[pick]] for pick in picks]
        yield Block(columns, file.where, lambda row: f"{file.where}, line {row + 1}")

    def _read(self, file: DataFile) -> polars.DataFrame:
        try:
            return polars.read_ndjson(file.read())
        except polars.exceptions.PolarsError as error:
            raise InputError(f"{file.where}: not readable as JSON Lines ({str(error).splitlines()[0]})") from None
