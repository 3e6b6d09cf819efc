"""Digests that tie the files of a finished run together, so that reading finds a file that was edited or is of another
run.

The header of `model.safetensors` repeats `run.json` and holds the digests of further files; `metrics.json`, which is
written last, holds the digest of the model, and its own. Digests find accidents; they are no protection against
forgery.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from coset import settings
from coset.documents import Json
from coset.errors import InputError
from coset.files import path_of, read_json, write_json
from coset.tasks import task_class
from coset.training import checkpoint
from coset.training.checkpoint import Saved
from coset.training.folder import first_difference, versions

RUN, MODEL, METRICS, STATE = "run.json", "model.safetensors", "metrics.json", "optimizer.safetensors"
SCHEMA = 3
_SEAL = "digests"
_CURE = "restore it, or train again"


@dataclass(frozen=True)
class Metrics:
    """The contents of `metrics.json` of a finished run.

    Args:
        parameters, bytes: of what counts as the model: tables and, of ratings, biases and the mean.
        layers_parameters, layers_bytes: of all others.
        optimizer_bytes: of the state of all optimizers.
        peak_resident_bytes: the most memory that the process had resident, where the system reports it.
        vocabulary_bytes: of the vocabularies.
        engine: that trained it.
        rows: numbers of training and validation rows.
        history: metrics of every evaluation.
        host, versions: the machine, and versions of Python and libraries.
        reported: number of the evaluation of the model that was kept.
        stopped_early: whether it stopped before its last epoch.
        prepared: the folder of the prepared clicks, if it was trained on clicks.
    """

    parameters: int
    bytes: int
    layers_parameters: int
    layers_bytes: int
    optimizer_bytes: int
    peak_resident_bytes: int | None
    vocabulary_bytes: int
    engine: str
    rows: Mapping[str, int]
    history: tuple[Mapping[str, float | None], ...]
    reported: int
    stopped_early: bool
    host: Mapping[str, Any]
    versions: Mapping[str, str]
    prepared: str | None = None

    def __post_init__(self) -> None:
        if not self.history:
            raise InputError("metrics: history is empty")
        if not 0 <= self.reported < len(self.history):
            raise InputError(f"metrics: reported is {self.reported}, of a history of {len(self.history)}")
        if not {"training", "validation"} <= self.rows.keys():
            raise InputError("metrics: rows needs training and validation")


@dataclass(frozen=True)
class Finished:
    """A finished run, whose files were checked to belong together.

    Args:
        about: what `run.json` says.
        model: its tensors and header, readable while it is open.
        metrics: what `metrics.json` says.
    """

    about: Json
    model: Saved
    metrics: Json


@dataclass(frozen=True)
class State:
    """The state of the optimizers of a run, with the facts that a further training checks."""

    tensors: Mapping[str, Tensor]
    header: Json


def write_finished(
    folder: Path, about: Json, tensors: Mapping[str, Tensor], header: Json,
    metrics: Json, files: Sequence[str] = (), state: State | None = None,
) -> None:  # fmt: skip
    """Write the model and then the metrics of a run, which finishes it.

    Args:
        about: the contents of its `run.json`.
        header: what else a reader of the model needs.
        metrics: fields of `Metrics`.
        files: names of files in the folder that belong to it.
        state: of the optimizers, to keep beside the model for further training.
    """
    known = {name: _digest_of_file(folder / name) for name in files}
    whole = {**header, "run": dict(about), "files": known, "versions": versions()}
    model = checkpoint.save(folder / MODEL, "model", tensors, whole)
    if state is not None:
        checkpoint.save(folder / STATE, "optimizer", state.tensors, {**state.header, "model": model})
    write_json(folder / METRICS, {**metrics, _SEAL: {"model": model, "metrics": _digest_of_value(metrics)}})


def unfinished(folder: Path) -> InputError:
    """The error for an unfinished run, which says how to continue it."""
    about = read_about(folder)
    command, more = "command", "with the same options and --resume"
    with suppress(KeyError, TypeError):  # where run.json does not name the data
        command = f"command on {about['spec']['data']['source']}"  # whole, as a user must type it
    with suppress(KeyError, TypeError):
        command = f"coset train {about['continued']['run']} --continue"
    if isinstance(about, dict) and "compressed" in about:
        command, more = "coset compress", "with the same options, which makes it anew"
    return InputError(f"{folder}: this run is not finished; repeat the {command} that began it, {more}")


def read_about(folder: Path) -> Json:
    """The contents of `run.json` of a run, finished or not.

    Raises:
        InputError: no run there, one that another version of coset wrote, or one of a task that coset does not know.
    """
    path = path_of(folder) / RUN
    if not path.is_file():
        artifact = (path.parent / "manifest.json").is_file()
        cure = "; it looks like an artifact, which coset.load_artifact or load_compressed reads" if artifact else ""
        raise InputError(f"{folder}: no run here (a run has a {RUN}){cure}")
    about = read_json(path)
    if not isinstance(about, dict):
        raise InputError(f"{path}: not of a run; {_CURE}")
    schema = about.get("schema")
    if not isinstance(schema, int):
        raise InputError(f"{path}: edited since the run was trained, or of another run (it names no schema); {_CURE}")
    if schema != SCHEMA:
        newer = schema > SCHEMA
        writer = "a newer coset" if newer else "coset 0.1"
        cure = "update coset" if newer else "train it again, or use coset 0.1 for it"
        raise InputError(f"{folder}: a run that {writer} wrote (schema {schema}, this coset reads {SCHEMA}); {cure}")
    try:
        task_class(about.get("task"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    spec = about.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("training"), dict):
        raise InputError(f"{path}: edited since the run was trained (it names no settings of a training); {_CURE}")
    return about


@contextmanager
def opened(folder: Path) -> Iterator[Finished]:
    """The finished run in `folder`.

    Raises:
        InputError: no run there, one that is not finished, or a file in it that is damaged, edited, or of another run.
    """
    folder = path_of(folder)
    said = read_about(folder)
    if not (folder / METRICS).is_file():
        raise unfinished(folder)
    metrics, seal = _read_metrics(folder / METRICS)
    with checkpoint.opened(folder / MODEL, "model") as saved:
        if saved.digest != seal.get("model"):
            raise InputError(
                f"{folder / METRICS}: of another model than the {MODEL} beside it, so one of them was edited or comes "
                f"from another run; {_CURE}"
            )
        about: Json = saved.header.get("run") or {}
        if difference := first_difference(said, about):
            raise InputError(
                f"{folder / RUN}: edited since the run was trained, or of another run ({difference}); {_CURE}"
            )
        for name, digest in saved.header["files"].items():
            if not (folder / name).is_file():
                raise InputError(f"{folder / name}: no such file, and the run is unusable without it; {_CURE}")
            if _digest_of_file(folder / name) != digest:
                raise InputError(
                    f"{folder / name}: not the file that this run was trained with: damaged, edited, or of another "
                    f"run; {_CURE}"
                )
        yield Finished(about, saved, metrics)


@contextmanager
def opened_state(folder: Path, finished: Finished) -> Iterator[Saved | None]:
    """The state of the optimizers of a finished run, or None where it was not kept.

    Raises:
        InputError: it is damaged, or of another model.
    """
    path = Path(folder) / STATE
    if not path.exists():
        yield None
        return
    with checkpoint.opened(path, "optimizer") as saved:
        if saved.header.get("model") != finished.model.digest:
            raise InputError(f"{path}: of another model than the {MODEL} beside it; remove it to continue without it")
        yield saved


def _read_metrics(path: Path) -> tuple[Json, Json]:
    """The checked metrics in a file, and the digests in it."""
    found = read_json(path)
    seal = found.pop(_SEAL, None) if isinstance(found, dict) else None
    if not isinstance(seal, dict):
        raise InputError(f"{path}: not the metrics of a run that this coset wrote; {_CURE}")
    if seal.get("metrics") != _digest_of_value(found):
        raise InputError(f"{path}: edited since it was written, as its numbers do not match their digest; {_CURE}")
    try:
        settings.make(Metrics, found, "metrics")
    except InputError as error:
        raise InputError(f"{path}: {error}; {_CURE}") from None
    return found, seal


def _digest_of_value(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
