"""A run: one model trained on one data set with one seed, in a folder that any later moment can continue from.

run.json                      all choices, and a fingerprint of the data
user.safetensors, item.safetensors   the vocabularies
checkpoint.safetensors        after every epoch, gone when the run is done
model.safetensors             the artifact: the trained model
optimizer.safetensors         the state of the optimizer, if it is kept, so that training may go on from it
metrics.json                  written last; a run that has it is done (`seal.py` ties them together)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coset import ledger, settings
from coset.data.encoded import Encoded, look_up
from coset.data.loading import DATASETS
from coset.data.ratings import Ratings
from coset.data.settings import DataSettings, SplitSettings, VocabularySettings, prepare
from coset.data.shards import is_given
from coset.data.vocabulary import Vocabulary
from coset.errors import InputError
from coset.files import claimed, expanded, read_json, write_json
from coset.methods import Method, from_json
from coset.models.dot import DotModel, DotSettings
from coset.schema import Component, Table
from coset.training import checkpoint
from coset.training.folder import host, nothing_kept_of_divergence, refuse_others, versions
from coset.training.further import Beginning, epochs_of
from coset.training.fused import Engine
from coset.training.loop import Interactions, Trainer
from coset.training.metrics import Errors, evaluate
from coset.training.own import check_own, place_of
from coset.training.seal import METRICS, RUN, SCHEMA, State, opened, opened_state, write_finished
from coset.training.settings import TrainingSettings

VOCABULARIES = ("user.safetensors", "item.safetensors")


@dataclass(frozen=True)
class RunSpec:
    """All that the outcome of a run depends on, besides the data itself."""

    data: DataSettings
    split: SplitSettings
    vocabulary: VocabularySettings
    model: DotSettings
    methods: Mapping[str, Method]
    training: TrainingSettings
    seed: int

    def __post_init__(self) -> None:
        settings.check_range("a run's seed", self.seed, 0, settings.LARGEST_SEED)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {name: settings.plain(getattr(self, name)) for name in settings.fields(RunSpec)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> RunSpec:
        """What `to_json` wrote."""
        return settings.make(RunSpec, value, "run", {Method: from_json})

    def prepare(self, ratings: Ratings) -> Encoded:
        """Split and number the ratings."""
        return prepare(ratings, self.split, self.vocabulary, self.seed)

    def build(self, user: Vocabulary, item: Vocabulary, low: float, high: float, mean: float) -> DotModel:
        """The fresh model; `low`, `high` and `mean` are those of the training ratings."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return _build(self.model, self.methods, user, item, low, high, mean)


def tables_of(model: DotSettings, user: Vocabulary, item: Vocabulary) -> tuple[Table, Table]:
    """The tables that these vocabularies need in this model."""
    dim = max(1, model.embedding_dim)
    first, second = (
        Table(
            of.name, of.num_embeddings, dim, model.std,
            frequencies=of.frequencies, attributes=of.attributes or None,
        )
        for of in (user, item)
    )  # fmt: skip
    return first, second


def predicted_components(
    model: DotSettings, methods: Mapping[str, Method], user: Vocabulary, item: Vocabulary
) -> list[Component]:
    """What a model would store, with nothing allocated.

    Raises:
        InputError: a method that does not fit its table, or for a table that is not there.
    """
    low = model.low if model.low is not None else (model.high or 0.0) - 1.0  # any range will do
    with torch.device("meta"):
        return _build(model, methods, user, item, low, low + 1.0, low).components()


def _build(
    model: DotSettings, methods: Mapping[str, Method], user: Vocabulary, item: Vocabulary,
    low: float, high: float, mean: float,
) -> DotModel:  # fmt: skip
    chosen = replace(
        model,
        low=low if model.low is None else model.low,
        high=high if model.high is None else model.high,
    )
    return DotModel(*tables_of(model, user, item), methods, chosen, mean)


