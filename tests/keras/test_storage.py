"""Storages of layers: they train, round and move as those of torch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from coset.keras import (
    FullEmbedding,
    QREmbedding,
    from_torch,
    pack_layers,
    store_layers,
    to_torch,
)
from coset.keras.storage.bits import CodeLayout
from coset.keras.storage.levels import least_squares_steps, rounded, tops

EVERY = np.arange(101, dtype=np.int32)
FOUR = {"storage": "packed", "bits": 4}
BY_COLUMN = {"storage": "packed", "bits": [4, 3, 2, 0, 1, 5, 8, 0], "step": "array"}


def test_fresh_arrays_begin_with_the_steps_of_torch(layer: Any, to_numpy: Any) -> None:
    import torch

    twin = to_torch(layer).tables["user"]
    for name, state in layer.torch_state().items():
        array = twin.get_submodule(name)
        array.draw_(lambda values, numbers=state["master"]: values.copy_(torch.from_numpy(numbers)))
        assert np.allclose(array.scales.detach().numpy(), state["scales"], rtol=1e-5, atol=1e-5)


def test_it_trains_as_in_torch(layer: Any, to_numpy: Any, model_of: Any) -> None:
    import torch

    embedding, ids = to_torch(layer), np.array([3, 3, 0, 100, 57, 20, 9], dtype=np.int32)
    assert np.allclose(embedding.materialize().numpy(), to_numpy(layer(EVERY)), rtol=1e-5, atol=1e-7)
    target = np.random.default_rng(0).normal(0, 1, (len(ids), 8)).astype(np.float32)
    model, optimizer = model_of(layer, rate=3.0), torch.optim.SGD(embedding.parameters(), 3.0)
    before = layer.torch_state()
    for _ in range(3):
        model.train_on_batch(ids, target)
        optimizer.zero_grad()
        (embedding(torch.from_numpy(ids).long()) - torch.from_numpy(target)).square().mean().backward()
        optimizer.step()
    for name, state in layer.torch_state().items():
        array = embedding.tables["user"].get_submodule(name)
        for key, values in state.items():
            assert np.allclose(values, array.get_parameter(key).detach().numpy(), rtol=1e-4, atol=1e-5), (name, key)
            assert not np.array_equal(values, before[name][key]), (name, key)


def test_gradients_worked_by_hand(to_numpy: Any, model_of: Any) -> None:
    """Three bits reach ±3 steps; half a step beyond there is no gradient, and the step's is the outermost level."""
    layer = FullEmbedding(4, 1, storage={"storage": "packed", "bits": 3})
    layer.build()
    start = {"master": np.array([[0.3], [9.0], [-3.5], [1.2]]), "scales": np.zeros(1)}
    layer.take_torch_state({"rows": start})
    assert to_numpy(layer(np.arange(4))).ravel().tolist() == [0, 3, -3, 1]
    model_of(layer, loss=lambda _, found: ops.sum(found), rate=1.0).train_on_batch(np.arange(4), np.zeros((4, 1)))
    moved = {key: start[key] - value for key, value in layer.torch_state()["rows"].items()}
    assert moved["master"].ravel() == pytest.approx([1, 0, 1, 1], abs=1e-6)
    assert moved["scales"] == pytest.approx(0.05 * (-0.3 + 3 + (-3 + 3.5) + (1 - 1.2)), abs=1e-6)


def test_rounding_is_that_of_torch(to_numpy: Any) -> None:
    import torch

    from coset.storage.levels import Levels
    from coset.storage.rounding import rounded as in_torch

    draw = np.random.default_rng(1)
    numbers, bits = draw.normal(size=(200, 4)).astype(np.float32), [1, 2, 3, 8]
    numbers[:9] = np.arange(-4.5, 4.5)[:, None]  # between levels, too
    steps = np.array([1, 0.5, 0.25, 0.01], dtype=np.float32)
    expected = in_torch(torch.from_numpy(numbers), torch.from_numpy(steps), Levels(bits)).numpy()
    found = rounded(ops.convert_to_tensor(numbers), ops.convert_to_tensor(steps), tops(bits))
    assert np.array_equal(to_numpy(found), expected)


@pytest.mark.parametrize("over", [(0,), (1,), (0, 1)])
def test_steps_are_those_of_torch(over: tuple[int, ...]) -> None:
    import torch

    from coset.storage.levels import Levels
    from coset.storage.levels import least_squares_steps as in_torch

    numbers = np.random.default_rng(0).standard_t(3, (300, 3)).astype(np.float32)
    numbers[:, 1] = 0
    for values in (numbers, 0 * numbers):
        expected = in_torch(torch.from_numpy(values), Levels([4, 2, 8]), over, None).numpy()
        assert np.allclose(least_squares_steps(values, tops([4, 2, 8]), over), expected, rtol=1e-12)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("bits", [[8, 8], [4, 4, 4], [3, 0, 7, 6], [1], [5, 4, 3, 4, 0], [7, 1, 8]])
def test_codes_lie_where_torch_has_them(to_numpy: Any, bits: list[int], padded: bool) -> None:
    import torch

    from coset.storage.bits import BitLayout

    rows, twin = 19, BitLayout(bits, padded)
    layout = CodeLayout(rows, bits, padded)
    codes = np.random.default_rng(0).integers(
        0, [1 << each for each in layout.stored_bits], (rows, len(layout.columns))
    )
    data = torch.zeros(twin.bytes(rows), dtype=torch.uint8)
    twin.write_(data, torch.arange(rows), torch.from_numpy(codes))
    written = layout.written(codes.astype(np.uint8))
    assert np.array_equal(written.reshape(-1), data.numpy())
    which = np.array([[18, 0], [7, 8]], dtype=np.int32)
    assert np.array_equal(to_numpy(layout.read(ops.convert_to_tensor(written), which)), codes[which])


