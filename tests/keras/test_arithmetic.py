from typing import Any

import keras
import numpy as np
import pytest

from coset.keras.arithmetic import rows_of
from coset.partitions import MultiplyShift, Partition, RowMap, chinese_remainder, mixed_radix, naive, quotient

MOST = 2**31 - 1
IDS = np.concatenate([np.arange(300), MOST - 1 - np.arange(300), np.random.default_rng(0).integers(0, MOST, 4000)])


def rows(partition: RowMap, ids: np.ndarray = IDS, n: int = MOST) -> np.ndarray:
    tensor = keras.ops.convert_to_tensor(ids.astype(np.int32))
    return np.asarray(keras.ops.convert_to_numpy(rows_of(partition, n)(tensor)))


@pytest.mark.parametrize("seed", [0, 1, 7, 12345, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("modulus", [1, 2, 1000, 4099, 2**30 + 3, 2**31 - 1, 2**31])
def test_the_hash_is_that_of_the_partitions_in_32_bits(seed: int, modulus: int) -> None:
    hashed = MultiplyShift(modulus, seed)
    assert np.array_equal(rows(hashed), hashed(IDS.astype(np.int64)))


@pytest.mark.parametrize(
    "partition",
    [
        naive(MOST),
        quotient(4096, MOST),
        quotient(3, MOST),
        Partition(7, 100),
        *mixed_radix([1300, 1300, 1300]),
        *mixed_radix([2**20, 2**20, 2**20, 5]),  # later divisors do not fit 32 bits
        *chinese_remainder([46349, 46351]),
    ],
)
def test_partitions_as_in_64_bits(partition: RowMap) -> None:
    assert np.array_equal(rows(partition), partition(IDS.astype(np.int64)))


def test_a_row_for_every_id_needs_no_arithmetic() -> None:
    ids: Any = object()
    assert rows_of(naive(10), 10)(ids) is ids


def test_other_maps_are_refused() -> None:
    class Odd:
        def __call__(self, ids: Any) -> Any:
            return ids

        def rows(self, num_embeddings: int) -> int:
            return num_embeddings

    with pytest.raises(TypeError, match="have no arithmetic for"):
        rows_of(Odd(), 10)
