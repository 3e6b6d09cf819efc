"""`ClicksTask`: whether a row of a log is a click, by DLRM or DCN."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from coset import ledger, settings
from coset.data.built_in import built_in
from coset.data.clicks import ClickBatch, ClickData, Feature, write_sample
from coset.data.clicks.choices import CHOICES
from coset.data.clicks.described import PREPARED
from coset.data.clicks.logs import is_log
from coset.data.shards import is_given
from coset.documents import Json
from coset.errors import InputError
from coset.files import path_of
from coset.methods import Method
from coset.models.base import ClickModel
from coset.progress import Progress
from coset.schema import Component, Table
from coset.tasks.baselines import Baseline
from coset.tasks.clicks import tuning
from coset.tasks.clicks.baselines import baselines
from coset.tasks.clicks.choice import ModelChoice
from coset.tasks.clicks.later import LaterClicks, described
from coset.tasks.clicks.metrics import ClickScores, Losses
from coset.tasks.clicks.rows import ClickRows
from coset.tasks.clicks.source import ClickSource
from coset.tasks.inspection import Inspection, summary_of
from coset.tasks.metric import Metric
from coset.tasks.registry import register_task
from coset.tasks.rows import PARTS, Part, PartName, Running
from coset.tasks.settings import TrainingSettings
from coset.tasks.trials import Trials

_ROWS = 4096  # evaluated at once, whatever the batch size, so that no digit of a metric depends on it
_TRIAL_ROWS = 200_000
_TRAINING = TrainingSettings(
    optimizer="row_wise_adagrad", learning_rate=0.02, dense_optimizer="Adam", dense_learning_rate=0.001,
    batch_size=2048, epochs=1,
)  # fmt: skip


@register_task("clicks")
@dataclass(frozen=True)
class ClicksTask(LaterClicks):
    """Clicks. A seed sets initial weights and an order of rows; the split is that of the prepared data.

    Args:
        data: see `ClickSource`.
        model: see `ModelChoice`.
        training: see `TrainingSettings`; by default by `row_wise_adagrad`, layers by Adam, one epoch.
    """

    data: ClickSource
    model: ModelChoice = field(default_factory=ModelChoice)
    training: TrainingSettings = _TRAINING

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("logloss", label="log-loss"),
        Metric("auc", better="higher", label="AUC", article="an", shown=True, spread=True),
        Metric("calibration", better=None, sound=(0.9, 1.1),
               unsound="Wrong by more than a tenth in how many clicks there are"),
        Metric("normalised_entropy", label="normalised entropy", sound=(0.0, 1.0),
               unsound="Worse than one probability for all rows, the share of clicks"),
    )  # fmt: skip
    costs: ClassVar[bool] = True
    # Click models are mostly trained for an epoch, and learn most of it in a few steps, where every id is still new.
    least_evaluations: ClassVar[int] = 1
    few_updates: ClassVar[int] = 10
    # Chosen on a synthetic twin of 150,000 rows, at 4, 10 and 33 times fewer bytes: at a fifth and more, large tables
    # memorise the rows that they have seen before.
    finetune_share: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        if given := [name for name in ("l2", "ridge", "bias_ridge") if getattr(self.training, name)]:
            raise InputError(
                f"training: {given[0]} is for ratings; a dense_optimizer such as AdamW decays the weights of layers"
            )
        if self.training.shuffle not in ("full", "none"):
            raise InputError(f"training: shuffle of clicks must be 'full' or 'none', not {self.training.shuffle!r}")

    @classmethod
    def default_training(cls) -> TrainingSettings:
        """Row-wise Adagrad, and Adam for layers."""
        return _TRAINING

    @classmethod
    def readers(cls) -> settings.Readers:
        """The settings of a model stand beside its name."""
        return {**super().readers(), ModelChoice: ModelChoice.from_json}

    @classmethod
    def claims(cls, subject: str, columns: Json, schema: str | None) -> bool:
        """A built-in set, a folder that `coset prepare` made, or a log, if a schema is named or the content is that of
        a log and no columns of ratings are named."""
        if schema is not None or subject in built_in(cls.name):
            return True
        folder = path_of(subject)
        if (folder / PREPARED).exists() or (folder / CHOICES).exists():
            return True
        return not any(columns.values()) and is_log(subject)

    @classmethod
    def data_asked_for(cls, subject: str, columns: Json, schema: str | None, model: str | None) -> Json:
        """A log and its schema."""
        if columns:
            raise InputError(
                f"{subject} is a click log: name its columns by --schema; --user, --item and --rating are for ratings"
            )
        if subject not in built_in(cls.name) and not is_given(subject):
            raise InputError(f"{subject}: no such file or folder")
        return {"source": subject, "schema": schema}

    # -- data --------------------------------------------------------------------------------------------------------

    def load(self, beside: Path, progress: Progress | None = None) -> ClickData:
        """The prepared data."""
        return self.data.load(beside, progress)

    def fingerprint(self, data: ClickData) -> Json:
        """That of the prepared data."""
        return data.fingerprint

    def anywhere(self) -> ClicksTask:
        """Without its `[data]`."""
        return replace(self, data=ClickSource(""))

    def encoded(self, data: ClickData, seed: int) -> ClickData:
        """The data, which are the same for every seed."""
        return data

    def rows(self, encoded: ClickData) -> dict[str, int]:
        """As they were prepared."""
        return dict(encoded.parts)

    def part(self, encoded: ClickData, name: PartName) -> ClickRows:
        """Rows on disk."""
        return ClickRows(encoded.part(name))

    def check(self, encoded: ClickData) -> None:
        """Columns must match their checksums, and both labels must occur."""
        for name in PARTS:
            encoded.part(name).check()
        labels = encoded.part("training").column("label")
        if len(labels) and (value := int(labels[0])) == labels.min() == labels.max():
            raise InputError(
                f"{encoded.folder}: every label of the training part is {value}, so there is nothing to learn; check "
                "which column the schema calls the label, and how the rows are split"
            )

    def facts(self, data: ClickData, encoded: ClickData) -> Json:
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

    def inspected(self, data: ClickData) -> Inspection:
        """The size of both parts, the numeric columns, and every feature."""
        return Inspection(
            data.name,
            sum(data.parts.values()),
            f"{summary_of(data.parts)}, {len(data.numeric)} numbers a row",
            self.tables(data),
            [of.name for of in data.features if of.multi_hot],
            synthetic=data.synthetic,
            noise_floor=data.facts.get("best_log_loss"),
            details={"parts": dict(data.parts), "numeric": list(data.numeric)},
        )

    def trial(self, data: ClickData, beside: Path, seed: int) -> tuple[ClicksTask, ClickData]:
        """One epoch on the first rows of the training part, 200,000 at most, the last 5 % of which validate."""
        folder = beside / "calibration" / f"sample-{data.fingerprint['digest'][:12]}"
        sample = ClickData.open(folder) if (folder / PREPARED).exists() else write_sample(folder, data, _TRIAL_ROWS)
        return replace(self, training=replace(self.training, epochs=1, patience=None)), sample

    def tuned(
        self, names: Sequence[str], data: ClickData, seed: int, trials: Trials[Self, ClickData, ClickData]
    ) -> Json:
        """`epochs`, by a short training on the first rows of the training part, the last of which judge. It stays as it
        is where there are fewer rows than `tuning.FEWEST_ROWS`, or full tables of more than `tuning.MOST_BYTES`; or all
        rows that teach or judge have one label, which a warning tells."""
        tuning.check(names)
        training, tables = data.parts["training"], ledger.inference_bytes(self.components({}, data))
        if "epochs" not in names or training < tuning.FEWEST_ROWS or tables > tuning.MOST_BYTES:
            return {}
        with tempfile.TemporaryDirectory(prefix="coset-slice-") as folder:
            rows = tuning.rows_of_trial(training)
            sample = write_sample(Path(folder) / "prepared", data, rows, tuning.HELD)
            if (same := tuning.one_class(sample)) is not None:
                warnings.warn(
                    f"{data.where}: of {rows:,} training rows that would choose how many epochs are best, the "
                    f"{same.rows:,} that {same.purpose} all have label {same.label}; the "
                    f"epochs stay {self.training.epochs} (--epochs sets them)",
                    stacklevel=2,
                )
                return {}
            trial = replace(self, training=replace(self.training, epochs=tuning.MOST_EPOCHS, patience=None))
            return {"epochs": tuning.best_epoch(trials.curve(trial, sample, "epochs", tuning.ends))}

    # -- models ------------------------------------------------------------------------------------------------------

    def tables(self, encoded: ClickData) -> Sequence[Table]:
        """One for each feature."""
        return self.model.tables(encoded.features)

    def dims(self) -> Sequence[int]:
        """That of the model, as its layers are made for it."""
        return (self.model.embedding_dim,)

    def components(self, methods: Mapping[str, Method], encoded: ClickData) -> list[Component]:
        """Those of the tables; layers are counted separately."""
        return self.model.components(encoded.features, methods)

    def baselines(self, encoded: ClickData) -> Sequence[Baseline]:
        """The base rate, and linear models by hashing."""
        return baselines(encoded)

    def build(self, methods: Mapping[str, Method], encoded: ClickData) -> ClickModel:
        """For the columns of the data, beginning at the share of clicks in their training part."""
        model = self.model.build(encoded.features, len(encoded.numeric), methods)
        rate = encoded.click_rate
        if rate is not None and 0 < rate < 1:  # others have nothing to learn, as `check` says
            model.begin(rate)
        return model

    def stored(self, model: ClickModel) -> tuple[list[Component], list[Component]]:
        """What the tables of a model store, and what its layers do."""
        every = model.components()
        tables = [component for component in every if component.key.startswith("tables.")]
        return tables, [component for component in every if not component.key.startswith("tables.")]

    # -- training ----------------------------------------------------------------------------------------------------

    def running(self) -> Losses:
        """Sums of log-losses and probabilities."""
        return Losses()

    def loss(self, model: ClickModel, batch: ClickBatch, running: Running) -> Tensor:
        """The mean log-loss."""
        assert isinstance(running, Losses)
        logits = model(batch.numeric, batch.features(_names(model)))
        running.add(logits, batch.labels)
        return binary_cross_entropy_with_logits(logits, batch.labels.to(logits.dtype))

    @torch.no_grad()
    def evaluate(self, model: ClickModel, *parts: Part[ClickBatch]) -> dict[str, float | None]:
        """Log-loss, AUC, calibration and normalised entropy."""
        model.eval()
        names = _names(model)
        scores = ClickScores(sum(map(len, parts)))
        for batch in chain.from_iterable(part.batches(_ROWS) for part in parts):
            scores.add(model(batch.numeric, batch.features(names)), batch.labels)
        return scores.report()

    # -- runs --------------------------------------------------------------------------------------------------------

    def described(self, data: ClickData) -> Json:
        """Their fingerprint, and the columns that a model is rebuilt for."""
        return described(data)

    def notes(self, encoded: ClickData) -> Json:
        """The size of the vocabularies, and where these are, for later logs."""
        size = sum(path.stat().st_size for path in (encoded.folder / "vocabularies").glob("*"))
        return {"vocabulary_bytes": size, "prepared": str(encoded.folder.resolve())}

    def restored(self, methods: Mapping[str, Method], folder: Path, about: Json, header: Json) -> ClickModel:
        """For the columns that the run was trained on."""
        features = [Feature(name, rows, multi_hot) for name, rows, multi_hot in about["data"]["features"]]
        return self.model.build(features, len(about["data"]["numeric"]), methods)


def _names(model: ClickModel) -> tuple[str, ...]:
    return tuple(model.tables.features)
