"""Settings that are chosen before anything is trained: by short trainings on the training part alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isnan
from pathlib import Path
from typing import Generic

from coset.documents import Json
from coset.errors import Diverged, InputError
from coset.experiments.recipe import Recipe
from coset.files import read_json, write_json
from coset.progress import Progress, Silent, counted
from coset.tasks import Task
from coset.tasks.rows import PARTS
from coset.tasks.trials import Ends
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT
from coset.training.spec import RunSpec
from coset.training.trainer import Trainer


def tuned(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], data: DataT, folder: Path, progress: Progress | None = None, *,
    encoded: EncodedT | None = None,
) -> Recipe[DataT, EncodedT, ModelT, BatchT]:  # fmt: skip
    """The recipe with the fields of its `tune` chosen, and a note on them.

    What every training found is a file in `folder`, named by all that it depends on, so that an interrupted search
    continues, and the same search again trains nothing. One that is damaged is trained again.

    Args:
        data: what its task loaded.
        folder: of the search, which nobody else works in.
        encoded: `data` as the model sees them with the first seed, where the caller has it.

    Raises:
        InputError: a field that the task does not choose, or every training of the search diverged.
    """
    if not recipe.tune:
        return recipe
    if recipe.task.training.solver is not None:  # which no other setting matters to
        return replace(recipe, tune=())
    trials: Trained[DataT, EncodedT, ModelT, BatchT] = Trained(folder, recipe.first_seed, progress or Silent())
    if encoded is not None:
        recipe.task.check(encoded)  # what cannot be trained is said before any search
        trials.keep(recipe.task, data, encoded)
    changes = recipe.task.tuned(recipe.tune, data, recipe.first_seed, trials)
    if trials.trained and trials.diverged == trials.trained:
        raise InputError(
            f"every short training that was to choose settings diverged, the last as follows: {trials.last} (--no-tune "
            f"leaves them out)"
        )
    task = recipe.task.changed("training", changes)
    notes = (*recipe.notes, *([_note(changes, trials.trained)] if changes else []))
    return replace(recipe, task=task, notes=notes, tune=())


@dataclass
class Trained(Generic[DataT, EncodedT, ModelT, BatchT]):
    """`coset.tasks.trials.Trials` whose trainings leave a file each in `folder`.

    Args:
        seed: of all of them.
    """

    folder: Path
    seed: int
    progress: Progress
    trained: int = 0
    """Trainings that were asked for."""
    diverged: int = 0
    last: str = ""
    """Why the last one diverged."""
    _encoded: dict[tuple[int, str], tuple[DataT, EncodedT]] = field(default_factory=dict)
    """With the data, whose `id` would be that of others once they are gone."""

    def __call__(self, task: Task[DataT, EncodedT, ModelT, BatchT], data: DataT, name: str) -> float:
        """See `Trials`."""
        found = self.curve(task, data, name, lambda scores: False)
        return found[-1] if task.training.patience is None else min(found)

    def encoded(self, task: Task[DataT, EncodedT, ModelT, BatchT], data: DataT) -> EncodedT:
        """See `Trials`."""
        key = _key(task, data)
        if key not in self._encoded:
            self.keep(task, data, task.encoded(data, self.seed))
        return self._encoded[key][1]

    def keep(self, task: Task[DataT, EncodedT, ModelT, BatchT], data: DataT, encoded: EncodedT) -> None:
        """Take what these data are to a model."""
        self._encoded[_key(task, data)] = data, encoded

    def curve(self, task: Task[DataT, EncodedT, ModelT, BatchT], data: DataT, name: str, ends: Ends) -> Sequence[float]:
        """See `Trials`."""
        spec = RunSpec(task, {}, self.seed)
        path = self.folder / f"{_digest(spec, task.fingerprint(data))}.json"
        scores, why = _read(path)
        kept = next((at for at in range(1, len(scores) + 1) if ends(scores[:at])), len(scores))
        if scores and (kept < len(scores) or why is not None or ends(scores) or len(scores) >= _evaluations(spec)):
            scores, why = scores[:kept], why if kept == len(scores) else None
        else:
            scores, why = self._train(spec, self.encoded(task, data), name, ends)
            write_json(path, {"scores": [None if score == inf else score for score in scores], "diverged": why})
        self.trained += 1
        if why is not None:
            self.diverged, self.last = self.diverged + 1, why
        return scores

    def _train(
        self, spec: RunSpec[DataT, EncodedT, ModelT, BatchT], encoded: EncodedT, name: str, ends: Ends
    ) -> tuple[list[float], str | None]:
        """The scores, and the words of the error where it diverged."""
        task, metric = spec.task, spec.task.score()
        task.check(encoded)
        training, validation = (task.part(encoded, part) for part in PARTS)
        trainer = Trainer(task, spec.build(encoded), training, validation, spec.seed)
        scores: list[float] = []
        self.progress.begin(spec.steps(encoded))
        with counted(self.progress, f"{name}, to choose settings", spec.steps(encoded)) as on_step:
            told = 0
            try:
                for step in trainer.run():
                    on_step(step.number - told)
                    told = step.number
                    if step.evaluation is None:
                        continue
                    value = step.evaluation[f"val_{metric.name}"]
                    scores.append(inf if value is None else -value if metric.better == "higher" else value)
                    if ends(scores):
                        break
            except Diverged as diverged:
                return [*scores, inf], str(diverged)
        return scores, None


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
    by = f" by {trainings} short training{'' if trainings == 1 else 's'}" if trainings else ""
    return f"Chosen on the training part{by}: {chosen}."


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return " and ".join(f"{one:g}" for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _read(path: Path) -> tuple[list[float], str | None]:
    """What an earlier process wrote there; no scores where it is missing or damaged."""
    try:
        found = read_json(path)
        scores = [inf if score is None else float(score) for score in found["scores"]]
        why = found["diverged"]
    except (InputError, KeyError, TypeError, ValueError):
        return [], None
    if any(map(isnan, scores)) or not (why is None or isinstance(why, str)):
        return [], None
    return scores, why


def _evaluations(spec: RunSpec[DataT, EncodedT, ModelT, BatchT]) -> int:
    """The fewest evaluations of a training that nothing ended."""
    training = spec.task.training
    return training.epochs if training.patience is None else 1


def _key(task: Task[DataT, EncodedT, ModelT, BatchT], data: DataT) -> tuple[int, str]:
    """What decides how a model sees the data."""
    sections: Json = {name: of for name, of in task.to_json().items() if name not in ("data", "model", "training")}
    return id(data), json.dumps(sections, sort_keys=True)


def _digest(spec: RunSpec[DataT, EncodedT, ModelT, BatchT], data: object) -> str:
    choices = {name: of for name, of in spec.to_json().items() if name != "data"}
    return hashlib.sha256(json.dumps([choices, data], sort_keys=True).encode()).hexdigest()[:12]
