import numpy as np
import pytest
import torch

from coset.errors import InputError
from coset.methods import Blocks, FeatureGeneration, Full
from coset.partitions import balanced_moduli, coprime_moduli
from coset.schema import Table
from coset.tables import Embedding, EmbeddingBag


@pytest.mark.parametrize(("scheme", "rows"), [("mixed_radix", (2, 2, 1)), ("chinese_remainder", (2, 3, 3))])
def test_id_23_reads_a_vector_of_each_partition(scheme, rows):
    module = FeatureGeneration((3, 4, 5), scheme).build(Table("item", 60, 2))
    arrays = list(module.parameters())
    assert [tuple(array.shape) for array in arrays] == [(3, 2), (4, 2), (5, 2)]
    rows = {"mixed_radix": (23 % 3, 23 // 3 % 4, 23 // 12 % 5), "chinese_remainder": (23 % 3, 23 % 4, 23 % 5)}[scheme]
    expected = torch.stack([array[row] for array, row in zip(arrays, rows, strict=True)])
    assert torch.equal(module.lookup(torch.tensor(23)), expected)
    assert torch.equal(module.lookup(torch.tensor([[0, 23]]))[0, 1], expected)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_shapes_and_bytes(k):
    table, moduli = Table("user", 6040, 5), balanced_moduli(6040, k)
    method = FeatureGeneration(moduli)
    assert method.table_outputs == k
    shape = (5,) if k == 1 else (k, 5)
    assert method.vector_shape(table) == shape
    assert method.build(table).lookup(torch.zeros(2, 3, dtype=torch.int64)).shape == (2, 3, *shape)
    stored = [min(modulus, -(-6040 // int(np.prod(moduli[:at])))) for at, modulus in enumerate(moduli)]
    assert method.bytes(table) == sum(stored) * 5 * 4
    coprime = coprime_moduli(6040, k)
    assert FeatureGeneration(coprime, "chinese_remainder").bytes(table) == sum(coprime) * 5 * 4


def test_all_vectors_together_tell_ids_apart():
    torch.manual_seed(0)
    table = Table("item", 1000, 2, dtype=torch.float64)
    for method in (FeatureGeneration((10, 10, 10)), FeatureGeneration((32, 33), "chinese_remainder")):
        vectors = method.build(table).materialize()
        assert len(vectors.flatten(1).unique(dim=0)) == 1000
        assert len(vectors[:, 0].unique(dim=0)) == method.moduli[0]


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_a_bag_pools_each_vector_for_itself(mode):
    bag = EmbeddingBag(30, 3, FeatureGeneration((6, 5)), mode=mode)
    items = Embedding(30, 3, FeatureGeneration((6, 5)))
    items.load_state_dict(bag.state_dict())
    vectors = items(torch.tensor([3, 29, 7]))
    assert vectors.shape == (3, 2, 3)
    found = bag(torch.tensor([3, 29, 7]), torch.tensor([0, 2, 2]))
    pooled = {"sum": vectors[:2].sum(0), "mean": vectors[:2].mean(0), "max": vectors[:2].amax(0)}[mode]
    torch.testing.assert_close(found, torch.stack([pooled, torch.zeros(2, 3), vectors[2]]))


def test_a_fit_is_the_weighted_mean_of_each_vector():
    # Ids 0 and 2 share the remainder 0, ids 0 and 1 the quotient 0.
    weight = torch.tensor([[[0.0], [2.0]], [[1.0], [4.0]], [[6.0], [0.0]], [[1.0], [0.0]]])
    module = FeatureGeneration((2, 2)).build(Table("item", 4, 1))
    module.fit_(weight, torch.tensor([2.0, 1.0, 1.0, 1.0]))
    remainders, quotients = module.parameters()
    torch.testing.assert_close(remainders.flatten(), torch.tensor([2.0, 1.0]))  # (2 · 0 + 6) / 3
    torch.testing.assert_close(quotients.flatten(), torch.tensor([8 / 3, 0.0]))  # (2 · 2 + 4) / 3


def test_an_unknown_scheme_is_refused():
    with pytest.raises(InputError, match=r"scheme.*'chinese'"):
        FeatureGeneration((3, 4), "chinese")


def test_a_block_cannot_be_several_features():
    with pytest.raises(InputError, match="feature_generation gives several vectors"):
        Blocks((4,), (Full(), FeatureGeneration((3, 4))))


@pytest.mark.parametrize("scheme", ["mixed_radix", "chinese_remainder"])
def test_sizes_have_the_scheme_and_the_number_of_features(scheme):
    table = Table("user", 6040, 16)
    for parts in (2, 3):
        sizes = FeatureGeneration.sizes(table, parts=parts, scheme=scheme)
        assert {(method.scheme, method.table_outputs) for method in sizes} == {(scheme, parts)}
        for method in sizes[:: max(1, len(sizes) // 10)]:
            method.check(table)
