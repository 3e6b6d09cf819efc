"""What every layer does, run for every layer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from coset.keras import FullEmbedding, HashingEmbedding, LowRankEmbedding, MDEmbedding, QREmbedding, pack_layers

IDS = np.array([[0, 1, 9, 10], [39, 40, 99, 100]], dtype=np.int32)


def model_of(layer: Any, shape: tuple[int, ...] = ()) -> Any:
    ids = keras.Input(shape, dtype="int32")
    return keras.Model(ids, layer(ids))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0, 3)])
def test_any_shape_of_ids(make: Any, to_numpy: Any, shape: tuple[int, ...]) -> None:
    layer = make()
    vectors = to_numpy(layer(np.zeros(shape, dtype=np.int32)))
    assert vectors.shape == (*shape, 8) == layer.compute_output_shape(shape)
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_any_type_of_integers(make: Any, to_numpy: Any, dtype: str) -> None:
    layer = make()
    assert np.array_equal(to_numpy(layer(IDS.astype(dtype))), to_numpy(layer(IDS)))
    assert np.array_equal(to_numpy(layer(IDS.tolist())), to_numpy(layer(IDS)))


def test_symbolic_equals_eager(make: Any, to_numpy: Any) -> None:
    layer = make()
    model = model_of(layer, (4,))
    assert model.output_shape == (None, 4, 8)
    expected = to_numpy(layer(IDS))
    assert np.array_equal(to_numpy(model(IDS)), expected)
    assert np.allclose(model.predict(IDS, verbose=0), expected, rtol=1e-6, atol=1e-7)


def test_config_gives_an_equal_layer(make: Any) -> None:
    layer = make(name="user", std=0.1, mask_zero=True, embeddings_regularizer="l2", embeddings_initializer="uniform")
    twin = type(layer).from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()
    twin.build()
    layer.build()
    assert [(v.name, v.shape) for v in twin.weights] == [(v.name, v.shape) for v in layer.weights]


@pytest.mark.parametrize("options", ["plain", "all"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_saved_and_loaded_bit_equal(make: Any, to_numpy: Any, tmp_path: Path, options: str) -> None:
    given = {
        "name": "add",  # in an HDF5 file, a word that Keras has a function for becomes that function
        "mask_zero": True,
        "dtype": keras.dtype_policies.DTypePolicy("mixed_bfloat16"),
        "embeddings_initializer": keras.initializers.RandomUniform(1, 2, seed=3),
        "embeddings_regularizer": "l2",
    }
    layer = make(**(given if options == "all" else {}))
    model = model_of(layer)
    every = np.arange(101, dtype=np.int32)
    expected = to_numpy(keras.ops.cast(model(every), "float32"))

    def check(other: Any) -> None:
        assert other.layers[-1].get_config() == layer.get_config()
        assert np.array_equal(to_numpy(keras.ops.cast(other(every), "float32")), expected)

    for suffix in ("keras", "h5"):
        model.save(tmp_path / f"model.{suffix}")
        check(keras.models.load_model(tmp_path / f"model.{suffix}"))
    model.save_weights(tmp_path / "model.weights.h5")
    for fresh in (keras.models.clone_model(model), keras.models.model_from_json(model.to_json())):
        fresh.load_weights(tmp_path / "model.weights.h5")
        check(fresh)


def test_predicted_arrays_are_the_weights(make: Any) -> None:
    layer = make()
    layer.build()
    assert [tuple(weight.shape) for weight in layer.weights] == [array.shape for array in layer.arrays()]
    assert len(layer.trainable_weights) == len(layer.weights) == len(layer.stored)


def test_every_weight_learns(make: Any) -> None:
    layer = make()
    model = keras.Sequential([keras.Input((), dtype="int32"), layer, keras.layers.Dense(1)])
    ids = np.arange(101, dtype=np.int32)
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    layer.build()
    before = [np.array(keras.ops.convert_to_numpy(weight)) for weight in layer.weights]
    history = model.fit(ids, np.cos(ids), batch_size=101, epochs=5, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    for weight, old in zip(layer.weights, before, strict=True):
        assert not np.array_equal(keras.ops.convert_to_numpy(weight), old), weight.name


def test_compiled_equals_eager(make: Any, to_numpy: Any, backend: str) -> None:
    if backend == "torch":
        pytest.skip("its compiler takes most of a minute here; one layer is compiled below")
    layer = make()
    model = keras.Sequential([keras.Input((), dtype="int32"), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=True)
    ids = np.arange(101, dtype=np.int32)
    model.fit(ids, np.cos(ids), batch_size=50, epochs=1, verbose=0)
    assert np.allclose(model.predict(ids, verbose=0), to_numpy(model(ids)), rtol=1e-5, atol=1e-6)


def test_compiled_code_gives_nan_for_ids_out_of_range(make: Any, backend: str) -> None:
    if backend == "torch":
        pytest.skip("torch is asked while it is compiled, and raises")
    model = keras.Sequential([keras.Input((), dtype="int32"), make()])
    model.compile(jit_compile=True)
    found = model.predict(np.array([-1, 0, 100, 101, 2**31 - 1], dtype=np.int32), verbose=0)
    assert np.isnan(found).all(axis=1).tolist() == [True, False, False, True, True]
    assert np.isnan(found).any(axis=1).tolist() == [True, False, False, True, True]


def test_ids_out_of_range_teach_no_row(make: Any, to_numpy: Any, backend: str) -> None:
    if backend == "torch":
        pytest.skip("torch is asked while it is compiled, and raises")
    layer = make()
    model = keras.Sequential([keras.Input((), dtype="int32"), layer])
    model.compile("sgd", "mse")
    model.fit(np.array([3, -1, 50, 101], dtype=np.int32), np.zeros((4, 8)), batch_size=4, verbose=0)
    assert all(np.isfinite(to_numpy(weight)).all() for weight in layer.weights)


@pytest.mark.parametrize("wrong", [-1, 101, 2**31 - 1])
def test_ids_out_of_range_raise(make: Any, wrong: int) -> None:
    layer = make(name="user")
    with pytest.raises(ValueError, match=rf"'user': expected ids in 0 … 100, but {wrong} came"):
        layer(np.array([[0, wrong]], dtype=np.int32))


@pytest.mark.parametrize("wrong", [2**32, 2**40 + 1, -(2**32)])
def test_ids_of_64_bits_are_not_cut_down(backend: str, wrong: int) -> None:
    layer = QREmbedding(101, 8, 11)
    for ids in ([wrong], np.array([3, wrong], dtype=np.int64)):
        with pytest.raises(ValueError, match=f"but {wrong} came"):
            layer(ids)
    if backend != "jax":  # its tensors have 32 bits
        with pytest.raises(ValueError, match=f"but {wrong} came"):
            layer(keras.ops.convert_to_tensor(np.array([wrong], dtype=np.int64)))


def test_floats_are_refused(make: Any) -> None:
    layer = make()
    with pytest.raises(ValueError, match="expected whole numbers, not values of type float32"):
        layer(np.zeros(3, dtype=np.float32))
    with pytest.raises(ValueError, match=r"keras\.Input\(\.\.\., dtype='int32'\)"):
        layer(keras.Input((3,)))
    with pytest.raises(ValueError, match="values of type bool"):
        layer([True, False])
    assert not layer.built


def test_a_model_that_would_turn_ids_into_floats_is_refused(make: Any) -> None:
    model = keras.Sequential([make()])  # without an Input, Keras casts what comes to the dtype of the first layer
    with pytest.raises(ValueError, match=r"write keras\.Input\(\.\.\., dtype='int32'\)"):
        model(IDS)


def test_mixed_precision(make: Any, to_numpy: Any) -> None:
    layer = make(dtype="mixed_bfloat16")
    vectors = layer(IDS)
    assert keras.backend.standardize_dtype(vectors.dtype) == "bfloat16"
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    layer_32 = type(layer).from_config(layer.get_config() | {"dtype": "float32"})
    layer_32.build()
    layer_32.set_weights(layer.get_weights())
    vectors_32 = to_numpy(layer_32(IDS))
    assert np.allclose(to_numpy(keras.ops.cast(vectors, "float32")), vectors_32, rtol=0.03, atol=1e-3)


def test_mask_zero(make: Any, to_numpy: Any) -> None:
    assert make().compute_mask(IDS) is None
    layer = make(mask_zero=True)
    ids = keras.ops.convert_to_tensor(IDS)
    assert np.array_equal(to_numpy(layer.compute_mask(ids)), IDS != 0)
    padded = keras.Input((4,), dtype="int32")
    pooled = keras.Model(padded, keras.layers.GlobalAveragePooling1D()(layer(padded)))(ids)
    vectors = to_numpy(layer(ids))
    assert np.allclose(to_numpy(pooled)[0], vectors[0, 1:].mean(0), rtol=1e-5, atol=1e-7)


def test_regularizer_sees_rows_only(make: Any, to_numpy: Any) -> None:
    layer = make(embeddings_regularizer=keras.regularizers.L2(0.5))
    layer.build()
    rows = [layer.stored[f"{array.name}.weight"] for array in layer.arrays() if array.is_rows]
    expected = sum(0.5 * np.square(to_numpy(weight)).sum() for weight in rows)
    assert np.isclose(sum(to_numpy(loss) for loss in layer.losses), expected, rtol=1e-5)


def test_one_initializer_fills_every_array_differently(make: Any, to_numpy: Any) -> None:
    layer = make(embeddings_initializer=keras.initializers.RandomUniform(1, 2, seed=3))
    layer.build()
    rows = [to_numpy(layer.stored[f"{array.name}.weight"]) for array in layer.arrays() if array.is_rows]
    assert all(1 <= weight.min() <= weight.max() <= 2 for weight in rows)
    assert len({float(weight.ravel()[0]) for weight in rows}) == len(rows)


def test_one_seed_gives_one_layer(make: Any, to_numpy: Any) -> None:
    drawn = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        drawn.append(to_numpy(make()(IDS)))
    assert np.array_equal(*drawn)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: QREmbedding(0, 8, 1), "num_embeddings must be a positive integer, not 0"),
        (lambda: QREmbedding(10, 0, 1), "embedding_dim must be a positive integer, not 0"),
        (lambda: QREmbedding(10, 8), "num_buckets must be a positive integer, not None"),
        (lambda: QREmbedding(embedding_dim=8, num_buckets=2), "expected a vocabulary or num_embeddings, .* neither"),
        (lambda: QREmbedding(10, 8, 2, num_embeddings=10), "one of them, but both came"),
        (lambda: QREmbedding(2**31, 8, 2), "expected at most 2\\^31 - 1"),
        (lambda: QREmbedding(10.5, 8, 2), "num_embeddings must be a positive integer, not 10.5"),
        (lambda: QREmbedding(10, 8, 2, std=0), "std must be a positive number, not 0"),
        (lambda: QREmbedding(10, 8, 2, num_oov_indices=1), "num_oov_indices is for a vocabulary"),
        (lambda: QREmbedding("abc", 8, 2), "expected a list of words"),
        (lambda: QREmbedding([], 8, 2), "vocabulary: expected at least one word, but it is empty"),
        (lambda: QREmbedding(["a", "b", "a"], 8, 2), "expected every word once, but 'a' came more than once"),
        (lambda: MDEmbedding([2, 3], [4, 2], -1), "embedding_dim must be a positive integer, not -1"),
        (lambda: LowRankEmbedding(10, True, 1), "embedding_dim must be a positive integer, not True"),
        (lambda: HashingEmbedding([], 8, 2), "empty"),
    ],
)
def test_bad_arguments(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_strings_without_a_vocabulary_of_strings() -> None:
    for layer in (QREmbedding(10, 8, 2), QREmbedding([5, 6, 7], 8, 2)):
        with pytest.raises(ValueError, match="strings came; give the layer a vocabulary of strings"):
            layer(np.array(["a"]))


def test_strings_inside_the_model(to_numpy: Any, backend: str, tmp_path: Path) -> None:
    words = ["ann", "bob", "cid", "dän", "[UNK]"]
    layer = QREmbedding(words, 8, 2, num_oov_indices=1)
    asked = np.array([["cid", "dän"], ["[UNK]", "zoe"]])
    ids = layer.vocabulary.lookup(asked)
    assert ids.tolist() == [[2, 3], [4, 5]]
    if backend != "tensorflow":
        with pytest.raises(ValueError, match=r"only the TensorFlow backend .* layer\.vocabulary\.lookup\(strings\)"):
            layer(asked)
        return
    expected = to_numpy(layer(ids))
    assert np.array_equal(to_numpy(layer(asked)), expected)
    assert np.array_equal(to_numpy(layer(asked.tolist())), expected)
    text = keras.Input((2,), dtype="string")
    model = keras.Model(text, layer(text))
    model.compile("sgd", "mse")
    inputs = keras.ops.convert_to_tensor(asked.astype(object), dtype="string")
    model.fit(inputs, np.zeros((2, 2, 8)), verbose=0)
    expected = to_numpy(layer(ids))
    assert np.array_equal(model.predict(inputs, verbose=0), expected)
    model.save(tmp_path / "text.keras")
    assert np.array_equal(to_numpy(keras.models.load_model(tmp_path / "text.keras")(inputs)), expected)


@pytest.mark.parametrize("kind", ["S", "O"])
def test_a_vocabulary_of_bytes(make_of: Any, to_numpy: Any, backend: str, kind: str) -> None:
    words = np.array([b"%03d" % number for number in range(101)], dtype=kind)
    layer = make_of(words)
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config
    ids = layer.vocabulary.lookup(words[:3])
    assert ids.tolist() == [0, 1, 2]
    if backend == "tensorflow":
        assert np.array_equal(to_numpy(layer(words[:3])), to_numpy(layer(ids)))


def test_a_vocabulary_of_floats(make_of: Any, to_numpy: Any) -> None:
    layer = make_of(np.arange(101.0)[::-1])
    assert layer.vocabulary.lookup([100.0, 0]).tolist() == [0, 100]
    found = to_numpy(layer(np.array([[100, 3], [2, 1]], dtype=np.int32)))
    assert np.array_equal(to_numpy(layer(np.array([[100, 3], [2, 1]], dtype=object))), found)
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config


def test_what_is_no_array_of_ids() -> None:
    layer = QREmbedding(10, 8, 2)
    with pytest.raises(ValueError, match="expected lists of one length, but their lengths differ"):
        layer([[1, 2], [3]])
    with pytest.raises(ValueError, match="whole numbers, not values of type NoneType and int"):
        layer(np.array([1, None], dtype=object))


def test_unseen_strings_raise_without_a_row_for_them(backend: str) -> None:
    layer = QREmbedding(["ann", "bob"], 8, 2)
    with pytest.raises(ValueError, match="expected one of its 2 words, but 'zoe' came; with num_oov_indices=1"):
        layer.vocabulary.lookup(["ann", "zoe"])
    if backend == "tensorflow":
        with pytest.raises(Exception, match="zoe"):
            layer(np.array(["zoe"]))


def test_a_vocabulary_of_numbers_is_looked_up_inside_the_model(to_numpy: Any) -> None:
    layer = QREmbedding([30, 10, -20], 8, 2, num_oov_indices=1, mask_zero=True)
    words = np.array([10, 30, -20, 7], dtype=np.int32)
    twin = QREmbedding(4, 8, 2)
    twin.build()
    layer.build()
    twin.set_weights(layer.get_weights())
    expected = to_numpy(twin(np.array([1, 0, 2, 3])))
    assert np.array_equal(to_numpy(layer(words)), expected)
    assert np.allclose(model_of(layer).predict(words, verbose=0), expected)
    assert to_numpy(layer.compute_mask(keras.ops.convert_to_tensor(words))).tolist() == [True, False, True, True]
    strict = QREmbedding([30, 10, -20], 8, 2, name="strict")
    with pytest.raises(ValueError, match="'strict': expected one of the 3 words of its vocabulary, but 7 came"):
        strict(words)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch, looking at what it compiles
def test_torch_compiles(to_numpy: Any, backend: str) -> None:
    if backend != "torch":
        pytest.skip("torch only")
    import torch

    packed = pack_layers(FullEmbedding(101, 8, storage={"storage": "packed", "bits": 4}))
    layers = QREmbedding(101, 8, 11), MDEmbedding([10, 91], [8, 2], 8), packed
    for layer in layers:
        layer.build()
    ids = torch.arange(101)
    torch.compiler.reset()
    compiled = torch.compile(lambda given: [layer(given) for layer in layers], backend="aot_eager")(ids)
    for layer, found in zip(layers, compiled, strict=True):
        assert np.allclose(to_numpy(found), to_numpy(layer(ids)), rtol=1e-6)
