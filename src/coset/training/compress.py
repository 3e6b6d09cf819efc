"""A finished run on ratings, made smaller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from coset import ledger
from coset.errors import InputError
from coset.files import write_json
from coset.methods import Method
from coset.tables.fitted import Fitted, fit_tables_
from coset.training.compressible import CompressibleRun
from coset.training.loop import Interactions, Trainer
from coset.training.metrics import evaluate
from coset.training.run import VOCABULARIES, FinishedRun, finish, tables_of
from coset.training.seal import RUN

FINETUNE_SHARE = 0.5
"""Of the learning rate of the run, where fine-tuning begins; it falls to 0 as a cosine does. Chosen on 5 % of the
training part of MovieLens-1M, where a quarter does as well and all of it worse."""


class CompressibleRatings(CompressibleRun):
    """A dot model, with the ratings of its run.

    Args:
        folder: of the finished run.
        source: where its data are now; where they were, by default.

    Raises:
        InputError: no finished run there, a run without tables, or its data are no longer what they were.
    """

    def __init__(self, folder: Path, source: str | None = None) -> None:
        run = FinishedRun.load(folder)
        if run.model.embeddings is None:
            raise InputError(f"{folder}: a model of biases alone has no tables to make smaller")
        ratings = run.own_ratings(folder, source)
        self._encoded = encoded = run.spec.prepare(ratings)
        whole = Interactions(encoded.users, encoded.items, encoded.targets)
        self._training, self._validation = (
            whole.take(torch.from_numpy(rows)) for rows in (encoded.split.training, encoded.split.validation)
        )
        self._run, self._model, self._spec = run, run.model, run.of_data_at(source)
        self.tables = tables_of(run.spec.model, run.user, run.item)
        self.other_bytes = self.bytes - ledger.inference_bytes(run.model.embeddings.components())
        self.dataset, self.synthetic = ratings.name, ratings.synthetic
        self.steps_per_epoch = -(-len(self._training) // run.spec.training.batch_size)
        self._engine: str = run.metrics["engine"]

    @property
    def bytes(self) -> int:
        """Tables, biases and the mean."""
        return ledger.inference_bytes(self._model.components())

    def compress(self, methods: Mapping[str, Method]) -> tuple[Fitted, ...]:
        """Biases and the mean are kept."""
        self._spec = replace(self._spec, methods=dict(methods))
        model = self._spec.build(self._run.user, self._run.item, **self._run.scale)
        assert model.embeddings is not None
        assert self._model.embeddings is not None
        fitted = fit_tables_(model.embeddings, self._model.embeddings)
        kept = {name: value for name, value in self._model.state_dict().items() if not name.startswith("embeddings.")}
        model.load_state_dict({**model.state_dict(), **kept})
        self._model = model.eval()
        return fitted

    def evaluate(self) -> dict[str, Any]:
        """Errors."""
        found = evaluate(self._model, self._validation.users, self._validation.items, self._validation.targets)
        return {"val_mse": found.mse, "val_mae": found.mae}

    def finetune(self, epochs: int, engine: Any, on_step: Callable[[int], None]) -> list[dict[str, Any]]:
        """L2 and the order of ratings are those of the run."""
        training = self._spec.training
        settings = replace(
            training, epochs=epochs, learning_rate=FINETUNE_SHARE * training.learning_rate, schedule="cosine"
        )
        trainer = Trainer(self._model, self._training, self._validation, settings, self._spec.seed, engine=engine)
        while not trainer.done:
            trainer.run_epoch(on_step)
        self._engine = trainer.engine
        return list(trainer.history)

    def save(self, folder: Path, how: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
        """As a training does, but without checkpoints."""
        about = {**self._run.about, "spec": self._spec.to_json(), "compressed": dict(how)}
        write_json(folder / RUN, about)
        for name, vocabulary in zip(VOCABULARIES, (self._run.user, self._run.item), strict=True):
            vocabulary.save(folder / name)
        finish(folder, about, self._model, self._run.scale, self._encoded, self._engine, history)
