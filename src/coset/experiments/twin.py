"""A synthetic twin in place of data that are not at hand, for recipes that come with coset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from coset.data import DataNotFound
from coset.experiments.recipe import Recipe
from coset.progress import Progress
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT

TWINS = {"movielens-1m": "synthetic-ratings"}
"""The synthetic twin of a data set."""


@dataclass(frozen=True)
class Missing:
    """Data that are not at hand.

    Args:
        source: the name of the data set.
        why: what is missing, and how to get it.
    """

    source: str
    why: str

    @property
    def note(self) -> str:
        """What results on the twin say of it."""
        return f"{self.why.split(':')[0]}; these are figures of its synthetic twin"


def load_or_twin(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], beside: Path, progress: Progress | None, *, allowed: bool
) -> tuple[Recipe[DataT, EncodedT, ModelT, BatchT], DataT, Missing | None]:
    """The data of a recipe, or of its synthetic twin.

    Args:
        beside: the folder below which data are prepared that have to be.
        progress: is told how far that is.
        allowed: whether a twin may take the place of data that are not at hand.

    Returns:
        The recipe of the data that were loaded, these data, and which data are missing, if these are those of a twin.

    Raises:
        DataNotFound: the data are not at hand, and have no twin or may not be replaced.
    """
    try:
        return recipe, recipe.task.load(beside, progress), None
    except DataNotFound as error:
        twin = TWINS.get(recipe.task.data.source)
        if twin is None or not allowed:
            raise
        missing = Missing(recipe.task.data.source, str(error))
        recipe = recipe.override("data", {"source": twin})
        return recipe, recipe.task.load(beside, progress), missing
