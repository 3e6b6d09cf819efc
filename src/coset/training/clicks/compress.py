"""A finished run on clicks, made smaller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from coset import ledger
from coset.files import write_json
from coset.methods import Method
from coset.models.base import ClickModel
from coset.tables.fitted import Fitted, fit_tables_
from coset.training.clicks.finished import FinishedClickRun
from coset.training.clicks.loop import ClickTrainer, evaluate
from coset.training.clicks.run import finish
from coset.training.clicks.spec import components
from coset.training.compressible import CompressibleRun
from coset.training.seal import RUN

FINETUNE_SHARE = 0.1
"""Of the learning rates of the run, where fine-tuning begins; they fall to 0 as a cosine does. Chosen on a synthetic
twin of 150,000 rows, at 4, 10 and 33 times fewer bytes: at a fifth and more, large tables learn by heart the rows that
they have seen before."""


class CompressibleClicks(CompressibleRun):
    """A click model, with the prepared data of its run.

    Args:
        folder: of the finished run.
        source: where its data are now; where they were, by default.

    Raises:
        InputError: no finished run there, or its data are no longer what they were.
    """

    def __init__(self, folder: Path, source: str | None = None) -> None:
        run = FinishedClickRun.load(folder)
        self._data = run.own_data(folder, source)
        self._run, self._spec = run, run.spec
        self._model: ClickModel = run.model
        self._engine: str = run.metrics["engine"]
        self._optimizer_bytes = 0
        self.tables = run.spec.model.tables(self._data.features)
        self.other_bytes = 0
        self.dataset, self.synthetic = self._data.name, self._data.synthetic
        self.steps_per_epoch = -(-self._data.parts["training"] // run.spec.training.batch_size)

    @property
    def bytes(self) -> int:
        """Of the tables; layers are counted by themselves."""
        return ledger.inference_bytes(components(self._model)[0])

    def compress(self, methods: Mapping[str, Method]) -> tuple[Fitted, ...]:
        """Layers are kept."""
        self._spec = replace(self._spec, methods=dict(methods))
        model = self._spec.build(self._data.features, len(self._data.numeric))
        fitted = fit_tables_(model.tables, self._model.tables)
        kept = {name: value for name, value in self._model.state_dict().items() if not name.startswith("tables.")}
        model.load_state_dict({**model.state_dict(), **kept})
        self._model = model.eval()
        return fitted

    def evaluate(self) -> dict[str, Any]:
        """Log-loss, AUC, calibration and normalised entropy."""
        return {f"val_{name}": value for name, value in evaluate(self._model, self._data.part("validation")).items()}

    def finetune(self, epochs: int, engine: Any, on_step: Callable[[int], None]) -> list[dict[str, Any]]:
        """All epochs are trained, and evaluated at their ends."""
        training = self._spec.training
        settings = replace(
            training, epochs=epochs, learning_rate=FINETUNE_SHARE * training.learning_rate,
            dense_learning_rate=FINETUNE_SHARE * training.dense_learning_rate, schedule="cosine", warmup=0,
            decay_from=0.0, evaluate_every=None, patience=None,
        )  # fmt: skip
        parts = self._data.part("training"), self._data.part("validation")
        trainer = ClickTrainer(self._model, *parts, settings, self._spec.seed, engine)
        for _ in trainer.run():
            on_step(1)
        self._engine = trainer.engine
        self._optimizer_bytes = sum(value.nbytes for value in trainer.optimizers.state().values())
        return list(trainer.history)

    def save(self, folder: Path, how: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
        """As a training does, but without checkpoints."""
        about = {**self._run.about, "spec": self._spec.to_json(), "compressed": dict(how)}
        write_json(folder / RUN, about)
        finish(
            folder, about, self._model, self._data, engine=self._engine, optimizer_bytes=self._optimizer_bytes,
            history=history, reported=len(history) - 1,
        )  # fmt: skip
