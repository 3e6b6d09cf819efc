"""The experiment of the Keras page "Memory-efficient embeddings for recommendation systems", with coset's layers.

A full model and a compressed one learn the ratings of MovieLens-1M by the protocol of the page: 85 % of the ratings
train, vectors of 64 elements, the sigmoid of a dot product times 5, mean squared error, Adam, batches of 128, three
epochs, and the last one is reported. The compressed model has the quotient-remainder trick for users (120 buckets)
and mixed dimensions for movies (the most popular 400 / the next 1,300 / the rest at 64 / 32 / 16 elements).

    $ pip install ".[cli,keras]" tensorflow-cpu
    $ COSET_DATA=... python examples/keras_example.py --backend tensorflow --shuffle buffer full --layout exact default

On TensorFlow the models read the raw ids as strings; on the other backends they read what
`layer.vocabulary.lookup(strings)` gives.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from coset.data import Vocabulary, load_movielens, random_split
from coset.tasks import Order
from coset.tasks.ratings.parts import permutation

if TYPE_CHECKING:
    import keras

DIM = 64
BUCKETS = 120
BLOCKS = (400, 1300)
"""Movies in the first blocks, the most popular first; the last block has the rest."""
WIDTHS = (64, 32, 16)
BATCH = 128
BUFFER = 10_000
"""Rows of the page's shuffle buffer; the file it reads is sorted by user."""
STD = 0.05 / 3**0.5
"""Deviation of the page's initial values, uniform in ±0.05; the default layout begins with the same deviation."""


NAMES = {"full": "full", "exact": "QR + MD, the page's layout", "default": "QR + MD, coset's layout"}


@dataclass(frozen=True)
class Data:
    """Ratings with raw ids as strings, which rows train and which validate, and the two vocabularies."""

    users: np.ndarray = field(repr=False)
    movies: np.ndarray = field(repr=False)
    ratings: np.ndarray = field(repr=False)
    training: np.ndarray = field(repr=False)
    validation: np.ndarray = field(repr=False)
    user_words: list[str] = field(repr=False)
    movie_words: list[str] = field(repr=False)


