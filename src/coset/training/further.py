"""Where the training of a finished run goes on: the run that a further one begins with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from coset.documents import Json
from coset.training.seal import Finished


@dataclass(frozen=True)
class Beginning:
    """What a run that goes on with another one says of it, in its `run.json` as `continued`.

    Args:
        run: name of the folder of the other run.
        model: digest of its model.
        epochs: that it was trained for, those before it included.
        state: whether the state of its optimizers is gone on with; otherwise they begin anew.
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
    """Epochs that the model of a run was trained for; one that it ended in the midst of counts as a whole one."""
    last = metrics["history"][metrics["reported"]]["epoch"]
    return -int(-float(last) // 1)
