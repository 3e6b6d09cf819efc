"""What `coset inspect` shows of a checkpoint: its tables, and what they could be."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from pathlib import Path

from coset import ledger
from coset.checkpoints.base import Checkpoint, open_checkpoint
from coset.checkpoints.tables import Found, OnDisk, Sampled, tables_in
from coset.documents import Json
from coset.errors import InputError
from coset.planning.fits import Fit, Fits, Trained
from coset.planning.storages import AllowedStorages
from coset.sizes import budget_bytes

SHARES = ("50%", "25%", "10%", "5%")
_LOOKED_AT = 4096
"""Rows of a table that errors are measured on."""


def inspect_checkpoint(path: Path, patterns: Sequence[str] = ()) -> Json:
    """The tensors of a checkpoint that are tables, from headers and some thousand rows of each.

    Args:
        path: of any format with a reader (`coset.checkpoints.base`).
        patterns: of the tensors that are tables, if not those that look like some.

    Returns:
        `checkpoint`, `reader`, `files`, `tensors`, `bytes` of all tensors, `left_out`, and `tables`: each with its
        tensor's `name`, `why` it counts as one, `rows`, `dim`, `dtype`, `bytes`, `share` of all bytes, `tied` names,
        `fault` (why it cannot be made smaller, or null), and `options`, what it could be within shares of its bytes:
        each with `budget`, `method`, `bytes`, as the ledger counts them, and `error`, relative to the root mean square
        of the numbers, measured on `measured_on` rows.

    Raises:
        InputError: it cannot be read, or a pattern matches nothing.
    """
    opened = open_checkpoint(path)
    found = tables_in(opened, patterns)
    size = opened.bytes
    return {
        "checkpoint": str(path),
        "reader": opened.name,
        "files": [each.name for each in opened.files],
        "tensors": len(opened.entries),
        "bytes": size,
        "left_out": list(opened.left_out),
        "tables": [_table(opened, of, size) for of in found],
    }


def _table(opened: Checkpoint, found: Found, size: int) -> Json:
    of, table = found.entry, found.table()
    vectors = Sampled(OnDisk(opened, of), _LOOKED_AT)
    fault: str | None = None
    options: list[Json] = []
    try:
        fits = Fits(Trained(table, vectors), AllowedStorages()).each
        options = [option for share in SHARES if (option := _option(fits, share, table.full_bytes, found))]
    except InputError as error:
        fault = str(error)
    return {
        "name": of.name, "why": found.why, "rows": of.rows, "dim": of.width, "dtype": str(of.dtype)[6:],
        "bytes": of.bytes, "share": of.bytes / size, "tied": list(found.tied), "fault": fault,
        "measured_on": len(vectors.looked_at), "options": options,
    }  # fmt: skip


def _option(fits: Sequence[Fit], share: str, full: int, found: Found) -> Json | None:
    within = [fit for fit in fits if fit.bytes <= budget_bytes(share, full)]
    if not within:
        return None
    best = min(within, key=lambda fit: (fit.loss, fit.bytes))
    table = found.table()
    return {
        "budget": share, "method": best.method.to_json(),
        "bytes": ledger.inference_bytes(best.method.components(table)), "error": sqrt(max(0.0, best.loss)),
    }  # fmt: skip
