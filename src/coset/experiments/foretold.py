"""What a calibrated plan is predicted to reach, how sure that is, and where biases alone are the better plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from coset.experiments.lean import Planned
from coset.experiments.plan_choices import Measured
from coset.planning.offer import rounded
from coset.planning.plan import Plan, Prediction
from coset.planning.signal import Signal
from coset.sizes import format_size
from coset.tasks import Metric


def by_signal(plans: Sequence[Planned], worth: float, signal: Signal, alone: Planned | None, metric: Metric) -> Plan:
    """The best of these plans with its prediction; or `alone`, if it is predicted to be as good.

    Args:
        plans: of tables.
        worth: of full tables of unlimited dim, on these data.
        signal: in them.
        alone: the model without tables, if there is one.
        metric: the score.
    """
    gain, best = max(
        ((signal.gained(worth * _share(one.plan)) - one.loss, one) for one in plans), key=lambda pair: pair[0]
    )
    plan, share = best.plan, _share(best.plan)
    found = Prediction(
        metric.label, _direction(metric), rounded(signal.alone), rounded(gain),
        rounded(signal.within(share, best.error)), _measured(signal),
    )  # fmt: skip
    if alone is None or gain > signal.least - alone.loss:
        return replace(plan, prediction=found)
    why = (
        f"within this budget, {named(alone.plan)} are as good as every table; take those: with tables, "
        f"{format_size(plan.bytes)} in all, the {metric.label} is predicted to be {gain:.4f} better"
    )
    error = rounded(signal.within(0.0, alone.error))
    return _without(alone.plan, why, replace(found, gain=rounded(-alone.loss), error=error))


def without_tables(alone: Planned, signal: Signal, metric: Metric, rarity: str = "") -> Plan:
    """The model without tables, where vectors gain nothing.

    Args:
        alone: that model.
        signal: in the data.
        metric: the score.
        rarity: how little there is to learn from, as the end of a sentence.
    """
    gained = (
        f"on training rows that were held out, vectors gain {_plain(signal.gain)} ± {signal.within(1.0):.4f} over the "
        f"{metric.label} of a bias for each id, {signal.alone:.4f}{rarity}"
    )
    if alone.saved:
        why = f"the budget leaves room for {named(alone.plan)}, and on these data tables would gain nothing: {gained}"
    else:
        why = f"on these data, {named(alone.plan)} are better than every table; take those: {gained}"
    found = Prediction(
        metric.label, _direction(metric), rounded(signal.alone), rounded(-alone.loss),
        rounded(signal.within(0.0, alone.error)), _measured(signal),
    )  # fmt: skip
    return _without(alone.plan, why, found)


def by_trainings(plan: Plan, measured: Measured, alone: Plan | None, metric: Metric) -> Plan:
    """The plan with its prediction by short trainings; or `alone`, if these show that it is as good.

    Args:
        plan: of tables, by measured losses.
        measured: by the trainings.
        alone: the model without tables, if there is one.
        metric: the score.
    """
    assert plan.loss is not None
    score, gain = None, None
    if measured.alone is not None:
        score, loss = measured.alone
        gain = rounded(loss - plan.loss)
    by = f"{measured.trainings} short trainings"
    found = Prediction(metric.label, _direction(metric), score, gain, rounded(2 * measured.residual), by, "score")
    if alone is None or score is None or gain is None or gain > measured.residual:
        return replace(plan, prediction=found)
    why = (
        f"on these data, {named(alone)} are better than every table; take those: in short trainings, the tables of "
        f"{format_size(plan.bytes)} in all gain {_plain(gain)} ± {found.error:.4f} over the {metric.label} of biases "
        f"alone, {score:.4f}"
    )
    return _without(alone, why, replace(found, gain=0.0))


def named(alone: Plan) -> str:
    """Biases alone, with their bytes, as part of a sentence."""
    return f"biases alone at {format_size(alone.bytes)}"


def _without(alone: Plan, why: str, found: Prediction) -> Plan:
    return replace(alone, why=f"{why}; {alone.why}" if alone.why else why, prediction=found)


def _share(plan: Plan) -> float:
    """What the tables of a plan keep of the gain of full ones."""
    assert plan.loss is not None
    return max(0.0, 1 - plan.loss)


def _measured(signal: Signal) -> str:
    return f"vectors in closed form, learned from {signal.rows:,} training rows and scored on others"


def _direction(metric: Metric) -> Literal["lower", "higher"]:
    return metric.better or "lower"


def _plain(value: float) -> str:
    """A number with a minus sign, and no sign where it rounds to 0."""
    return f"{np.round(value, 4) + 0.0:.4f}".replace("-", "−")
