"""The contracts of the rows that a trainer reads in batches, of sums over them, and of loops that take many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from torch import Tensor

from coset.tasks.metric import Scores
from coset.tasks.settings import Order

BatchT_co = TypeVar("BatchT_co", bound="Batch", covariant=True)

PartName = Literal["training", "validation"]
PARTS: tuple[PartName, ...] = ("training", "validation")


class Batch(Protocol):
    """Some rows, as a model takes them."""

    def __len__(self) -> int: ...


class Part(Protocol[BatchT_co]):
    """The rows of a part of the data."""

    def __len__(self) -> int: ...

    def batches(self, size: int, order: Order | None = None, start: int = 0) -> Iterator[BatchT_co]:
        """Every row once, in batches of `size`, the last of which may be a smaller one.

        Args:
            order: of the rows; None for that of the file.
            start: how many batches to skip, at no cost, to continue in the middle of an epoch.
        """
        ...


@dataclass
class Running:
    """Sums over the training rows since the last evaluation; a checkpoint holds its fields.

    Args:
        rows: number of rows.
        loss: sum of the loss over them, without penalties.
    """

    rows: int = 0
    loss: float = 0.0

    def report(self) -> Scores:
        """Metrics of these rows, taken while the model learned."""
        return {"loss": self.loss / self.rows}


class FastSteps(Protocol):
    """Trains many batches in one call, to the same values as one step after the other but for rounding."""

    def run(self, order: Order | None, first: int, paces: Sequence[float], running: Running) -> None:
        """Take a step for each of `paces`, with the batches of an epoch from number `first` on.

        Results are the same bits however the batches of an epoch are divided into calls.
        """
        ...

    def settle(self) -> None:
        """Bring the model up to date, so that it may be evaluated."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that further steps depend on besides the model, by name; not copies."""
        ...

    def restore(self, names: Iterable[str], tensor_of: Callable[[str], Tensor]) -> None:
        """Go back to a `state`, whose tensors `tensor_of` gives by name.

        Raises:
            InputError: it is of another optimizer or of other tables.
        """
        ...
