"""What a plan may choose from, and who measures losses for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from coset import settings
from coset.errors import InputError
from coset.planning.curves import Curve

if TYPE_CHECKING:
    from coset.tasks.registry import AnyTask


@dataclass(frozen=True)
class Planning:
    """What a plan may choose from.

    Args:
        methods: names of methods; those that the planner takes by itself, by default.
        embedding_dims: dims of the model; by default all that its task allows.
        optimizer: that the recipe trains with, one of `coset.optimizers`, whose state is within the budget, too.
        calibrate: whether losses are measured by short trainings on the training part, in place of foretold.
        alpha: no choice by losses, but the alpha-power rule by table with this exponent (`coset.planning.alpha`).
    """

    methods: tuple[str, ...] = ()
    embedding_dims: tuple[int, ...] = ()
    optimizer: str | None = None
    calibrate: bool = False
    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.alpha is not None and (self.methods or self.embedding_dims or self.optimizer or self.calibrate):
            raise InputError(
                "a plan by alpha follows a rule: leave out methods, embedding_dims, optimizer and calibrate"
            )

    @staticmethod
    def of(said: object, where: str) -> Planning:
        """What a recipe says: `true`, or a table of fields.

        Raises:
            InputError: anything else; the message begins with `where`.

        Example:
            >>> Planning.of({"methods": ["full", "low_rank"]}, "plan").methods
            ('full', 'low_rank')
        """
        if said is True:
            return Planning()
        if not isinstance(said, Mapping):
            raise InputError(
                f"{where} must be true, a table of what it may choose from, or the name of a file, not {said!r}"
            )
        return settings.make(Planning, said, where)


class Calibration(Protocol):
    """Measures the losses of the tables of a task's model, for plans that may choose from these."""

    def __call__(self, task: AnyTask, how: Planning) -> Mapping[str, Curve]: ...
