"""One run: a row of a recipe trained once, or a finished run trained further."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from coset.documents import Json
from coset.errors import InputError
from coset.experiments.calibrate import calibration
from coset.experiments.recipe import Recipe
from coset.experiments.resolve import resolve
from coset.experiments.said import said
from coset.experiments.tune import beside, tuned
from coset.files import claimed, read_json
from coset.progress import Progress, Silent, counted
from coset.tasks import TrainingSettings, measures
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT
from coset.training.finished import FinishedRun
from coset.training.folder import refuse_others
from coset.training.run import Options, execute
from coset.training.seal import METRICS, RUN, read_about, unfinished


def train_row(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], out: Path, data: DataT, *, options: Options | None = None,
    progress: Progress | None = None,
) -> Json:  # fmt: skip
    """Train the first row of `recipe` (of those in `only`) with the first seed, and return the metrics of the run.

    Args:
        out: the folder of the run.
        data: what the recipe's task loaded.
        options: how the run is executed.

    Raises:
        InputError: a row that does not fit the data, or an `out` that cannot be used.
    """
    encoded = recipe.task.encoded(data, recipe.first_seed)
    notes = said(recipe.task, data)
    others = resolve(recipe, encoded)[0]
    if len(others) > 1 and recipe.only:
        names = ", ".join(repr(of.name) for of in others)
        raise InputError(f"{recipe.only[0]!r} stands for several rows: choose one of {names}")
    with claimed(out, RUN, (options or Options()).resume):  # what is wrong with it is said before anything is trained
        _refuse_other_training(out, others[0].spec(recipe.first_seed).to_json(), recipe.tune)
        recipe = tuned(recipe, data, beside(out), progress, encoded=encoded)
    row = resolve(recipe, encoded, calibration(recipe, data, out.parent, progress))[0][0]
    progress, spec = progress or Silent(), row.spec(recipe.first_seed)
    if row.task != recipe.task:
        encoded = row.task.encoded(data, recipe.first_seed)
    progress.begin(spec.steps(encoded))
    with counted(progress, row.name, spec.steps(encoded)) as on_step:
        metrics = execute(spec, out, data, options, encoded=encoded, on_step=on_step)
    facts = recipe.task.facts(data, encoded)
    return {
        "name": row.name,
        "dataset": facts["dataset"],
        "synthetic": facts["synthetic"],
        "measures": measures(type(recipe.task)),
        "notes": [*recipe.notes, *notes],
        **metrics,
    }


def train_on(
    run: Path, out: Path, training: Json, *, data: str | None = None, options: Options | None = None,
    progress: Progress | None = None,
) -> Json:  # fmt: skip
    """Train a finished run on, as a new run in `out`, and return its metrics; the first one stays as it is.

    Args:
        run: its folder.
        training: `epochs`, the number of further epochs, and other changes to the training of the run. Its schedule
            begins anew and is for these epochs alone.
        data: where the data of the run are now, if they were moved.
        options: how the run is executed.

    Raises:
        InputError: no finished run there, other data, or an `out` that cannot be used.
    """
    run, out, progress = Path(run), Path(out), progress or Silent()
    finished = FinishedRun.load(run)
    own, task = finished.own_data(data), finished.spec.task
    task = (task if data is None else task.at(data)).changed("training", {"solver": None, **training})
    spec = replace(finished.spec, task=task)
    encoded = task.encoded(own, spec.seed)
    progress.begin(spec.steps(encoded))
    with counted(progress, str(run), spec.steps(encoded)) as on_step:
        metrics = execute(spec, out, own, options, encoded=encoded, after=run, on_step=on_step)
    facts, beginning = task.facts(own, encoded), read_json(out / RUN)["continued"]
    return {
        "name": f"{beginning['run']} continued",
        "dataset": facts["dataset"],
        "synthetic": facts["synthetic"],
        "measures": measures(type(task)),
        "notes": list(task.terms(own)),
        **metrics,
        "continued": {**beginning, "words": _continued(beginning, task.training)},
    }


def _refuse_other_training(out: Path, spec: Json, chosen: Sequence[str]) -> None:
    """Raise an `InputError` where a run in `out` was begun with other settings than these, but for those that are
    chosen: a search takes longer than to say so."""
    if not (out / RUN).exists():
        return
    there, here = read_about(out)["spec"]["training"], spec["training"]
    told = [{"spec": {"training": {name: of[name] for name in of if name not in chosen}}} for of in (there, here)]
    refuse_others(out, told[0], told[1])


def is_a_run(folder: Path) -> InputError:
    """The error for the folder of a run where data are expected."""
    if not (folder / METRICS).is_file():
        return unfinished(folder)
    return InputError(f"{folder} is a run; train it further by --continue --epochs N, or name the data to train on")


def _continued(beginning: Json, training: TrainingSettings) -> str:
    """A sentence on learning rates and the state of the optimizer."""
    given = training.learning_rate, training.dense_learning_rate
    rates = [f"{rate:g}" for rate in given if rate is not None]
    falls = "stay" if training.schedule == "constant" else f"fall to 0 as {training.schedule} says"
    state = "continues" if beginning["state"] else "begins anew, as it was not kept or is of another kind"
    return (
        f"further epochs: {training.epochs}, after {beginning['epochs']} of {beginning['run']}; the schedule begins "
        f"anew, so learning rates begin at {' and '.join(rates)} and {falls}; the state of the optimizer {state}"
    )
