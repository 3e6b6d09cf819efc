"""Changes to a recipe, or to the training of a run, written as `section.field=value`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from coset.documents import Json, Malformed, parse_toml
from coset.errors import InputError, brief
from coset.experiments.recipe import Recipe
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT


def changed(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], changes: Sequence[str] = (), *, epochs: int | None = None,
    tuning: bool = False, first_seed: int | None = None, seeds: int | None = None, only: Sequence[str] | None = None,
    tune: bool = True,
) -> Recipe[DataT, EncodedT, ModelT, BatchT]:  # fmt: skip
    """The recipe with some of its choices replaced.

    Args:
        changes: fields to change, each written as `section.field=value`.
        epochs: of training.
        tuning: whether a slice of the training part takes the place of the validation part.
        first_seed, seeds: the first seed, and how many seeds.
        only: names of the rows to run; those of the recipe by default.
        tune: whether settings that the recipe does not set may be chosen by short trainings.

    Raises:
        InputError: a change that is not of that form, or of a field that the recipe does not have.
    """
    if first_seed is not None:
        recipe = replace(recipe, first_seed=first_seed)
    if only:
        recipe = replace(recipe, only=tuple(only))
    if not tune:
        recipe = replace(recipe, tune=())
    if seeds is not None:
        recipe = replace(recipe, seeds=seeds)
    if epochs is not None:
        recipe = recipe.override("training", {"epochs": epochs})
    if tuning:
        if "split" not in recipe.task.sections():
            raise InputError(
                f"--tuning splits the data again, and those of the task {recipe.task.name} are split when prepared"
            )
        recipe = recipe.override("split", {"tuning": 0.05})
    for change in changes:
        section, name, value = _change(change)
        recipe = recipe.override(section, {name: value})
    return recipe


def changes_of_training(epochs: int, changes: Sequence[str]) -> Json:
    """The changes to the training of a run that is trained further.

    Raises:
        InputError: a change that is not written `training.field=value`.
    """
    found: Json = {"epochs": epochs}
    for change in changes:
        section, name, value = _change(change)
        if section != "training" or name == "epochs":
            raise InputError(
                f"--set {brief(change, quoted=False)}: --continue keeps the data, the split and the model of a run; "
                f"set fields of its training, and the epochs by --epochs"
            )
        found[name] = value
    return found


def _change(change: str) -> tuple[str, str, object]:
    key, equals, value = change.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot):
        raise InputError(f"--set is written section.field=value, as training.l2=0.02, not {brief(change)}")
    return section, name, _value(value.strip(), change)


def _value(text: str, change: str) -> object:
    where = f"--set {' '.join(brief(change, quoted=False).split())}"
    try:
        found = parse_toml(f"value = {text}", where)
    except Malformed:
        return text
    if len(found) > 1:
        raise InputError(f"{where}: has more than one value; write a --set for each")
    return found["value"]
