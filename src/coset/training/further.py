"""The run that a further training begins with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from coset.documents import Json
from coset.training.seal import Finished


@dataclass(frozen=True)
class Beginning:
    """What a run that continues another one records of it, as `continued` in its `run.json`.

    Args:
        run: name of the folder of the other run.
        model: digest of its model.
        epochs: that its model was trained for, those of earlier runs included.
        state: whether the state of its optimizers is continued; otherwise it begins anew.
    """

    run: str
    model: str
    epochs: int
    state: bool

    @staticmethod
    def of(folder: Path, finished: Finished, epochs: int, state: bool) -> Beginning:
        """That of a finished run."""
        return Beginning(Path(folder).resolve().name, finished.model.digest, epochs, state)


def epochs_of(metrics: Json) -> int:
    """Epochs that the model of a run was trained for; an unfinished last one counts as whole."""
    last = metrics["history"][metrics["reported"]]["epoch"]
    return -int(-float(last) // 1)
