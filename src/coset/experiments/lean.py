"""Plans that store less beside their tables, such as one bias for all rare ids, and so more in them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from coset.errors import InfeasibleBudget
from coset.planning.plan import Plan
from coset.planning.planner import Planner
from coset.planning.signal import Leaner
from coset.sizes import format_size

_MOST = 5
"""Leaner models that are planned for one budget."""
_WORTH = 0.02
"""Of the budget: savings below this change no plan."""


@dataclass(frozen=True)
class Planned:
    """A plan that may store less beside its tables.

    Args:
        plan: that fits the budget.
        loss: by how much the score is worse as it stores less.
        saved: bytes.
        error: the standard error of the loss.
    """

    plan: Plan
    loss: float = 0.0
    saved: int = 0
    error: float = 0.0

    def explained(self, why: str) -> Plan:
        """The plan of a model without tables, with the beginning of a sentence on it."""
        more = f"; {self.plan.why}" if self.plan.why else ""
        return replace(self.plan, why=f"{why} biases alone at {format_size(self.plan.bytes)}{more}")


@dataclass(frozen=True)
class Lean:
    """A leaner model.

    Args:
        saved: bytes that it stores less beside its tables.
        option: its settings and its loss.
    """

    saved: int
    option: Leaner

    def planned(self, plan: Plan) -> Planned:
        """A plan for a budget of `saved` more bytes, as that of the leaner model."""
        found = replace(
            plan, bytes=plan.bytes - self.saved, other_bytes=plan.other_bytes - self.saved,
            model=dict(self.option.model), why=self.option.why,
        )  # fmt: skip
        return Planned(found, self.option.loss, self.saved, self.option.error)


def with_tables(planner: Planner, budget: int, leaner: Sequence[Lean]) -> list[Planned]:
    """Plans of tables within a budget: that of the whole model, if there is one, and those of a few leaner ones.

    Args:
        planner: of the tables, with all that is stored beside them.
        budget: bytes of the whole model.
        leaner: models to choose from.
    """
    found = []
    with suppress(InfeasibleBudget):
        found.append(Planned(planner.plan(budget)))
    for one in few(leaner, budget):
        with suppress(InfeasibleBudget):
            found.append(one.planned(replace(planner.plan(budget + one.saved), budget=budget)))
    return found


def few(leaner: Sequence[Lean], budget: int) -> list[Lean]:
    """The models that no other beats in loss with as many bytes saved, spread over these.

    Example:
        >>> option = Leaner({}, loss=0.1, why="")
        >>> [one.saved for one in few([Lean(10, option), Lean(30, option), Lean(1, option)], budget=100)]
        [30]
    """
    kept: list[Lean] = []
    for one in sorted(leaner, key=lambda one: (-one.saved, one.option.loss)):
        if one.saved >= _WORTH * budget and (not kept or one.option.loss < kept[-1].option.loss):
            kept.append(one)
    if len(kept) <= _MOST:
        return kept
    return [kept[round(at * (len(kept) - 1) / (_MOST - 1))] for at in range(_MOST)]
