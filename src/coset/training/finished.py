"""A finished run: its model, its choices and its metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import torch
from torch import nn

from coset.documents import Json
from coset.errors import InputError
from coset.files import path_of
from coset.schema import EXTRA
from coset.storage.forms import pack_
from coset.tasks import Scored, Trained
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT
from coset.training import checkpoint
from coset.training.seal import opened
from coset.training.spec import RunSpec


@torch.no_grad()
def fill(model: nn.Module, saved: checkpoint.Saved) -> None:
    """Give a model the values of a saved one, with one tensor at a time in memory twice.

    Raises:
        InputError: it was saved from another model.
    """
    state = model.state_dict()  # brings tables that an optimizer owns up to date
    if state.keys() != set(saved.names):
        raise InputError(f"{saved.path}: not of the model that its choices describe")
    told = [name for name in state if name.endswith(EXTRA)]
    model.load_state_dict(
        {name: saved.tensor(name) for name in told}, strict=False
    )  # checks the descriptions of tables
    for name, value in state.items():
        if name not in told:
            value.copy_(saved.tensor(name))


@dataclass(frozen=True)
class FinishedRun(Generic[DataT, EncodedT, ModelT, BatchT]):
    """A trained model with its choices, and the view of its task."""

    spec: RunSpec[DataT, EncodedT, ModelT, BatchT]
    trained: Trained[ModelT]

    @property
    def model(self) -> ModelT:
        """The model."""
        return self.trained.model

    @property
    def metrics(self) -> Json:
        """The contents of `metrics.json`."""
        return self.trained.metrics

    @property
    def about(self) -> Json:
        """The contents of `run.json`."""
        return self.trained.about

    @staticmethod
    def load(folder: Path) -> FinishedRun[Any, Any, Any, Any]:
        """The finished run in `folder`, of any task.

        Raises:
            InputError: as `coset.training.seal.opened`; or a task that coset does not know.
        """
        folder = path_of(folder)
        with opened(folder) as finished:
            spec = RunSpec.from_json(finished.about["task"], finished.about["spec"])
            with torch.random.fork_rng(devices=[]):  # which fresh values are drawn from
                model = spec.task.restored(spec.methods, folder, finished.about, finished.model.header)
            fill(pack_(model), finished.model)
            header = finished.model.header
        return FinishedRun(spec, Trained(folder, model.eval(), finished.about, header, finished.metrics))

    def own_data(self, moved: str | None = None) -> DataT:
        """The data that it was trained on, which may have been moved since.

        Raises:
            InputError: they are not there, or have changed.
        """
        return self.spec.task.own_data(self.trained, moved)

    def scored(self, asked: Scored) -> Json:
        """Metrics on its own data or any of the same form; see `Task.scored`."""
        return self.spec.task.scored(self.trained, asked)
