"""What a plan may choose from, and the contract of what measures losses for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from coset import settings
from coset.errors import InputError
from coset.planning.curves import Curve
from coset.planning.proxy import Proxy
from coset.planning.signal import Signal

if TYPE_CHECKING:
    from coset.tasks.registry import AnyTask


@dataclass(frozen=True)
class Planning:
    """What a plan may choose from.

    Args:
        methods: names of methods; by default those that the planner tries by itself.
        embedding_dims: dims of the model; by default all that its task allows.
        optimizer: name of the recipe's optimizer, to count its state within the budget.
        calibrate: whether the prediction is calibrated on the training part: true by short trainings that measure
            losses, false not at all; by default in closed form where the task knows one, and else by trainings where
            these take less than a tenth of the one that they inform.
        storages: what numbers may be stored as besides the types of tables, by name; with `"packed"`, a task that finds
            bits by column and block does so, where nothing else is named.
        alpha: exponent of the alpha-power rule by table (`coset.planning.alpha`), which is used in place of losses.
    """

    methods: tuple[str, ...] = ()
    embedding_dims: tuple[int, ...] = ()
    optimizer: str | None = None
    calibrate: bool | None = None
    alpha: float | None = None
    storages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        others = self.methods, self.embedding_dims, self.optimizer, self.calibrate, self.storages
        if self.alpha is not None and any(others):
            raise InputError(
                "a plan by alpha follows a rule; leave out methods, embedding_dims, optimizer, calibrate and storages"
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


@dataclass(frozen=True)
class Measured:
    """What short trainings measured.

    Args:
        curves: the loss of every table, in units of the score.
        alone: the score of biases alone, and by how much it was worse than that of full tables of unlimited dim; None
            for models that need tables.
        residual: how far the curves are from what was measured, as a root mean square.
        trainings: how many there were.
    """

    curves: Mapping[str, Curve]
    alone: tuple[float, float] | None
    residual: float
    trainings: int


class Calibration(Protocol):
    """Measures what plans for the model of a task need to know of its data."""

    def signal(self, task: AnyTask) -> Signal | None:
        """What vectors are worth, in closed form; None where the task knows none."""
        ...

    def trained(self, task: AnyTask, how: Planning, proxy: Proxy, cheap: bool) -> Measured | None:
        """The losses of tables, by short trainings; None where these should be `cheap` and are not."""
        ...
