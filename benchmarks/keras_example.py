"""The Keras page "Memory-efficient embeddings for recommendation systems": its full model, there and in coset.

The peer is the page's recipe on TensorFlow CPU, written afresh from its published settings: ids as strings, looked up
in the model; 64 elements a user and a movie, `sigmoid(dot) * 5`, Adam 1e-3 with eps 1e-7, batches of 128 out of
a shuffle buffer of 10,000 rows in file order, 3 epochs by `model.fit`. Strings come from memory, which is faster than
the page's CSV. coset trains on the same split: the same model at the same batch size by lazy and by dense-exact Adam,
in turns with the peer's epochs, all rows shuffled; then, at settings of its own, for as long as it takes to reach the
validation error that the peer ends with. Seconds are those of training, without evaluation; coset's kernels are
compiled before. The settings of its own were chosen on 5 % of the training part.

    $ python benchmarks/keras_example.py --keras-python .venv-keras/bin/python
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from measuring import Row, arguments, ask, child, host, report, row, say, use_threads

ROOT = Path(__file__).parents[1]
PEER = "Keras page on TensorFlow"
EPOCHS = 3
BATCH = 128
DIM = 64
BUFFER = 10_000
PARTS = ("train_users", "train_movies", "train_ratings", "val_users", "val_movies", "val_ratings")
OWN_DIM = 12
OWN: dict[str, Any] = {"optimizer": "lazy_adam", "learning_rate": 0.01, "batch_size": 256, "epochs": 3, "l2": 0.045}
"""What reaches the page's error fastest, beside the settings of the recipe ml-1m-frontier."""


