"""A synthetic twin in place of missing data, for recipes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from coset.data import DataNotFound
from coset.experiments.recipe import Recipe
from coset.experiments.subject import is_recipe
from coset.progress import Progress
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT

TWINS = {"movielens-1m": "synthetic-ratings"}
"""The synthetic twin of a data set."""


@dataclass(frozen=True)
class Missing:
    """Data that are missing.

    Args:
        source: the name of the data set.
        why: what is missing, and how to get it.
    """

    source: str
    why: str

    @property
    def note(self) -> str:
        """The note in results on the twin."""
        return f"{self.why.split(':')[0]}; these are figures of its synthetic twin"


def load_or_twin(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], subject: str, beside: Path, progress: Progress | None = None
) -> tuple[Recipe[DataT, EncodedT, ModelT, BatchT], DataT, Missing | None]:
    """The data of a recipe; or those of their synthetic twin, where a user named a recipe and its data are missing.

    Args:
        subject: what the user named: the recipe, or data, which no twin replaces.
        beside: the folder below which data that must be prepared are prepared.

    Returns:
        The recipe of the data that were loaded, these data, and which data are missing, where a twin replaces them.

    Raises:
        DataNotFound: the data are missing, and no twin replaces them.
    """
    try:
        return recipe, recipe.task.load(beside, progress), None
    except DataNotFound as error:
        twin = TWINS.get(recipe.task.data.source)
        if twin is None or not is_recipe(subject):
            raise
        missing = Missing(recipe.task.data.source, str(error))
        recipe = recipe.override("data", {"source": twin})
        return recipe, recipe.task.load(beside, progress), missing
