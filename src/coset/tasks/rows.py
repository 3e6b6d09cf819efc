"""The rows that a trainer asks for in batches, sums over those that it has seen, and loops that take many at once."""

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
            start: how many batches to leave out, at no cost: to go on in the middle of an epoch.
        """
        ...


@dataclass
class Running:
    """Sums over the rows that a model learned from since the last evaluation; a checkpoint holds its fields.

    Args:
        rows: how many.
        loss: sum over them of what is made small, or of the part of it that the data have.
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

        However the batches of an epoch are shared among calls, the results are the same bits.
        """
        ...

    def settle(self) -> None:
        """Bring all that waits in a model up to date, so that it may be evaluated."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that further steps depend on besides the model, by name; not copies."""
        ...

    def restore(self, names: Iterable[str], tensor_of: Callable[[str], Tensor]) -> None:
        """Go back to a `state`, whose tensors `tensor_of` gives by name.

        Raises:
            InputError: it is of another way to train.
        """
        ...
