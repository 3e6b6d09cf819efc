"""Runs of a small recipe, and what there is to compare of their folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from coset.data import Ratings
from coset.data.encoded import look_up
from coset.data.settings import DataSettings, SplitSettings, VocabularySettings
from coset.methods import method
from coset.models.dot import DotSettings
from coset.tasks import TrainingSettings
from coset.tasks.ratings import Interactions, RatingsPart, RatingsTask
from coset.tasks.ratings.later import vocabularies
from coset.training import checkpoint, run
from coset.training.finished import FinishedRun
from coset.training.run import Options
from coset.training.spec import RunSpec


def execute(
    spec: Any, folder: Path, data: Any, *, after: Path | None = None, on_step: Any = None, **options: Any
) -> Any:
    told = {} if on_step is None else {"on_step": on_step}
    return run.execute(spec, folder, data, Options(**options), after=after, **told)


def spec_of(**choices: Any) -> RunSpec[Any, Any, Any, Any]:
    fields: dict[str, Any] = {
        "data": DataSettings("small.csv"),
        "split": SplitSettings(),
        "vocabulary": VocabularySettings(),
        "model": DotSettings(embedding_dim=4, biases=True, output="linear"),
        "methods": {"user": method("quotient_remainder", num_buckets=8)},
        "training": TrainingSettings(batch_size=128, epochs=4, learning_rate=0.01, schedule="cosine", l2=0.01),
        "seed": 3,
    }
    fields |= choices
    methods, seed = fields.pop("methods"), fields.pop("seed")
    return RunSpec(RatingsTask(**fields), methods, seed)


def evaluated(folder: Path, ratings: Ratings) -> dict[str, Any]:
    """Metrics of the finished run in a folder on any ratings."""
    found = FinishedRun.load(folder)
    rows = RatingsPart(Interactions(*look_up(ratings, *vocabularies(folder))))
    return dict(found.spec.task.evaluate(found.model, rows))


class Interrupted(Exception):
    """Stands for a kill."""


def interrupt_after(epochs: int) -> Callable[[int], None]:
    """Raise once so many epochs are computed and saved."""
    left = [epochs]

    def on_step(steps: int) -> None:
        if left[0] == 0:
            raise Interrupted
        left[0] -= 1

    return on_step


def bare(metrics: dict[str, Any]) -> dict[str, Any]:
    history = [{key: value for key, value in of.items() if key != "seconds"} for of in metrics["history"]]
    clock = ("digests", "peak_resident_bytes")
    return {name: of for name, of in metrics.items() if name not in clock} | {"history": history}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder / "model.safetensors", "model")[0]


def same_weights(left: Path, right: Path) -> bool:
    a, b = weights(left), weights(right)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
