"""Collections fitted to those of another one: what ids weigh, what is left, and how arrays in common count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from coset import EmbeddingCollection, LowRank, Robe, Table
from coset.errors import InputError
from coset.ledger import bytes_by_table
from coset.tables.fitted import fit_tables_

N, DIM, RANK = 40, 8, 2


def collection(method, frequencies, seed: int) -> EmbeddingCollection:
    torch.manual_seed(seed)
    return EmbeddingCollection([(Table("user", N, DIM, dtype=torch.float64, frequencies=frequencies), method)])


def weighed(weight: Tensor, counts: np.ndarray) -> Tensor:
    """Rows times the root of their share, so that plain sums of squares are weighted ones."""
    return weight * torch.from_numpy(np.sqrt(counts / counts.sum())).unsqueeze(-1)


@pytest.mark.parametrize("frequencies", [1000.0 / (1 + np.arange(N)) ** 2, np.arange(N) % 5, np.zeros(N), None])
def test_what_is_left_is_that_of_the_best_table_for_these_frequencies(frequencies) -> None:
    """Eckart and Young: the singular values that are cut off. Where no id occurs, all count alike."""
    counts = np.ones(N) if frequencies is None or not frequencies.any() else frequencies.astype(float)
    old, new = collection("full", None, 0), collection(LowRank(RANK), frequencies, 1)
    weight = old.tables["user"].materialize()
    (found,) = fit_tables_(new, old)
    values = torch.linalg.svdvals(weighed(weight, counts)).square()
    assert found.error == pytest.approx(float(values[RANK:].sum() / DIM) ** 0.5)
    assert found.relative == pytest.approx(float(values[RANK:].sum() / values.sum()) ** 0.5)
    gap = weighed(new.tables["user"].materialize() - weight, counts)
    assert found.error == pytest.approx(float(gap.square().sum() / DIM) ** 0.5)


def test_a_table_of_the_same_method_keeps_its_values_to_the_bit() -> None:
    old, new = collection(LowRank(RANK), None, 0), collection(LowRank(RANK), np.arange(N), 1)
    (found,) = fit_tables_(new, old)
    assert (found.error, found.relative, found.note) == (0.0, 0.0, "left as it is")
    assert all(map(torch.equal, new.parameters(), old.parameters()))


def shared(seed: int) -> EmbeddingCollection:
    torch.manual_seed(seed)
    tables = [(Table(name, N, DIM), Robe(64, array="all")) for name in ("user", "movie")]
    return EmbeddingCollection([*tables, (Table("day", 7, DIM), Robe(20, array="other"))])


def test_an_array_in_common_is_neither_fitted_nor_taken_to_be_kept() -> None:
    """It is in the state of neither table, so loading that would change nothing and say that all is well."""
    with pytest.raises(InputError, match="'user': its array is shared"):
        fit_tables_(shared(1), shared(0))


def test_an_array_in_common_counts_at_its_first_table() -> None:
    tables = shared(0)
    found = bytes_by_table({name: (of := tables.tables[name]).method.components(of.table) for name in tables._names})
    assert found == {"user": 64 * 4, "movie": 0, "day": 20 * 4}
    assert sum(found.values()) == sum(p.nbytes for p in shared(0).parameters())
