"""Progress of long work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Receives how far long work is."""

    def begin(self, steps: int) -> None:
        """Set the number of steps in all."""

    def advance(self, steps: int, what: str) -> None:
        """Add steps that are done; `what` is the current work."""


class Silent:
    """Progress that nothing shows."""

    def begin(self, steps: int) -> None:
        """Nothing."""

    def advance(self, steps: int, what: str) -> None:
        """Nothing."""


@contextmanager
def counted(progress: Progress, what: str, steps: int) -> Iterator[Callable[[int], None]]:
    """A callback for the steps of one run; adds the steps that an earlier process did at the end."""
    told = 0

    def on_step(done: int) -> None:
        nonlocal told
        told += done
        progress.advance(done, what)

    yield on_step
    progress.advance(steps - told, what)
