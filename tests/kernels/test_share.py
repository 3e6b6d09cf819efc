"""Tasks that threads claim."""

from __future__ import annotations

import numpy as np
import pytest

from coset.kernels import openmp, threads
from coset.kernels.compile import kernel
from coset.kernels.share import claim, none_taken


@kernel
def count_claims(part, parts, taken, claims):
    t = claim(taken)
    while t < len(claims):
        claims[t] += 1
        t = claim(taken)


@pytest.mark.parametrize("share_out", [openmp.share_out, threads.share_out])
def test_every_task_is_claimed_once(share_out) -> None:
    claims = np.zeros(200_000, np.int64)
    taken = none_taken()
    share_out(count_claims, 3, (taken, claims))
    assert claims.tolist() == [1] * len(claims)
    share_out(count_claims, 3, (taken, claims))  # a part that is done once more
    assert claims.tolist() == [1] * len(claims)
