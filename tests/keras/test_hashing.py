from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from coset.keras import HashingEmbedding
from coset.partitions import MultiplyShift


def test_the_hash_picks_the_row(to_numpy: Any) -> None:
    ids = np.arange(1000)
    for hash, seed, rows in (("remainder", 0, ids % 37), ("multiply_shift", 9, MultiplyShift(37, 9)(ids))):
        layer = HashingEmbedding(1000, 4, 37, hash, seed)
        vectors = to_numpy(layer(ids))
        assert np.array_equal(vectors, to_numpy(layer.weights[0])[rows])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: HashingEmbedding(10, 8, 0), "num_buckets must be a positive integer, not 0"),
        (lambda: HashingEmbedding(10, 8, 11), "expected num_buckets in 1 … 10"),
        (lambda: HashingEmbedding(10, 8, 5, "md5"), "hash must be one of remainder, multiply_shift, not 'md5'"),
        (lambda: HashingEmbedding(10, 8, 5, seed=-1), "seed must be an integer in 0 … 2\\^32 - 1, not -1"),
    ],
)
def test_bad_arguments(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
