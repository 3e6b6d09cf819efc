"""What the histories of a comparison say that its table does not: rows that overfit, that were trained too short, whose
vectors learned nothing, or that are behind what needs no training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

TABLES = "full", "narrow", "compressed"
"""Groups of rows with vectors."""
_NOTICED = 2e-3
"""Changes of a score by less than this share of it are noise."""
_SAME = 2e-4
"""Scores within this share of each other are the same."""
_LATE = 0.8
"""The part of the epochs after which a row that still gains was trained too short."""


def remarks(results: Mapping[str, Any]) -> list[str]:
    """Sentences on the rows of a comparison, one for each kind of fault that some of them have."""
    said, rows = results["measures"], results["rows"]
    trained = [row for row in rows if row["history"]]
    found = []
    if over := [row["name"] for row in trained if _overfits(row, said)]:
        found.append(
            f"Overfitted: {_listed(over)}. Validation {said['label']} was best before the last epochs and got worse "
            f"from there, while that of training rows got better; train for fewer epochs, or shrink more."
        )
    if short := [row["name"] for row in trained if row["name"] not in over and _gains(row, said)]:
        found.append(
            f"Trained too short: {_listed(short)}. Validation {said['label']} still got better in the last epochs; "
            f"train for more."
        )
    if idle := _idle(rows, said):
        found.append(
            f"No vectors learned: {_listed(idle)}. {'It ends' if len(idle) == 1 else 'They end'} where biases alone do."
        )
    plain = [row for row in rows if row["group"] == "baseline" and _mean(row, said) is not None]
    if plain:
        best = min(plain, key=lambda row: _worse(_mean(row, said), said))
        limit = _worse(_mean(best, said), said)
        behind = [row["name"] for row in trained if _noticed(_worse(_mean(row, said), said) - limit, limit)]
        if behind:
            which = "every row" if len(behind) == len(trained) > 1 else _listed(behind)
            found.append(f"Behind {best['name']}, which needs no training: {which}.")
    return found


def _idle(rows: Sequence[Mapping[str, Any]], said: Mapping[str, Any]) -> list[str]:
    """The rows with vectors that score as biases alone do, where others do not."""
    known = [row for row in rows if _mean(row, said) is not None]
    alone = [_mean(row, said) for row in known if row["group"] == "bias"]
    others = [row for row in known if row["group"] in TABLES]
    same = [
        row["name"] for row in others
        if any(abs(_worse(_mean(row, said), said) - _worse(of, said)) <= _SAME * abs(of or 0.0) for of in alone)
    ]  # fmt: skip
    return same if len(same) < len(others) else []


def remarks_of_run(metrics: Mapping[str, Any]) -> list[str]:
    """The same sentences on one run, from its metrics."""
    row = {"name": metrics["name"], "group": "full", "history": [metrics["history"]], "metrics": {}}
    return remarks({"measures": metrics["measures"], "rows": [row]})


def _overfits(row: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    """Whether validation ends worse than it was, while training went on to get better."""
    validation, training = (list(_curve(row, said[name], said)) for name in ("score", "train"))
    if len(validation) < 2:
        return False
    best = min(range(len(validation)), key=validation.__getitem__)
    return _noticed(validation[-1] - validation[best], validation[best]) and training[-1] < training[best]


def _gains(row: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    """Whether validation still gets better at the end."""
    validation = list(_curve(row, said["score"], said))
    at = int(_LATE * (len(validation) - 1))
    return len(validation) > 2 and _noticed(validation[at] - validation[-1], validation[-1])


def _curve(row: Mapping[str, Any], name: str, said: Mapping[str, Any]) -> Iterator[float]:
    """The mean over the seeds at each evaluation that all have, as a number that is better when lower."""
    for evaluations in zip(*row["history"], strict=False):
        values = [of.get(name) for of in evaluations]
        if any(value is None for value in values):
            return
        yield _worse(fmean(values), said)


def _noticed(change: float, of: float) -> bool:
    return change > _NOTICED * abs(of)


def _mean(row: Mapping[str, Any], said: Mapping[str, Any]) -> float | None:
    found: float | None = (row["metrics"].get(said["score"]) or {}).get("mean")
    return found


def _worse(value: float | None, said: Mapping[str, Any]) -> float:
    """A number that grows as the score gets worse."""
    assert value is not None
    return -value if said["better"] == "higher" else value


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
