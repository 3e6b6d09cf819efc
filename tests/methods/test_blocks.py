import pytest
import torch

from coset.errors import InputError
from coset.methods import Blocks, Full, Hashing, LowRank, QuotientRemainder
from coset.schema import Table

TABLE = Table("item", 10, 2)


def test_inner_methods_see_ids_from_zero():
    module = Blocks((4,), (Full(), Hashing(3))).build(TABLE)
    vectors = module.materialize()
    assert len(vectors[:4].unique(dim=0)) == 4
    assert torch.equal(vectors[[4, 7]], vectors[[4, 4]])  # 0 and 3 in the block, both of remainder 0
    assert torch.equal(vectors[[5, 8]], vectors[[5, 5]])
    assert torch.equal(vectors[[6, 9]], vectors[[6, 6]])
    assert len(vectors.unique(dim=0)) == 7


def test_bytes_are_those_of_the_blocks():
    users = Table("user", 6040, 64)
    method = Blocks((1000, 3000), (Full(), QuotientRemainder(500), Hashing(100)))
    assert method.bytes(users) == (1000 + (4 + 500) + 100) * 64 * 4


def test_an_id_reads_its_own_block_only():
    module = Blocks((1, 4), (Full(), LowRank(1), Hashing(2))).build(TABLE)
    for block, ids in enumerate([range(1), range(1, 4), range(4, 10)]):
        for i in ids:
            module.zero_grad()
            module.lookup(torch.tensor([i])).sum().backward()
            for name, parameter in module.named_parameters():
                touched = parameter.grad is not None and bool(parameter.grad.any())
                assert touched == name.startswith(f"blocks.{block}."), (i, name)


def test_blocks_without_ids_in_the_batch_are_no_trouble():
    module = Blocks((1, 4), (Full(), LowRank(1), Hashing(2))).build(TABLE)
    whole = module.materialize()
    for ids in ([9, 9, 9], [0], [3, 1], []):
        assert torch.equal(module.lookup(torch.tensor(ids, dtype=torch.int64)), whole[ids])


def test_order_in_the_batch_is_kept():
    module = Blocks((5,), (Full(), Hashing(2))).build(TABLE)
    ids = torch.tensor([[9, 0, 5], [4, 9, 2]])
    assert torch.equal(module.lookup(ids), module.materialize()[ids])


@pytest.mark.parametrize("bounds", [(0,), (-1,), (4, 4), (6, 3)])
def test_bounds_that_cut_no_table_are_refused(bounds):
    with pytest.raises(InputError, match=rf"'blocks'.*bounds.*{bounds[-1]}"):
        Blocks(bounds, (Full(),) * (len(bounds) + 1))


@pytest.mark.parametrize("bounds", [(10,), (11,), (3, 10)])
def test_bounds_that_do_not_cut_the_table_are_refused(bounds):
    method = Blocks(bounds, (Full(),) * (len(bounds) + 1))
    with pytest.raises(InputError, match=rf"'item'.*{bounds[-1]}"):
        method.check(TABLE)
    with pytest.raises(InputError, match="'item'"):
        method.build(TABLE)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_method_a_block(count):
    with pytest.raises(InputError, match=rf"'blocks'.*bounds \[4\].*2 blocks.*{count} methods"):
        Blocks((4,), (Full(),) * count)


@pytest.mark.parametrize("inner", [Hashing(7), QuotientRemainder(7), LowRank(3)])
def test_a_block_too_small_for_its_method_is_refused(inner):
    with pytest.raises(InputError, match="'item'"):
        Blocks((4,), (Full(), inner)).check(TABLE)


@pytest.mark.parametrize("ids", [(), (5,), (2, 3), (0,)])
def test_the_meta_device_looks_up_shapes(ids):
    for method in (Blocks((4,), (Full(), Hashing(3))), Blocks((2, 6), (Full(), LowRank(1), QuotientRemainder(2)))):
        with torch.device("meta"):
            module = method.build(TABLE)
        vectors = module.lookup(torch.zeros(ids, dtype=torch.int64, device="meta"))
        assert vectors.shape == (*ids, 2)
        assert module.materialize().shape == (10, 2)


def test_projections_are_those_of_the_blocks():
    module = Blocks((2, 6), (LowRank(1), Full(), Blocks((2,), (LowRank(1), Full())))).build(TABLE)
    named = {id(parameter): name for name, parameter in module.named_parameters()}
    assert [named[id(projection)] for projection in module.projections()] == [
        "blocks.0.projection.weight", "blocks.2.blocks.0.projection.weight",
    ]  # fmt: skip


def test_inner_methods_may_be_written_as_json():
    written = Blocks((4,), ({"method": "full"}, {"method": "hashing", "num_buckets": 3}))
    assert written == Blocks((4,), (Full(), Hashing(3)))


def test_frequencies_follow_their_ids_into_a_block():
    weight = torch.tensor([[5.0, 5.0]] * 8 + [[0.0, 0.0], [4.0, 4.0]])
    module = Blocks((8,), (Full(), Hashing(1))).build(TABLE)
    frequencies = torch.tensor([1.0] * 8 + [3.0, 1.0])
    # The two last share a row at (3 · 0 + 1 · 4) / 4 = 1: errors 1 and 9, shares 3 / 12 and 1 / 12.
    assert module.fit_(weight, frequencies) == pytest.approx(1.0)
    assert torch.allclose(module.materialize()[8:], torch.ones(2, 2))
