"""Columns that the folders of a file say (`day=3/part.csv`), as if they stood in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from coset.data.files import DataFile
from coset.data.sources.base import Block, Finder, Wanted
from coset.data.sources.registry import blocks_of


def blocks_with_keys(file: DataFile, wanted: Wanted) -> Iterator[Block]:
    """The blocks of a file, with the columns that its folders say; one in the file of that name wins, as in logs."""
    if not file.keys:
        yield from blocks_of(file, wanted)
        return
    import polars

    columns = _Keyed(wanted.columns, file.keys)
    for block in blocks_of(file, replace(wanted, columns=columns)):
        own, rows = iter(block.columns), len(block.columns[0])
        every = [
            next(own) if value is None else polars.repeat(value, rows, eager=True).alias(name)
            for name, value in columns.picked
        ]
        yield replace(block, columns=every)


@dataclass
class _Keyed:
    """Finds columns among those of a file and the keys of its folders; `picked` is what was found, by name, each with
    its value where the folders say it."""

    among: Finder
    keys: Mapping[str, str]
    picked: list[tuple[str, str | None]] = field(default_factory=list)

    def find(self, names: Sequence[str], where: str) -> tuple[int, ...]:
        """Positions among `names` of those columns that the file has itself."""
        every = [*names, *(key for key in self.keys if key not in names)]
        found = self.among.find(every, where)
        self.picked = [(every[at], None if at < len(names) else self.keys[every[at]]) for at in found]
        return tuple(at for at in found if at < len(names))
