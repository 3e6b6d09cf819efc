"""Short trainings that measure what each table loses by each method, for plans that use more than frequencies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf, sqrt
from pathlib import Path
from statistics import fmean
from typing import Generic

from coset.errors import InputError, Unsuitable
from coset.experiments.plan_choices import Calibration, Measured, Planning
from coset.experiments.recipe import Recipe
from coset.experiments.resolve import Row, resolve
from coset.experiments.row import RowSettings
from coset.methods import Method, method_class, registered
from coset.planning.curves import LEAST, Curve, Point, fit_curves
from coset.planning.planner import predicted_losses
from coset.planning.proxy import Proxy
from coset.planning.signal import Signal
from coset.progress import Progress, Silent, counted
from coset.schema import Table
from coset.tasks import Task
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT
from coset.training.run import Options, execute

SHARES = (0.4, 0.12)
"""Sizes at which each method is measured, as shares of the bytes of the full table."""
LARGE = 0.02
"""A table is measured by itself if it has this share of the bytes of all tables."""
TABLES = 6
"""Most tables that are measured by themselves: the largest ones."""
_ROUNDS = 8


CHEAP = 0.1
"""Of the rows that the training which a calibration informs takes: what a cheap one may take."""
_FEWEST_ROWS = 100_000
"""Of a training that tells anything about data that are large enough for a cheap calibration."""
_ALONE = "biases alone"


def calibration(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], data: DataT, beside: Path, progress: Progress | None = None
) -> Calibration:
    """`Task.signal` and `calibrate` for the models of a recipe, each measured once.

    Args:
        recipe: of the models.
        data: what its task loaded.
        beside: the folder in which the folder of short trainings is made.
    """
    return _Calibration(recipe, data, beside, progress)


class _Calibration(Generic[DataT, EncodedT, ModelT, BatchT]):
    """Remembers what was measured."""

    def __init__(
        self, recipe: Recipe[DataT, EncodedT, ModelT, BatchT], data: DataT, beside: Path, progress: Progress | None
    ) -> None:
        self._recipe, self._data, self._beside, self._progress = recipe, data, beside, progress
        self._signals: dict[object, Signal | None] = {}
        self._trained: dict[object, Measured | None] = {}

    def signal(self, task: Task[DataT, EncodedT, ModelT, BatchT]) -> Signal | None:
        recipe = self._recipe
        key = repr(task), recipe.tune
        if key not in self._signals:
            self._signals[key] = task.signal(self._data, recipe.first_seed, recipe.tune)
        return self._signals[key]

    def trained(
        self, task: Task[DataT, EncodedT, ModelT, BatchT], how: Planning, proxy: Proxy, cheap: bool
    ) -> Measured | None:
        key = task.model, how, proxy, cheap
        if key not in self._trained:
            of_model = replace(self._recipe, task=self._recipe.task.having("model", task.model))
            self._trained[key] = calibrate(of_model, self._data, how, self._beside, self._progress, proxy, cheap)
        return self._trained[key]


def calibrate(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], data: DataT, how: Planning, beside: Path,
    progress: Progress | None = None, proxy: Proxy | None = None, cheap: bool = False,
) -> Measured | None:  # fmt: skip
    """Train the model of `recipe` for a short time with full tables, with narrower ones, with biases alone where it can
    do without tables, and with one table at a time stored by each method at a few sizes.

    It reads nothing of the validation part: it measures the score on a slice of the training part, with the first seed.
    Every training is a run in a folder below `beside`, named by all that it depends on, so that an interrupted one
    continues, and a finished one is not repeated.

    Args:
        recipe: its model has the largest dim that a plan may choose.
        data: what its task loaded.
        how: which methods and dims a plan may choose.
        beside: the folder in which the folder of runs is made.
        proxy: predicts the losses that curves are fitted to.
        cheap: train only if all trainings together take less than `CHEAP` of one training of `recipe`, in rows; else
            the result is None.
    """
    allowed = _allowed(recipe, data, how) if cheap else inf
    if not allowed:
        return None
    task, data = recipe.task.trial(data, beside, recipe.first_seed)
    trial = replace(
        recipe, task=task, rows=(RowSettings("full"),), contrasts=(), only=(), skip_infeasible=False, notes=()
    )
    encoded = task.encoded(data, trial.first_seed)
    wanted = [RowSettings("full"), *_narrow(task, how), *_one_by_one(task.tables(encoded), how)]
    rows = resolve(replace(trial, rows=tuple(wanted)), encoded)[0]
    rows, predicted = _telling(rows, [_predicted(row, encoded, proxy) for row in rows])
    if 0 in task.dims():
        rows += resolve(replace(trial, rows=(RowSettings(_ALONE, embedding_dims=(0,)),)), encoded)[0]
    if len(rows) * _rows_trained(task, encoded) > allowed:
        return None
    folder = beside / "calibration" / f"{trial.name}-{_digest(trial, data)}"
    found = list(_train(trial, rows, folder, data, encoded, progress or Silent()))
    measured = [task.score().gain(found[0], over=score) for score in found]
    curves, residual = _fitted(rows, predicted, measured)
    alone = None
    if rows[-1].name == _ALONE:
        full = sum(curves[name](loss) for name, loss in predicted[0].items())
        alone = found[-1], measured[-1] + full
    return Measured(curves, alone, residual, len(found))


def _allowed(recipe: Recipe[DataT, EncodedT, ModelT, BatchT], data: DataT, how: Planning) -> float:
    """The rows that cheap trainings may take together; 0 where there are so many that each had too few."""
    encoded = recipe.task.encoded(data, recipe.first_seed)
    found = CHEAP * _rows_trained(recipe.task, encoded)
    trainings = 1 + len([*_narrow(recipe.task, how), *_one_by_one(recipe.task.tables(encoded), how)])
    return found if found >= trainings * _FEWEST_ROWS else 0.0


def _rows_trained(task: Task[DataT, EncodedT, ModelT, BatchT], encoded: EncodedT) -> int:
    return int(task.rows(encoded)["training"] * task.training.epochs)


def _predicted(row: Row[DataT, EncodedT, ModelT, BatchT], encoded: EncodedT, proxy: Proxy | None) -> dict[str, float]:
    """The predicted loss of every table; rounding may put a loss of 0 on either side of it."""
    found = predicted_losses(row.task.tables(encoded), row.methods, proxy)
    return {name: max(0.0, loss) for name, loss in found.items()}


def _telling(
    rows: Sequence[Row[DataT, EncodedT, ModelT, BatchT]], predicted: Sequence[dict[str, float]]
) -> tuple[list[Row[DataT, EncodedT, ModelT, BatchT]], list[dict[str, float]]]:
    """The rows that are worth a training: that of full tables, and those that are predicted to lose more.

    Dims beyond those that the ids of the other tables can tell apart are not.
    """
    first = predicted[0]
    kept = [at for at, parts in enumerate(predicted) if at == 0 or any(_more(parts, first, name) for name in first)]
    if len(kept) == 1:
        raise InputError(
            "there is nothing to calibrate: no size that would be measured is predicted to lose anything; plan without "
            "calibration"
        )
    return [rows[at] for at in kept], [predicted[at] for at in kept]


def _more(parts: Mapping[str, float], first: Mapping[str, float], name: str) -> bool:
    return parts[name] - first[name] > LEAST


def _fitted(
    rows: Sequence[Row[DataT, EncodedT, ModelT, BatchT]],
    predicted: Sequence[Mapping[str, float]],
    measured: Sequence[float],
) -> tuple[dict[str, Curve], float]:
    """A curve for each table, fitted to the points of rows, and how far curves are from them as a root mean square; the
    first row is that of full tables, and those without a prediction tell nothing of tables.

    Losses are measured against full tables, which lose something themselves, as their dim is limited. Curves begin at 0
    all the same: what they give for the full tables is added to the measured loss, iteratively. The loss of a narrow
    model is divided among all tables in the predicted proportions. Tables that were not measured by themselves, or only
    at sizes that are predicted to lose nothing, get the mean of the others.
    """
    first, *others = predicted
    points: dict[str, list[Point]] = {name: [] for name in first}
    for row, parts, more in zip(rows[1:], others, measured[1:], strict=False):
        whole = sum(parts.values())
        for name in row.methods or first:
            if _more(parts, first, name):
                share = 1.0 if row.methods else parts[name] / whole
                points[name].append(Point(parts[name], more * share))
    told = {name for name in first if points[name]}
    alone = told & {name for row in rows for name in row.methods} or told
    curves, shifted = {name: Curve(0.0) for name in first}, points
    for _ in range(_ROUNDS):
        shifted = {
            name: [Point(one.predicted, one.measured + curves[name](first[name])) for one in points[name]]
            for name in first if name in alone
        }  # fmt: skip
        fitted = fit_curves(shifted)
        power = next(iter(fitted.values())).power
        mean = Curve(sum(curve.scale for curve in fitted.values()) / len(fitted), power)
        curves = {name: fitted.get(name, mean) for name in first}
    left = [curves[name](one.predicted) - one.measured for name, of in shifted.items() for one in of]
    return curves, sqrt(fmean(gap * gap for gap in left))


def _train(
    trial: Recipe[DataT, EncodedT, ModelT, BatchT], rows: Sequence[Row[DataT, EncodedT, ModelT, BatchT]], folder: Path,
    data: DataT, encoded: EncodedT, progress: Progress,
) -> Iterator[float]:  # fmt: skip
    specs = [row.spec(trial.first_seed) for row in rows]
    progress.begin(sum(spec.steps(encoded) for spec in specs))
    score = f"val_{trial.task.score().name}"
    for row, spec in zip(rows, specs, strict=True):
        with counted(progress, f"{row.name}, to calibrate", spec.steps(encoded)) as on_step:
            options = Options(resume=True)
            metrics = execute(spec, folder / row.slug, data, options, encoded=encoded, on_step=on_step)
        yield float(metrics["history"][metrics["reported"]][score])


def _narrow(task: Task[DataT, EncodedT, ModelT, BatchT], how: Planning) -> list[RowSettings]:
    """Full tables at a half, a quarter and an eighth of the largest dim, of those that a plan may choose."""
    dims = how.embedding_dims or task.dims()
    wanted = sorted({max(1, max(dims) // part) for part in (2, 4, 8)} & set(dims) - {task.model.embedding_dim})
    return [RowSettings(f"narrow d={dim}", embedding_dims=(dim,)) for dim in wanted]


def _one_by_one(tables: Sequence[Table], how: Planning) -> Iterator[RowSettings]:
    """Each large table at each size of each method, the others full."""
    whole = sum(table.full_bytes for table in tables)
    large = sorted((table for table in tables if table.full_bytes >= LARGE * whole), key=lambda of: -of.full_bytes)
    names = how.methods or [name for name, cls in registered().items() if cls.planned]
    for table in large[:TABLES]:
        for name in names:
            cls = method_class(name)
            if not cls.row_per_id:
                for chosen in dict.fromkeys(_sizes(cls, table)):
                    digest = hashlib.sha256(json.dumps(chosen.to_json(), sort_keys=True).encode()).hexdigest()[:8]
                    yield RowSettings(f"{table.name} {name} {digest}", methods={table.name: chosen})


def _sizes(cls: type[Method], table: Table) -> Iterator[Method]:
    for share in SHARES:
        try:
            yield cls.for_budget(table, int(share * table.full_bytes))
        except Unsuitable:
            continue


def _digest(trial: Recipe[DataT, EncodedT, ModelT, BatchT], data: DataT) -> str:
    """A digest of the choices that all runs have in common."""
    sections = {name: of for name, of in trial.task.to_json().items() if name != "data"}
    common = {**sections, "seed": trial.first_seed, "data": trial.task.fingerprint(data)}
    return hashlib.sha256(json.dumps(common, sort_keys=True).encode()).hexdigest()[:12]
