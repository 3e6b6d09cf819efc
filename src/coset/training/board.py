"""Event files for TensorBoard, which is an optional dependency."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from coset.errors import InputError
from coset.training.trainer import Step

EVERY = 50
"""Steps from one point of a curve to the next."""


class Board:
    """Curves of a training: loss, pace of the learning rates and norm of gradients every 50 steps, and all metrics
    of every evaluation.

    Args:
        folder: of the event files.
        step: how many steps are done; curves that an earlier process drew further are cut off there.

    Raises:
        InputError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        check()
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1 if step else None)
        self._loss, self._rows = 0.0, 0

    def tell(self, step: Step) -> None:
        """Add a step to the curves."""
        self._loss, self._rows = self._loss + step.loss, self._rows + step.rows
        if step.number % EVERY == 0 or step.evaluation is not None:
            self._point("train/loss", self._loss / self._rows, step.number)
            self._point("train/pace", step.pace, step.number)
            self._point("train/gradient_norm", step.norm, step.number)
            self._loss, self._rows = 0.0, 0
        for name, value in (step.evaluation or {}).items():
            part, _, metric = name.partition("_")
            if part == "val":
                self._point(f"validation/{metric}", value, step.number)

    def _point(self, name: str, value: float | None, step: int) -> None:
        if value is not None:
            self._writer.add_scalar(name, value, step)

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._writer.close()


def check() -> None:
    """Raise an `InputError` unless event files can be written."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise InputError(f"--tensorboard needs tensorboard ({error}): pip install 'coset[report]'") from None
