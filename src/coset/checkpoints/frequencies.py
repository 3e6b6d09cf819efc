"""How often the ids of tables occur, from an `.npz` file: one array a table, by its name or that of its tensor."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from coset.checkpoints.tables import Found, module_of
from coset.errors import InputError, unknown
from coset.files import path_of


def counts_of(path: Path, tables: Sequence[Found]) -> dict[str, np.ndarray]:
    """The counts of all tables, by name of the table.

    Args:
        path: of a file that `numpy.savez` wrote.
        tables: of a checkpoint.

    Raises:
        InputError: no such file, an array for no table, or none for some, or one of another length.
    """
    names = {name: of for of in tables for name in (of.name, of.entry.name, module_of(of.entry.name))}
    found: dict[str, np.ndarray] = {}
    try:
        file = path_of(path).open("rb")
    except OSError as error:
        raise InputError(f"{path}: not readable as counts ({error.strerror})") from None
    with file:
        try:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError
            given = {name: arrays[name] for name in arrays.files}
        except (ValueError, zipfile.BadZipFile, EOFError, KeyError):
            raise InputError(
                f"{path}: not an .npz file of arrays of numbers; numpy.savez(path, **{{name: counts}}) writes one"
            ) from None
    for name, counts in given.items():
        if name not in names:
            raise unknown(f"table with counts in {path}", name, names)
        of = names[name]
        if counts.shape != (of.entry.rows,):
            raise InputError(
                f"{path}: counts of {name!r} have shape {list(counts.shape)}, and its table has {of.entry.rows:,} "
                "rows; give one number a row"
            )
        found[of.name] = counts
    for of in tables:
        if of.name not in found:
            raise InputError(
                f"{path}: has no counts of {of.entry.name!r}; give them for all tables, or choose tables by --table"
            )
    return found
