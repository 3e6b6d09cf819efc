"""The rows of a part of prepared clicks, as a trainer asks for them."""

from __future__ import annotations

from collections.abc import Iterator

from coset.data.clicks import ClickBatch, ClickPart
from coset.tasks.settings import Order


class ClickRows:
    """The rows of a part of prepared data."""

    def __init__(self, part: ClickPart) -> None:
        self.part = part

    def __len__(self) -> int:
        return len(self.part)

    def batches(self, size: int, order: Order | None = None, start: int = 0) -> Iterator[ClickBatch]:
        """Every row once; see `coset.tasks.Part`. Closing the iterator ends the thread that reads ahead."""
        if order is None:
            return self.part.batches(size, start=start)
        return self.part.batches(size, seed=order.seed, epoch=order.epoch, start=start)
