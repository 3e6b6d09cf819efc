"""What generalised quotient-remainder and Chinese remainder have in common: families of moduli, composed by rows."""

from itertools import combinations

import numpy as np
import pytest
import torch

from coset.errors import InputError
from coset.methods import ChineseRemainder, FeatureGeneration, GeneralizedQuotientRemainder, PathBased
from coset.partitions import balanced_moduli, coprime_moduli
from coset.schema import Table
from coset.tables import Embedding

KINDS = [GeneralizedQuotientRemainder, ChineseRemainder]
FEWEST = {GeneralizedQuotientRemainder: balanced_moduli, ChineseRemainder: coprime_moduli}
OPERATIONS = ["mult", "add", "concat"]


def rows(method, table):
    """Which row each id reads in every part, shape (parts, n)."""
    ids = np.arange(table.num_embeddings)
    return np.stack([part.partition(ids) for part in method.descriptor(table).parts])


def distinct(vectors):
    """How many rows differ."""
    bits = np.ascontiguousarray(vectors).view(np.dtype((np.void, vectors.shape[1] * vectors.dtype.itemsize)))
    return len(np.unique(bits))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("n", "parts"), [(1, 2), (2, 3), (6040, 1), (6040, 2), (6040, 4), (1_000_000, 2), (999_983, 3), (1_000_000, 4)]
)
def test_no_two_ids_read_the_same_rows(kind, parts, n):
    table, moduli = Table("item", n, 4), FEWEST[kind](n, parts)
    read = rows(kind(moduli), table)
    number = np.zeros(n, dtype=np.int64)
    for row, modulus in zip(read, moduli, strict=True):
        assert 0 <= row.min() <= row.max() < modulus
        number = number * modulus + row
    met = np.zeros(np.prod(moduli), dtype=bool)
    met[number] = True
    assert met.sum() == n


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "moduli", "dim"), [(1_000_000, (103, 101, 100), 5), (5000, (17, 18, 19), 3)])
def test_no_two_concatenated_vectors_are_equal(kind, n, moduli, dim):
    torch.manual_seed(0)
    vectors = kind(moduli, "concat").build(Table("item", n, dim, dtype=torch.float64)).materialize()
    assert distinct(vectors.numpy()) == n


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("parts", [2, 3, 4])
def test_no_two_vectors_of_any_operation_are_equal(kind, operation, parts):
    torch.manual_seed(0)
    table = Table("item", 3001, 8, dtype=torch.float64)
    assert distinct(kind(FEWEST[kind](3001, parts), operation).build(table).materialize().numpy()) == 3001


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("moduli", "dim", "widths", "expected"),
    [
        ((11, 10, 9), 9, None, [3, 3, 3]),
        ((11, 10, 9), 8, None, [3, 3, 2]),
        ((11, 10, 9), 7, None, [3, 2, 2]),
        ((11, 10, 9), 3, None, [1, 1, 1]),
        ((11, 10, 9, 7), 10, None, [3, 3, 2, 2]),
        ((11, 10, 9, 7), 64, None, [16, 16, 16, 16]),
        ((11, 10, 9, 7), 11, None, [3, 3, 3, 2]),
        ((11, 10, 9), 8, (1, 5, 2), [1, 5, 2]),
        ((11, 10, 9, 7), 8, (1, 1, 1, 5), [1, 1, 1, 5]),
        ((31, 30), 7, None, [4, 3]),
        ((900,), 5, None, [5]),
    ],
)
def test_widths_of_a_concatenation_make_the_dim(kind, moduli, dim, widths, expected):
    table, method = Table("item", 900, dim), kind(moduli, "concat", widths)
    assert [component.width for component in method.components(table)] == expected
    assert method.build(table).lookup(torch.tensor([[0, 899]])).shape == (1, 2, dim)
    stored = [min(modulus, 900) for modulus in moduli]
    if kind is ChineseRemainder:
        assert [component.rows for component in method.components(table)] == stored
        assert method.bytes(table) == 4 * sum(r * w for r, w in zip(stored, expected, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", ["mult", "add"])
def test_parts_that_are_not_concatenated_have_the_whole_dim(kind, operation):
    table, moduli = Table("item", 6040, 64), FEWEST[kind](6040, 3)
    assert [component.width for component in kind(moduli, operation).components(table)] == [64] * 3


@pytest.mark.parametrize("kind", [*KINDS, PathBased, FeatureGeneration])
@pytest.mark.parametrize("moduli", [(3, 4), (9,), (1, 1, 1)])
def test_a_product_below_n_is_refused_by_ids_that_collide(kind, moduli):
    table, product = Table("item", 13, 4), int(np.prod(moduli))
    method = kind(moduli)
    for act in (method.check, method.components, method.build, lambda table: Embedding.from_table(table, method)):
        with pytest.raises(InputError, match=rf"'item'.*ids 0 and {product} .*at least 13") as caught:
            act(table)
    shown = str(caught.value)
    assert str(list(moduli)) in shown
    # What it would rather have is taken.
    suggested = tuple(int(part) for part in shown.rpartition("[")[2].rstrip("]").split(","))
    assert len(suggested) == len(moduli)
    kind(suggested).check(table)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [12, 11])
def test_a_product_of_n_is_enough(kind, n):
    assert len(kind((3, 4)).build(Table("item", n, 4)).materialize().unique(dim=0)) == n


@pytest.mark.parametrize("kind", [*KINDS, PathBased, FeatureGeneration])
@pytest.mark.parametrize("moduli", [(0, 5), (5, 0), (-3, 5), (7, 5, -1)])
def test_sizes_of_nothing_are_refused(kind, moduli):
    with pytest.raises(InputError, match=rf"moduli.*at least 1, not \[{', '.join(map(str, moduli))}\]"):
        kind(moduli)


@pytest.mark.parametrize("kind", [*KINDS, PathBased, FeatureGeneration])
@pytest.mark.parametrize("moduli", [(), (2.5, 4), ("3", 4), (True, 8), 12, None])
def test_moduli_are_a_list_of_whole_numbers(kind, moduli):
    with pytest.raises(InputError, match="moduli"):
        kind(moduli)


@pytest.mark.parametrize("kind", [GeneralizedQuotientRemainder, PathBased, FeatureGeneration])
def test_moduli_beyond_int64_are_refused_by_the_table_s_name(kind):
    table = Table("item", 1000, 4)
    with pytest.raises(InputError, match=rf"'item'.*{2**40}.*must lie in 1 … {2**63 - 1}"):
        kind((2**40, 2**40, 2**40)).build(table)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("widths", [(2, 2, 3), (2, 2), (8,), (3, 3, 3, -1), (2, 2, 2, 2)])
def test_widths_that_do_not_make_the_dim_are_refused(kind, widths):
    with pytest.raises(InputError, match="widths"):
        kind((11, 10, 9), "concat", widths).check(Table("item", 900, 8))
    if min(widths) > 0:
        with pytest.raises(InputError, match=r"'item'.*3 widths.*sum to embedding_dim 8.*\[3, 3, 2\] would do"):
            kind((11, 10, 9), "concat", widths).components(Table("item", 900, 8))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("widths", [(0, 4, 4), (9, -2, 1)])
def test_widths_of_nothing_are_refused(kind, widths):
    with pytest.raises(InputError, match=f"widths must be at least 1.*{widths[0]}"):
        kind((11, 10, 9), "concat", widths)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", ["mult", "add"])
def test_widths_are_for_concat(kind, operation):
    with pytest.raises(InputError, match=f"widths.*'concat'.*'{operation}'"):
        kind((11, 10, 9), operation, (3, 3, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_more_parts_than_elements_are_refused(kind):
    with pytest.raises(InputError, match=r"'item'.*concat of 3 parts.*at least 3, not 2"):
        kind((11, 10, 9), "concat").check(Table("item", 900, 2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("operation", ["mult", "add"])
def test_sizes_begin_at_the_fewest_rows(kind, operation):
    table = Table("user", 6040, 64)
    for parts in (2, 3, 4):
        sizes = kind.sizes(table, parts=parts, operation=operation)
        assert sizes[0].moduli == FEWEST[kind](6040, parts)
        assert {method.operation for method in sizes} == {operation}
        assert sizes[-1].bytes(table) > 0.7 * table.full_bytes


@pytest.mark.parametrize("kind", KINDS)
def test_initial_values_have_both_signs(kind):
    torch.manual_seed(0)
    for operation in OPERATIONS:
        for parameter in kind((100, 99, 97), operation).build(Table("item", 900_000, 9)).parameters():
            assert 0.4 < (parameter > 0).float().mean() < 0.6


def test_moduli_with_a_common_factor_are_refused_by_the_table_s_name():
    for method in (ChineseRemainder((5, 4, 6)), FeatureGeneration((5, 4, 6), "chinese_remainder")):
        for act in (method.check, method.components, method.build):
            with pytest.raises(InputError, match=r"'item'.*4 and 6 share the factor 2.*coprime"):
                act(Table("item", 10, 4))
    GeneralizedQuotientRemainder((5, 4, 6)).check(Table("item", 10, 4))


def test_coprime_sizes_are_coprime():
    for parts in (2, 3):
        for method in ChineseRemainder.sizes(Table("user", 6040, 64), parts=parts)[::20]:
            assert all(np.gcd(one, other) == 1 for one, other in combinations(method.moduli, 2))
