"""What a run says of its quality: the metrics of its model, and their spread over the seeds of the same comparison."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from coset.documents import Json
from coset.errors import InputError
from coset.files import path_of
from coset.training.seal import METRICS, RUN, opened

_SEED = "seed-"
"""How folders of runs of a comparison begin, which stand side by side."""


def scores_of(folder: Path, about: Json, metrics: Json) -> Json:
    """The metrics of a run by name, its seed and rows; and where the runs of other seeds are beside it, as a comparison
    leaves them, `seeds`, and mean and standard deviation over all of them."""
    own, seed = _reported(metrics), about["spec"]["seed"]
    found = {"seed": seed, "rows": dict(metrics["rows"]), "metrics": own, "seeds": [seed], "spread": None}
    others = _others(path_of(folder), about)
    if others:
        every = {seed: own, **others}
        names = [name for name in own if all(of.get(name) is not None for of in every.values())]
        found["seeds"] = sorted(every)
        found["spread"] = {
            name: {"mean": fmean(values), "std": stdev(values)}
            for name in names
            if (values := [float(of[name]) for of in every.values()])
        }
    return found


def _reported(metrics: Json) -> dict[str, Any]:
    of: Mapping[str, Any] = metrics["history"][metrics["reported"]]
    return {name: value for name, value in of.items() if name.startswith(("train_", "val_"))}


def _others(folder: Path, about: Json) -> dict[int, dict[str, Any]]:
    """The metrics of finished runs of other seeds beside this one, by seed."""
    found: dict[int, dict[str, Any]] = {}
    if not folder.absolute().name.startswith(_SEED):
        return found
    for beside in sorted(folder.absolute().parent.glob(f"{_SEED}*")):
        if not (beside / METRICS).is_file() or not (beside / RUN).is_file():
            continue
        with suppress(InputError, OSError), opened(beside) as finished:
            seed = finished.about["spec"]["seed"]
            same = {**finished.about["spec"], "seed": about["spec"]["seed"]} == about["spec"]
            if same and seed != about["spec"]["seed"]:
                found[seed] = _reported(finished.metrics)
    return found