def test_many_rows_are_written_in_parts() -> None:
    layout = CodeLayout((1 << 14) + 5, [3])
    codes = np.random.default_rng(0).integers(0, 8, (layout.rows, 1)).astype(np.uint8)
    assert np.array_equal(ops.convert_to_numpy(layout.read(layout.written(codes), np.arange(layout.rows))), codes)


def test_training_with_rounding_learns(to_numpy: Any) -> None:
    ids, target = np.arange(50, dtype=np.int32), np.random.default_rng(0).normal(size=(50, 4))
    start = keras.initializers.RandomUniform(-3, 3, seed=0)
    layer = FullEmbedding(50, 4, storage=FOUR, embeddings_initializer=start)
    model = keras.Sequential([keras.Input((), dtype="int32"), layer])
    model.compile(keras.optimizers.Adam(0.1), "mse", jit_compile=False)
    losses = model.fit(ids, target, batch_size=50, epochs=60, verbose=0).history["loss"]
    assert np.square(to_numpy(pack_layers(layer)(ids)) - target).mean() < 0.1 * losses[0]


def test_a_trained_table_is_stored_in_fewer_bits(to_numpy: Any) -> None:
    layer = FullEmbedding(50, 4, std=1.0)
    model = keras.Sequential([keras.Input((), dtype="int32"), layer])
    ids = np.arange(50, dtype=np.int32)
    trained = to_numpy(model(ids))
    errors = []
    for bits in (8, 4, 2):
        layer.store("dense")
        layer.set_weights([trained])
        store_layers(model, {"storage": "packed", "bits": bits})
        assert layer.get_config()["storage"]["bits"] == bits
        errors.append(float(np.abs(to_numpy(pack_layers(model)(ids)) - trained).max()))
    assert 0 < errors[0] < 0.02 < errors[1] < errors[2]
    store_layers(model, "dense")
    assert [weight.name for weight in layer.weights] == ["rows"]
    assert float(np.abs(to_numpy(model(ids)) - trained).max()) == errors[2]


def test_types_of_16_bits(to_numpy: Any, layer_of: Any) -> None:
    layer = layer_of("qr mult", "bfloat16")
    assert {str(weight.dtype) for weight in layer.weights} == {"bfloat16"}
    vectors = to_numpy(layer(EVERY))
    assert vectors.dtype == np.float32
    embedding = to_torch(layer)
    assert embedding.method.to_json()["storage"]["dtype"] == "bfloat16"
    assert np.allclose(embedding.materialize().detach().numpy(), vectors, rtol=1e-6)
    again = from_torch(embedding)
    assert again.storage == layer.storage
    assert np.array_equal(to_numpy(again(EVERY)), vectors)
    assert pack_layers(layer).trainable_weights == layer.weights


def test_packed_rows_in_mixed_precision(to_numpy: Any, layer_of: Any) -> None:
    layer = layer_of("qr mult", FOUR, dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(layer(EVERY).dtype) == "bfloat16"
    vectors = to_numpy(ops.cast(layer(EVERY), "float32"))
    pack_layers(layer)
    assert np.array_equal(to_numpy(ops.cast(layer(EVERY), "float32")), vectors)
    narrow = layer_of("qr mult", FOUR, dtype="bfloat16")
    assert [str(weight.dtype) for weight in narrow.weights] == ["bfloat16", "float32"] * 2
    vectors = to_numpy(ops.cast(narrow(EVERY), "float32"))
    pack_layers(narrow)
    assert np.array_equal(to_numpy(ops.cast(narrow(EVERY), "float32")), vectors)


def test_both_forms_go_to_torch_and_back(layer: Any, to_numpy: Any) -> None:
    for _ in range(2):
        vectors = to_numpy(layer(EVERY))
        embedding = to_torch(layer)
        assert np.allclose(embedding.materialize().detach().numpy(), vectors, rtol=1e-5, atol=1e-7)
        again = from_torch(embedding)
        assert (again.storage, again.packed) == (layer.storage, layer.packed)
        assert np.array_equal(to_numpy(again(EVERY)), vectors)
        pack_layers(layer)


def test_storages_of_coset_may_be_given() -> None:
    import torch

    import coset

    for given, name in ((coset.Packed(4), "packed"), (coset.Dense("float16"), "dense"), (torch.float16, "dense")):
        layer = QREmbedding(10, 4, 3, storage=given)
        assert layer.get_config()["storage"]["storage"] == name
        assert type(layer).from_config(layer.get_config()).storage == layer.storage
    embedding = coset.Embedding(101, 8, coset.LowRank(4), name="user")
    assert from_torch(embedding, storage=coset.Packed(4)).storage.to_json() == coset.Packed(4).to_json()


def test_a_table_of_torch_that_was_packed_there(to_numpy: Any, bytes_of: Any) -> None:
    import coset

    method = coset.QuotientRemainder(11, storage=coset.Packed(3, step="row"))
    embedding = coset.pack_(coset.Embedding(101, 8, method, name="user"))
    layer = from_torch(embedding)
    assert layer.packed
    assert np.allclose(to_numpy(layer(EVERY)), embedding.materialize().numpy(), rtol=1e-6, atol=1e-8)
    assert bytes_of(layer) == sum(value.nbytes for value in embedding.buffers())


def test_codes_without_masters_are_not_trained_here() -> None:
    with pytest.raises(ValueError, match="layers train floats, not codes without masters"):
        FullEmbedding(20, 4, storage={"storage": "packed", "bits": 8, "step": "row", "masters": False})
