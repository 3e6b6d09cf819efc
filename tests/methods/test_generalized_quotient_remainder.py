import numpy as np
import pytest
import torch

from coset.methods import GeneralizedQuotientRemainder, QuotientRemainder
from coset.partitions import balanced_moduli
from coset.schema import Table

# Moduli 3, 4, 2: id 23 = 2 + 3 · 3 + 12 · 1, id 7 = 1 + 3 · 2 + 12 · 0.
DIGITS = {23: (2, 3, 1), 7: (1, 2, 0), 0: (0, 0, 0), 2: (2, 0, 0), 12: (0, 0, 1)}


@pytest.mark.parametrize(
    ("operation", "expected"), [("mult", [30.0, 231.0, 7 * 13 * 3]), ("add", [10.0, 21.0, 23.0]), ("concat", [2, 3, 5])]
)
def test_id_23_worked_by_hand(operation, expected):
    module = GeneralizedQuotientRemainder((3, 4, 2), operation).build(Table("item", 24, 3))
    values = ([2.0, 3.0, 7.0], [3.0, 7.0, 13.0], [5.0, 11.0, 3.0])
    with torch.no_grad():
        for parameter, row, vector in zip(module.parameters(), DIGITS[23], values, strict=True):
            parameter.zero_()
            parameter[row] = torch.tensor(vector)[: parameter.shape[1]]
    assert module.lookup(torch.tensor(23)).tolist() == expected


def test_rows_are_the_digits_least_significant_first():
    module = GeneralizedQuotientRemainder((3, 4, 2), "concat").build(Table("item", 24, 3))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.arange(len(parameter)).unsqueeze(1))
    for i, digits in DIGITS.items():
        assert module.lookup(torch.tensor(i)).tolist() == list(digits)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_bytes_are_those_of_the_moduli(k):
    # O(k · n^(1/k) · D): never more than k rows above it.
    table = Table("user", 6040, 64)
    moduli = balanced_moduli(6040, k)
    rows = [component.rows for component in GeneralizedQuotientRemainder(moduli).components(table)]
    assert rows[:-1] == list(moduli[:-1])
    assert sum(rows) < k * 6040 ** (1 / k) + k
    assert GeneralizedQuotientRemainder(moduli).bytes(table) == sum(rows) * 64 * 4


def test_only_rows_that_ids_reach_are_stored():
    shapes = [c.shape for c in GeneralizedQuotientRemainder((10, 10, 10)).components(Table("item", 120, 4))]
    assert shapes == [(10, 4), (10, 4), (2, 4)]
    shapes = [c.shape for c in GeneralizedQuotientRemainder((200, 7)).components(Table("item", 120, 4))]
    assert shapes == [(120, 4), (1, 4)]


@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
@pytest.mark.parametrize(("n", "m"), [(12, 4), (6040, 120), (6040, 78), (101, 10), (7, 7), (7, 1)])
def test_of_two_parts_it_is_quotient_remainder(operation, n, m):
    table = Table("item", n, 6)
    general, pair = GeneralizedQuotientRemainder((m, -(-n // m)), operation), QuotientRemainder(m, operation)
    ids = np.arange(n)
    remainder, quotient = (part.partition(ids) for part in general.descriptor(table).parts)
    expected = {part.name: part.partition(ids) for part in pair.descriptor(table).parts}
    assert (remainder == expected["remainder"]).all()
    assert (quotient == expected["quotient"]).all()
    assert general.bytes(table) == pair.bytes(table)
    if operation != "concat":
        one, other = general.build(table), pair.build(table)
        other.load_state_dict(
            {"remainder.weight": one.state_dict()["part0.weight"], "quotient.weight": one.state_dict()["part1.weight"]}
        )
        assert torch.equal(one.materialize(), other.materialize())


@pytest.mark.parametrize("i", [2**24 + 1, 2**31 + 5, 2**40 - 1])
def test_far_ids_read_their_digits(i):
    moduli, table = balanced_moduli(2**40, 3), Table("item", 2**40, 3)
    module = GeneralizedQuotientRemainder(moduli, "concat").build(table)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.arange(len(parameter)).unsqueeze(1))
    first, second, third = moduli
    assert module.lookup(torch.tensor(i)).tolist() == [i % first, i // first % second, i // (first * second) % third]


@pytest.mark.parametrize(("operation", "parts"), [("add", 3), ("mult", 3), ("concat", 4)])
def test_a_table_of_its_own_kind_is_found_again(operation, parts):
    table = Table("item", 210, 5, dtype=torch.float64)
    method = GeneralizedQuotientRemainder(balanced_moduli(210, parts), operation)
    torch.manual_seed(0)
    weight = method.build(table).materialize()
    assert method.build(table).fit_(weight) < 1e-3 * weight.pow(2).mean()
