from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from coset.keras import MDEmbedding

WORDS = [["a", "b"], ["c", "d", "e"], ["f"]]


def test_worked_by_hand(to_numpy: Any) -> None:
    layer = MDEmbedding([1, 2], [2, 1], 2)
    layer.build()
    layer.set_weights([np.array([[1, 2]]), np.array([[3], [4]]), np.array([[10, 100]])])
    assert to_numpy(layer([2, 0, 1])).tolist() == [[40, 400], [1, 2], [30, 300]]


def test_the_form_does_not_change_the_values(to_numpy: Any, backend: str) -> None:
    layer = MDEmbedding([10, 30, 61], [8, 4, 1], 8, layout="keras")
    layer.build()
    ids = layer._ids(np.random.default_rng(0).permutation(101).astype(np.int32))
    masked = to_numpy(layer._masked(ids))
    assert np.allclose(to_numpy(layer.vectors(ids)), masked, rtol=1e-6, atol=1e-8)
    if backend != "jax":
        assert np.allclose(to_numpy(layer._chosen(ids)), masked, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("block", [(0, 101), (10, 40), (40, 101)])
@pytest.mark.parametrize("count", [300, 1])
def test_the_form_does_not_change_the_gradients(
    to_numpy: Any, backend: str, compiled: bool, block: tuple[int, int], count: int
) -> None:
    if backend == "torch" and compiled:
        pytest.skip("its compiler takes most of a minute here")
    ids = np.random.default_rng(0).integers(*block, count).astype(np.int32)
    layers = [MDEmbedding([10, 30, 61], [8, 4, 1], 8, layout="keras") for _ in range(2)]
    if backend == "torch":
        layers[0].vectors = layers[0]._chosen
    layers[1]._chosen = layers[1]._masked
    layers[0].build()
    layers[1].build()
    layers[1].set_weights(layers[0].get_weights())
    for layer in layers:
        model = keras.Sequential([keras.Input((), dtype="int32"), layer])
        model.compile(keras.optimizers.SGD(10.0), "mse", jit_compile=compiled and layer is layers[0])
        model.fit(ids, np.cos(np.arange(count * 8)).reshape(count, 8), batch_size=300, verbose=0)
    for ours, plain in zip(layers[0].weights, layers[1].weights, strict=True):
        assert np.allclose(to_numpy(ours), to_numpy(plain), rtol=1e-4, atol=1e-6), ours.name


def test_a_single_id_compiled(to_numpy: Any, backend: str) -> None:
    if backend == "torch":
        pytest.skip("its compiler takes most of a minute here")
    layer = MDEmbedding([10, 30, 61], [8, 4, 1], 8, layout="keras")
    model = keras.Sequential([keras.Input((), dtype="int32"), layer])
    model.compile(jit_compile=True)
    for word in (5, 20, 77):
        ids = np.array([word], dtype=np.int32)
        assert np.allclose(model.predict(ids, verbose=0), to_numpy(layer(ids)), rtol=1e-5)


def test_no_ids_have_a_gradient_of_zeros(backend: str) -> None:
    if backend != "tensorflow":
        pytest.skip("the form that TensorFlow takes")
    import tensorflow as tf

    layer = MDEmbedding([10, 30, 61], [8, 4, 1], 8)
    with tf.GradientTape() as tape:
        total = keras.ops.sum(layer(np.zeros((0, 3), dtype=np.int32)))
    for gradient in tape.gradient(total, [weight.value for weight in layer.weights]):
        assert not np.any(tf.convert_to_tensor(gradient))


def test_blocks_of_words(to_numpy: Any) -> None:
    layer = MDEmbedding(WORDS, [4, 2, 1], 4, name="movie")
    assert layer.block_sizes == (2, 3, 1)
    assert layer.vocabulary.lookup(["f", "a", "d"]).tolist() == [5, 0, 3]
    config = layer.get_config()
    assert config["blocks_vocabulary"] == WORDS
    assert MDEmbedding.from_config(config).get_config() == config
    assert layer(layer.vocabulary.lookup(["f", "a"])).shape == (2, 4)


def test_unseen_words_get_a_row_of_the_last_block(to_numpy: Any) -> None:
    layer = MDEmbedding(WORDS, [4, 2, 1], 4, num_oov_indices=1)
    assert layer.block_sizes == (2, 3, 2)
    assert layer.vocabulary.lookup(["z"]).tolist() == [6]
    assert layer(layer.vocabulary.lookup(["z"])).shape == (1, 4)
    twin = MDEmbedding.from_config(layer.get_config())
    assert twin.block_sizes == (2, 3, 2)


def test_parameters_of_both_layouts() -> None:
    for layout, count in (("compact", 102_368), ("keras", 102_608)):
        layer = MDEmbedding([400, 1300, 2006], [64, 32, 16], 64, layout=layout)
        layer.build()
        assert layer.count_params() == count


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MDEmbedding([["a"], ["a"]], [2, 2], 2), "'a' is in block 0 and in block 1"),
        (
            lambda: MDEmbedding([["a", "b", "a"]], [2], 2),
            "block 0: expected every word once, but 'a' came more than once",
        ),
        (lambda: MDEmbedding([["a"], []], [2, 2], 2), "block 1: expected at least one word, but it is empty"),
        (lambda: MDEmbedding([], [], 2), r"at least one, not \[\]"),
        (lambda: MDEmbedding(["ab", "cd"], [2, 2], 2), "block 0: expected a list of words, .* not 'ab'"),
        (lambda: MDEmbedding([3, 0], [2, 2], 2), r"at least one id in every block, not \[3, 0\]"),
        (lambda: MDEmbedding([3, 2], [2], 2), r"one width for each of the 2 blocks, not \[2\]"),
        (lambda: MDEmbedding([3, 2], [2, 0], 2), "every width must be a positive integer, not 0"),
        (lambda: MDEmbedding([3, 2], [2, 3], 2), r"expected blocks_embedding_dims in 1 … 2, .* not \[2, 3\]"),
        (lambda: MDEmbedding([3, 2], [2, 2], 0), "embedding_dim must be a positive integer, not 0"),
        (lambda: MDEmbedding(blocks_embedding_dims=[2], base_embedding_dim=2), "but neither came"),
        (lambda: MDEmbedding([3], [2], 2, block_sizes=[3]), "but both came"),
        (lambda: MDEmbedding([3], [2], 2, layout="wide"), "layout must be one of compact, keras"),
        (lambda: MDEmbedding([["a", 1]], [2], 2, name="movie"), "'movie': block 0: expected all strings or all"),
    ],
)
def test_bad_arguments(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
