"""What the histories of a comparison say that its table does not: rows that overfit, that were trained too short, whose
vectors learned nothing, that are behind a baseline, or whose predictions are worth nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

TABLES = "full", "narrow", "compressed"
"""Groups of rows with vectors."""
_NOTICED = 2e-3
"""Changes of a score by less than this share of it are noise, and so are those"""
_NOTHING = 1e-4
"""by less than this share of the worst score of all rows, where all but that are near 0."""
_SAME = 2e-4
"""Scores within this share of each other are the same."""
_LATE = 0.8
"""The part of the epochs after which a row that still gains was trained too short."""
_FEW = 100
"""Updates in all that are too few for any model."""


def remarks(results: Mapping[str, Any], without: bool = False) -> list[str]:
    """Sentences on the rows of a comparison, one for each kind of fault that some of them have.

    Args:
        without: whether it is said already that a model without vectors is enough. That rows with vectors overfit,
            learn nothing or are behind is then the same fact again.
    """
    said, rows = results["measures"], results["rows"]
    trained, least = [row for row in rows if row["history"]], _least(rows, said)
    over = [row["name"] for row in trained if _overfits(row, said, least)]
    enough = said.get("few_updates", _FEW)
    few = {
        row["name"]: steps for row in trained
        if (steps := _steps(row)) is not None and 0 < steps < enough and _might_gain(row, said, least)
    }  # fmt: skip
    short = [row["name"] for row in trained if row["name"] not in {*over, *few} and _gains(row, said, least)]
    found = []
    if over and not without:
        more = f", or shrink more ({said['shrinkage']})" if said.get("shrinkage") else ""
        found.append(
            f"Overfitted: {_listed(over)}. Validation {said['label']} was best before the last epochs and got worse "
            f"from there, while that of training rows got better; train for fewer epochs (--epochs){more}."
        )
    if few:
        which = "every row" if len(few) == len(trained) > 1 else _listed(list(few))
        counts = sorted(set(few.values()))
        many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        found.append(
            f"Trained too short: {which}, by {many} update{'' if counts[-1] == 1 else 's'} in all; train for more "
            f"epochs (--epochs), or in smaller batches (training.batch_size)."
        )
    if short:
        found.append(
            f"Trained too short: {_listed(short)}. Validation {said['label']} still got better in the last epochs; "
            f"train for more (--epochs)."
        )
    found += _unsound(trained, said)
    if without:
        return found
    if idle := _idle(rows, said):
        found.append(
            f"No vectors learned: {_listed(idle)}. {'It ends' if len(idle) == 1 else 'They end'} where biases alone do."
        )
    plain = [row for row in rows if row["group"] == "baseline" and _mean(row, said) is not None]
    if plain:
        best = min(plain, key=lambda row: _worse(_mean(row, said), said))
        limit = _worse(_mean(best, said), said)
        behind = [row["name"] for row in trained if _noticed(_worse(_mean(row, said), said) - limit, limit, least)]
        if behind:
            which = "every row" if len(behind) == len(trained) > 1 else _listed(behind)
            why = "which needs no training" if best.get("seconds_per_epoch") is None else "which is fitted in seconds"
            found.append(f"Behind {best['name']}, {why}: {which}.")
    return found


def _unsound(rows: Sequence[Mapping[str, Any]], said: Mapping[str, Any]) -> Iterator[str]:
    """Rows whose reported model no one should use, by metrics that have values of sound models."""
    for metric in said["metrics"]:
        if not metric.get("sound"):
            continue
        low, high = metric["sound"]
        values = [(row["name"], (row["metrics"].get(f"val_{metric['name']}") or {}).get("mean")) for row in rows]
        if beyond := [
            f"{name} ({value:.4g})" for name, value in values if value is not None and not low <= value <= high
        ]:
            yield f"{metric['unsound']} (validation {metric['label']}): {_listed(beyond)}."


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
    history, reported = metrics["history"], metrics["reported"]
    row = {
        "name": metrics["name"],
        "group": "full",
        "history": [history],
        "metrics": {name: {"mean": value} for name, value in history[reported].items()},
        "training": {"patience": len(history) - 1 - reported or None},  # an earlier model is kept for that alone
    }
    return remarks({"measures": metrics["measures"], "rows": [row]})


def _overfits(row: Mapping[str, Any], said: Mapping[str, Any], least: float) -> bool:
    """Whether validation ends worse than it was, while training went on to get better."""
    validation, training = (list(_curve(row, said[name], said)) for name in ("score", "train"))
    kept_best = (row.get("training") or {}).get("patience") is not None
    if len(validation) < 2 or kept_best:
        return False
    best = min(range(len(validation)), key=validation.__getitem__)
    worse = _noticed(validation[-1] - validation[best], validation[best], least)
    return worse and training[-1] < training[best]


def _gains(row: Mapping[str, Any], said: Mapping[str, Any], least: float) -> bool:
    """Whether validation still gets better at the end."""
    validation = list(_curve(row, said["score"], said))
    at = int(_LATE * (len(validation) - 1))
    return len(validation) > 2 and _noticed(validation[at] - validation[-1], validation[-1], least)


def _might_gain(row: Mapping[str, Any], said: Mapping[str, Any], least: float) -> bool:
    """Whether validation still gets better at the end, or too few evaluations tell."""
    return len(list(_curve(row, said["score"], said))) < 3 or _gains(row, said, least)


def _steps(row: Mapping[str, Any]) -> int | None:
    """The most updates of a seed; None where they are not known."""
    return max((of[-1]["step"] for of in row["history"] if of and "step" in of[-1]), default=None)


def _least(rows: Sequence[Mapping[str, Any]], said: Mapping[str, Any]) -> float:
    """The least change of a score that is none of rounding."""
    firsts = [value for row in rows for value in _curve(row, said["score"], said)]
    ends = [of for row in rows if (of := _mean(row, said)) is not None]
    return _NOTHING * max(map(abs, (*firsts, *ends)), default=0.0)


def _curve(row: Mapping[str, Any], name: str, said: Mapping[str, Any]) -> Iterator[float]:
    """The mean over the seeds at each evaluation that all have, as a number that is better when lower."""
    for evaluations in zip(*row["history"], strict=False):
        values = [of.get(name) for of in evaluations]
        if any(value is None for value in values):
            return
        yield _worse(fmean(values), said)


def _noticed(change: float, of: float, least: float) -> bool:
    return change > max(_NOTICED * abs(of), least)


def _mean(row: Mapping[str, Any], said: Mapping[str, Any]) -> float | None:
    found: float | None = (row["metrics"].get(said["score"]) or {}).get("mean")
    return found


def _worse(value: float | None, said: Mapping[str, Any]) -> float:
    """A number that grows as the score gets worse."""
    assert value is not None
    return -value if said["better"] == "higher" else value


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
