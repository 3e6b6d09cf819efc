"""A finished run on clicks: its model, on any data that were prepared with the same vocabularies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coset.data.clicks import ClickData, ClickPart, Feature
from coset.data.clicks.described import PARTS, PREPARED
from coset.errors import InputError
from coset.files import path_of
from coset.models.base import ClickModel
from coset.schema import EXTRA
from coset.training import checkpoint
from coset.training.clicks.loop import evaluate
from coset.training.clicks.spec import ClickRunSpec
from coset.training.own import check_own, place_of
from coset.training.seal import opened

_ROWS = 4096  # predicted at once


def described(data: ClickData) -> dict[str, Any]:
    """What a run must know of its data: what they are, and what a model needs of their columns to be built again."""
    features = [[of.name, of.num_embeddings, of.multi_hot] for of in data.features]
    content = data.facts.get("content")  # of the log, if there was one
    return {**data.fingerprint, "content": content, "numeric": list(data.numeric), "features": features}


@torch.no_grad()
def fill(model: ClickModel, saved: checkpoint.Saved) -> None:
    """Give a model the values of a saved one, with one tensor at a time in memory twice.

    Raises:
        InputError: it was saved from another model.
    """
    state = model.state_dict()  # which brings tables up to date that an optimizer owns
    if state.keys() != set(saved.names):
        raise InputError(f"{saved.path}: not of the model that its choices describe")
    told = [name for name in state if name.endswith(EXTRA)]
    model.load_state_dict({name: saved.tensor(name) for name in told}, strict=False)  # which checks what tables are
    for name, value in state.items():
        if name not in told:
            value.copy_(saved.tensor(name))


@dataclass(frozen=True)
class FinishedClickRun:
    """A trained click model.

    Args:
        about: what its `run.json` says.
    """

    spec: ClickRunSpec
    model: ClickModel
    metrics: Mapping[str, Any]
    about: Mapping[str, Any] = field(repr=False)

    @property
    def data(self) -> Mapping[str, Any]:
        """What is known of the data that it was trained with."""
        described: Mapping[str, Any] = self.about["data"]
        return described

    @staticmethod
    def load(folder: Path) -> FinishedClickRun:
        """The finished run in `folder`.

        Raises:
            InputError: as `coset.training.seal.opened`.
        """
        with opened(folder) as finished:
            spec, data = ClickRunSpec.from_json(finished.about["spec"]), finished.about["data"]
            features = [Feature(name, rows, multi_hot) for name, rows, multi_hot in data["features"]]
            model = spec.build(features, len(data["numeric"]))
            fill(model, finished.model)
        return FinishedClickRun(spec, model.eval(), finished.metrics, finished.about)

    def own_data(self, folder: Path, source: str | None = None) -> ClickData:
        """The prepared data that the run was trained with.

        Args:
            folder: of the run, for the words of errors.
            source: where they are now; where they were, by default.

        Raises:
            InputError: they are not there, or are others.
        """

        def is_prepared(place: str) -> bool:
            return (path_of(place) / PREPARED).exists()

        besides = " and numbers ids by its vocabularies"
        data = ClickData.open(place_of(folder, self.metrics["prepared"], source, is_prepared, besides))
        check_own(described(data) == self.data, data.folder, folder, source)
        return data

    def is_own(self, data: ClickData) -> bool:
        """Whether data are those that it was trained with, or all of their rows, in order, prepared once more by their
        vocabularies, out of whatever files."""
        if data.fingerprint["digest"] == self.data["digest"]:
            return True
        content = data.facts.get("content")
        return data.facts.get("like") == self.data["digest"] and content is not None and content == self.data["content"]

    def predict(self, data: ClickData, part: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Labels and probabilities of clicks of the rows of a part, in order, some at a time.

        Raises:
            InputError: as `evaluate`, but for a part without rows.
        """
        refuse_other_columns(self.data, data)
        chosen = data.part(part)
        chosen.check()
        return _probabilities(self.model, chosen)

    def evaluate(self, data: ClickData, part: str) -> dict[str, float | None]:
        """Metrics on a part of any data prepared with the same vocabularies, or on `"all"` rows.

        Raises:
            InputError: the data have other columns, are damaged, or hold numbers that the model overflows at; or the
                part has no rows.
        """
        refuse_other_columns(self.data, data)
        chosen = [data.part(name) for name in (PARTS if part == "all" else (part,))]
        if not any(map(len, chosen)):
            raise InputError(f"{data.where}: the {part} part has no rows")
        for each in chosen:
            each.check()
        found = evaluate(self.model, *chosen)
        if wrong := [name for name, value in found.items() if value is not None and not isfinite(value)]:
            raise InputError(
                f"{data.where}: the {wrong[0]} of the {part} part is {found[wrong[0]]}; it has numbers far beyond "
                f"those that this run was trained with"
            )
        return found


def _probabilities(model: ClickModel, part: ClickPart) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    names = tuple(model.tables.features)
    for batch in part.batches(_ROWS):
        with torch.no_grad():
            logits = model(batch.numeric, batch.features(names))
        yield batch.labels.numpy(), torch.sigmoid(logits.double()).numpy()


def refuse_other_columns(trained: Mapping[str, Any], data: ClickData) -> None:
    """Raise an `InputError` unless `data` have the columns that a model was trained with."""
    given = described(data)
    for what in ("numeric", "features"):
        if given[what] != trained[what]:
            stray = next((x for x in given[what] if x not in trained[what]), given[what])
            raise InputError(
                f"{data.where}: other {what} than this run was trained with ({stray} among them); prepare these data "
                f"by coset prepare --like, with those that it was trained with"
            )
    # Made-up data have no vocabularies: an id is itself in all of them.
    if "schema" in data.facts and trained["digest"] not in (given["digest"], data.facts.get("like")):
        raise InputError(
            f"{data.where}: prepared with other vocabularies than those of this run; prepare these data by coset "
            f"prepare --like, with those that it was trained with"
        )
