"""Reasons of plans: bytes, shared rows and the next best, in words."""

import pytest

from coset.methods import Blocks, Full, Hashing, LowRank, QuotientRemainder, Robe
from coset.planning.plan import Alternative
from coset.planning.reasons import next_best, reason, saving, sharing
from coset.schema import Table

TABLE = Table("page", 1000, 16)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (Full(), "every id has a row of its own"),
        (LowRank(4), "every id has a row of its own"),
        (Hashing(250), "1,000 ids share 250 rows"),
        (QuotientRemainder(250), "1,000 ids share 250 rows of the largest array"),
        (Blocks((1,), (Full(), Hashing(1))), "1 id has a row, the other 999 share 1 row"),
        (Robe(64), ""),
    ],
)
def test_it_says_how_many_ids_share_rows(method, words):
    assert sharing(TABLE, method.descriptor(TABLE)) == words


def test_it_says_what_is_saved_and_what_the_next_best_would_cost():
    other = Alternative(Hashing(250), 16_000, 0.034)
    assert saving(TABLE, TABLE.full_bytes) == "is a full table of dim 16, 64KB"
    assert next_best(0.01, other, False) == "the next best, hashing in 16KB, is predicted to lose 2.40% more"
    assert next_best(0.01, other, True) == "the next best, hashing in 16KB, is predicted to lose 0.0240 more"
    assert next_best(0.035, other, False) == "the next best, hashing in 16KB, is predicted to lose as much"
    assert next_best(0.01, None, False) == "nothing else fits into the budget"
    assert reason(TABLE, Robe(64), 256, 0.0, None) == (
        "takes 256B, where a full table of dim 16 takes 64KB; nothing else fits into the budget"
    )
