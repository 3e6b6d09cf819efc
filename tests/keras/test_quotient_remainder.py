from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from coset.keras import QREmbedding


@pytest.mark.parametrize(
    ("operation", "expected"),
    [("mult", [[3, 8], [5, 12]]), ("add", [[4, 6], [6, 8]]), ("concat", [[1, 2, 3, 4], [1, 2, 5, 6]])],
)
def test_worked_by_hand(operation: str, expected: list[list[float]], to_numpy: Any) -> None:
    layer = QREmbedding(5, 4 if operation == "concat" else 2, 2, operation)
    layer.build()
    layer.set_weights([np.array([[1, 2], [7, 7], [7, 7]]), np.array([[3, 4], [5, 6]])])
    assert to_numpy(layer([0, 1])).tolist() == expected


def test_quotient_and_remainder_pick_the_rows(to_numpy: Any) -> None:
    layer = QREmbedding(6040, 8, 120)
    ids = np.array([0, 119, 120, 6039])
    vectors = to_numpy(layer(ids))
    rows = [to_numpy(layer.stored[f"{part}.weight"]) for part in ("quotient", "remainder")]
    assert np.allclose(vectors, rows[0][ids // 120] * rows[1][ids % 120])


def test_parameters_of_both_layouts() -> None:
    for layout, count in (("compact", (51 + 120) * 64), ("keras", (120 + 120) * 64)):
        layer = QREmbedding(6040, 64, 120, layout=layout)
        layer.build()
        assert layer.count_params() == count


def test_the_arguments_of_the_page() -> None:
    words = [f"user_{number}" for number in range(30)]
    layer = QREmbedding(vocabulary=words, embedding_dim=8, num_buckets=6, name="user_embedding")
    assert layer(layer.vocabulary.lookup(["user_29", "user_0"])).shape == (2, 8)
    assert layer.name == "user_embedding"
    assert layer.get_config()["vocabulary"] == words


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: QREmbedding(10, 8, 0, name="user"), "QREmbedding 'user': num_buckets must be a positive .* not 0"),
        (lambda: QREmbedding(10, 8, -3), "num_buckets must be a positive integer, not -3"),
        (lambda: QREmbedding(10, 8, 2.0), "num_buckets must be a positive integer, not 2.0"),
        (lambda: QREmbedding(10, 8, 11), "expected num_buckets in 1 … 10, the number of ids, not 11"),
        (lambda: QREmbedding(10, 7, 3, "concat"), "concat of 2 parts needs an embedding_dim divisible by 2, not 7"),
        (lambda: QREmbedding(10, 8, 3, "max"), "operation must be one of mult, add, concat, not 'max'"),
        (lambda: QREmbedding(10, 8, 5, layout="wide"), "layout must be one of compact, keras, not 'wide'"),
        (lambda: QREmbedding(10, 8, 3, layout="keras"), "10 ids need 4; take num_buckets ≥ 4"),
    ],
)
def test_bad_arguments(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_it_trains_with_what_is_around_it() -> None:
    keras.utils.set_random_seed(0)
    draw = np.random.default_rng(0)
    users, movies = draw.integers(0, 60, 2000).astype(np.int32), draw.integers(0, 40, 2000).astype(np.int32)
    score = draw.normal(size=60)[users] + draw.normal(size=40)[movies]
    inputs = [keras.Input((), dtype="int32", name=name) for name in ("user", "movie")]
    vectors = [QREmbedding(60, 8, 8)(inputs[0]), QREmbedding(40, 8, 7, "add")(inputs[1])]
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Concatenate()(vectors)))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    losses = model.fit([users, movies], score, batch_size=500, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < 0.6 * losses[0]
