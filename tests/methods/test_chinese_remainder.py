import pytest
import torch

from coset.methods import ChineseRemainder
from coset.partitions import coprime_moduli
from coset.schema import Table


@pytest.mark.parametrize(
    ("operation", "expected"), [("mult", [30.0, 231.0, 7 * 13 * 3]), ("add", [10.0, 21.0, 23.0]), ("concat", [2, 3, 5])]
)
def test_id_23_worked_by_hand(operation, expected):
    # 23 = 2 modulo 3, 3 modulo 5, 2 modulo 7: Sunzi's number.
    module = ChineseRemainder((3, 5, 7), operation).build(Table("item", 105, 3))
    values = ([2.0, 3.0, 7.0], [3.0, 7.0, 13.0], [5.0, 11.0, 3.0])
    with torch.no_grad():
        for parameter, row, vector in zip(module.parameters(), (2, 3, 2), values, strict=True):
            parameter.zero_()
            parameter[row] = torch.tensor(vector)[: parameter.shape[1]]
    assert module.lookup(torch.tensor(23)).tolist() == expected


def test_every_remainder_has_a_row():
    table = Table("user", 6040, 64)
    method = ChineseRemainder((20, 19, 17))
    assert [component.shape for component in method.components(table)] == [(20, 64), (19, 64), (17, 64)]
    assert method.bytes(table) == (20 + 19 + 17) * 64 * 4


def test_a_modulus_above_n_has_n_rows():
    assert [c.rows for c in ChineseRemainder((1000, 7)).components(Table("item", 120, 4))] == [120, 7]


@pytest.mark.parametrize("i", [2**24 + 1, 2**31 + 5, 2**40 - 1])
def test_far_ids_read_their_remainders(i):
    moduli = coprime_moduli(2**40, 3)
    module = ChineseRemainder(moduli, "concat").build(Table("item", 2**40, 3))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.arange(len(parameter)).unsqueeze(1))
    assert module.lookup(torch.tensor(i)).tolist() == [i % modulus for modulus in moduli]


def test_neighbours_share_no_row_but_those_of_a_period():
    # Unlike quotients, remainders do not merge runs of neighbouring ids.
    table = Table("item", 3 * 5 * 7, 2)
    for part in ChineseRemainder((3, 5, 7)).descriptor(table).parts:
        rows = part.partition(torch.arange(105))
        assert (rows[1:] != rows[:-1]).all()
