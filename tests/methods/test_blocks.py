import subprocess
import sys

import pytest
import torch

from coset.errors import InfeasibleBudget, InputError
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


# -- hot ids, thresholds -------------------------------------------------------------------------------------

USERS = Table("user", 600, 4)


def test_hot_ids_keep_private_rows_and_the_rest_share():
    method = Blocks.hot(2, Hashing(3))
    assert method == Blocks((2,), (Full(), Hashing(3)))
    assert method.bytes(TABLE) == (2 + 3) * 2 * 4
    vectors = method.build(TABLE).materialize()
    assert len(vectors.unique(dim=0)) == 2 + 3
    assert torch.equal(vectors[2], vectors[5])  # of the rest, renumbered 0 and 3


@pytest.mark.parametrize("ids", [0, -1, 10, 11])
def test_hot_ids_are_some_and_not_all(ids):
    with pytest.raises(InputError, match=rf"bounds.*\[{ids}\]"):
        Blocks.hot(ids, Hashing(1)).check(TABLE)


@pytest.mark.parametrize(("limit", "expected"), [(0, LowRank(1)), (10, LowRank(1)), (11, Full()), (1000, Full())])
def test_tables_below_a_threshold_stay_full(limit, expected):
    method = Blocks.threshold(TABLE, limit, LowRank(1))
    assert method == Blocks((), (expected,))
    assert method.bytes(TABLE) == expected.bytes(TABLE)


def hot_ids(method):
    return method.bounds[0] if method.bounds else USERS.num_embeddings


RESTS = [
    "hashing", "bloom", "robe", "low_rank", "quotient_remainder", "chinese_remainder", "deep_hash", "full",
    {"method": "quotient_remainder", "operation": "add"}, {"method": "bloom", "num_hashes": 3},
]  # fmt: skip


@pytest.mark.parametrize("rest", RESTS, ids=str)
def test_sizes_of_hot_ids_rise_with_any_rest(rest):
    sizes = Blocks.sizes(USERS, rest=rest)
    taken = [method.bytes(USERS) for method in sizes]
    assert taken == sorted(taken)
    assert taken[-1] <= USERS.full_bytes
    given = {"method": rest} if isinstance(rest, str) else rest
    for method in sizes:
        method.check(USERS)
        if method.bounds:
            hot, others = method.methods
            assert hot == Full()
            assert given.items() <= others.to_json().items()
    if rest != "full":
        assert [hot_ids(method) for method in sizes] == sorted(hot_ids(method) for method in sizes)


@pytest.mark.parametrize("rest", RESTS[:-3], ids=str)
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_hot_ids_and_any_rest_keep_a_budget(rest, share):
    budget = int(USERS.full_bytes * share)
    method = Blocks.for_budget(USERS, budget, rest=rest)
    assert 0.9 * budget < method.bytes(USERS) <= budget
    assert method.methods[1].name == rest
    stored = sum(parameter.numel() for parameter in method.build(USERS).parameters()) * 4
    assert stored == method.bytes(USERS)


def test_an_infeasible_budget_of_hot_ids_names_the_floor():
    with pytest.raises(InfeasibleBudget, match="'user'") as caught:
        Blocks.for_budget(USERS, 3, rest="quotient_remainder")
    assert Blocks.for_budget(USERS, caught.value.floor, rest="quotient_remainder").bytes(USERS) == caught.value.floor


def test_a_table_of_one_id_has_no_rest():
    for rest in ("hashing", "bloom"):
        (method,) = Blocks.sizes(Table("one", 1, 4), rest=rest)
        assert method == Blocks((), (Full(),))


@pytest.mark.parametrize("rest", ["hashng", {"method": "hashng"}])
def test_an_unknown_rest_suggests_the_nearest(rest):
    with pytest.raises(InputError, match=r"'hashng'.*'hashing'"):
        Blocks.sizes(USERS, rest=rest)


def test_a_rest_of_several_features_is_refused():
    with pytest.raises(InputError, match="feature_generation gives several vectors"):
        Blocks.sizes(USERS, rest="feature_generation")


def test_any_rest_is_known_to_who_imports_this_file_alone():
    code = (
        "from coset.methods.blocks import Blocks; from coset.schema import Table; "
        "print(Blocks.sizes(Table('user', 50, 4), rest='tensor_train')[0].methods[1].name)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=280)
    assert run.stdout == "tensor_train\n", run.stderr
