"""Tables whose rows are packed: what they read, what is saved of them, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from coset.keras import (
    FullEmbedding,
    LowRankEmbedding,
    QREmbedding,
    pack_layers,
    store_layers,
    to_torch,
    unpack_layers,
)
from coset.keras.storage.bits import CodeLayout

EVERY = np.arange(101, dtype=np.int32)
FOUR = {"storage": "packed", "bits": 4}
BY_COLUMN = {"storage": "packed", "bits": [4, 3, 2, 0, 1, 5, 8, 0], "step": "array"}


def test_packed_rows_read_the_same_in_the_bytes_of_the_ledger(layer: Any, to_numpy: Any, bytes_of: Any) -> None:
    import coset

    twin, vectors = to_torch(layer), to_numpy(layer(EVERY))
    assert pack_layers(layer) is layer
    assert np.array_equal(to_numpy(layer(EVERY)), vectors)
    assert layer.packed
    assert layer.trainable_weights == []
    assert bytes_of(layer) == coset.predict([(twin.table, twin.method)]).inference
    coset.pack_(twin)
    for name, state in layer.torch_state().items():
        assert np.array_equal(state["codes"], twin.tables["user"].get_submodule(name).codes.numpy())
    unpack_layers(layer)
    assert np.array_equal(to_numpy(layer(EVERY)), vectors)
    assert len(layer.trainable_weights) == len(layer.weights)
    pack_layers(layer)
    assert np.array_equal(to_numpy(layer(EVERY)), vectors)


def test_bits_by_column_and_none(to_numpy: Any, layer_of: Any, bytes_of: Any) -> None:
    layer = layer_of("full", BY_COLUMN)
    vectors = to_numpy(layer(EVERY.reshape(1, 101)))
    assert not vectors[..., [3, 7]].any()
    assert vectors[..., [0, 1, 2, 4, 5, 6]].any(axis=(0, 1)).all()
    pack_layers(layer)
    assert np.array_equal(to_numpy(layer(EVERY))[None], vectors)
    assert bytes_of(layer) == -(-101 * 23 // 8) + 4
    nothing = pack_layers(layer_of("full", {"storage": "packed", "bits": 0}))
    assert bytes_of(nothing) == 0
    assert np.array_equal(to_numpy(nothing(EVERY)), np.zeros((101, 8)))


def test_a_packed_model_is_compiled_saved_and_loaded(
    to_numpy: Any, tmp_path: Path, backend: str, layer_of: Any
) -> None:
    layer = layer_of("qr mult", FOUR, name="user")
    model = keras.Sequential([keras.Input((), dtype="int32"), layer, keras.layers.Dense(1)])
    model.compile("adam", "mse", jit_compile=backend != "torch")
    model.fit(EVERY, np.cos(EVERY), batch_size=101, epochs=2, verbose=0)
    expected = model.predict(EVERY, verbose=0)
    pack_layers(model)
    assert np.allclose(model.predict(EVERY, verbose=0), expected, rtol=1e-5, atol=1e-7)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].packed
    assert loaded.layers[0].get_config() == layer.get_config()
    assert np.array_equal(to_numpy(loaded(EVERY)), to_numpy(model(EVERY)))
    before = to_numpy(layer(EVERY))
    model.fit(EVERY, np.sin(EVERY), batch_size=101, epochs=1, verbose=0)  # the layers after it
    assert np.array_equal(to_numpy(layer(EVERY)), before)
    assert not np.array_equal(to_numpy(model(EVERY)), to_numpy(loaded(EVERY)))
    start = to_numpy(unpack_layers(model).layers[0].stored["quotient.master"]).copy()
    model.fit(EVERY, np.sin(EVERY), batch_size=101, epochs=1, verbose=0)
    assert not np.array_equal(to_numpy(layer.stored["quotient.master"]), start)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_either_form_is_saved_and_loaded_bit_equal(layer: Any, to_numpy: Any, tmp_path: Path, packed: bool) -> None:
    model = keras.Sequential([keras.Input((), dtype="int32"), layer])
    if packed:
        pack_layers(model)
    vectors = to_numpy(model(EVERY))
    for suffix in ("keras", "h5"):
        model.save(tmp_path / f"model.{suffix}")
        loaded = keras.models.load_model(tmp_path / f"model.{suffix}")
        assert loaded.layers[-1].get_config() == layer.get_config()
        assert np.array_equal(to_numpy(loaded(EVERY)), vectors)
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = keras.models.clone_model(model)
    assert np.abs(to_numpy(fresh(EVERY))).max() < 1  # of codes near 0, before they are loaded
    fresh.load_weights(tmp_path / "model.weights.h5")
    assert np.array_equal(to_numpy(fresh(EVERY)), vectors)


def test_ids_of_any_shape_and_out_of_range(layer: Any, to_numpy: Any) -> None:
    pack_layers(layer)
    assert to_numpy(layer(np.zeros((2, 0, 3), dtype=np.int32))).shape == (2, 0, 3, 8)
    assert np.array_equal(to_numpy(layer(np.array([[5], [7]], dtype=np.int64)))[:, 0], to_numpy(layer([5, 7])))
    with pytest.raises(ValueError, match="'user': expected ids in 0 … 100, but 101 came"):
        layer([101])


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ({"storage": "packed", "bits": 9}, "QREmbedding 'user': storage 'packed': bits are 0 to 8, not 9"),
        ({"storage": "packed", "bits": [4, -1]}, r"bits are 0 to 8, not \[4, -1\]"),
        ({"storage": "packed", "bits": 4.5}, "'packed': bits must be of type int, not 4.5"),
        ({"storage": "packed", "bit": 4}, "unknown field of storage 'packed' 'bit': did you mean 'bits'"),
        ({"storage": "packed", "step": "bag"}, "step must be one of 'array', 'column', 'block', 'row', not 'bag'"),
        ({"storage": "packed", "block": 0}, "block must be at least 1 column, not 0"),
        ({"storage": "packed", "version": 2}, "storage 'packed' is of version 2; this coset knows version 1"),
        ("pakced", "unknown storage 'pakced': did you mean 'packed'"),
        (4, 'a storage is a name like "packed", .* not 4'),
    ],
)
def test_choices_that_are_refused(storage: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QREmbedding(10, 4, 3, name="user", storage=storage)


def test_sizes_that_a_storage_cannot_hold(backend: str) -> None:
    layer = LowRankEmbedding(10, 4, 2, name="user", storage={"storage": "packed", "bits": [4, 2]})
    with pytest.raises(ValueError, match="'user': projection: storage 'packed': bits of 2 columns for an array of 4"):
        layer.build()  # its projection has four
    other = FullEmbedding(10, 2, name="other")
    model = keras.Sequential([keras.Input((), dtype="int32"), other, keras.layers.Flatten()])
    model = keras.Model(model.inputs, [model.outputs[0], FullEmbedding(10, 3, name="wide")(model.inputs[0])])
    with pytest.raises(ValueError, match="'wide': rows: storage 'packed': bits of 2 columns for an array of 3"):
        store_layers(model, {"storage": "packed", "bits": [4, 2]})
    assert other.storage.name == "dense"
    if backend == "jax":
        with pytest.raises(ValueError, match="3,000,000,003 bytes of rows of 3 bits are more than JAX counts in 32"):
            CodeLayout(8_000_000_007, [3])
    assert CodeLayout(8_000_000_007, [3], padded=True).shape == (8_000_000_007, 1)


def test_packed_rows_are_not_trained(layer_of: Any, model_of: Any) -> None:
    model = model_of(pack_layers(layer_of("full", FOUR, name="user")))
    model.trainable = False
    for one in (model, model.layers[0]):
        with pytest.raises(ValueError, match="'user': its rows are packed, and packed rows are not trained; coset"):
            one.trainable = True
    assert unpack_layers(model).trainable_weights == []  # frozen by hand, and so it stays
    model.layers[0].trainable = True
    assert len(model.trainable_weights) == 2


def test_numbers_that_cannot_be_packed(to_numpy: Any, layer_of: Any) -> None:
    good, bad = layer_of("full", FOUR, name="good"), layer_of("qr mult", FOUR, name="bad")
    values = np.zeros((11, 8))
    values[7, 2] = np.nan
    bad.stored["remainder.master"].assign(values)
    model = keras.Sequential([keras.Input((), dtype="int32"), good])
    with pytest.raises(ValueError, match="'bad': remainder: row 7 has a number that is not finite, and so it cannot"):
        pack_layers(keras.Model(model.inputs, [model.outputs[0], bad(model.inputs[0])]))
    assert not good.packed
    bad.stored["remainder.master"].assign(values * 0)
    bad.stored["quotient.scales"].assign(np.full(8, 1e9))
    with pytest.raises(ValueError, match="'bad': quotient: a step is 0 or not finite, and so it cannot be packed"):
        pack_layers(bad)
    with pytest.raises(ValueError, match=": rows: packed rows hold finite numbers, and row 0 has one that is not"):
        layer_of("full", FOUR, embeddings_initializer=keras.initializers.Constant(float("nan")))
    with pytest.raises(ValueError, match=r"a model is a keras\.Model or a layer, not int"):
        pack_layers(3)


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("packed", r'expected weights of .*"bits": 4, .* but these are of .*"bits": 8,'),
        (FOUR, '"packed": false}, but these are of .*"packed": true}; give the layer'),
        ("dense", "but these are of a layer without packed storage; give the layer the same"),
    ],
)
def test_weights_of_another_storage(
    storage: Any, message: str, to_numpy: Any, tmp_path: Path, layer_of: Any, model_of: Any
) -> None:
    mine, theirs = layer_of("full", FOUR), layer_of("full", storage)
    if storage == FOUR:
        pack_layers(theirs)
    before = to_numpy(mine(EVERY))
    model_of(theirs).save_weights(tmp_path / "their.weights.h5")
    with pytest.raises(ValueError, match=message):
        model_of(mine).load_weights(tmp_path / "their.weights.h5")
    assert np.array_equal(to_numpy(mine(EVERY)), before)


def test_packed_layers_need_no_torch(tmp_path: Path, backend: str) -> None:
    if backend == "torch":
        pytest.skip("keras itself imports it")
    code = f"""
