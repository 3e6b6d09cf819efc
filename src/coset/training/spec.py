"""The choices that the outcome of a run depends on, besides the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic

import torch

from coset import settings
from coset.documents import Json
from coset.errors import InputError
from coset.methods import Method, from_json
from coset.tasks import Task, task_class
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT


@dataclass(frozen=True)
class RunSpec(Generic[DataT, EncodedT, ModelT, BatchT]):
    """The choices of a run.

    Args:
        task: with its sections.
        methods: by table; `full` for those that are not named.
        seed: of initial weights, of the order of rows and, for some tasks, of the split.
    """

    task: Task[DataT, EncodedT, ModelT, BatchT]
    methods: Mapping[str, Method]
    seed: int

    def __post_init__(self) -> None:
        settings.check_range("a run's seed", self.seed, 0, settings.LARGEST_SEED)

    def to_json(self) -> Json:
        """As plain JSON values, without the name of the task."""
        return {**self.task.to_json(), "methods": settings.plain(self.methods), "seed": self.seed}

    @staticmethod
    def from_json(task: object, value: Mapping[str, object]) -> RunSpec[Any, Any, Any, Any]:
        """The spec that `to_json` wrote, of the task of that name.

        Raises:
            InputError: there is no such task, or a field that is wrong.
        """
        given = dict(value)
        if missing := [name for name in ("methods", "seed") if name not in given]:
            raise InputError(f"run needs {', '.join(missing)}")
        methods = settings.checked(Mapping[str, Method], given.pop("methods"), "run: methods", {Method: from_json})
        seed = settings.checked(int, given.pop("seed"), "run: seed")
        return RunSpec(task_class(task).read(given, "run"), methods, seed)

    def build(self, encoded: EncodedT) -> ModelT:
        """The fresh model."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.task.build(self.methods, encoded)

    def steps(self, encoded: EncodedT) -> int:
        """Batches of all epochs; 1 where a solver takes their place."""
        training = self.task.training
        if training.solver is not None:
            return 1
        return training.epochs * -(-self.task.rows(encoded)["training"] // training.batch_size)
