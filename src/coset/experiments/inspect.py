"""The contents of data: ids, how often they occur, and the bytes of full tables; of runs; or of checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coset import ledger
from coset.checkpoints.base import is_checkpoint
from coset.checkpoints.inspecting import inspect_checkpoint
from coset.documents import Json
from coset.errors import InputError
from coset.experiments.given import Kind, kind_of
from coset.experiments.inspect_run import inspect_run
from coset.experiments.places import RUNS
from coset.experiments.subject import RecipeOptions, is_run, refuse_all_but_data
from coset.files import path_of
from coset.methods.full import Full
from coset.progress import Progress
from coset.schema import Table
from coset.tasks.inspection import Inspection

_OPTIMIZERS: tuple[ledger.TableOptimizerName, ...] = ("row_wise_adagrad", "adagrad", "lazy_adam", "adam")
_UNKNOWN = {"most": None, "median": None, "least": None, "traffic_of_top": None, "histogram": None}


def inspect(
    subjects: Sequence[str], options: RecipeOptions | None = None, embedding_dim: int | None = None,
    progress: Progress | None = None, tables: Sequence[str] = (),
) -> Json:  # fmt: skip
    """The contents of the data of that name, file or folder, of a finished run, or of checkpoints.

    Data that must be prepared first are prepared below `runs`.

    Args:
        subjects: a built-in data set, a path of data, the folder of a run; or one or several checkpoints.
        options: columns, schema and task of data.
        embedding_dim: the dim that bytes are counted for; that of the model of the data's recipe by default.
        tables: patterns of the tensors of a checkpoint that are tables.

    Returns:
        For data, `task` and what `inspection_json` returns; for a run, what `inspect_run` does; for checkpoints,
        `checkpoints`, each as `inspect_checkpoint` returns it.

    Raises:
        InputError: no such data, options that do not go with them, or a run that is not finished.
    """
    options = options or RecipeOptions()
    kind = kind_of(_KINDS, subjects[0], {"dim": embedding_dim, "table": tables, "task": options.task})
    if kind.what != _CHECKPOINT.what and len(subjects) > 1:
        raise InputError(f"{subjects[0]} is {kind.what}, of which one is shown at a time; leave {subjects[1]} out")
    return kind.act(subjects, options, embedding_dim, progress, tables)


def _checkpoints(subjects: Sequence[str], options: RecipeOptions, *given: Any) -> Json:
    if not options.is_empty:
        raise InputError(f"{subjects[0]} is a checkpoint, which has no columns; leave them out")
    return {"checkpoints": [inspect_checkpoint(path_of(each), given[-1]) for each in subjects]}


def _run(subjects: Sequence[str], options: RecipeOptions, embedding_dim: int | None, *_: Any) -> Json:
    if embedding_dim is not None or not options.is_empty:
        raise InputError(f"{subjects[0]} is a run, which has its dim and its columns; leave --dim and columns out")
    return inspect_run(Path(subjects[0]))


def _data(
    subjects: Sequence[str], options: RecipeOptions, embedding_dim: int | None, progress: Progress | None, *_: Any
) -> Json:
    subject = subjects[0]
    refuse_all_but_data(subject)
    task = options.recipe(subject).task
    found = task.inspected(task.load(RUNS, progress))
    return {
        "task": task.name,
        **inspection_json(found, task.model.embedding_dim if embedding_dim is None else embedding_dim),
    }


_CHECKPOINT = Kind("a checkpoint", lambda name: is_checkpoint(path_of(name)), frozenset({"table"}), _checkpoints)
_KINDS: Sequence[Kind[Callable[..., Json]]] = (
    Kind("a run", is_run, frozenset({"dim", "task"}), _run),
    _CHECKPOINT,
    Kind("data", lambda _: True, frozenset({"dim", "task"}), _data),
)


def inspection_json(found: Inspection, embedding_dim: int) -> Json:
    """Cardinalities, attributes, popularity and the bytes of full tables, as plain JSON values.

    Args:
        found: what the task of the data found in them.
        embedding_dim: elements of a vector of the tables whose bytes are counted.

    Returns:
        `dataset`, `synthetic`, `noise_floor`, `rows`, `summary`, the details of the task, `notes`, `embedding_dim`,
        `features`, and `bytes`, the sums over these. Each feature has `name`, `num_embeddings`, `multi_hot`,
        `attributes` (columns of its ids with their numbers of distinct codes), what `popularity` says (null where
        frequencies are not known), and `bytes`: of the `table`, and of `table_and_<optimizer>`, with the state of an
        optimizer of `coset.optimizers`.
    """
    features = [_feature(table.of_dim(embedding_dim), table.name in found.multi_hot) for table in found.tables]
    return {
        "dataset": found.dataset,
        "synthetic": found.synthetic,
        "noise_floor": found.noise_floor,
        "rows": found.rows,
        "summary": found.summary,
        **found.details,
        "notes": list(found.notes),
        "embedding_dim": embedding_dim,
        "features": features,
        "bytes": _together(features),
    }


def _together(features: Sequence[Json]) -> dict[str, int]:
    """The bytes of all features, of which there may be none."""
    keys = ("table", *(f"table_and_{name}" for name in _OPTIMIZERS))
    return {key: sum(of["bytes"][key] for of in features) for key in keys}


def _feature(table: Table, multi_hot: bool) -> Json:
    components = Full().components(table)
    size = ledger.inference_bytes(components)
    counts = table.frequencies
    return {
        "name": table.name,
        "num_embeddings": table.num_embeddings,
        "multi_hot": multi_hot,
        "attributes": {column: int(codes.max()) + 1 for column, codes in (table.attributes or {}).items()},
        **(popularity(counts) if counts is not None and counts.any() else _UNKNOWN),
        "bytes": {"table": size}
        | {f"table_and_{name}": size + ledger.table_optimizer_bytes(components, name) for name in _OPTIMIZERS},
    }


def popularity(frequencies: np.ndarray) -> Json:
    """How often the ids of a feature occur.

    Args:
        frequencies: occurrences of each id, not all 0.

    Returns:
        `most`, `median` and `least` occurrences; `traffic_of_top`, the share of all occurrences that the most frequent
        1 %, 10 % and 50 % of ids make up; and `histogram`, which groups ids by occurrences in powers of two: each group
        has `from` and `to` (occurrences), `ids`, and `traffic`, the share of all occurrences that they make up.
    """
    ordered = np.sort(frequencies)[::-1]
    traffic = np.cumsum(ordered) / ordered.sum()
    n = len(ordered)
    return {
        "most": int(ordered[0]),
        "median": float(np.median(ordered)),
        "least": int(ordered[-1]),
        "traffic_of_top": {f"{share:.0%}": float(traffic[max(1, round(n * share)) - 1]) for share in (0.01, 0.1, 0.5)},
        "histogram": _histogram(ordered),
    }


def _histogram(frequencies: np.ndarray) -> list[Json]:
    total = float(frequencies.sum())
    groups: list[Json] = []
    for power in range(int(frequencies.max()).bit_length()):
        inside = frequencies[(frequencies >= 2**power) & (frequencies < 2 ** (power + 1))]
        groups.append({
            "from": 2**power, "to": 2 ** (power + 1) - 1, "ids": len(inside), "traffic": float(inside.sum() / total)
        })  # fmt: skip
    return groups