def main() -> None:
    """Train peer and coset in turns and print a table, or JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--keras-python", default=str(ROOT / ".venv-keras" / "bin" / "python"), metavar="PATH",
                        help="a Python that has TensorFlow and Keras")  # fmt: skip
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the page's recipe")
    parser.add_argument("--rows", type=int, help="so many ratings only, drawn at random, for a quick look")
    parser.add_argument("--engine", choices=["auto", "fused", "plain"], default="auto", help="of coset")
    parser.add_argument("--seed", type=int, default=0, help="of split, initial values and order")
    parser.add_argument("--peer", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    use_threads(options.threads)
    if options.peer:
        serve(Path(options.peer), options.seed)
        return
    if not Path(options.keras_python).exists():
        sys.exit(f"{options.keras_python}: no such Python; make bench installs one, or name one by --keras-python")
    rows, versions = measure(options)
    here = host(options.threads, "coset", "torch", "numba")
    report("keras_example", here | versions, rows, options.json)


def measure(options: argparse.Namespace) -> tuple[list[Row], dict[str, str]]:
    """The rows, and the versions of the peer."""
    import torch

    torch.set_num_threads(options.threads)
    ratings = load(options.rows)
    page = Subject("keras-example", "full", ratings, options)
    law = ratings.name if options.rows is None else f"{len(ratings):,} rows of {ratings.name}"
    trainers = {
        name: page.trainer({"optimizer": optimizer, "batch_size": BATCH, "shuffle": "full", "epochs": options.epochs})
        for name, optimizer in (("lazy Adam", "lazy_adam"), ("dense-exact Adam", "adam"))
    }
    done: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        page.save(Path(folder))
        words = [options.keras_python, __file__, "--peer", folder, "--threads", str(options.threads),
                 "--seed", str(options.seed)]  # fmt: skip
        with child(words) as peer:
            versions = ask(peer, "versions")
            for _ in range(options.epochs):
                done.append(ask(peer, "epoch"))
                say(f"{PEER}: {done[-1]}")
                for name, trainer in trainers.items():
                    say(f"coset, {name}: {epoch(trainer)}")
    theirs = 1000 * median(epoch["seconds"] for epoch in done)
    rows = [
        row(f"epoch, full, d={DIM}, batch={BATCH}, {name}, {law}", PEER,
            1000 * median(epoch["seconds"] for epoch in trainer.history), theirs)
        for name, trainer in trainers.items()
    ]  # fmt: skip
    target = done[-1]["val_mse"]
    own = Subject("ml-1m-frontier", "narrow", ratings, options)
    trainer = own.trainer(OWN, OWN_DIM)
    while not trainer.done and not (trainer.history and trainer.history[-1]["val_mse"] <= target):
        say(f"coset, its own settings: {epoch(trainer)}")
    reached = trainer.history[-1]["val_mse"]
    if reached > target:
        say(f"coset ends at a val MSE of {reached:.4f}, above the peer's {target:.4f}: no row for the time to reach it")
        return rows, versions
    settings = trainer.settings
    case = (
        f"time to val MSE {target:.4f}, full with biases, d={OWN_DIM}, batch={settings.batch_size}, "
        f"{settings.optimizer.replace('_', ' ')} {settings.learning_rate:g} {settings.schedule} of {settings.epochs} "
        f"epochs, L2 {settings.l2:g}, {law}"
    )
    ours = 1000 * sum(epoch["seconds"] for epoch in trainer.history)
    rows.append(row(case, f"{PEER}, {options.epochs} epochs", ours, 1000 * sum(epoch["seconds"] for epoch in done)))
    return rows, versions


def load(rows: int | None) -> Any:
    """MovieLens-1M; where it cannot be had, its synthetic twin, with a word about it."""
    from coset.data import DataNotFound, load_ratings

    try:
        ratings = load_ratings("movielens-1m")
    except DataNotFound as error:
        say(f"SYNTHETIC DATA: every figure is of made-up ratings, as {error}")
        ratings = load_ratings("synthetic-ratings")
    if rows is None:
        return ratings
    return ratings.select(np.sort(np.random.default_rng(0).permutation(len(ratings))[:rows]))


class Subject:
    """A row of a recipe, on the split that its seed gives; the split is the same for all recipes."""

    def __init__(self, recipe: str, row: str, ratings: Any, options: argparse.Namespace) -> None:
        from coset.experiments.recipe import load_recipe
        from coset.experiments.resolve import resolve

        recipe_of = replace(load_recipe(recipe), only=(row,))
        self.options = options
        self.encoded = recipe_of.task.encoded(ratings, options.seed)
        self.row = resolve(recipe_of, self.encoded)[0][0]
        task = self.row.task
        self.training, self.validation = (task.part(self.encoded, name).ratings for name in ("training", "validation"))

    def trainer(self, changes: dict[str, Any], dim: int | None = None) -> Any:
        """A fresh model, ready to train; one like it has trained for a moment, so that the kernels are compiled."""
        from coset.tasks.ratings import RatingsPart
        from coset.training.trainer import Trainer

        task = self.row.task.changed("training", changes)
        if dim is not None:
            task = task.changed("model", {"embedding_dim": dim})
        spec = replace(self.row.spec(self.options.seed), task=task)
        few = [part.take(slice(0, 4 * task.training.batch_size)) for part in (self.training, self.validation)]
        for parts in (few, [self.training, self.validation]):
            model = spec.build(self.encoded)
            trainer = Trainer(task, model, *map(RatingsPart, parts), self.options.seed, self.options.engine)
            if parts is few:
                epoch(trainer)
        return trainer

    def save(self, folder: Path) -> None:
        """The split, as the peer reads it."""
        parts = (each for of in (self.training, self.validation) for each in (of.users, of.items, of.targets))
        for name, values in zip(PARTS, parts, strict=True):
            np.save(folder / f"{name}.npy", values.numpy())


def epoch(trainer: Any) -> Any:
    """The evaluation at the end of the next epoch, which is trained."""
    return next(step.evaluation for step in trainer.run() if step.evaluation is not None)


def serve(folder: Path, seed: int) -> None:
    """The peer: train an epoch for every line that asks for one."""
    import os

    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    parts = {name: np.load(folder / f"{name}.npy") for name in PARTS}

    def words(name: str) -> Any:
        return tf.constant([str(number) for number in parts[name].tolist()])

    inputs, vectors = [], []
    for name in ("users", "movies"):
        known = [
            str(number) for number in np.unique(np.concatenate([parts[f"{of}_{name}"] for of in ("train", "val")]))
        ]
        inputs.append(keras.Input((), dtype="string", name=name))
        ids = keras.layers.StringLookup(vocabulary=known, mask_token=None, num_oov_indices=0)(inputs[-1])
        vectors.append(keras.layers.Embedding(len(known), DIM)(ids))
    score = keras.layers.Activation("sigmoid")(keras.layers.Dot(axes=1)(vectors))
    model = keras.Model(inputs, keras.layers.Rescaling(5.0)(score))
    model.compile(keras.optimizers.Adam(1e-3, epsilon=1e-7), "mse", metrics=["mae"])
    data = [
        tf.data.Dataset.from_tensor_slices(((words(f"{of}_users"), words(f"{of}_movies")), parts[f"{of}_ratings"]))
        for of in ("train", "val")
    ]
    training, validation = data[0].shuffle(BUFFER, seed=seed).batch(BATCH), data[1].batch(4096)
    for line in sys.stdin:
        answer: dict[str, Any] = {"tensorflow": tf.__version__, "keras": keras.__version__}
        if line.strip() == "epoch":
            begin = time.perf_counter()
            model.fit(training, verbose=0)
            seconds = time.perf_counter() - begin
            mse, _ = model.evaluate(validation, verbose=0)
            answer = {"seconds": seconds, "val_mse": float(mse)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
