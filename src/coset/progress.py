"""What long work tells of itself while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Who is told how far the work is."""

    def begin(self, steps: int) -> None:
        """There will be this many steps in all."""

    def advance(self, steps: int, what: str) -> None:
        """So many more are done; `what` is being worked on."""


class Silent:
    """Progress that nobody watches."""

    def begin(self, steps: int) -> None:
        """Nothing."""

    def advance(self, steps: int, what: str) -> None:
        """Nothing."""


@contextmanager
def counted(progress: Progress, what: str, steps: int) -> Iterator[Callable[[int], None]]:
    """A callback for the steps of one run; steps that an earlier process did are told of at the end."""
    told = 0

    def on_step(done: int) -> None:
        nonlocal told
        told += done
        progress.advance(done, what)

    yield on_step
    progress.advance(steps - told, what)