import sys
import keras, numpy
from coset.keras import FullEmbedding, pack_layers
path = {str(tmp_path / "model.keras")!r}
pack_layers(keras.Sequential([keras.Input((), dtype="int32"), FullEmbedding(9, 4, storage="packed")])).save(path)
print(keras.models.load_model(path)(numpy.arange(9)).shape, "torch" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=280)
    assert run.stdout.strip() == "(9, 4) False"


def test_first_called_inside_a_function_of_tensorflow(to_numpy: Any, backend: str, tmp_path: Path) -> None:
    if backend != "tensorflow":
        pytest.skip("TensorFlow only")
    import tensorflow as tf

    layer = FullEmbedding(101, 8, storage=FOUR)
    found = tf.function(lambda ids: layer(ids))(tf.constant(EVERY))
    assert np.array_equal(to_numpy(found), to_numpy(layer(EVERY)))
    pack_layers(layer)
    packed = tf.function(lambda ids: layer(ids), jit_compile=True)(tf.constant(EVERY))
    assert np.allclose(to_numpy(packed), to_numpy(found), rtol=1e-6)
    model = keras.Sequential([keras.Input((), dtype="int32"), layer])
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    assert np.allclose(to_numpy(served.serve(tf.constant(EVERY))), to_numpy(found), rtol=1e-6)


def test_a_model_that_is_built_while_it_is_fitted(to_numpy: Any) -> None:
    class Score(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.top = FullEmbedding(101, 8, storage=FOUR, name="user"), keras.layers.Dense(1)

        def call(self, ids: Any) -> Any:
            return self.top(self.table(ids))

    model = Score()
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(EVERY, np.cos(EVERY), batch_size=101, verbose=0)
    vectors = to_numpy(model.table(EVERY))
    assert 0.01 < np.abs(vectors).max() < 0.3
    pack_layers(model)
    assert np.array_equal(to_numpy(model.table(EVERY)), vectors)
