"""`RatingsTask`: how a user rates an item, by matrix factorisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from coset import settings
from coset.data.encoded import Encoded
from coset.data.loading import DATASETS
from coset.data.ratings import Ratings
from coset.data.settings import DataSettings, SplitSettings, VocabularySettings, prepare
from coset.data.shards import is_given
from coset.data.vocabulary import Vocabulary
from coset.documents import Json
from coset.errors import InputError
from coset.files import expanded
from coset.methods import Method
from coset.models.axes import principal_axes
from coset.models.dot import DotModel, DotSettings, bias_table, rated_table
from coset.models.history import Histories, HistorySizes
from coset.models.ridge import RidgeBias, ridge_bias
from coset.planning.signal import Foretold, Leaner, Signal
from coset.progress import Progress
from coset.schema import Component, Table
from coset.tasks.baselines import Baseline
from coset.tasks.inspection import Inspection
from coset.tasks.later import Trained
from coset.tasks.metric import Metric
from coset.tasks.ratings import bits, tuning
from coset.tasks.ratings.advice import bounded
from coset.tasks.ratings.baselines import baselines
from coset.tasks.ratings.fast import FastDot, unfit
from coset.tasks.ratings.fingerprint import fingerprint
from coset.tasks.ratings.histories import histories
from coset.tasks.ratings.inspection import inspected
from coset.tasks.ratings.later import VOCABULARIES, LaterRatings, vocabularies
from coset.tasks.ratings.metrics import CHUNK, Errors
from coset.tasks.ratings.parts import Interactions, RatingsPart
from coset.tasks.ratings.penalty import penalty
from coset.tasks.ratings.served import revived, served
from coset.tasks.ratings.signal import signal
from coset.tasks.ratings.solver import solve
from coset.tasks.ratings.thrift import leaner, together
from coset.tasks.registry import register_task
from coset.tasks.rows import FastSteps, Part, PartName, Running
from coset.tasks.served import Served
from coset.tasks.settings import TrainingSettings
from coset.tasks.trials import Ends, Trials

_TRIAL_ROWS = 1_000_000
_TRAINING = TrainingSettings(epochs=12)


@register_task("ratings")
@dataclass(frozen=True)
class RatingsTask(LaterRatings):
    """Ratings of items by users. A seed sets a split, initial weights and an order of ratings.

    Args:
        data, split, vocabulary: see `coset.data.settings`.
        model: see `DotSettings`.
        training: see `TrainingSettings`; by default by `adam`, 12 epochs in batches of 1,024.
    """

    data: DataSettings
    split: SplitSettings = field(default_factory=SplitSettings)
    vocabulary: VocabularySettings = field(default_factory=VocabularySettings)
    model: DotSettings = field(default_factory=DotSettings)
    training: TrainingSettings = _TRAINING

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("mse", label="MSE", long="mean squared error", article="an"),
        Metric("mae", label="MAE", long="mean absolute error", article="an", shown=True),
    )
    row_sections: ClassVar[tuple[str, ...]] = ("model", "training", "vocabulary")
    files: ClassVar[tuple[str, ...]] = VOCABULARIES
    # Chosen on 5 % of the training part of MovieLens-1M, where a quarter does as well and all of it worse.
    finetune_share: ClassVar[float] = 0.5
    collection: ClassVar[str] = "embeddings"
    shrinkage: ClassVar[str] = "training.ridge, training.l2"
    solver_of_bits: ClassVar[str | None] = "posterior"
    attributes_from: ClassVar[str] = "; name their columns with --user-attribute and --item-attribute"

    @classmethod
    def default_training(cls) -> TrainingSettings:
        """Dense Adam."""
        return _TRAINING

    @property
    def way_out(self) -> str:
        """Without one bias an id."""
        return "; --set model.biases=false leaves the biases out" if self.model.biases else ""

    @classmethod
    def data_asked_for(cls, subject: str, columns: Json, schema: str | None, model: str | None) -> Json:
        """A file of rows and its columns."""
        if model is not None:
            raise InputError(
                f"{subject} holds ratings, and --model chooses a click model; leave it out (a click log needs --schema)"
            )
        if schema is not None:
            raise InputError(
                f"{subject}: --schema names the columns of a click log; name those of ratings by --user, --item and "
                f"--rating"
            )
        if subject not in DATASETS and not is_given(expanded(subject)):
            raise InputError(f"{subject}: no such file")
        return {"source": subject, **columns}

    # -- data --------------------------------------------------------------------------------------------------------

    def load(self, beside: Path, progress: Progress | None = None) -> Ratings:
        """The ratings."""
        return self.data.load(timed=self.split.timed)

    def fingerprint(self, data: Ratings) -> Json:
        """Size and hash of the columns."""
        return fingerprint(data)

    def anywhere(self) -> RatingsTask:
        """Without its `[data]`."""
        return replace(self, data=DataSettings(""))

    def encoded(self, data: Ratings, seed: int) -> Encoded:
        """The split of this seed, and ids."""
        return prepare(data, self.split, self.vocabulary, seed)

    def terms(self, data: Ratings) -> Sequence[str]:
        """The scale of errors of transformed ratings, and how many histories are cut."""
        return [*super().terms(data), *(bounded(data, self.model.history) if self.model.has_history else [])]

    def rows(self, encoded: Encoded) -> dict[str, int]:
        """Of the split."""
        return {"training": len(encoded.split.training), "validation": len(encoded.split.validation)}

    def part(self, encoded: Encoded, name: PartName) -> RatingsPart:
        """Ratings in memory."""
        rows = torch.from_numpy(getattr(encoded.split, name))
        return RatingsPart(Interactions(encoded.users, encoded.items, encoded.targets).take(rows))

    def check(self, encoded: Encoded) -> None:
        """Equal ratings teach nothing, unless the model knows their range."""
        low, high, _ = _scale(encoded).values()
        if not low < high and (self.model.low is None or self.model.high is None):
            ratings = encoded.ratings
            raise InputError(
                f"{ratings.source or ratings.name}: all {len(encoded.split.training):,} training ratings are {low:g}, "
                f"so there is nothing to learn; give another --seed, or more data"
            )

    def facts(self, data: Ratings, encoded: Encoded) -> Json:
        """Sizes of both parts and both vocabularies."""
        rows = self.rows(encoded)
        return {
            "dataset": data.name,
            "synthetic": data.synthetic,
            "noise_floor": data.noise_floor,
            "split": {
                **settings.plain(self.split),
                "training_rows": rows["training"],
                "validation_rows": rows["validation"],
                "users": encoded.user.num_embeddings,
                "items": encoded.item.num_embeddings,
            },
            "protocol": {
                "reported": "a slice of the training part" if self.split.tuning else "the validation part",
                "epoch": "last" if self.training.patience is None else "best",
                "vocabulary": settings.plain(self.vocabulary),
                "model": settings.plain(self.model),
                "training": settings.plain(self.training),
            },
        }

    def inspected(self, data: Ratings) -> Inspection:
        """All ratings, their users and their items."""
        return inspected(data)

    def trial(self, data: Ratings, beside: Path, seed: int) -> tuple[RatingsTask, Ratings]:
        """A quarter of the epochs on the training part, of a million ratings at most, 5 % of which validate."""
        parts = self.split.split(data, seed)
        if self.split.tuning:
            parts = parts.tuning(self.split.tuning, seed)
        rows = parts.training
        if len(rows) > _TRIAL_ROWS:
            rows = np.sort(np.random.default_rng([seed, 4]).permutation(rows)[:_TRIAL_ROWS])
        training = replace(self.training, epochs=-(-self.training.epochs // 4))
        split = replace(self.split, validation=0.05, tuning=0.0)
        return replace(self, training=training, split=split), data.select(rows)

    def tuned(self, names: Sequence[str], data: Ratings, seed: int, trials: Trials[Self, Ratings, Encoded]) -> Json:
        """`bias_ridge` in closed form, and other settings by short trainings."""
        tuning.check(names)
        encoded = trials.encoded(self, data)
        known = encoded.ratings.select(encoded.split.training)
        found: Json = {}
        if "bias_ridge" in names and self._adds_biases:
            found["bias_ridge"] = tuning.bias_ridge(encoded)
        if not self.model.embedding_dim or len(known) < tuning.FEWEST_ROWS:
            return found
        begin, some = replace(self.training, **found), tuning.sample(known, self.training.epochs, seed)
        model = replace(self.model, embedding_dim=min(tuning.DIM, self.model.embedding_dim))
        base = replace(self, split=SplitSettings(validation=tuning.HELD), model=model)
        try:
            base.check(trials.encoded(base, some))
        except InputError:  # nothing to learn from, or not two parts; all rows may hold more
            return found

        def curve(training: TrainingSettings, name: str, ends: Ends) -> Sequence[float]:
            # On a sample, fewer rows a step, so that it has steps enough.
            size = max(1, round(training.batch_size * (len(some) / len(known)) ** 0.5))
            training = replace(training, batch_size=size)
            return trials.curve(replace(base, training=training), some, name, ends)

        return {**found, **tuning.searched(names, begin, curve, len(some), len(known))}

    def signal(self, data: Ratings, seed: int, untuned: Sequence[str] = ()) -> Signal | None:
        """By factors of what biases leave, for a model that adds both."""
        if not self._adds_biases:
            return None
        split = self.split.split(data, seed)
        if self.split.tuning:
            split = split.tuning(self.split.tuning, seed)
        return signal(data, split, () if "bias_ridge" in untuned else self.training.bias_ridge, seed)

    def leaner(self, encoded: Encoded, signal: Signal | None) -> Sequence[Leaner]:
        """Biases that rare ids share."""
        by_frequency = {self.vocabulary.user_order, self.vocabulary.item_order} == {"frequency"}
        if not self.model.biases or self.model.bias_ids is not None or not by_frequency:
            return ()
        return leaner((encoded.user.frequencies, encoded.item.frequencies), signal)

    # -- models ------------------------------------------------------------------------------------------------------

    def tables(self, encoded: Encoded) -> Sequence[Table]:
        """That of the users, that of the items, and that of items in histories."""
        if not self.model.embedding_dim:
            return ()
        user, item = _tables(self.model, encoded.user, encoded.item)
        return (user, item, rated_table(item)) if self.model.has_history else (user, item)

    def dims(self) -> Sequence[int]:
        """All dims up to 16, and some 16 more up to that of the model, of which only tables depend on the dim; 0 where
        there are biases."""
        widest = self.model.embedding_dim
        first = 0 if self.model.biases else 1
        return sorted({*range(first, min(widest, 16) + 1), *range(widest, 16, -max(1, widest // 16))})

    def components(self, methods: Mapping[str, Method], encoded: Encoded) -> list[Component]:
        """Those of tables, biases, the mean and histories."""
        # The range does not matter here.
        low = self.model.low if self.model.low is not None else (self.model.high or 0.0) - 1.0
        sizes = self._history_sizes(encoded)
        with torch.device("meta"):
            return self._built(methods, encoded.user, encoded.item, low, low + 1.0, low, sizes).components()

    def baselines(self, encoded: Encoded) -> Sequence[Baseline]:
        """The constant and the ridge bias model."""
        return baselines(encoded, self.training.bias_ridge)

    def build(self, methods: Mapping[str, Method], encoded: Encoded) -> DotModel:
        """For the range of the training ratings, where `[model]` names no other."""
        sizes = self._history_sizes(encoded)
        model = self._built(methods, encoded.user, encoded.item, **_scale(encoded), histories=sizes)
        if model.histories is not None:
            model.histories.load_state_dict(histories(encoded, self.model.history).state_dict())
        if self.training.bias_ridge and self._adds_biases:
            model.begin(self.ridge_bias(encoded, self.training.bias_ridge), self.training.ridge)
        return model

    @property
    def _adds_biases(self) -> bool:
        """Whether a score is a rating that biases are added to, so that the ridge bias model is one of these."""
        return self.model.biases and self.model.output == "linear"

    def ridge_bias(self, encoded: Encoded, penalties: Sequence[float]) -> RidgeBias:
        """The ridge bias model of the training part."""
        rows = encoded.split.training
        users, items, targets = (of.numpy()[rows] for of in (encoded.users, encoded.items, encoded.targets))
        sizes = encoded.user.num_embeddings, encoded.item.num_embeddings
        found = ridge_bias(*together((users, items), self.model.bias_ids), targets, sizes, (penalties[0], penalties[1]))
        of = together((np.arange(sizes[0]), np.arange(sizes[1])), self.model.bias_ids)
        return replace(found, user=found.user[of[0]], item=found.item[of[1]])

    def beside(self) -> Mapping[str, str]:
        """Biases, unless rare ids share one, which says how they are stored."""
        return {"biases": "_bias"} if self.model.biases and self.model.bias_ids is None else {}

    def turned(self, model: DotModel) -> Mapping[str, Tensor]:
        """By the principal axes of the products, where these are all that vectors are for."""
        if model.embeddings is None or model.histories is not None:
            return {}
        user, item = (model.embeddings.tables[of.name] for of in (model.user, model.item))
        if not (user.method.row_per_id and item.method.row_per_id):
            return {}
        counts = (
            None if of.frequencies is None else torch.from_numpy(of.frequencies) for of in (model.user, model.item)
        )
        found = principal_axes(user.materialize(), item.materialize(), *counts)
        return {model.user.name: found.left, model.item.name: found.right}

    def stored(self, model: DotModel) -> tuple[list[Component], list[Component]]:
        """All of it."""
        return model.components(), []

    def _built(
        self, methods: Mapping[str, Method], user: Vocabulary, item: Vocabulary, low: float, high: float, mean: float,
        histories: HistorySizes | None,
    ) -> DotModel:  # fmt: skip
        chosen = replace(
            self.model,
            low=low if self.model.low is None else self.model.low,
            high=high if self.model.high is None else self.model.high,
        )
        packed = None if histories is None else Histories(histories)
        return DotModel(*_tables(self.model, user, item), methods, chosen, mean, packed)

    def _history_sizes(self, encoded: Encoded) -> HistorySizes | None:
        return histories(encoded, self.model.history).sizes if self.model.has_history else None

    def in_bits(self, encoded: Encoded, budget: int) -> tuple[int, Mapping[str, Method]]:
        """Those of `coset.tasks.ratings.bits`, for users, items and both biases."""
        dim, found, _ = self._bits(encoded, budget)
        user, item = _tables(self.model, encoded.user, encoded.item)
        names = {"user": user.name, "item": item.name, "user_bias": bias_table(user), "item_bias": bias_table(item)}
        return dim, {names[role]: method for role, method in found.items()}

    def score_in_bits(self, encoded: Encoded, budget: int) -> Foretold:
        """On a tenth of the training rows."""
        return self._bits(encoded, budget)[2]

    def _bits(self, encoded: Encoded, budget: int) -> tuple[int, Mapping[str, Method], Foretold]:
        if not self._adds_biases or not self.model.embedding_dim or self.model.has_history or self.model.bias_ids:
            raise InputError("bits are found for vectors beside biases of all ids (model.biases), with output 'linear'")
        scale = _scale(encoded)
        low, high = (scale[end] if (given := getattr(self.model, end)) is None else given for end in ("low", "high"))
        return bits.found(encoded, self.model.embedding_dim, budget, (high - low) / 4)

    # -- training ----------------------------------------------------------------------------------------------------

    def solve(self, model: DotModel, encoded: Encoded) -> None:
        """In closed form (`coset.tasks.ratings.solver`)."""
        if self.training.solver != "posterior":
            raise InputError(f"training: solver of ratings is 'posterior', not {self.training.solver!r}")
        solve(model, encoded)

    def running(self) -> Running:
        """Sums of squared and absolute errors."""
        return Errors()

    def loss(self, model: DotModel, batch: Interactions, running: Running) -> Tensor:
        """The mean squared error in the unit of the model, with L2 on all looked-up vectors."""
        assert isinstance(running, Errors)
        scores = model(batch.users, batch.items)
        gap: Tensor = scores.prediction - batch.targets
        running.add(gap)
        loss = (gap / model.unit).square().mean()
        held_back = penalty(model, self.training, scores, batch.users, batch.items)
        return loss if held_back is None else loss + held_back

    def evaluate(self, model: DotModel, *parts: Part[Interactions]) -> dict[str, float | None]:
        """Mean squared and mean absolute error."""
        found = Errors()
        for part in parts:
            for batch in part.batches(CHUNK):
                found.add(model.predict(batch.users, batch.items) - batch.targets)
        if not found.rows:
            raise InputError("there are no rows to evaluate on")
        return found.report()

    def fast_steps(self, model: DotModel, training: Part[Interactions]) -> FastSteps | None:
        """The kernels' loop, where every table is composed of rows."""
        if not isinstance(training, RatingsPart) or unfit(model, self.training) is not None:
            return None
        return FastDot(model, self.training, training)

    # -- runs --------------------------------------------------------------------------------------------------------

    def keep(self, folder: Path, encoded: Encoded) -> None:
        """The vocabularies."""
        for name, vocabulary in zip(VOCABULARIES, (encoded.user, encoded.item), strict=True):
            vocabulary.save(folder / name)

    def header(self, encoded: Encoded) -> Json:
        """The range and the mean of the training ratings, and the sizes of histories."""
        sizes = self._history_sizes(encoded)
        return {"scale": _scale(encoded), **({} if sizes is None else {"histories": asdict(sizes)})}

    def notes(self, encoded: Encoded) -> Json:
        """The size of the vocabularies."""
        return {"vocabulary_bytes": encoded.user.bytes + encoded.item.bytes}

    def served(self, run: Trained[DotModel]) -> Served:
        """The dot model, and both vocabularies."""
        return served(run.model, self.data, vocabularies(run.folder))

    @classmethod
    def revived(cls, model: Json, tables: Mapping[str, tuple[Table, Method]]) -> DotModel:
        """The dot model."""
        return revived(model, tables)

    def restored(self, methods: Mapping[str, Method], folder: Path, about: Json, header: Json) -> DotModel:
        """For the vocabularies in the folder."""
        sizes = HistorySizes(**header["histories"]) if self.model.has_history else None
        return self._built(methods, *vocabularies(folder), **header["scale"], histories=sizes)


def _tables(model: DotSettings, user: Vocabulary, item: Vocabulary) -> tuple[Table, Table]:
    dim = max(1, model.embedding_dim)
    first, second = (
        Table(
            of.name, of.num_embeddings, dim, model.std,
            frequencies=of.frequencies, attributes=of.attributes or None,
        )
        for of in (user, item)
    )  # fmt: skip
    return first, second


def _scale(encoded: Encoded) -> dict[str, float]:
    """The range and the mean of the training ratings."""
    targets = encoded.targets.numpy()[encoded.split.training]
    return {
        "low": float(targets.min()),
        "high": float(targets.max()),
        "mean": float(targets.mean(dtype=np.float64)),
    }
