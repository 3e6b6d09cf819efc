from typing import Any

import numpy as np
import pytest

from coset.keras import LowRankEmbedding


def test_rows_times_the_projection(to_numpy: Any) -> None:
    layer = LowRankEmbedding(50, 8, 3)
    vectors = to_numpy(layer(np.arange(50)))
    rows, projection = (to_numpy(weight) for weight in layer.weights)
    assert np.allclose(vectors, rows @ projection, rtol=1e-5, atol=1e-7)


def test_at_full_rank_there_is_no_projection() -> None:
    layer = LowRankEmbedding(50, 8, 8)
    layer.build()
    assert [tuple(weight.shape) for weight in layer.weights] == [(50, 8)]


@pytest.mark.parametrize(("rank", "message"), [(0, "rank must be a positive"), (9, "expected a rank in 1 … 8, .* 9")])
def test_bad_ranks(rank: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LowRankEmbedding(50, 8, rank)
