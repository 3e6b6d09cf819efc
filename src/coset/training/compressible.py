"""A finished run, opened with its data for compression."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic

from coset import ledger
from coset.documents import Json
from coset.engine.reading import by_torch_alone
from coset.errors import InputError
from coset.files import write_json
from coset.methods import Method, TableModule
from coset.planning.fits import Trained
from coset.storage.forms import pack_
from coset.tables.fitted import Fitted, fit_tables_
from coset.tables.owner import Tables
from coset.tasks import Task
from coset.tasks.importance import importance
from coset.tasks.rows import PARTS
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT
from coset.training.finished import FinishedRun
from coset.training.run import finish
from coset.training.seal import RUN
from coset.training.spec import RunSpec
from coset.training.trainer import EngineOption, Evaluation, Trainer


class CompressibleRun(Generic[DataT, EncodedT, ModelT, BatchT]):
    """A model with the data that it was trained on.

    Args:
        run: finished.
        moved: where its data are now, if not where they were.

    Attributes:
        tables: of its model, with frequencies.
        other_bytes: what counts as bytes of the model beside its tables.
        dataset: name of the data.
        synthetic: whether they are made up.

    Raises:
        InputError: a run without tables, or whose data have changed.
    """

    def __init__(self, run: FinishedRun[DataT, EncodedT, ModelT, BatchT], moved: str | None = None) -> None:
        task = run.spec.task
        data = run.own_data(moved)
        self._encoded = task.encoded(data, run.spec.seed)
        self._run, self._model = run, run.model
        self._spec: RunSpec[DataT, EncodedT, ModelT, BatchT] = (
            run.spec if moved is None else replace(run.spec, task=task.at(moved))
        )
        self.tables = task.tables(self._encoded)
        if not self.tables:
            raise InputError(f"{run.trained.folder}: a model of biases alone has no tables to compress")
        self.other_bytes = self.bytes - ledger.inference_bytes(self._collection(run.model).components())
        facts = task.facts(data, self._encoded)
        self.dataset, self.synthetic = str(facts["dataset"]), bool(facts["synthetic"])
        self._turned: ModelT | None = None
        self._engine: str = run.metrics["engine"]
        self._optimizer_bytes = 0

    @property
    def bytes(self) -> int:
        """Of the model as it is now."""
        return ledger.inference_bytes(self._spec.task.stored(self._model)[0])

    def steps(self, epochs: int) -> int:
        """Number of steps of so many epochs."""
        return replace(self._spec, task=self._finetuning(epochs)).steps(self._encoded)

    def trained(self) -> list[Trained]:
        """All that may be made smaller, biases too, with what errors cost: tables that the task can turn, turned, as
        `compress` takes them from then on."""
        if turned := self._spec.task.turned(self._model):
            model = deepcopy(self._model)
            for name, vectors in turned.items():
                self._collection(model).tables[name].fit_(vectors)
            self._turned = model
        modules = {name: of for name, of in self._modules(self._whole).items() if of.method.table_outputs == 1}
        costs = importance(self._spec.task, self._whole, self._encoded, modules)
        counts = {table.name: table.frequencies for table in self.tables}
        return [
            Trained(replace(of.table, name=name, frequencies=counts[of.table.name]), of.materialize(), costs[name])
            for name, of in modules.items()
        ]

    @property
    def kept_bytes(self) -> int:
        """Of what `trained` leaves out."""
        own = set(self._collection(self._model).tables._modules)
        beside = (of for name, of in self._modules(self._model).items() if name not in own)
        tables = ledger.inference_bytes(self._collection(self._model).components())
        return self.bytes - tables - sum(of.method.bytes(of.table) for of in beside)

    def compress(self, methods: Mapping[str, Method]) -> tuple[Fitted, ...]:
        """Replace the tables of the model by ones of these methods, by name (those not named are `full`, biases as they
        are), fitted to them; keeps all other parameters.

        Raises:
            InputError: a method does not fit its table, or its table does not exist.
        """
        tables = {table.name for table in self.tables}
        others = {name: how for name, how in self._spec.methods.items() if name not in tables}  # such as of biases
        self._spec = replace(self._spec, methods={**others, **methods})
        model = pack_(self._spec.build(self._encoded))
        fitted: list[Fitted] = []
        for attribute, suffix in self._collections.items():
            new, old = (of.get_submodule(attribute) for of in (model, self._whole))
            assert isinstance(new, Tables)
            assert isinstance(old, Tables)
            each = fit_tables_(new, old)
            fitted += [replace(of, name=of.name + suffix) for of in each if not suffix or of.name + suffix in methods]
        own = tuple(f"{attribute}." for attribute in self._collections)
        kept = {name: value for name, value in self._model.state_dict().items() if not name.startswith(own)}
        model.load_state_dict({**model.state_dict(), **kept})
        self._model, self._turned = model.eval(), None
        return tuple(fitted)

    def evaluate(self) -> Evaluation:
        """Metrics of the model as it is now, on the validation part of its run, named `val_…`."""
        task = self._spec.task
        with by_torch_alone():  # the same digits, whatever the process has looked up before
            found = task.evaluate(self._model, task.part(self._encoded, "validation"))
        return {f"val_{name}": value for name, value in found.items()}

    def finetune(self, epochs: int, engine: EngineOption, on_step: Callable[[int], None]) -> list[Evaluation]:
        """Train further, with the settings of the run but for the learning rates, and return the metrics of every
        epoch."""
        task = self._finetuning(epochs)
        training, validation = (task.part(self._encoded, name) for name in PARTS)
        trainer = Trainer(task, self._model, training, validation, self._spec.seed, engine)
        before = 0
        for step in trainer.run():
            on_step(step.number - before)
            before = step.number
        self._engine = trainer.engine
        self._optimizer_bytes = sum(value.nbytes for value in trainer.by.state().values())
        return list(trainer.history)

    def save(self, folder: Path, how: Json, history: Sequence[Evaluation]) -> None:
        """Write the model as it is now as a finished run.

        Args:
            folder: an existing, empty folder.
            how: how it was compressed, for `run.json`.
            history: metrics of the fitted model and of every epoch since.
        """
        about = {**self._run.about, "spec": self._spec.to_json(), "compressed": dict(how)}
        write_json(folder / RUN, about)
        self._spec.task.keep(folder, self._encoded)
        finish(
            self._spec, folder, about, self._model, self._encoded, engine=self._engine,
            optimizer_bytes=self._optimizer_bytes, history=history, reported=len(history) - 1,
        )  # fmt: skip

    @property
    def _whole(self) -> ModelT:
        """The model that tables are fitted to."""
        return self._model if self._turned is None else self._turned

    @property
    def _collections(self) -> dict[str, str]:
        """The attributes of the model that hold tables, and what stands behind the names of these in methods."""
        task = self._spec.task
        return {task.collection: "", **task.beside()}

    def _modules(self, model: ModelT) -> dict[str, TableModule]:
        """Of all tables, by the names that methods are given to."""
        found: dict[str, TableModule] = {}
        for attribute, suffix in self._collections.items():
            collection: Any = model.get_submodule(attribute)
            found |= {of.table.name + suffix: of for of in collection.tables._modules.values()}
        return found

    def _collection(self, model: ModelT) -> Tables:
        found = model.get_submodule(self._spec.task.collection)
        assert isinstance(found, Tables)
        return found

    def _finetuning(self, epochs: int) -> Task[DataT, EncodedT, ModelT, BatchT]:
        task = self._spec.task
        given, share = task.training, task.finetune_share
        dense = given.dense_learning_rate
        training = replace(
            given, epochs=epochs, learning_rate=share * given.learning_rate,
            dense_learning_rate=None if dense is None else share * dense, schedule="cosine", warmup=0, decay_from=0.0,
            evaluate_every=None, patience=None, round_from=0.0,
        )  # fmt: skip
        return task.having("training", training)
