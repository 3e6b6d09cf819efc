"""Fresh vectors."""

from typing import Any

import keras
import numpy as np
import pytest

from coset.keras import CompositionalEmbedding, HashingEmbedding, LowRankEmbedding, MDEmbedding, QREmbedding

N = 100_000


@pytest.mark.parametrize(
    "build",
    [
        lambda: QREmbedding(N, 16, 400, std=0.2),
        lambda: QREmbedding(N, 16, 400, "add", std=0.2),
        lambda: QREmbedding(N, 16, 400, "concat", std=0.2),
        lambda: CompositionalEmbedding(N, 16, [2000, 10, 10], std=0.2),
        lambda: HashingEmbedding(N, 16, 4000, "multiply_shift", std=0.2),
        lambda: LowRankEmbedding(N, 16, 4, std=0.2),
        lambda: MDEmbedding([1000, N - 1000], [16, 4], 16, std=0.2),
    ],
)
def test_fresh_vectors_have_the_deviation_asked_for(build: Any, to_numpy: Any) -> None:
    deviations, means = [], []
    for seed in range(5):
        keras.utils.set_random_seed(seed)
        vectors = to_numpy(build()(np.arange(0, N, 7, dtype=np.int32)))
        deviations.append(float(np.sqrt(np.square(vectors).mean())))
        means.append(float(vectors.mean()))
    assert np.mean(deviations) == pytest.approx(0.2, rel=0.06)
    assert abs(np.mean(means)) < 0.01


def test_the_keras_layout_begins_as_keras_does(to_numpy: Any) -> None:
    keras.utils.set_random_seed(0)
    users, movies = QREmbedding(6040, 64, 120, layout="keras"), MDEmbedding([50, 900], [64, 16], 64, layout="keras")
    users.build()
    movies.build()
    for layer in (users, movies):
        for array in layer.arrays():
            weight = to_numpy(layer.stored[f"{array.name}.weight"])
            if array.is_rows:
                assert weight.std() == pytest.approx(0.05 / 3**0.5, rel=0.05), f"{array.name}.weight"
                assert np.abs(weight).max() <= 0.05
    bound = (6 / (16 + 64)) ** 0.5
    projection = to_numpy(movies.stored["blocks.1.projection.weight"])
    assert 0.95 * bound < np.abs(projection).max() <= bound
    assert not to_numpy(movies.stored["blocks.1.projection_bias.weight"]).any()
