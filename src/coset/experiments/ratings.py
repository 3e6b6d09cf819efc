"""Recipes of ratings: matrix factorization with tables of users and items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from coset import settings
from coset.data import DATASETS, Encoded, Ratings, load_ratings
from coset.data.ids import are_text
from coset.data.pairs import Pairs, read_pairs
from coset.data.settings import DataSettings, SplitSettings, VocabularySettings
from coset.data.shards import is_given
from coset.errors import InputError
from coset.experiments.progress import Progress, counted
from coset.experiments.task import Column, Measures, Options, Recipe, Row, RowSettings, Scored, overridden
from coset.files import expanded
from coset.methods import Method, from_json
from coset.models.dot import DotSettings
from coset.schema import Component, Table
from coset.training.compress import CompressibleRatings
from coset.training.metrics import predicted
from coset.training.run import FinishedRun, RunSpec, execute, fingerprint, predicted_components, tables_of
from coset.training.settings import TrainingSettings

_TRIAL_ROWS = 1_000_000


@dataclass(frozen=True)
class RatingsRecipe(Recipe):
    """An experiment on ratings. A seed sets a split, initial weights and an order of ratings, the same for all rows.

    Args:
        data, split, vocabulary: see `coset.data.settings`.
        model: see `DotSettings`.
        training: see `TrainingSettings`.
    """

    data: DataSettings
    split: SplitSettings = field(default_factory=SplitSettings)
    vocabulary: VocabularySettings = field(default_factory=VocabularySettings)
    model: DotSettings = field(default_factory=DotSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    task: ClassVar[str] = "ratings"
    sections: ClassVar[tuple[str, ...]] = ("data", "split", "vocabulary", "model", "training")
    measures: ClassVar[Measures] = Measures(
        metrics=("val_mse", "val_mae", "train_mse", "train_mae"), score="val_mse", train="train_mse", label="MSE",
        article="an", long="mean squared error", columns=(Column("val_mae", "MAE"),),
    )  # fmt: skip
    readers: ClassVar[settings.Readers] = {Method: from_json}
    attributes_from: ClassVar[str] = "; name their columns with --user-attribute and --item-attribute"

    def spec(self, row: Row, seed: int) -> RunSpec:
        """The run of one row with one seed."""
        return RunSpec(self.data, self.split, row.vocabulary, row.model, row.methods, row.training, seed)

    def load(self, beside: Path, progress: Any = None) -> Ratings:
        """The ratings."""
        return self.data.load(timed=self.split.timed)

    def fingerprint(self, data: Ratings) -> dict[str, Any]:
        """Size and hash of the columns."""
        return fingerprint(data)

    def anywhere(self) -> RatingsRecipe:
        """Without its `[data]`."""
        return replace(self, data=DataSettings(""))

    def encoded(self, data: Ratings, seed: int) -> Encoded:
        """The split and the ids that all rows share for this seed."""
        return RunSpec(self.data, self.split, self.vocabulary, self.model, {}, self.training, seed).prepare(data)

    def numbered(self, given: RowSettings) -> VocabularySettings:
        """The `[vocabulary]`, or the order that a row wants."""
        if given.order is None:
            return self.vocabulary
        return replace(self.vocabulary, user_order=given.order, item_order=given.order)

    def tables(self, model: DotSettings, encoded: Encoded) -> Sequence[Table]:
        """That of the users and that of the items."""
        return tables_of(model, encoded.user, encoded.item) if model.embedding_dim else ()

    def dims(self, model: DotSettings) -> Sequence[int]:
        """All up to 16, and some 16 more up to that of the model: nothing but its tables has a dim."""
        widest = model.embedding_dim
        return sorted({*range(1, min(widest, 16) + 1), *range(widest, 16, -max(1, widest // 16))})

    def components(self, model: DotSettings, methods: Mapping[str, Method], encoded: Encoded) -> list[Component]:
        """Those of tables and biases."""
        return predicted_components(model, methods, encoded.user, encoded.item)

    def way_out(self, model: DotSettings) -> str:
        """Without one bias an id."""
        return "; --set model.biases=false leaves the biases out" if model.biases else ""

    def steps(self, row: Row, encoded: Encoded) -> int:
        """Batches of all epochs."""
        training: TrainingSettings = row.training
        return training.epochs * -(-len(encoded.split.training) // training.batch_size)

    def execute(
        self, row: Row, seed: int, folder: Path, data: Ratings, encoded: Encoded, options: Options,
        on_step: Callable[[int], None],
    ) -> dict[str, Any]:  # fmt: skip
        """See `coset.training.run.execute`."""
        _check(options)
        shared = encoded if row.vocabulary == self.vocabulary else None
        return execute(
            self.spec(row, seed), folder, data,
            encoded=shared, resume=options.resume, engine=options.engine, keep_state=options.keep_state,
            on_step=on_step,
        )  # fmt: skip

    def trial(self, data: Ratings, beside: Path) -> tuple[RatingsRecipe, Ratings]:
        """A quarter of the epochs on the training part, of a million ratings at most, 5 % of which validate."""
        parts = self.split.split(data, self.first_seed)
        if self.split.tuning:
            parts = parts.tuning(self.split.tuning, self.first_seed)
        rows = parts.training
        if len(rows) > _TRIAL_ROWS:
            rows = np.sort(np.random.default_rng([self.first_seed, 4]).permutation(rows)[:_TRIAL_ROWS])
        shorter = self.override("training", {"epochs": -(-self.training.epochs // 4)})
        return shorter.override("split", {"validation": 0.05, "tuning": 0.0}), data.select(rows)

    def facts(self, data: Ratings, encoded: Encoded) -> dict[str, Any]:
        """Sizes of both parts and both vocabularies; the last epoch is reported."""
        return {
            "dataset": data.name,
            "synthetic": data.synthetic,
            "noise_floor": data.noise_floor,
            "split": {
                **settings.plain(self.split),
                "training_rows": len(encoded.split.training),
                "validation_rows": len(encoded.split.validation),
                "users": encoded.user.num_embeddings,
                "items": encoded.item.num_embeddings,
            },
            "protocol": {
                "reported": "a slice of the training part" if self.split.tuning else "the validation part",
                "epoch": "last",
                "vocabulary": settings.plain(self.vocabulary),
                "model": settings.plain(self.model),
                "training": settings.plain(self.training),
            },
        }

    @classmethod
    def scored(cls, run: Path, asked: Scored) -> dict[str, Any]:
        """Errors of a finished run."""
        finished = FinishedRun.load(run)
        ratings = finished.own_ratings(run, asked.data) if asked.source is None else read_like(finished, asked)
        own = finished.is_own(ratings)
        part = asked.part or ("validation" if own else "all")
        rows = _part_of(finished, run, ratings, part, asked.source)
        errors = finished.evaluate(rows)
        known = None if own else _known(finished, run, asked, rows)
        return {"run": str(run), "dataset": ratings.name, "synthetic": ratings.synthetic, "own": own, "part": part,
                "rows": errors.count, "trained_on": finished.metrics["rows"]["training"], "known": known,
                "mse": errors.mse, "mae": errors.mae}  # fmt: skip

    @classmethod
    def predictions(cls, run: Path, asked: Scored) -> Iterator[Any]:
        """Ratings, beside user and item."""
        import polars

        finished = FinishedRun.load(run)
        own = finished.spec.data
        source = asked.source if asked.source is not None else finished.own_source(run, asked.data)
        names = {
            name: asked.columns.get(name) or getattr(own, name) for name in ("user", "item", "rating", "separator")
        }
        blocks: Iterable[Pairs]
        if asked.part in ("validation", "training"):
            ratings = finished.own_ratings(run, asked.data) if asked.source is None else read_like(finished, asked)
            blocks = [_pairs(_part_of(finished, run, ratings, asked.part, asked.source))]
        elif source in DATASETS:
            blocks = [_pairs(load_ratings(source, to_learn=False))]
        elif not is_given(path := expanded(source)):
            raise InputError(f"{source}: no such file")
        else:
            blocks = read_pairs(path, **names, rated=asked.columns.get("rating") is not None)
        first = 1
        for block in blocks:
            ids, columns = [], {}
            for vocabulary, raw in ((finished.user, block.users), (finished.item, block.items)):
                try:
                    ids.append(torch.from_numpy(vocabulary.lookup(raw, convert=True, first=first)))
                except InputError as error:
                    raise InputError(f"{source}: {error}") from None
                text = are_text(vocabulary.values) or vocabulary.unseen == "shared"  # any text may come then
                columns[vocabulary.name] = list(map(str, raw.tolist())) if text else raw.astype(np.int64)
            if block.ratings is not None:
                columns["rating"] = block.ratings
            columns["prediction"] = predicted(finished.model, *ids).numpy()
            first += len(block.users)
            yield polars.DataFrame(columns)

    @classmethod
    def train_on(
        cls, run: Path, out: Path, training: Mapping[str, Any], source: str | None, options: Options, progress: Progress
    ) -> dict[str, Any]:
        """A dot model."""
        _check(options)
        finished = FinishedRun.load(run)
        ratings = finished.own_ratings(run, source)
        spec = replace(finished.of_data_at(source), training=overridden(finished.spec.training, training, "training"))
        encoded = spec.prepare(ratings)
        steps = spec.training.epochs * -(-len(encoded.split.training) // spec.training.batch_size)
        progress.begin(steps)
        with counted(progress, str(run), steps) as on_step:
            metrics = execute(
                spec, out, ratings, encoded=encoded, resume=options.resume, engine=options.engine, after=run,
                keep_state=options.keep_state, on_step=on_step,
            )  # fmt: skip
        return {"dataset": ratings.name, "synthetic": ratings.synthetic, **metrics}

    @classmethod
    def compressible(cls, run: Path, source: str | None = None) -> CompressibleRatings:
        """A dot model."""
        return CompressibleRatings(run, source)


def _check(options: Options) -> None:
    """Raise an `InputError` for what is of click models."""
    if options.checkpoints or options.tensorboard:
        raise InputError(
            "ratings are trained with a checkpoint after every epoch and without event files; "
            "--checkpoint-every, --keep and --tensorboard are for click models"
        )


def _known(finished: FinishedRun, run: Path, asked: Scored, rows: Ratings) -> int | None:
    """How many rows equal one that the run was trained on, wherever they lie in their file; `None` where its data are
    not at hand."""
    try:
        encoded = finished.spec.prepare(finished.own_ratings(run, asked.data))
    except InputError:
        return None
    return rows.equal_to(encoded.ratings.select(encoded.split.training))


def _part_of(finished: FinishedRun, run: Path, ratings: Ratings, part: str, source: str | None) -> Ratings:
    """The rows of a part of the data that a run was made of, or all rows of any.

    Raises:
        InputError: other data, of which no rows are that part.
    """
    if part == "all":
        return ratings
    if not finished.is_own(ratings):
        raise InputError(
            f"{source}: not the data that {run} was trained on, so no rows of it are its {part} part; leave --part out"
        )
    if finished.spec.split.timed and ratings.times is None:
        ratings = finished.own_ratings(run, source)
    encoded = finished.spec.prepare(ratings)
    return encoded.ratings.select(getattr(encoded.split, part))


def _pairs(ratings: Ratings) -> Pairs:
    import polars

    return Pairs(ratings.users, ratings.items, polars.Series("rating", ratings.ratings))


def read_like(finished: FinishedRun, asked: Scored) -> Ratings:
    """The ratings of a file, by the columns and the separator of the run where it has them and none are given.

    No attributes: those that the run was trained with are in its vocabularies.
    """
    assert asked.source is not None
    given = {name: of for name, of in asked.columns.items() if of is not None}
    own = {name: getattr(finished.spec.data, name) for name in ("user", "item", "rating", "separator")}
    plain = DataSettings(asked.source, **given)
    if asked.source in DATASETS or not any(own.values()):
        return plain.load(to_learn=False)
    try:
        return DataSettings(asked.source, **(own | given)).load(to_learn=False)
    except InputError as error:
        if not given:  # a file of another form, whose columns may be found by themselves
            with suppress(InputError):
                return plain.load(to_learn=False)
        raise error from None
