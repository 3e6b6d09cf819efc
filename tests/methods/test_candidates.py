"""What methods offer to a planner."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from coset.errors import Unsuitable
from coset.methods import method_class, registered
from coset.methods.sizing import thinned
from coset.methods.traffic import Traffic
from coset.schema import Table
from coset.testing.cases import attributed

COUNTS = {n: np.maximum(1, 1_000_000 // np.arange(1, n + 1)) for n in (1, 2, 7, 4000)}


@pytest.mark.parametrize("name", sorted(registered()))
def test_candidates_fit_their_table(name: str) -> None:
    cls = method_class(name)
    for n, dim in product(COUNTS, (1, 3, 16)):
        plain = attributed("user", n, dim)
        table = Table("user", n, dim, frequencies=COUNTS[n], attributes=plain.attributes)
        try:
            found = list(cls.candidates(table, Traffic.of(table), 8))
            smallest = cls.sizes(table)[0].bytes(table)
        except Unsuitable:
            continue
        for method in found:
            method.check(table)
        sizes = [method.bytes(table) for method in found]
        assert min(sizes) <= smallest, (n, dim)
        assert len(found) <= 64, (n, dim)
        if n == 4000 and dim == 16 and len(cls.sizes(table)) > 1:
            assert max(sizes) > 2 * min(sizes)


def test_thinning_keeps_both_ends() -> None:
    assert thinned(range(100, 1100), 5)[0] == 100
    assert thinned(range(100, 1100), 5)[-1] == 1099
    assert len(thinned(range(1000), 5)) == 5
    assert thinned([7], 5) == [7]


def test_quotient_remainder_has_the_fewest_rows_at_its_smallest() -> None:
    """The smallest m + ⌈n / m⌉ over all m, found by trying all."""
    cls = method_class("quotient_remainder")
    for n in [*range(1, 200), 999, 1000, 1001, 3706, 6040]:
        fewest = min(m + -(-n // m) for m in range(1, n + 1))
        method = cls.sizes(Table("user", n, 4))[0]
        assert sum(component.rows for component in method.components(Table("user", n, 4))) == fewest
