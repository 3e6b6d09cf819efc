"""What a plan may choose from, and the contract of what measures losses for it."""

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
        methods: names of methods; by default those that the planner tries by itself.
        embedding_dims: dims of the model; by default all that its task allows.
        optimizer: name of the recipe's optimizer, to count its state within the budget.
        calibrate: whether short trainings on the training part measure losses, in place of the prediction.
        alpha: exponent of the alpha-power rule by table (`coset.planning.alpha`), which is used in place of losses.
    """

    methods: tuple[str, ...] = ()
    embedding_dims: tuple[int, ...] = ()
    optimizer: str | None = None
    calibrate: bool = False
    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.alpha is not None and (self.methods or self.embedding_dims or self.optimizer or self.calibrate):
            raise InputError(
                "a plan by alpha follows a rule; leave out methods, embedding_dims, optimizer and calibrate"
            )

    @staticmethod
    def of(said: object, where: str) -> Planning:
        """The choices in a recipe: `true`, or a table of fields.

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
