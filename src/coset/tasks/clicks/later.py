"""Metrics and predictions of a finished run for rows: its own, or those of a log prepared with its vocabularies."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from coset import settings
from coset.data.clicks import ClickBatch, ClickData, ClickPart
from coset.data.clicks.described import PREPARED
from coset.data.clicks.labels import has_label
from coset.data.clicks.logs import log_files
from coset.data.clicks.prepare import prepare
from coset.data.clicks.schema import ClickSchema
from coset.data.clicks.source import LogFile
from coset.data.clicks.ways import later
from coset.documents import Json
from coset.errors import InputError
from coset.files import path_of
from coset.models.base import ClickModel
from coset.tasks.base import Task
from coset.tasks.clicks.known import known_rows
from coset.tasks.clicks.rows import ClickRows
from coset.tasks.later import Scored, Trained
from coset.tasks.metric import Scores
from coset.tasks.own import check_own, place_of
from coset.tasks.rows import PARTS

if TYPE_CHECKING:
    import polars

Run = Trained[ClickModel]
_ROWS = 4096  # predicted at once


class LaterClicks(Task[ClickData, ClickData, ClickModel, ClickBatch]):
    """The part of the task on clicks that is about finished runs."""

    def own_data(self, run: Trained[ClickModel], moved: str | None = None) -> ClickData:
        """The prepared data."""

        def is_prepared(place: str) -> bool:
            return (path_of(place) / PREPARED).exists()

        besides = "  and maps values to ids by its vocabularies"
        data = ClickData.open(place_of(run.folder, run.metrics["prepared"], moved, is_prepared, besides))
        check_own(described(data) == run.about["data"], data.folder, run.folder, moved)
        return data

    def scored(self, run: Run, asked: Scored) -> Json:
        """Log-loss, AUC, calibration and normalised entropy."""
        _refuse_columns(run, asked)
        with tempfile.TemporaryDirectory(prefix="coset-later-") as folder:
            data, _ = self._read_like(run, asked, Path(folder) / "prepared")
            own = is_own(run, data)
            part = asked.part or ("validation" if own and data.parts["validation"] else "all")
            if part != "all" and not own and not data.parts[part]:
                raise InputError(
                    f"{asked.source}: not the data that {run.folder} was trained on, so no rows of it are its {part} "
                    f"part; leave --part out"
                )
            metrics = self.evaluated(run, data, part)
            known = None if own else self._known(run, asked, data, part)
        rows = sum(data.parts.values()) if part == "all" else data.parts[part]
        return {"run": str(run.folder), "dataset": data.name, "synthetic": data.synthetic, "own": own, "part": part,
                "rows": rows, "trained_on": run.metrics["rows"]["training"], "known": known, **metrics}  # fmt: skip

    def predictions(self, run: Run, asked: Scored) -> Iterator[polars.DataFrame]:
        """Probabilities of clicks, with the label if there is one and the number of the row: in the log, or in the part
        of prepared data that the first column names."""
        import polars

        _refuse_columns(run, asked)
        with tempfile.TemporaryDirectory(prefix="coset-later-") as folder:
            parts = PARTS if asked.part is None or asked.part == "all" else (asked.part,)
            data, labelled = self._read_like(run, asked, Path(folder) / "prepared", unlabelled=True, own=parts != PARTS)
            in_order = data.facts.get("like") is not None  # all of whose rows are in one part
            refuse_other_columns(run, data)
            for part in parts:
                row = 1
                chosen = data.part(part)
                chosen.check()
                for labels, probabilities in _probabilities(run.model, chosen):
                    rows = range(row, row + len(labels))
                    row = rows.stop
                    clicked = {"label": labels.astype(np.int8)} if labelled else {}
                    place = {"row": rows} if in_order else {"part": [part] * len(labels), "row": rows}
                    yield polars.DataFrame({**place, **clicked, "prediction": probabilities})

    def evaluated(self, run: Run, data: ClickData, part: str) -> Scores:
        """Metrics on a part of any data prepared with the same vocabularies, or on `"all"` rows.

        Raises:
            InputError: the data have other columns, are damaged, or hold numbers that the model overflows at; or the
                part has no rows.
        """
        refuse_other_columns(run, data)
        chosen = [data.part(name) for name in (PARTS if part == "all" else (part,))]
        if not any(map(len, chosen)):
            raise InputError(f"{data.where}: the {part} part has no rows")
        for each in chosen:
            each.check()
        found = self.evaluate(run.model, *map(ClickRows, chosen))
        if wrong := [name for name, value in found.items() if value is not None and not isfinite(value)]:
            raise InputError(
                f"{data.where}: the {wrong[0]} of the {part} part is {found[wrong[0]]}; it has numbers far beyond "
                f"those that this run was trained with"
            )
        return found

    def _known(self, run: Run, asked: Scored, data: ClickData, part: str) -> int | None:
        """How many of the scored rows equal rows that the run was trained on; None where its data are missing."""
        try:
            trained = self.own_data(run, asked.data)
        except InputError:
            return None
        chosen = PARTS if part == "all" else (part,)
        return known_rows([data.part(name) for name in chosen], trained.part("training"))

    def _read_like(
        self, run: Run, asked: Scored, folder: Path, *, unlabelled: bool = False, own: bool = True
    ) -> tuple[ClickData, bool]:
        """The data to score, and whether their rows have labels, as they must unless `unlabelled`. Prepared data are
        opened; a log is prepared in `folder` with the vocabularies of the run. Where the rows turn out to be those of
        the run, its `own` data are returned, which have parts."""
        if asked.source is None:
            return self.own_data(run, asked.data), True
        labelled = True
        if (path_of(asked.source) / PREPARED).exists():
            data = ClickData.open(asked.source)
        else:
            trained = self.own_data(run, asked.data)
            if unlabelled and "schema" in trained.facts:
                schema = settings.make(ClickSchema, trained.facts["schema"], "schema")
                labelled = all(has_label(LogFile(shard), schema) for shard in log_files(asked.source))
            ways = later(trained.folder, labelled=labelled)
            prepare(asked.source, folder, like=trained.folder, unlabelled=not labelled, ways=ways)
            data = ClickData.open(folder, str(asked.source))
        again = own and data.facts.get("like") is not None and is_own(run, data)
        return self.own_data(run, asked.data) if again else data, labelled


def described(data: ClickData) -> Json:
    """What a run records of its data: their fingerprint, and the columns that a model is rebuilt for."""
    features = [[of.name, of.num_embeddings, of.multi_hot] for of in data.features]
    content = data.facts.get("content")  # of the log, if there was one
    return {**data.fingerprint, "content": content, "numeric": list(data.numeric), "features": features}


def is_own(run: Run, data: ClickData) -> bool:
    """Whether data are those that the run was trained on, or all of their rows, in order, prepared again with their
    vocabularies from any files."""
    trained = run.about["data"]
    if data.fingerprint["digest"] == trained["digest"]:
        return True
    content = data.facts.get("content")
    return bool(data.facts.get("like") == trained["digest"] and content is not None and content == trained["content"])


def refuse_other_columns(run: Run, data: ClickData) -> None:
    """Raise an `InputError` unless `data` have the columns that a model was trained with."""
    given, trained = described(data), run.about["data"]
    for what in ("numeric", "features"):
        if given[what] != trained[what]:
            stray = next((x for x in given[what] if x not in trained[what]), given[what])
            raise InputError(
                f"{data.where}: other {what} than this run was trained with ({stray} among them); prepare these data "
                f"by coset prepare --like, with the data that it was trained on"
            )
    # Synthetic data have no vocabularies: their ids are the same in all of them.
    if "schema" in data.facts and trained["digest"] not in (given["digest"], data.facts.get("like")):
        raise InputError(
            f"{data.where}: prepared with other vocabularies than those of this run; prepare these data by coset "
            f"prepare --like, with the data that it was trained on"
        )


def _probabilities(model: ClickModel, part: ClickPart) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    names = tuple(model.tables.features)
    for batch in part.batches(_ROWS):
        with torch.no_grad():
            logits = model(batch.numeric, batch.features(names))
        yield batch.labels.numpy(), torch.sigmoid(logits.double()).numpy()


def _refuse_columns(run: Run, asked: Scored) -> None:
    if any(asked.columns.values()):
        raise InputError(f"{run.folder} is a run on clicks; names of columns are for ratings")
