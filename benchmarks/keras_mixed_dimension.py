"""Mixed dimensions in Keras on TensorFlow: an id in its own block only, against every id in every block, masked.

The peer is the form that the Keras page "Memory-efficient embeddings for recommendation systems" describes, in words
of our own: every block looks up every id and projects what it finds, and a mask keeps the block that the id is in.
Ten blocks of one vocabulary, a batch of 4,096; popular words come more often (Zipf's law, exponent 0.8). Both give the
same vectors.

    $ python benchmarks/keras_mixed_dimension.py --json
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from measuring import Row, arguments, host, in_turns, report, row, use_threads

BATCH = 4096
BATCHES = 8
"""Batches in one call of a compiled function, as with `steps_per_execution` of `model.fit`: a call takes 0.2 ms of its
own, whatever it computes."""
DIM = 64
SIZES = (200, 400, 800, 1200, 1600, 2400, 3200, 4000, 5000, 6000)
WIDTHS = (64, 38, 30, 26, 22, 20, 18, 17, 15, 14)
"""64 elements times the popularity of a block relative to the first, to the power 0.3: the rule of the paper."""


def main() -> None:
    """Measure every case and print a table, or JSON."""
    parser = arguments(__doc__, threads=1)
    parser.add_argument("--repeats", type=int, default=60, help="timed runs of each, after 15 to warm up")
    options = parser.parse_args()
    # Both are read when keras is imported.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    use_threads(options.threads)
    rows = [
        case(name, text, trained, options.repeats)
        for name, text, trained in (
            ("strings, forward", True, False),
            ("strings, forward and backward", True, True),
            ("ids, forward", False, False),
            ("ids, forward and backward", False, True),
        )
    ]
    here = host(options.threads, "coset", "keras", "tensorflow-cpu")
    report("keras_mixed_dimension", here, rows, options.json)


def case(name: str, text: bool, trained: bool, repeats: int) -> Row:
    """Median milliseconds a batch of both, taken in turns so that the machine treats them alike."""
    import tensorflow as tf

    from coset.keras import MDEmbedding

    n = sum(SIZES)
    words = [f"movie_{number}" for number in range(n)]
    ends = np.cumsum((0, *SIZES))
    blocks = [words[start:stop] for start, stop in pairwise(ends)]
    coset = MDEmbedding(blocks if text else SIZES, WIDTHS, DIM)
    peer = masked(blocks if text else None)
    draw = np.random.default_rng(0)
    popularity = 1 / np.arange(1, n + 1) ** 0.8
    ids = draw.choice(n, (BATCHES, BATCH), p=popularity / popularity.sum()).astype(np.int32)
    batches = tf.constant(np.array(words, dtype=object)[ids] if text else ids)
    agree(coset, peer, batches[0])
    run, run_peer = step(coset, trained), step(peer, trained)
    each = {"coset": lambda: run(batches).numpy(), "peer": lambda: run_peer(batches).numpy()}
    times = in_turns(each, rounds=repeats, warm_up=15)
    return row(f"d={DIM}, batch={BATCH}, {name}, Zipf 0.8", "masked blocks", *(times[of] / BATCHES for of in each))


def masked(blocks: list[list[str]] | None) -> Any:
    """The peer: a layer in which every block sees every id."""
    import keras
    import tensorflow as tf

    class Masked(keras.layers.Layer):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.tables = [keras.layers.Embedding(size + 1, width) for size, width in zip(SIZES, WIDTHS, strict=True)]
            self.widen = [None if width == DIM else keras.layers.Dense(DIM) for width in WIDTHS]
            self.starts = np.cumsum((0, *SIZES[:-1])).tolist()
            self.lookups = [
                keras.layers.StringLookup(vocabulary=block, mask_token=None, num_oov_indices=1)
                for block in blocks or []
            ]
            if blocks:
                words = [word for block in blocks for word in block]
                self.place = keras.layers.StringLookup(vocabulary=words, mask_token=None, num_oov_indices=0)
            self.block_of = np.repeat(np.arange(len(SIZES)), SIZES).astype(np.int32)

        def call(self, given: Any) -> Any:
            ids = self.place(given) if blocks else given
            block = tf.gather(self.block_of, ids)
            vectors = tf.zeros((tf.shape(given)[0], DIM))
            for number, (table, widen) in enumerate(zip(self.tables, self.widen, strict=True)):
                mine = block == number
                row = self.lookups[number](given) if blocks else tf.where(mine, ids - self.starts[number] + 1, 0)
                found = table(row)
                if widen is not None:
                    found = widen(found)
                vectors += found * tf.cast(mine, found.dtype)[:, None]
            return vectors

    return Masked()


def agree(coset: Any, peer: Any, batch: Any) -> None:
    """Give the peer coset's weights, and stop unless both then give the same vectors."""
    coset(batch)
    peer(batch)
    for number, (table, widen) in enumerate(zip(peer.tables, peer.widen, strict=True)):
        rows = np.asarray(coset.stored[f"blocks.{number}.rows.weight"])
        table.set_weights([np.concatenate([np.zeros_like(rows[:1]), rows])])  # the page's first row is for unseen words
        if widen is not None:
            projection = np.asarray(coset.stored[f"blocks.{number}.projection.weight"])
            widen.set_weights([projection, np.zeros(DIM, np.float32)])
    if not np.allclose(coset(batch), peer(batch), rtol=1e-5, atol=1e-6):
        sys.exit("the two forms give different vectors")


def step(layer: Any, trained: bool) -> Callable[[Any], Any]:
    """What is timed: the vectors of all batches, or the gradients of every array by a fixed gradient of the vectors."""
    import tensorflow as tf

    towards = tf.random.stateless_normal((BATCH, DIM), seed=(0, 0))

    def gradients(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(batch) * towards)
        found = tape.gradient(loss, layer.trainable_variables)
        # A number that needs all of them, so that none is left out.
        return tf.add_n([tf.reduce_sum(g.values if isinstance(g, tf.IndexedSlices) else g) for g in found])

    def vectors(batch: Any) -> Any:
        return layer(batch)[0, 0]

    one = gradients if trained else vectors
    return tf.function(lambda batches: tf.add_n([one(batch) for batch in tf.unstack(batches)]), autograph=False)


if __name__ == "__main__":
    main()
