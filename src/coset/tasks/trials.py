"""The contract of the short trainings by which a task chooses settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

TaskT_contra = TypeVar("TaskT_contra", contravariant=True)
DataT_contra = TypeVar("DataT_contra", contravariant=True)
EncodedT_co = TypeVar("EncodedT_co", covariant=True)

Ends = Callable[[Sequence[float]], bool]
"""Whether a training ends, from the scores of its evaluations."""


class Trials(Protocol[TaskT_contra, DataT_contra, EncodedT_co]):
    """Short trainings with full tables, by which a task chooses settings. Scores are those of the validation part, of a
    metric that is better when higher their negative; infinite where training diverged.

    Data are encoded once for all trials that see them alike, and a training that an earlier process finished is not
    repeated.
    """

    def __call__(self, task: TaskT_contra, data: DataT_contra, name: str) -> float:
        """The score of a training of this task on these data; the best one where it may end early."""
        ...

    def curve(self, task: TaskT_contra, data: DataT_contra, name: str, ends: Ends) -> Sequence[float]:
        """The scores of its evaluations.

        Args:
            ends: asked after each, with all until then, whether to train no further.
        """
        ...

    def encoded(self, task: TaskT_contra, data: DataT_contra) -> EncodedT_co:
        """The data as a model sees them."""
        ...
