"""Ids in rows of different lengths: TensorFlow's ragged tensors, as `keras.layers.Embedding` takes them."""

from typing import Any

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("only TensorFlow has ragged tensors", allow_module_level=True)

import tensorflow as tf

from coset.keras import LowRankEmbedding, MDEmbedding, QREmbedding

ROWS = tf.ragged.constant([[1, 2], [], [29, 0, 77]])
WORDS: dict[str, Any] = {"ids": None, "numbers": range(100, -1, -1), "strings": [str(number) for number in range(101)]}

of_words = pytest.mark.parametrize("words", list(WORDS))


class Mean(keras.layers.Layer):  # type: ignore[misc]
    def call(self, vectors: Any) -> Any:
        return tf.reduce_mean(vectors, axis=1)


def rows_of(words: str) -> Any:
    return tf.strings.as_string(ROWS) if words == "strings" else ROWS


def check(found: Any, layer: Any, rows: Any) -> None:
    """The vectors of the ids, in rows as theirs."""
    assert isinstance(found, tf.RaggedTensor)
    assert found.shape.as_list() == [*rows.shape.as_list(), 8]
    assert all(map(np.array_equal, found.nested_row_splits, rows.nested_row_splits))
    assert np.allclose(found.flat_values, layer(rows.flat_values), rtol=1e-6, atol=1e-7)


@of_words
def test_eager_and_traced(make_of: Any, words: str) -> None:
    layer, rows = make_of(WORDS[words]), rows_of(words)
    check(layer(rows), layer, rows)
    check(tf.function(layer, input_signature=[tf.RaggedTensorSpec([None, None], rows.dtype)])(rows), layer, rows)


@pytest.mark.parametrize("ragged", [True, False])
@of_words
def test_predict(make_of: Any, words: str, ragged: bool) -> None:
    layer, rows = make_of(WORDS[words]), rows_of(words)
    ids = keras.Input((None,), dtype=rows.dtype.name, ragged=ragged)
    model = keras.Model(ids, layer(ids))
    assert (model.output.ragged, model.output.shape) == (ragged, (None, None, 8))
    check(model(rows), layer, rows)
    check(model.predict(rows, verbose=0), layer, rows)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    "layer",
    [lambda: QREmbedding(101, 8, 11), lambda: MDEmbedding([10, 91], [8, 4], 8), lambda: LowRankEmbedding(101, 8, 3)],
    ids=["qr", "md", "low rank"],
)
def test_fit(layer: Any, jit_compile: bool) -> None:
    layer = layer()
    model = keras.Sequential([keras.Input((None,), dtype="int32", ragged=True), layer, Mean()])
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile)
    rows = tf.ragged.constant([[1, 2], [29, 0, 77], [5]])
    before = layer(rows.flat_values).numpy()
    losses = model.fit(rows, np.ones((3, 8)), epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    assert not np.array_equal(layer(rows.flat_values), before)


@pytest.mark.parametrize(
    "rows",
    [
        tf.ragged.constant([[[1, 2], [3]], [[4]]]),
        tf.ragged.constant([[[1, 2], [3, 4]], [[5, 6]]], ragged_rank=1),
        tf.ragged.constant([[], []], dtype=tf.int32),
        tf.ragged.constant([[1], []], dtype=tf.int64),
    ],
    ids=["deep", "even within", "empty", "int64"],
)
@pytest.mark.parametrize("words", ["ids", "numbers"])
def test_any_depth(make_of: Any, words: str, rows: Any) -> None:
    layer = make_of(WORDS[words])
    check(layer(rows), layer, rows)
    check(tf.function(layer)(rows), layer, rows)


def test_mask_zero(make: Any) -> None:
    layer = make(mask_zero=True)
    assert layer.compute_mask(ROWS).to_list() == [[True, True], [], [True, False, True]]
    check(keras.Sequential([keras.Input((None,), dtype="int32", ragged=True), layer]).predict(ROWS), layer, ROWS)


def test_ids_out_of_range(make: Any) -> None:
    layer = make(name="user")
    rows = tf.ragged.constant([[1], [101, 3]])
    with pytest.raises(ValueError, match="'user': expected ids in 0 … 100, but 101 came"):
        layer(rows)
    found = tf.function(layer)(rows).flat_values
    assert np.isnan(found).all(axis=1).tolist() == [False, True, False]
