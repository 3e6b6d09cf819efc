"""Recipes of clicks: DLRM and DCN on prepared logs."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from coset import settings
from coset.data.clicks import CRITEO_KAGGLE_CARDINALITIES, ClickData, write_sample, write_synthetic
from coset.data.clicks.choices import CHOICES
from coset.data.clicks.described import PARTS, PREPARED
from coset.data.clicks.labels import has_label
from coset.data.clicks.logs import BUILT_IN, TWIN, log_files
from coset.data.clicks.prepare import prepare
from coset.data.clicks.schema import ClickSchema, load_schema
from coset.data.clicks.settings import PrepareSettings
from coset.data.clicks.source import LogFile
from coset.data.clicks.ways import FOR_A_RUN, later
from coset.errors import InputError
from coset.experiments.progress import Progress, counted
from coset.experiments.task import Column, Measures, Options, Recipe, Row, RowSettings, Scored, overridden
from coset.files import path_of
from coset.methods import Method
from coset.schema import Component, Table
from coset.training.clicks.compress import CompressibleClicks
from coset.training.clicks.finished import FinishedClickRun
from coset.training.clicks.known import known_rows
from coset.training.clicks.run import Saving, execute
from coset.training.clicks.settings import ClickTrainingSettings
from coset.training.clicks.spec import READERS, ClickRunSpec, ModelChoice

_TRIAL_ROWS = 200_000


@dataclass(frozen=True)
class ClickSource:
    """Where clicks come from.

    Args:
        source: a prepared folder; or what is prepared first, in a folder beside the runs: a log, `criteo-kaggle`, or
            `synthetic-clicks`.
        schema: of a log: the name or the file of one (see `coset.data.clicks.load_schema`).
        prepare: how a log is prepared; see `PrepareSettings`.
        rows, cardinalities, skew, seed: of the synthetic twin.
    """

    source: str
    schema: str | None = None
    prepare: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 200_000
    cardinalities: tuple[int, ...] = CRITEO_KAGGLE_CARDINALITIES
    skew: float = 1.0
    seed: int = 0

    @property
    def is_prepared(self) -> bool:
        """Whether there is a prepared folder, if perhaps not a whole one."""
        return any((path_of(self.source) / name).exists() for name in (PREPARED, CHOICES))

    def load(self, beside: Path, progress: Any = None) -> ClickData:
        """The prepared data; what has to be prepared is put below `beside`, in a folder named by all choices, where
        the next run finds it.

        Raises:
            InputError: there are no such data, or they cannot be prepared.
        """
        if self.is_prepared:
            return ClickData.open(self.source)  # which says so where the preparation did not end
        # Of what is in the schema and the log as well, so that after a change of either it is another folder.
        choices = settings.plain(self) | self._contents()
        digest = hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()[:12]
        folder = beside / "prepared" / f"{Path(self.source).name.partition('.')[0]}-{digest}"
        if (folder / PREPARED).exists() and self.source == TWIN:
            return ClickData.open(folder)
        if self.source == TWIN:
            return write_synthetic(folder, self.rows, self.cardinalities, self.seed, skew=self.skew)
        return self._prepared(folder, progress)

    def _contents(self) -> dict[str, Any]:
        if self.source == TWIN:
            return {}
        schema = None if self.schema is None else settings.plain(load_schema(self.schema))
        try:
            files = log_files(self.source)
        except InputError as error:
            if self.source in BUILT_IN:
                raise InputError(f"{error}; or take its synthetic twin, by --set data.source={TWIN}") from None
            raise
        # The time of its last change, too: a large log is not read for it, and may have changed in the middle alone.
        found = [LogFile(shard).fingerprint() | {"changed": shard.path.stat().st_mtime_ns} for shard in files]
        return {"schema": schema, "files": found}

    def _prepared(self, folder: Path, progress: Any) -> ClickData:
        chosen = settings.make(PrepareSettings, self.prepare, "prepare")
        found = prepare(self.source, folder, self.schema, chosen, resume=True, progress=progress, ways=FOR_A_RUN)
        for hint in found["hints"]:
            warnings.warn(f"{self.source}: {hint}", stacklevel=2)
        return ClickData.open(folder)


@dataclass(frozen=True)
class ClicksRecipe(Recipe):
    """An experiment on clicks. A seed sets initial weights and an order of rows, the same for all rows of the
    comparison; the split is that of the prepared data.

    Args:
        data: see `ClickSource`.
        model: see `ModelChoice`.
        training: see `ClickTrainingSettings`.
    """

    data: ClickSource
    model: ModelChoice = field(default_factory=ModelChoice)
    training: ClickTrainingSettings = field(default_factory=ClickTrainingSettings)

    task: ClassVar[str] = "clicks"
    sections: ClassVar[tuple[str, ...]] = ("data", "model", "training")
    measures: ClassVar[Measures] = Measures(
        metrics=("val_logloss", "val_auc", "val_calibration", "val_normalised_entropy", "train_logloss"),
        score="val_logloss", train="train_logloss", label="log-loss", article="a", long="log-loss", interval=True,
        costs=True,
        columns=(Column("val_auc", "AUC", spread=True),),
    )  # fmt: skip
    readers: ClassVar[settings.Readers] = READERS

    def load(self, beside: Path, progress: Any = None) -> ClickData:
        """The prepared data."""
        return self.data.load(beside, progress)

    def fingerprint(self, data: ClickData) -> dict[str, Any]:
        """That of the prepared data."""
        return data.fingerprint

    def anywhere(self) -> ClicksRecipe:
        """Without its `[data]`."""
        return replace(self, data=ClickSource(""))

    def encoded(self, data: ClickData, seed: int) -> ClickData:
        """The data, which are the same for every seed."""
        return data

    def numbered(self, given: RowSettings) -> None:
        """Nothing, as prepared data are numbered already."""
        if given.order is not None:
            raise InputError(
                f"row {given.name!r}: order is of recipes of ratings; ids of prepared data have their order"
            )

    def tables(self, model: ModelChoice, encoded: ClickData) -> Sequence[Table]:
        """One for each feature."""
        return model.tables(encoded.features)

    def dims(self, model: ModelChoice) -> Sequence[int]:
        """That of the model, as its layers are made for it."""
        return (model.embedding_dim,)

    def components(self, model: ModelChoice, methods: Mapping[str, Method], encoded: ClickData) -> list[Component]:
        """Those of the tables; layers are counted by themselves."""
        return model.components(encoded.features, methods)

    def steps(self, row: Row, encoded: ClickData) -> int:
        """Batches of all epochs."""
        training: ClickTrainingSettings = row.training
        return training.epochs * -(-encoded.parts["training"] // training.batch_size)

    def execute(
        self, row: Row, seed: int, folder: Path, data: ClickData, encoded: ClickData, options: Options,
        on_step: Callable[[int], None],
    ) -> dict[str, Any]:  # fmt: skip
        """See `coset.training.clicks.run.execute`."""
        return execute(
            ClickRunSpec(row.model, row.methods, row.training, seed), folder, data,
            resume=options.resume, engine=options.engine, saving=Saving(**options.checkpoints),
            tensorboard=options.tensorboard, keep_state=options.keep_state, on_step=on_step,
        )  # fmt: skip

    def trial(self, data: ClickData, beside: Path) -> tuple[ClicksRecipe, ClickData]:
        """One epoch on the first rows of the training part, 200,000 at most, the last 5 % of which validate."""
        folder = beside / "calibration" / f"sample-{data.fingerprint['digest'][:12]}"
        sample = ClickData.open(folder) if (folder / PREPARED).exists() else write_sample(folder, data, _TRIAL_ROWS)
        return self.override("training", {"epochs": 1, "patience": None}), sample

    def facts(self, data: ClickData, encoded: ClickData) -> dict[str, Any]:
        """Sizes of both parts and of every feature; the last evaluation is reported, or the best where training may
        end early."""
        how = data.facts.get("settings", {})
        kept = {
            name: how[name] for name in ("split", "validation", "min_frequency", "max_size", "hashing") if name in how
        }
        return {
            "dataset": data.name,
            "synthetic": data.synthetic,
            "noise_floor": data.facts.get("best_log_loss"),
            "measures": self.measures.to_json(),
            "split": {
                **kept,
                "training_rows": data.parts["training"],
                "validation_rows": data.parts["validation"],
                "features": {feature.name: feature.num_embeddings for feature in data.features},
            },
            "protocol": {
                "reported": "the validation part",
                "epoch": "last" if self.training.patience is None else "best",
                "model": settings.plain(self.model),
                "training": settings.plain(self.training),
            },
        }

    @classmethod
    def scored(cls, run: Path, asked: Scored) -> dict[str, Any]:
        """Log-loss, AUC, calibration and normalised entropy of a finished run."""
        if any(asked.columns.values()):
            raise InputError(f"{run} is a run on clicks; names of columns are for ratings")
        finished = FinishedClickRun.load(run)
        with tempfile.TemporaryDirectory(prefix="coset-later-") as folder:
            data, _ = read_like(finished, run, asked, Path(folder) / "prepared")
            own = finished.is_own(data)
            part = asked.part or ("validation" if own and data.parts["validation"] else "all")
            if part != "all" and not own and not data.parts[part]:
                raise InputError(
                    f"{asked.source}: not the data that {run} was trained on, so no rows of it are its {part} part; "
                    f"leave --part out"
                )
            metrics = finished.evaluate(data, part)
            known = None if own else _known(finished, run, asked, data, part)
        rows = sum(data.parts.values()) if part == "all" else data.parts[part]
        return {"run": str(run), "dataset": data.name, "synthetic": data.synthetic, "own": own, "part": part,
                "rows": rows, "trained_on": finished.metrics["rows"]["training"], "known": known,
                **metrics}  # fmt: skip

    @classmethod
    def predictions(cls, run: Path, asked: Scored) -> Iterator[Any]:
        """Probabilities of clicks, beside the label if there is one, and the number of the row: in a log, whose rows
        come in their order; or in the part of prepared data that stands before it."""
        import polars

        if any(asked.columns.values()):
            raise InputError(f"{run} is a run on clicks; names of columns are for ratings")
        finished = FinishedClickRun.load(run)
        with tempfile.TemporaryDirectory(prefix="coset-later-") as folder:
            parts = PARTS if asked.part is None or asked.part == "all" else (asked.part,)
            data, labelled = read_like(
                finished, run, asked, Path(folder) / "prepared", unlabelled=True, own=parts != PARTS
            )
            in_order = data.facts.get("like") is not None  # all of whose rows are in one part
            for part in parts:
                row = 1
                for labels, probabilities in finished.predict(data, part):
                    rows = range(row, row + len(labels))
                    row = rows.stop
                    clicked = {"label": labels.astype(np.int8)} if labelled else {}
                    place = {"row": rows} if in_order else {"part": [part] * len(labels), "row": rows}
                    yield polars.DataFrame({**place, **clicked, "prediction": probabilities})

    @classmethod
    def train_on(
        cls, run: Path, out: Path, training: Mapping[str, Any], source: str | None, options: Options, progress: Progress
    ) -> dict[str, Any]:
        """A click model."""
        finished = FinishedClickRun.load(run)
        data = finished.own_data(run, source)
        spec = replace(finished.spec, training=overridden(finished.spec.training, training, "training"))
        steps = spec.training.epochs * -(-data.parts["training"] // spec.training.batch_size)
        progress.begin(steps)
        with counted(progress, str(run), steps) as on_step:
            metrics = execute(
                spec, out, data, resume=options.resume, engine=options.engine, saving=Saving(**options.checkpoints),
                tensorboard=options.tensorboard, after=run, keep_state=options.keep_state, on_step=on_step,
            )  # fmt: skip
        return {"dataset": data.name, "synthetic": data.synthetic, **metrics}

    @classmethod
    def compressible(cls, run: Path, source: str | None = None) -> CompressibleClicks:
        """A click model."""
        return CompressibleClicks(run, source)


def _known(finished: FinishedClickRun, run: Path, asked: Scored, data: ClickData, part: str) -> int | None:
    """How many of the rows that were scored are equal to rows that the run was trained on; None where these are not at
    hand."""
    try:
        trained = finished.own_data(run, asked.data)
    except InputError:
        return None
    chosen = PARTS if part == "all" else (part,)
    return known_rows([data.part(name) for name in chosen], trained.part("training"))


def read_like(
    finished: FinishedClickRun, run: Path, asked: Scored, folder: Path, *, unlabelled: bool = False, own: bool = True
) -> tuple[ClickData, bool]:
    """Prepared data as they are; a log, by the vocabularies of the data that the run was trained with, prepared in
    `folder`. Where that shows that the rows are those that the run was trained with, its `own` data, which have parts.
    And whether the rows have labels, as they must unless `unlabelled`."""
    if asked.source is None:
        return finished.own_data(run, asked.data), True
    labelled = True
    if (path_of(asked.source) / PREPARED).exists():
        data = ClickData.open(asked.source)
    else:
        trained = finished.own_data(run, asked.data)
        if unlabelled and "schema" in trained.facts:
            schema = settings.make(ClickSchema, trained.facts["schema"], "schema")
            labelled = all(has_label(LogFile(shard), schema) for shard in log_files(asked.source))
        ways = later(trained.folder, labelled=labelled)
        prepare(asked.source, folder, like=trained.folder, unlabelled=not labelled, ways=ways)
        data = ClickData.open(folder, str(asked.source))
    again = own and data.facts.get("like") is not None and finished.is_own(data)
    return finished.own_data(run, asked.data) if again else data, labelled
