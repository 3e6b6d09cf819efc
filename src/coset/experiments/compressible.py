"""What `coset compress` takes, by kind: finished runs, and checkpoints of any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from coset.checkpoints.base import is_checkpoint
from coset.checkpoints.writing import compress_checkpoint
from coset.documents import Json
from coset.errors import InputError
from coset.experiments.compress import compress_run
from coset.experiments.given import Kind, kind_of
from coset.experiments.subject import is_run
from coset.files import path_of
from coset.progress import Progress
from coset.training.trainer import EngineOption


@dataclass(frozen=True)
class Asked:
    """Options of the command; None and empty ones were not given."""

    budget: str | None = None
    storages: Sequence[str] = ()
    plan: Path | None = None
    finetune: int = 0
    data: str | None = None
    engine: EngineOption | None = None
    table: Sequence[str] = ()
    frequencies: Path | None = None
    methods: Sequence[str] = ()


_Act = Callable[[Path, Path, Asked, Progress | None], Json]


def compress(given: str, out: Path, asked: Asked, progress: Progress | None = None) -> Json:
    """Make the tables of a run or a checkpoint smaller, and write them to a new folder.

    Args:
        given: the folder of a run, or the path of a checkpoint.
        out: the new folder.
        asked: options, of which each kind takes its own.
        progress: of the work.

    Returns:
        As `compress_run` or `compress_checkpoint`.

    Raises:
        InputError: as these; or an option that does not go with what was given.
    """
    kind = kind_of(_KINDS, given, {of.name: getattr(asked, of.name) for of in fields(asked)})
    return kind.act(path_of(given), out, asked, progress)


def _run(path: Path, out: Path, asked: Asked, progress: Progress | None) -> Json:
    return compress_run(
        path, out, budget=asked.budget, plan=asked.plan, storages=asked.storages or None, finetune=asked.finetune,
        engine=asked.engine or "auto", progress=progress, data=asked.data,
    )  # fmt: skip


def _checkpoint(path: Path, out: Path, asked: Asked, progress: Progress | None) -> Json:
    if asked.budget is None:
        raise InputError("give a --budget for all tables together, such as 10% or 50MB")
    return compress_checkpoint(
        path, out, asked.budget, tables=asked.table, frequencies=asked.frequencies, storages=asked.storages or None,
        methods=asked.methods, progress=progress,
    )  # fmt: skip


_BOTH = {"budget", "storages"}
_KINDS: Sequence[Kind[_Act]] = (
    Kind(
        "a checkpoint", lambda name: is_checkpoint(path_of(name)) and not is_run(name),
        frozenset({*_BOTH, "table", "frequencies", "methods"}), _checkpoint,
    ),
    Kind("a run", lambda _: True, frozenset({*_BOTH, "plan", "finetune", "data", "engine"}), _run),
)  # fmt: skip
