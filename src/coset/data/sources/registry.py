"""Which reader reads a file: the one that is named, or the one whose format the first bytes are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from coset.data.files import DataFile
from coset.data.sources.base import SOURCES, Block, Source, Wanted
from coset.errors import InputError, brief

LAST = "text"
"""The reader that is asked last, as any text may be delimited."""


def registered_sources() -> Mapping[str, type[Source]]:
    """Every reader by name: coset's own and those of installed packages."""
    return SOURCES.all()


def source_of(file: DataFile, chosen: str | None = None) -> Source:
    """The reader of a file. Those of other packages are asked before coset's own.

    Args:
        file: to be read.
        chosen: the name of the reader; by default the first whose format the file is of.

    Raises:
        InputError: there is no such reader; or the file is empty, or of a format that is known and not read.
    """
    if (found := claimed(file, chosen)) is not None:
        return found
    file.check_known()
    return SOURCES.find(LAST)()


def claimed(file: DataFile, chosen: str | None = None) -> Source | None:
    """The reader of a file, as `source_of` tells; None where no format but text is left."""
    if chosen is not None:
        return SOURCES.find(chosen, "reader (a source of data)")()
    for kind in sorted(SOURCES.all().values(), key=_is_own):
        source = kind()
        if source.name != LAST:
            with _told(source, file):
                if source.sniff(file):
                    return source
    return None


def blocks_of(file: DataFile, wanted: Wanted) -> Iterator[Block]:
    """The blocks of a file, by its reader; one of another package that fails is named, with the way to take another."""
    source = source_of(file, wanted.reader)
    with _told(source, file):
        blocks = source.blocks(file, wanted)
    before = 0 if source.starts_anywhere else wanted.start
    while True:
        with _told(source, file):
            block = next(blocks, None)
        if block is None:
            return
        rows = len(block.columns[0]) if block.columns else 0
        if rows > before or not before:
            yield _behind(block, before)
        before = max(0, before - rows)


def _behind(block: Block, skip: int) -> Block:
    """The block without its first rows."""
    if not skip:
        return block
    return Block([column[skip:] for column in block.columns], block.where, lambda row: block.spot(row + skip))


@contextmanager
def _told(source: Source, file: DataFile) -> Iterator[None]:
    """Name a reader of another package in whatever it raises."""
    try:
        yield
    except Exception as error:
        if _is_own(type(source)):
            raise
        what = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        others = ", ".join(name for name in registered_sources() if name != source.name)
        raise InputError(
            f"{file.where}: the source {source.name!r} of {type(source).__module__} took this file and failed "
            f"({brief(what, 200, quoted=False)}); uninstall its package, or name another one as data.reader or as "
            f"reader of a schema ({others})"
        ) from None


def _is_own(kind: type[Source]) -> bool:
    return kind.__module__.startswith("coset.")
