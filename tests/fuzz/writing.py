"""The bytes of tables in the ways that people keep them: text between separators, in any encoding, packed or not."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import zstandard

PACKINGS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
"""End of a name → what packs bytes so."""


def separated(rows: Sequence[Sequence[str]], separator: str, ends: str, quoting: int = csv.QUOTE_MINIMAL) -> str:
    """Rows as text; where no field may need quotes, `quoting` is `csv.QUOTE_NONE`, and the separator any text."""
    if quoting == csv.QUOTE_NONE:
        return "".join(separator.join(row) + ends for row in rows)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=ends, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows(rows)
    return text.getvalue()


def packed(draw: Random, data: bytes) -> tuple[bytes, str]:
    """Bytes in one of the packings, in one piece or, as `cat a.gz b.gz` makes them, in two; and the end of the name."""
    ending = draw.choice((*PACKINGS, "", "", ""))
    cut = draw.choice((0, 0, len(data) // 2)) if ending else 0
    pieces = (data[:cut], data[cut:]) if cut else (data,)
    return b"".join(map(PACKINGS[ending], pieces)), ending


def zipped(data: bytes, name: str) -> bytes:
    """An archive of a file of that name, beside one that is no data."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", "about the data")
        archive.writestr(name, data)
    return file.getvalue()


@contextmanager
def piped(data: bytes) -> Iterator[Path]:
    """The path of a pipe that gives these bytes, once; they fit into what a system keeps of a pipe."""
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
        os.close(writing)
        yield Path(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
