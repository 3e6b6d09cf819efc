"""From a checkpoint to an artifact of its tables, piece by piece."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from time import perf_counter

from coset import ledger
from coset.artifact.format import CARD, OTHERS, TABLES, VOCABULARIES, write_manifest
from coset.artifact.holding import held
from coset.artifact.writing import check_free, renamed
from coset.checkpoints.base import Checkpoint, open_checkpoint
from coset.checkpoints.card import card_of_tables
from coset.checkpoints.fitting import Chosen, choose, fit, in_memory, unfitted
from coset.checkpoints.frequencies import counts_of
from coset.checkpoints.tables import some_tables_in
from coset.checkpoints.tensors import TensorsFile, bytes_of, entry_of
from coset.documents import Json
from coset.errors import InputError
from coset.methods import TableModule
from coset.planning.storages import AllowedStorages, Storages
from coset.progress import Progress, Silent
from coset.schema import EXTRA
from coset.sizes import budget_bytes, format_size
from coset.tables.fitted import Fitted
from coset.tables.owner import NamedModules
from coset.training.folder import versions


def compress_checkpoint(
    path: Path, out: Path, budget: str, *, tables: Sequence[str] = (), frequencies: Path | None = None,
    storages: Storages | None = None, methods: Collection[str] = (), progress: Progress | None = None,
) -> Json:  # fmt: skip
    """Write the tables of a checkpoint as an artifact, in methods and bits that come nearest to their numbers within a
    budget, and hand all other tensors on. No more than a piece of the checkpoint is in memory, and of each table what
    it becomes.

    Args:
        path: of any format with a reader.
        out: a folder that does not exist yet, or is empty.
        budget: most bytes of all tables together: a size, or a share of what they take.
        tables: patterns of the tensors that are tables, if not those that look like some.
        frequencies: an `.npz` file of how often each id occurs, an array a table; errors are weighted by it.
        storages, methods: that may be chosen.

    Returns:
        `checkpoint`, `out`, `budget`, `bytes_before` and `bytes` of the tables, `others`, bytes of other tensors,
        `tables`, each as `Fitted` in JSON, `left_out`, `files`, the bytes of all files by name, and `seconds`.

    Raises:
        InputError: no checkpoint or no tables there, a number in them that is not finite, counts of another length, a
            budget that the tables fit into already or cannot fit into, or something at `out`.
    """
    check_free(out)
    opened = open_checkpoint(path)
    found = some_tables_in(opened, tables)
    counts = {} if frequencies is None else counts_of(frequencies, found)
    full = sum(of.entry.bytes for of in found)
    most = budget_bytes(budget, full)
    if full <= most:
        raise InputError(
            f"{path}: its tables take {format_size(full)} ({full} bytes) already, within the budget of "
            f"{format_size(most)} ({most} bytes); give a smaller one"
        )
    progress = progress or Silent()
    progress.begin(2 * len(found) + 1)
    started = perf_counter()
    chosen = choose(opened, found, counts, most, AllowedStorages(storages), methods)
    seconds = {"plan": perf_counter() - started, "fit": 0.0, "copy": 0.0}
    progress.advance(len(found), "choosing methods")
    with renamed(out) as folder:
        modules = {of.table.name: unfitted(of) for of in chosen}
        kept = held(NamedModules(modules), {name: name for name in modules})
        entries = [entry_of(name, of.dtype, tuple(of.shape)) for name, of in kept.tensors.items()]
        fits: list[Fitted] = []
        with TensorsFile(folder / TABLES, entries) as file:
            for of in chosen:
                started = perf_counter()
                fits.append(_written(opened, of, modules, file))
                seconds["fit"] += perf_counter() - started
                progress.advance(1, f"fitting {of.found.entry.name}")
        for fitted in fits:
            kept.tables[fitted.name]["bytes"] = fitted.bytes_after  # with an order
        started = perf_counter()
        others = _hand_on(opened, chosen, folder / OTHERS)
        with TensorsFile(folder / VOCABULARIES, []):
            pass  # these tables have none
        seconds["copy"] = perf_counter() - started
        progress.advance(1, "copying other tensors")
        manifest: Json = {
            "title": f"{path.name}, made smaller",
            "task": None,
            "model": {
                "kind": "tables", "checkpoint": path.name, "weighted": frequencies is not None,
                "tensors": {of.table.name: of.found.entry.name for of in chosen},
                "tied": {name: of.tied for name, of in opened.entries.items() if of.tied is not None},
            },
            "tables": kept.tables, "arrays": kept.arrays, "vocabularies": {},
            "bytes": {
                "model": sum(of.bytes_after for of in fits), "full": full, "vocabularies": 0, "others": others,
                "tables_file": (folder / TABLES).stat().st_size,
                "vocabularies_file": (folder / VOCABULARIES).stat().st_size,
            },
            "fits": {of.name: {"error": of.error, "relative": of.relative} for of in fits},
            "scores": None, "data": None, "examples": {}, "versions": versions(),
        }  # fmt: skip
        write_manifest(folder, manifest)
        (folder / CARD).write_text(card_of_tables(manifest), encoding="utf-8")
        files = {each.name: each.stat().st_size for each in sorted(folder.iterdir())}
    return {
        "checkpoint": str(path), "out": str(out), "budget": most, "bytes_before": full,
        "bytes": manifest["bytes"]["model"], "others": others, "left_out": list(opened.left_out), "files": files,
        "tables": [of.to_json() | {"name": one.found.entry.name} for of, one in zip(fits, chosen, strict=True)],
        "seconds": seconds,
    }  # fmt: skip


def _written(opened: Checkpoint, of: Chosen, modules: dict[str, TableModule], file: TensorsFile) -> Fitted:
    """Write the arrays of a table, and say what became of it."""
    name, entry = of.table.name, of.found.entry
    module = modules.pop(name)  # so that its memory is free again
    size = ledger.inference_bytes(module.method.components(of.table))
    if of.order is not None:
        size += 4 * of.table.num_embeddings
    error: tuple[float, float | None] = 0.0, 0.0
    if of.method.is_full:  # as it is, byte by byte
        (key,) = (key for key in module.state_dict() if not key.endswith(EXTRA))
        for piece in opened.copied(entry.name):
            file.write(f"{name}.{key}", piece)
    else:
        error = fit(opened, of, in_memory(module))
        for key, value in module.state_dict().items():
            if not key.endswith(EXTRA):
                file.write(f"{name}.{key}", bytes_of(value.contiguous()))
    return Fitted(
        name, entry.rows, entry.width, of.method, entry.bytes, size, *error,
        "left as it is" if of.method.is_full else "with an order of ids" if of.order is not None else "", of.found.tied,
    )  # fmt: skip


def _hand_on(opened: Checkpoint, chosen: Sequence[Chosen], path: Path) -> int:
    """Copy all tensors but tables, each once, and return their bytes."""
    taken = {of.found.entry.name for of in chosen}
    others = [of for name, of in opened.entries.items() if name not in taken and of.tied is None]
    with TensorsFile(path, others) as file:
        for of in others:
            for piece in opened.copied(of.name):
                file.write(of.name, piece)
    return sum(of.bytes for of in others)