def execute(
    spec: RunSpec,
    folder: Path,
    ratings: Ratings,
    *,
    encoded: Encoded | None = None,
    resume: bool = False,
    engine: Engine = "auto",
    after: Path | None = None,
    keep_state: bool = False,
    on_step: Callable[[int], None] = lambda steps: None,
) -> dict[str, Any]:
    """Train `spec` in `folder`, or go on where an earlier process stopped, and return the metrics.

    Args:
        ratings: the data, already loaded.
        encoded: `spec.prepare(ratings)`, where the caller has it.
        resume: continue what the folder holds; without it the folder must not hold a run.
        engine: see `Trainer`; results are the same but for rounding.
        after: the folder of a finished run of the same data and model, which training goes on with: its epochs come
            before those of `spec`, whose schedule is for its own epochs alone. The state of its optimizer is gone on
            with where it was kept and the optimizer is the same. That folder stays as it is.
        keep_state: keep the state of the optimizer in `optimizer.safetensors`, so that `after` finds it.
        on_step: told the number of steps done, for progress.

    Raises:
        InputError: the folder holds a run and `resume` is false, or a run of other choices or other data.
        Diverged: the training did; of one that was begun here nothing is kept.
    """
    folder = Path(folder)
    with claimed(folder, "run.json", resume):
        about = {"schema": SCHEMA, "spec": spec.to_json(), "data": fingerprint(ratings)}
        before = None if after is None else _Before.load(after, spec)
        if before is not None:
            about["continued"] = asdict(before.beginning)
        if begun := (folder / RUN).exists():
            refuse_others(folder, read_json(folder / RUN), about)
        if (folder / METRICS).exists():
            with opened(folder) as finished:
                return finished.metrics
        encoded = encoded or spec.prepare(ratings)
        trainer, scale = _trainer(spec, encoded, engine, before)
        if not begun:  # not before it is sure that there can be a run of these choices
            write_json(folder / RUN, about)
        for name, vocabulary in zip(VOCABULARIES, (encoded.user, encoded.item), strict=True):
            vocabulary.save(folder / name)
        saved = folder / "checkpoint.safetensors"
        if saved.exists():
            tensors, header = checkpoint.load(saved, "checkpoint")
            refuse_others(folder, header["run"], about)
            trainer.restore(tensors, header)
            on_step(len(trainer.history) * trainer.steps_per_epoch)
        with nothing_kept_of_divergence(folder, begun):
            while not trainer.done:
                trainer.run_epoch(on_step)
                tensors, header = trainer.state()
                checkpoint.save(saved, "checkpoint", tensors, {**header, "run": about})
        history = [*(before.history if before else []), *trainer.history]
        state = State(*trainer.kept()) if keep_state else None
        metrics = finish(folder, about, trainer.model, scale, encoded, trainer.engine, history, state)
        saved.unlink(missing_ok=True)
        return metrics


def _trainer(
    spec: RunSpec, encoded: Encoded, engine: Engine, before: _Before | None
) -> tuple[Trainer, dict[str, float]]:
    """What trains the model of these choices, and the scale of the training ratings."""
    whole = Interactions(encoded.users, encoded.items, encoded.targets)
    training, validation = (
        whole.take(torch.from_numpy(rows)) for rows in (encoded.split.training, encoded.split.validation)
    )
    targets = training.targets.numpy()
    scale = {
        "low": float(targets.min()),
        "high": float(targets.max()),
        "mean": float(targets.mean(dtype=np.float64)),
    }
    if not scale["low"] < scale["high"] and (spec.model.low is None or spec.model.high is None):
        raise InputError(
            f"{encoded.ratings.name}: all training ratings are {scale['low']:g}, so there is nothing to learn"
        )
    model = spec.build(encoded.user, encoded.item, **scale)
    if before is None:
        return Trainer(model, training, validation, spec.training, spec.seed, engine=engine), scale
    model.load_state_dict(before.model.state_dict())
    begun = before.beginning.epochs
    trainer = Trainer(model, training, validation, spec.training, spec.seed, engine=engine, begun=begun)
    if before.state is not None:
        trainer.restore(*before.state)
    return trainer, scale


@dataclass(frozen=True)
class _Before:
    """The run that another one goes on with."""

    beginning: Beginning
    model: DotModel
    history: Sequence[Mapping[str, Any]]
    state: tuple[dict[str, torch.Tensor], dict[str, Any]] | None

    @staticmethod
    def load(folder: Path, spec: RunSpec) -> _Before:
        """The finished run in `folder`, for a training by `spec`."""
        state = None
        with opened(folder) as finished, opened_state(folder, finished) as saved:
            if saved is not None and saved.header["optimizer"] == spec.training.optimizer:
                state = {name: saved.tensor(name) for name in saved.names}, saved.header
            beginning = Beginning.of(folder, finished, epochs_of(finished.metrics), state is not None)
        run = FinishedRun.load(folder)
        return _Before(beginning, run.model, run.metrics["history"], state)


