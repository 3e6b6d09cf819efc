"""What ties the files of a finished run together, so that none is edited or taken from another run unseen.

The header of `model.safetensors` repeats `run.json` and knows further files by their digests; `metrics.json`, which is
written last, knows the model by its digest, and itself. Digests find what went astray; they prove nothing against
somebody who forges them.
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
    """What `metrics.json` says of a finished run.

    Args:
        parameters, bytes: of what counts as the model: tables and, of ratings, biases and the mean.
        layers_parameters, layers_bytes: of what does not.
        optimizer_bytes: of the state of all optimizers.
        peak_resident_bytes: the most memory that the process had, where the system says it.
        vocabulary_bytes: of what numbers the ids.
        engine: that trained it.
        rows: by part, what it was trained and judged on.
        history: metrics of every evaluation.
        host, versions: what it was trained with.
        reported: the evaluation that the model is of.
        stopped_early: before its last epoch.
        prepared: the folder of the clicks that it was trained on.
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
    """A finished run, its files found to belong together.

    Args:
        about: what `run.json` says.
        model: its tensors and what else is to be known of them, to be read while it is open.
        metrics: what `metrics.json` says.
    """

    about: Json
    model: Saved
    metrics: Json


@dataclass(frozen=True)
class State:
    """What the optimizers of a run have come to, and what else is to be known to go on from it."""

    tensors: Mapping[str, Tensor]
    header: Json


def write_finished(
    folder: Path, about: Json, tensors: Mapping[str, Tensor], header: Json,
    metrics: Json, files: Sequence[str] = (), state: State | None = None,
) -> None:  # fmt: skip
    """Write the model and then the metrics of a run, which is finished thereby.

    Args:
        about: what its `run.json` says.
        header: what else the model needs to be read again.
        metrics: fields of `Metrics`.
        files: names of files in the folder that belong to it.
        state: of the optimizers, to be kept beside the model, so that training may go on from it.
    """
    known = {name: _digest_of_file(folder / name) for name in files}
    whole = {**header, "run": dict(about), "files": known, "versions": versions()}
    model = checkpoint.save(folder / MODEL, "model", tensors, whole)
    if state is not None:
        checkpoint.save(folder / STATE, "optimizer", state.tensors, {**state.header, "model": model})
    write_json(folder / METRICS, {**metrics, _SEAL: {"model": model, "metrics": _digest_of_value(metrics)}})


def unfinished(folder: Path) -> InputError:
    """The error for a run that was begun and is not done, which says how it is gone on with."""
    about = read_about(folder)
    command, more = "command", "with the same options and --resume"
    with suppress(KeyError, TypeError):  # where run.json says nothing of it
        command = f"command on {about['spec']['data']['source']}"  # whole, as it is to be typed
    with suppress(KeyError, TypeError):
        command = f"coset train {about['continued']['run']} --continue"
    if isinstance(about, dict) and "compressed" in about:
        command, more = "coset compress", "with the same options, which makes it anew"
    return InputError(f"{folder}: this run is not finished; repeat the {command} that began it, {more}")


def read_about(folder: Path) -> Json:
    """What the `run.json` in a folder says, finished or not.

    Raises:
        InputError: no run there, one that another version of coset wrote, or one of a task that coset does not know.
    """
    path = path_of(folder) / RUN
    if not path.is_file():
        raise InputError(f"{folder}: no run here (a run has a {RUN})")
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
                raise InputError(f"{folder / name}: no such file, and the run is of no use without it; {_CURE}")
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
            raise InputError(f"{path}: of another model than the {MODEL} beside it; remove it, to go on without it")
        yield saved


def _read_metrics(path: Path) -> tuple[Json, Json]:
    """The metrics in a file, checked, and what their writer noted of digests."""
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
