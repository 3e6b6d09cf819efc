"""Settings that are chosen before anything is trained: by short trainings on the training part alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from math import inf
from pathlib import Path

from coset.errors import Diverged, InputError
from coset.experiments.recipe import Recipe
from coset.files import clear
from coset.progress import Progress, Silent, counted
from coset.tasks import Task
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT
from coset.training.run import Options, execute
from coset.training.spec import RunSpec


def tuned(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], data: DataT, folder: Path, progress: Progress | None = None
) -> Recipe[DataT, EncodedT, ModelT, BatchT]:
    """The recipe with the fields of its `tune` chosen, and a note on them.

    Every training is a run in a folder below `folder`, named by all that it depends on, so that an interrupted search
    continues, and the same search again trains nothing. One that is damaged is trained again.

    Args:
        data: what its task loaded.
        folder: for the runs of the search, which nobody else works in.

    Raises:
        InputError: a field that the task does not choose, or every training of the search diverged.
    """
    if not recipe.tune:
        return recipe
    progress, seed = progress or Silent(), recipe.first_seed
    errors: list[float] = []
    last = ""

    def error(task: Task[DataT, EncodedT, ModelT, BatchT], data: DataT, name: str) -> float:
        nonlocal last
        metric, spec = task.score(), RunSpec(task, {}, seed)
        encoded = task.encoded(data, seed)
        run = folder / _digest(spec, task.fingerprint(data))
        steps = spec.steps(encoded)
        progress.begin(steps)
        try:
            with counted(progress, f"{name}, to choose settings", steps) as on_step:
                try:
                    found = execute(spec, run, data, Options(resume=True), encoded=encoded, on_step=on_step)
                except InputError:
                    if not run.is_dir():
                        raise
                    clear(run)
                    found = execute(spec, run, data, Options(resume=True), encoded=encoded, on_step=on_step)
        except Diverged as diverged:
            errors.append(inf)
            last = str(diverged)
            return inf
        value = float(found["history"][found["reported"]][f"val_{metric.name}"])
        errors.append(-value if metric.better == "higher" else value)
        return errors[-1]

    changes = recipe.task.tuned(recipe.tune, data, seed, error)
    if errors and min(errors) == inf:
        raise InputError(
            f"every short training that was to choose settings diverged, the last as follows: {last} (--no-tune leaves "
            f"them out)"
        )
    task = recipe.task.changed("training", changes)
    notes = (*recipe.notes, *([_note(changes, len(errors))] if changes else []))
    return replace(recipe, task=task, notes=notes, tune=())


def beside(out: Path) -> Path:
    """The folder of the search for what is written to `out`.

    Example:
        >>> beside(Path("runs/mine")).name
        '.mine-tuning'
    """
    place = out.resolve()
    return place.with_name(f".{place.name}-tuning")


def _note(changes: Mapping[str, object], trainings: int) -> str:
    chosen = ", ".join(f"{name} {_shown(value)}" for name, value in changes.items())
    by = f" by {trainings} short trainings" if trainings else ""
    return f"Chosen on the training part{by}: {chosen}."


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return " and ".join(f"{one:g}" for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _digest(spec: RunSpec[DataT, EncodedT, ModelT, BatchT], data: object) -> str:
    choices = {name: of for name, of in spec.to_json().items() if name != "data"}
    return hashlib.sha256(json.dumps([choices, data], sort_keys=True).encode()).hexdigest()[:12]
