from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from coset.keras import CompositionalEmbedding


def test_worked_by_hand(to_numpy: Any) -> None:
    rows = [np.array([[1], [2]]), np.array([[10], [20], [30]])]
    for scheme, expected in (
        ("mixed_radix", [11, 12, 21, 22, 31, 32]),
        ("chinese_remainder", [11, 22, 31, 12, 21, 32]),
    ):
        layer = CompositionalEmbedding(6, 1, [2, 3], "add", scheme)
        layer.build()
        layer.set_weights(rows)
        assert to_numpy(layer(np.arange(6))).ravel().tolist() == expected


def test_rows_that_no_id_reaches_are_not_stored() -> None:
    layer = CompositionalEmbedding(101, 8, [10, 100])
    layer.build()
    assert [weight.shape[0] for weight in layer.weights] == [10, 11]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CompositionalEmbedding(101, 8), "moduli must be a list of positive integers, not None"),
        (lambda: CompositionalEmbedding(101, 8, []), r"moduli must be a list of positive integers, not \[\]"),
        (lambda: CompositionalEmbedding(101, 8, [101, 0]), "every modulus must be a positive integer, not 0"),
        (
            lambda: CompositionalEmbedding(101, 8, [10, 10]),
            r"the 101 ids, but \[10, 10\] have the product 100",
        ),
        (lambda: CompositionalEmbedding(101, 8, [5, 5, 5], "concat"), "divisible by 3, not 8"),
        (lambda: CompositionalEmbedding(10, 8, [4, 6], scheme="chinese_remainder"), "4 and 6 share the factor 2"),
        (lambda: CompositionalEmbedding(10, 8, [4, 6], scheme="digits"), "scheme must be one of mixed_radix, chinese"),
    ],
)
def test_bad_arguments(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
