"""From an artifact of tables back to an ordinary checkpoint, piece by piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from coset.checkpoints.base import Entry
from coset.checkpoints.stored import StoredTables
from coset.checkpoints.tensors import TensorsFile, bytes_of, entry_of, renamed
from coset.documents import Json
from coset.errors import InputError
from coset.files import check_writable, path_of, replacing

_SUFFIX = ".safetensors"


@torch.no_grad()
def expand_checkpoint(folder: Path, out: Path) -> Json:
    """Write the tensors of a checkpoint again, under their names, shapes and types: tables as the vectors that their
    small arrays give, all others as they were.

    Args:
        folder: of an artifact that `compress_checkpoint` wrote.
        out: a `.safetensors` file that does not exist yet.

    Returns:
        `artifact`, `out`, `tensors`, their number, and `bytes` of the file.

    Raises:
        InputError: no such artifact, or a damaged one; or something at `out`, or another kind of file.
    """
    out = path_of(out)
    if out.suffix != _SUFFIX:
        raise InputError(f"{out}: checkpoints are written as {_SUFFIX} files; choose such a name for --out")
    if out.exists() or out.is_symlink():
        raise InputError(f"{out}: exists already; remove it, or choose another --out")
    check_writable(out)
    stored = StoredTables(folder)
    entries = [
        entry_of(name, table.dtype, (table.num_embeddings, table.embedding_dim))
        for name, (table, _) in stored.tables.items()
    ]
    of_name: dict[str, Entry] = {of.name: of for of in (*entries, *stored.others.entries.values())}
    copies: dict[str, list[str]] = {name: [name] for name in of_name}
    for name, first in stored.tied.items():
        copies[first].append(name)
    every = [renamed(of, name) for first, of in of_name.items() for name in copies[first]]
    with replacing(out) as aside, TensorsFile(aside, every, {"format": "pt"}) as file:
        for name in stored.tables:
            module: Any = stored.module(name)
            order = getattr(module, "order", None)
            for ids in torch.arange(module.table.num_embeddings).split(module.ids_at_once):
                rows = module.lookup(ids if order is None else order[ids].long())
                for each in copies[name]:
                    file.write(each, bytes_of(rows.contiguous()))
        for name in stored.others.entries:
            for piece in stored.others.copied(name):
                for each in copies[name]:
                    file.write(each, piece)
    return {"artifact": str(folder), "out": str(out), "tensors": len(every), "bytes": out.stat().st_size}  # fmt: skip
