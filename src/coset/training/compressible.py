"""What every kind of finished run answers when it is made smaller."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coset.methods import Method
from coset.schema import Table
from coset.tables.fitted import Fitted


class CompressibleRun(ABC):
    """A finished run, opened with its data.

    Attributes:
        tables: of its model, with frequencies.
        other_bytes: what counts as bytes of the model beside its tables.
        dataset: name of the data.
        synthetic: whether they are made up.
        steps_per_epoch: batches of an epoch of training.
    """

    tables: Sequence[Table]
    other_bytes: int
    dataset: str
    synthetic: bool
    steps_per_epoch: int

    @property
    @abstractmethod
    def bytes(self) -> int:
        """Of the model as it is now."""

    @abstractmethod
    def compress(self, methods: Mapping[str, Method]) -> tuple[Fitted, ...]:
        """Give the model these tables, by name (`full` for those that are not named), fitted to those that it has.

        Raises:
            InputError: a method that does not fit its table, or for a table that is not there.
        """

    @abstractmethod
    def evaluate(self) -> dict[str, Any]:
        """Metrics of the model as it is now, on the validation part of its run, named `val_…`."""

    @abstractmethod
    def finetune(self, epochs: int, engine: Any, on_step: Callable[[int], None]) -> list[dict[str, Any]]:
        """Train on, with the settings of the run but for the learning rate, and return the metrics of every epoch."""

    @abstractmethod
    def save(self, folder: Path, how: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
        """Write the model as it is now as a finished run.

        Args:
            folder: there already, and empty.
            how: it was made smaller; kept in `run.json`.
            history: metrics of the fitted model and of every epoch since.
        """