def finish(
    folder: Path, about: Mapping[str, Any], model: DotModel, scale: Mapping[str, float], encoded: Encoded, engine: str,
    history: Sequence[Mapping[str, Any]], state: State | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write the model and the metrics of a run whose vocabularies and `run.json` are there, and return the metrics."""
    components = model.components()
    metrics = {
        "parameters": ledger.parameters(components),
        "bytes": ledger.inference_bytes(components),
        "vocabulary_bytes": encoded.user.bytes + encoded.item.bytes,
        "engine": engine,
        "rows": {"training": len(encoded.split.training), "validation": len(encoded.split.validation)},
        "history": list(history),
        "host": host(),
        "versions": versions(),
    }
    write_finished(folder, about, model.state_dict(), {"scale": dict(scale)}, metrics, VOCABULARIES, state)
    return metrics


@dataclass(frozen=True)
class FinishedRun:
    """A trained model with the vocabularies that number its ids.

    Args:
        about: what its `run.json` says.
        scale: of the training ratings: `low`, `high` and `mean`.
    """

    spec: RunSpec
    user: Vocabulary
    item: Vocabulary
    model: DotModel
    metrics: Mapping[str, Any]
    about: Mapping[str, Any] = field(repr=False)
    scale: Mapping[str, float]

    @staticmethod
    def load(folder: Path) -> FinishedRun:
        """The finished run in `folder`.

        Raises:
            InputError: as `coset.training.seal.opened`.
        """
        with opened(folder) as finished:
            saved, scale = finished.model, finished.model.header["scale"]
            spec = RunSpec.from_json(finished.about["spec"])
            user, item = (Vocabulary.load(Path(folder) / name) for name in VOCABULARIES)
            model = spec.build(user, item, **scale)
            model.load_state_dict({name: saved.tensor(name) for name in saved.names})
        return FinishedRun(spec, user, item, model.eval(), finished.metrics, finished.about, scale)

    def is_own(self, ratings: Ratings) -> bool:
        """Whether these are the ratings that the run was made of, whatever is known of users and items besides."""
        found, own = fingerprint(ratings), self.about["data"]
        return (found["rows"], found["sha256"]) == (own["rows"], own["sha256"])

    def own_ratings(self, folder: Path, source: str | None = None) -> Ratings:
        """The ratings that the run was made of.

        Args:
            folder: of the run, for the words of errors.
            source: where they are now; where they were, by default.

        Raises:
            InputError: they are not there, or are others.
        """
        where = self.own_source(folder, source)
        try:
            ratings = replace(self.spec.data, source=where).load(timed=self.spec.split.timed)
        except InputError as error:
            if source is None and Path(where).exists() and not (Path(where).is_file() or Path(where).is_dir()):
                raise InputError(
                    f"{error}; {folder} was trained on what came by it: say where that is by --data"
                ) from None
            raise error from None
        check_own(fingerprint(ratings) == self.about["data"], where, folder, source)
        return ratings

    def of_data_at(self, source: str | None) -> RunSpec:
        """Its choices, for a run of the same data, which were moved to `source`."""
        return self.spec if source is None else replace(self.spec, data=replace(self.spec.data, source=source))

    def own_source(self, folder: Path, moved: str | None = None) -> str:
        """Where the ratings that the run was made of are: `moved`, or else where they were.

        Raises:
            InputError: nothing is there any more; names the `folder` of the run.
        """

        def is_there(source: str) -> bool:
            return source in DATASETS or is_given(expanded(source))

        return place_of(folder, self.spec.data.source, moved, is_there)

    def evaluate(self, ratings: Ratings) -> Errors:
        """Errors on any ratings of the same schema.

        Raises:
            InputError: an id that the vocabulary does not know and refuses.
        """
        return evaluate(self.model, *look_up(ratings, self.user, self.item))


def fingerprint(ratings: Ratings) -> dict[str, Any]:
    """What tells one data set from another: its size, a hash of its columns and, where it has attributes, of those."""
    found = hashlib.sha256()
    for column in (ratings.users, ratings.items, ratings.ratings):
        _hash(found, column)
    whole = {"rows": len(ratings), "sha256": found.hexdigest()}
    if ratings.times is not None:
        found = hashlib.sha256()
        _hash(found, ratings.times)
        whole["times"] = found.hexdigest()
    if ratings.user_attributes is None and ratings.item_attributes is None:
        return whole
    found = hashlib.sha256()
    for role, attributes in (("user", ratings.user_attributes), ("item", ratings.item_attributes)):
        columns = [] if attributes is None else [("", attributes.ids), *sorted(attributes.columns.items())]
        for name, column in columns:
            found.update(json.dumps([role, name, column.dtype.kind, len(column)]).encode())
            _hash(found, column)
    return whole | {"attributes": found.hexdigest()}


def _hash(found: Any, column: np.ndarray) -> None:
    if column.dtype == object:
        found.update("\0".join(map(str, column)).encode("utf-8", "surrogatepass"))
    else:
        found.update(np.ascontiguousarray(column).data)
