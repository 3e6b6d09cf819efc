import pytest
import torch

from coset.errors import InputError
from coset.methods import QuotientRemainder
from coset.schema import Table

USERS = Table("user", 6040, 64)


def rows(method, table):
    return sorted(component.rows for component in method.components(table))


def test_only_rows_that_ids_reach_are_stored():
    assert rows(QuotientRemainder(120), USERS) == [51, 120]
    assert QuotientRemainder(120).bytes(USERS) == 10_944 * 4


def test_the_keras_layout_counts_as_the_keras_example():
    assert rows(QuotientRemainder(120, layout="keras"), USERS) == [120, 120]
    assert QuotientRemainder(120, layout="keras").bytes(USERS) == 15_360 * 4


def test_a_concatenation_has_two_halves():
    assert [c.shape for c in QuotientRemainder(120, "concat").components(USERS)] == [(51, 32), (120, 32)]


@pytest.mark.parametrize("layout", ["compact", "keras"])
@pytest.mark.parametrize(
    ("operation", "expected"), [("mult", [14.0, 39.0]), ("add", [9.0, 16.0]), ("concat", [2.0, 7.0])]
)
def test_id_7_of_12_worked_by_hand(operation, expected, layout):
    # 4 buckets: id 7 reads quotient row 7 // 4 = 1 and remainder row 7 % 4 = 3.
    table = Table("item", 12, 2)
    module = QuotientRemainder(4, operation, layout).build(table)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.zero_()
            if "quotient" in name:
                parameter[1] = torch.tensor([2.0, 3.0])[: parameter.shape[1]]
            else:
                parameter[3] = torch.tensor([7.0, 13.0])[: parameter.shape[1]]
    assert module.lookup(torch.tensor(7)).tolist() == expected


@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
@pytest.mark.parametrize(("n", "m"), [(100, 10), (101, 10), (99, 10), (7, 3), (5, 5), (6, 1)])
def test_no_two_ids_have_the_same_vector(operation, n, m):
    torch.manual_seed(0)
    vectors = QuotientRemainder(m, operation).build(Table("item", n, 4)).materialize()
    assert len(vectors.unique(dim=0)) == n


@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
def test_initial_values_have_both_signs(operation):
    torch.manual_seed(0)
    for parameter in QuotientRemainder(100, operation).build(Table("item", 5000, 8)).parameters():
        assert 0.4 < (parameter > 0).float().mean() < 0.6


def test_factors_begin_far_from_zero_so_that_gradients_do_not_vanish():
    torch.manual_seed(0)
    module = QuotientRemainder(100, "mult").build(Table("item", 5000, 8))
    smallest = min(parameter.abs().mean() for parameter in module.parameters())
    largest = max(parameter.abs().mean() for parameter in module.parameters())
    assert smallest < 0.07 < 0.5 < largest


@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
def test_the_keras_layout_is_uniform_within_a_twentieth(operation):
    torch.manual_seed(0)
    table = Table("item", 90_000, 8, std=3.0)
    for parameter in QuotientRemainder(300, operation, layout="keras").build(table).parameters():
        assert parameter.abs().max() <= 0.05
        assert parameter.abs().max() > 0.0495
        assert abs(parameter.std().item() - 0.05 / 3**0.5) < 0.001


@pytest.mark.parametrize("buckets", [0, -120])
def test_without_buckets_there_is_no_row(buckets):
    with pytest.raises(InputError, match=f"num_buckets.*{buckets}"):
        QuotientRemainder(buckets)


def test_more_buckets_than_ids_are_refused():
    with pytest.raises(InputError, match=r"'user'.*6041.*6040"):
        QuotientRemainder(6041).check(USERS)


def test_a_concatenation_needs_an_even_dim():
    with pytest.raises(InputError, match=r"'user'.*concat.*63"):
        QuotientRemainder(120, "concat").descriptor(Table("user", 6040, 63))
    with pytest.raises(InputError, match=r"'user'.*concat.*63"):
        QuotientRemainder(120, "concat").check(Table("user", 6040, 63))


def test_the_keras_layout_needs_as_many_buckets_as_quotients():
    QuotientRemainder(78, layout="keras").check(USERS)  # 78² = 6084 ≥ 6040
    with pytest.raises(InputError, match=r"'user'.*6040"):
        QuotientRemainder(77, layout="keras").check(USERS)


def test_an_unknown_operation_is_refused():
    with pytest.raises(InputError, match=r"operation.*'multiply'"):
        QuotientRemainder(120, "multiply")


def test_sizes_begin_at_the_square_root_and_grow():
    sizes = QuotientRemainder.sizes(USERS)
    assert rows(sizes[0], USERS) == [78, 78]
    assert sizes[-1].bytes(USERS) <= USERS.full_bytes
    assert sizes[-1].bytes(USERS) > 0.9 * USERS.full_bytes
    smaller = QuotientRemainder.for_budget(USERS, 100_000)
    assert 99_000 < smaller.bytes(USERS) <= 100_000


@pytest.mark.parametrize("operation", ["mult", "add", "concat"])
def test_sizes_of_one_operation(operation):
    sizes = QuotientRemainder.sizes(USERS, operation=operation)
    assert {sizes[at].operation for at in range(0, len(sizes), 500)} == {operation}


def test_a_multiplied_table_is_found_again():
    table = Table("item", 103, 5, dtype=torch.float64)
    method = QuotientRemainder(10)
    torch.manual_seed(0)
    weight = method.build(table).materialize()
    assert method.build(table).fit_(weight) < 1e-6 * weight.pow(2).mean()


def test_an_added_table_is_found_again():
    table = Table("item", 103, 5, dtype=torch.float64)
    method = QuotientRemainder(10, "add")
    torch.manual_seed(0)
    weight = method.build(table).materialize()
    assert method.build(table).fit_(weight) < 1e-6 * weight.pow(2).mean()
