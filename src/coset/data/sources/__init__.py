"""Readers of file formats, one file each; which one reads a file, its first bytes say.

A new format is a class with `name`, `sniff` and `blocks` (see `base.Source`) in a file of its own, and one line below.
"""

from __future__ import annotations

from coset.data.files import DataFile
from coset.data.sources.base import Block, Source, Wanted
from coset.data.sources.delimited import Delimited
from coset.data.sources.keyed import blocks_with_keys
from coset.data.sources.parquet import Parquet
from coset.data.sources.recbole import Recbole

SOURCES: tuple[Source, ...] = (Parquet(), Recbole(), Delimited())
"""All formats, in the order in which they are asked; the last one takes any text."""


def source_of(file: DataFile) -> Source:
    """The reader of a file.

    Raises:
        InputError: the file is empty, or of a format that is known and not read.
    """
    for source in SOURCES[:-1]:
        if source.sniff(file):
            return source
    file.check_known()
    return SOURCES[-1]


__all__ = ["SOURCES", "Block", "DataFile", "Source", "Wanted", "blocks_with_keys", "source_of"]