@dataclass
class Row:
    """What is reported of one model; the lists have an entry for each epoch."""

    layout: str
    shuffle: str
    seed: int
    parameters: int
    val_mse: list[float] = field(default_factory=list)
    val_mae: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Read the arguments, train the models they name, and print or write what came out."""
    options = arguments()
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
    limit_threads(options.threads)
    import keras

    data = load(options.seed, options.rows)
    rows = []
    for shuffle, layout in product(options.shuffle, ["full", *options.layout]):
        keras.utils.set_random_seed(options.seed)
        model, lookups = build(layout, data)
        model.summary()
        row = Row(layout, shuffle, options.seed, model.count_params())
        train(model, lookups, data, row, options.epochs)
        rows.append(row)
    report = {
        "experiment": "keras-layers",
        "dataset": "movielens-1m",
        "training_rows": len(data.training),
        "validation_rows": len(data.validation),
        "backend": keras.backend.backend(),
        "host": {"machine": platform.machine(), "cores": os.cpu_count(), "threads": options.threads},
        "versions": versions(),
        "rows": [asdict(row) for row in rows],
    }
    print(markdown(report))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (options.out / "results.md").write_text(markdown(report), encoding="utf-8")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["tensorflow", "jax", "torch"], help="by default what KERAS_BACKEND says")
    shuffle = "buffer: of 10,000 rows of a file sorted by user, as the page; full: any order"
    parser.add_argument("--shuffle", nargs="+", choices=["buffer", "full"], default=["buffer"], help=shuffle)
    layout = "exact: the page's parameters; default: without what no id reads"
    parser.add_argument("--layout", nargs="+", choices=["exact", "default"], default=["exact"], help=layout)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of split, initial values and order")
    parser.add_argument("--rows", type=int, help="so many ratings only, drawn at random, for a quick look")
    parser.add_argument("--threads", type=int, default=2, help="how many threads TensorFlow and torch may use")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write report.json and results.md there, too")
    return parser.parse_args(given)


def load(seed: int, rows: int | None) -> Data:
    """MovieLens-1M, split; movies in order of popularity, which is counted on the training part alone."""
    ratings = load_movielens("movielens-1m")
    draw = np.random.default_rng(seed)
    kept = np.sort(draw.permutation(len(ratings))[:rows])
    users, movies = (column[kept].astype(str).astype(object) for column in (ratings.users, ratings.items))
    split = random_split(len(users), validation=0.15, seed=seed)
    words = [
        [str(word) for word in Vocabulary.build(name, column, order=order, training=split.training).values]
        for name, column, order in (("user", users, "first_appearance"), ("movie", movies, "frequency"))
    ]
    return Data(users, movies, ratings.ratings[kept], split.training, split.validation, *words)


def build(layout: str, data: Data) -> tuple[keras.Model, list[Any]]:
    """A model of two inputs, and what looks up each of them before the model, None where the model itself does."""
    import keras

    from coset.keras import MDEmbedding, QREmbedding, WordVocabulary

    text = keras.backend.backend() == "tensorflow"
    inputs = [keras.Input((), dtype="string" if text else "int32", name=name) for name in ("user_id", "movie_id")]
    if layout == "full":
        words = [WordVocabulary(data.user_words), WordVocabulary(data.movie_words)]
        tables = [keras.layers.Embedding(len(each), DIM) for each in words]
        lookups: list[Any] = [
            keras.layers.StringLookup(vocabulary=list(each.words), mask_token=None, num_oov_indices=0) if text else each
            for each in words
        ]
        vectors = [
            table(lookup(given) if text else given)
            for table, lookup, given in zip(tables, lookups, inputs, strict=True)
        ]
    else:
        how: dict[str, Any] = {"layout": "keras"} if layout == "exact" else {"layout": "compact", "std": STD}
        ends = [0, *np.cumsum(BLOCKS), len(data.movie_words)]
        blocks = [data.movie_words[start:stop] for start, stop in pairwise(ends)]
        user = QREmbedding(vocabulary=data.user_words, embedding_dim=DIM, num_buckets=BUCKETS, **how)
        movie = MDEmbedding(blocks_vocabulary=blocks, blocks_embedding_dims=WIDTHS, base_embedding_dim=DIM, **how)
        lookups = [user.vocabulary, movie.vocabulary]
        vectors = [user(inputs[0]), movie(inputs[1])]
    score = keras.layers.Activation("sigmoid")(keras.layers.Dot(axes=1)(vectors))
    model = keras.Model(inputs, keras.layers.Rescaling(5.0)(score), name=layout)
    model.compile(keras.optimizers.Adam(1e-3), "mse", metrics=["mae"])
    return model, [None, None] if text else [lookup.lookup for lookup in lookups]


def train(model: keras.Model, lookups: list[Any], data: Data, row: Row, epochs: int) -> None:
    """Fill `row`; an epoch is one call of `fit`, so that each has an order of its own, which the seed gives."""
    import keras

    backend = keras.backend.backend()
    columns = [
        column if lookup is None else lookup(column)
        for column, lookup in zip((data.users, data.movies), lookups, strict=True)
    ]

    def of(rows: np.ndarray) -> tuple[list[Any], np.ndarray]:
        given = [column[rows] for column in columns]
        if backend == "tensorflow":  # once, not batch by batch
            given = [keras.ops.convert_to_tensor(column, dtype="string") for column in given]
        return given, data.ratings[rows]

    held_out = of(data.validation)
    buffer = BUFFER if row.shuffle == "buffer" else None
    for epoch in range(epochs):
        order = permutation(len(data.training), Order(row.seed, epoch, buffer)).numpy()
        inputs, ratings = of(data.training[order])
        begin = time.perf_counter()
        model.fit(inputs, ratings, batch_size=BATCH, shuffle=False, verbose=0)
        row.seconds.append(round(time.perf_counter() - begin, 1))
        loss, mae = model.evaluate(*held_out, batch_size=4096, verbose=0)
        row.val_mse.append(float(loss))
        row.val_mae.append(float(mae))
        done = f"{row.layout}, {row.shuffle} shuffle, epoch {epoch + 1}"
        print(f"{done}: val MSE {loss:.4f}, MAE {mae:.4f}, {row.seconds[-1]} s", flush=True)


def limit_threads(threads: int) -> None:
    """How many threads the backends may use; TensorFlow reads its own before it is imported."""
    torch.set_num_threads(threads)
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = str(threads)


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a table, and how it came about."""
    heads = ("model", "shuffle", "parameters", "val MSE by epoch", "val MAE")
    cells = [
        (
            NAMES[row["layout"]],
            row["shuffle"],
            f"{row['parameters']:,}",
            " / ".join(f"{mse:.4f}" for mse in row["val_mse"]),
            f"{row['val_mae'][-1]:.4f}",
        )
        for row in report["rows"]
    ]
    lines = [heads, ["---"] * len(heads), *cells]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"{table}\n\nMovieLens-1M, {report['training_rows']:,} ratings to train and {report['validation_rows']:,} to "
        f"validate; shuffled in any order (full) or, as on the page, within a buffer of {BUFFER:,} rows of a file "
        f"sorted by user. Backend {report['backend']}; seed {report['rows'][0]['seed']}; {versions}.\n"
    )


def versions() -> dict[str, str]:
    """What it ran with."""
    import keras

    import coset

    backend = __import__(keras.backend.backend())
    return {"python": platform.python_version(), "coset": coset.__version__, "keras": keras.__version__,
            keras.backend.backend(): backend.__version__, "numpy": np.__version__}  # fmt: skip


if __name__ == "__main__":
    main()
