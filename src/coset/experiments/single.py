"""One row of a recipe, trained once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coset.errors import InputError
from coset.experiments.calibrate import calibration
from coset.experiments.compare import encode
from coset.experiments.progress import Progress, Silent, counted
from coset.experiments.recipe import kind_of
from coset.experiments.rows import resolve
from coset.experiments.task import Options, Recipe, Scored
from coset.files import path_of, read_json
from coset.training.seal import METRICS, RUN, unfinished


def train_row(
    recipe: Any, out: Path, data: Any, *, options: Options | None = None, resume: bool = False, engine: Any = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train the first row of `recipe` (of those in `only`) with its first seed, and return the run's metrics.

    Args:
        out: the folder of the run.
        data: what the recipe's `load` gave.
        options: how the run is driven; in place of `resume` and `engine`.
        resume: continue what it holds.
        engine: see `coset.training.loop.Trainer`.

    Raises:
        InputError: a row that does not fit the data, or an `out` that cannot be used.
    """
    encoded = encode(recipe, data, recipe.first_seed)
    row, *others = resolve(recipe, encoded, calibration(recipe, data, out.parent, progress))[0]
    if others and recipe.only:
        names = ", ".join(repr(of.name) for of in (row, *others))
        raise InputError(f"{recipe.only[0]!r} stands for several rows: choose one of {names}")
    progress = progress or Silent()
    steps = recipe.steps(row, encoded)
    progress.begin(steps)
    with counted(progress, row.name, steps) as on_step:
        metrics = recipe.execute(
            row, recipe.first_seed, out, data, encoded, options or Options(resume, engine), on_step
        )
    facts = recipe.facts(data, encoded)
    return {"name": row.name, "dataset": facts["dataset"], "synthetic": facts["synthetic"], **metrics}


def train_on(
    run: Path, out: Path, training: Mapping[str, Any], *, data: str | None = None, options: Options | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train a finished run on, as a new run in `out`, and return its metrics; the first one stays as it is.

    Args:
        run: its folder.
        training: `epochs`, how many further ones, and what else differs from the training of the run. Its schedule
            begins anew and is for these epochs alone.
        data: where the data of the run are now, if they were moved.
        options: how the run is driven.

    Raises:
        InputError: no finished run there, other data, or an `out` that cannot be used.
    """
    run, out = Path(run), Path(out)
    found = kind_of_run(run).train_on(run, out, training, data, options or Options(), progress or Silent())
    about = read_json(out / RUN)
    beginning = about["continued"]
    words = _continued(beginning, about["spec"]["training"])
    return {"name": f"{beginning['run']} continued", **found, "continued": {**beginning, "words": words}}


def is_a_run(folder: Path) -> InputError:
    """The error for the folder of a run where data are expected."""
    if not (folder / METRICS).is_file():
        return unfinished(folder)
    return InputError(f"{folder} is a run; train it on by --continue --epochs N, or name the data to train on")


def _continued(beginning: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """What was done with the learning rates, in words."""
    rates = [f"{training[name]:g}" for name in ("learning_rate", "dense_learning_rate") if name in training]
    falls = "stay" if training["schedule"] == "constant" else f"fall to 0 as {training['schedule']} says"
    state = "is gone on with" if beginning["state"] else "begins anew, as it was not kept or is of another kind"
    return (
        f"further epochs: {training['epochs']}, after {beginning['epochs']} of {beginning['run']}; the schedule begins "
        f"anew, so learning rates begin at {' and '.join(rates)} and {falls}; the state of the optimizer {state}"
    )


def evaluate_run(
    run: Path, source: str | None = None, columns: Mapping[str, Any] | None = None, part: Any = None,
    data: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Metrics of a finished run of any kind: on its own data, or on any of the same schema.

    What it was trained on is known by its contents, whatever file it is in: of those rows, the validation part is
    scored unless another part is asked for.

    Args:
        run: its folder.
        source: the data; those of the run by default.
        columns: names of the columns of ratings and the separator; those of the run where they are not given.
        part: `"validation"`, `"training"` or `"all"`.
        data: where the data of the run are now, if they were moved.

    Returns:
        The metrics, with `own`, whether these are the data of the run, `part`, `rows`, how many were scored, and
        `trained_on`, how many it was trained on; of data that are not its own, `known`, how many of the rows say what a
        row says that it was trained on: the user, item and rating, of clicks every column (null where its data are not
        there).

    Raises:
        InputError: no run there, one that is not finished, or data that do not fit it.
    """
    return kind_of_run(run).scored(Path(run), Scored(source, columns or {}, part, data))


def kind_of_run(run: Path) -> type[Recipe]:
    """The class of the recipes that the run in a folder is of.

    Raises:
        InputError: no run there, or one of a task that coset does not know.
    """
    if not (path_of(run) / "run.json").is_file():
        raise InputError(f"{run}: no run here (a run has a run.json)")
    about = read_json(Path(run) / "run.json")
    try:
        return kind_of(about.get("task", "ratings") if isinstance(about, dict) else "ratings")
    except InputError as error:
        raise InputError(f"{run}/run.json: {error}") from None
