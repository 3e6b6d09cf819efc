"""From a finished run to the folder of an artifact."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file as save_tensors
from torch import nn

from coset import ledger
from coset.artifact import numbering
from coset.artifact.card import card
from coset.artifact.format import CARD, TABLES, VOCABULARIES, write_manifest
from coset.artifact.holding import held
from coset.artifact.scores import scores_of
from coset.documents import Json
from coset.errors import InputError
from coset.files import check_writable, flush_below, holding, path_of
from coset.tasks import Served
from coset.training.finished import FinishedRun
from coset.training.folder import versions


def export_run(run: Path, out: Path, *, title: str | None = None, licence: str | None = None) -> Json:
    """Write the model of a finished run as an artifact: a folder that serves without torch (docs/artifact.md).

    It is written beside `out`, flushed to disk and renamed, so `out` is whole or not there.

    Args:
        run: its folder.
        out: a folder that does not exist yet, or is empty.
        title: of the card; by default the name of the data and the kind of the model.
        licence: of the data, for the card.

    Returns:
        `run`, `out`, `model` and `full`, the bytes of the model and of one with a row of floats for each id, `tables`,
        by name, and `files`, the bytes of all files by name.

    Raises:
        InputError: no finished run, one of a task that makes no artifacts, a method or storage that does not say as
            data what it computes, or something at `out`.
    """
    finished = FinishedRun.load(path_of(run))
    check_free(out)
    task = finished.spec.task
    served = task.served(finished.trained)
    facts: Json = {
        "title": title or f"{served.data['dataset']}: a {served.model['kind']} model",
        "task": task.name,
        "scores": scores_of(Path(run), finished.about, finished.metrics),
        "data": {**served.data, "licence": licence, "fingerprint": finished.about["data"]},
    }
    model, _ = task.stored(finished.model)
    return {"run": str(run), **write_artifact(out, finished.model, served, facts, ledger.inference_bytes(model))}


def write_artifact(out: Path, model: nn.Module, served: Served, facts: Json, size: int) -> Json:
    """Write a model as an artifact, as `export_run` does.

    Args:
        out: as there.
        model: its arrays go to their stored form.
        served: how it is used.
        facts: what else the manifest says: `title`, `task`, `scores` and `data`.
        size: what counts as the bytes of the model.

    Returns:
        As `export_run`, without `run`.

    Raises:
        InputError: as there.
    """
    check_free(out)
    tables, arrays, tensors = held(model, served.tables)
    vocabularies: Json = {}
    columns: dict[str, np.ndarray] = {}
    for name, vocabulary in served.vocabularies.items():
        vocabularies[name], own = numbering.encoded(name, vocabulary)
        columns |= own
    with renamed(out) as folder:
        save_tensors(tensors, str(folder / TABLES))
        save_arrays(columns, str(folder / VOCABULARIES))
        manifest: Json = {
            "title": facts["title"],
            "task": facts["task"],
            "model": served.model,
            "tables": tables,
            "arrays": arrays,
            "vocabularies": vocabularies,
            "bytes": {
                "model": size,
                "full": size + sum(of["full_bytes"] - of["bytes"] for of in tables.values()),
                "vocabularies": sum(of.nbytes for of in columns.values()),
                "tables_file": (folder / TABLES).stat().st_size,
                "vocabularies_file": (folder / VOCABULARIES).stat().st_size,
            },
            "scores": facts["scores"],
            "data": facts["data"],
            "examples": {name: of.values.tolist()[0] for name, of in served.vocabularies.items()},
            "versions": versions(),
        }
        write_manifest(folder, manifest)
        (folder / CARD).write_text(card(manifest), encoding="utf-8")
        files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    return {"out": str(out), "model": size, "full": manifest["bytes"]["full"],
            "tables": {name: of["bytes"] for name, of in tables.items()}, "files": files}  # fmt: skip


def check_free(out: Path) -> None:
    """Raise an `InputError` unless a folder can be made at `out`."""
    if path_of(out).is_dir():
        if holding(out):
            raise InputError(f"{out}: exists already; remove it, or choose another --out")
    elif out.exists() or out.is_symlink():
        raise InputError(f"{out}: exists already and is no folder; choose another --out")
    check_writable(out / CARD)


@contextmanager
def renamed(out: Path) -> Iterator[Path]:
    """A fresh folder beside `out`, which is flushed and renamed to it once the block ends well."""
    out = Path(os.path.abspath(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name[:40]}.", suffix=".coset-part", dir=out.parent))
    try:
        yield aside
        mask = os.umask(0)
        os.umask(mask)
        for path in aside.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
            os.chmod(path, 0o666 & ~mask)
        os.chmod(aside, 0o777 & ~mask)
        flush_below(aside)
        if out.is_dir():
            out.rmdir()  # empty, and some systems rename over no folder
        os.replace(aside, out)
        flush_below(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
