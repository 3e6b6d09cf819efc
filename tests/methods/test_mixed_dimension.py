import pytest
import torch

from coset.errors import InputError
from coset.methods import MixedDimension
from coset.schema import Table

MOVIES = Table("movie", 3706, 64)
SIZES, DIMS = (400, 1300, 2006), (64, 32, 16)


def shapes(method, table):
    return sorted(component.shape for component in method.components(table))


def test_a_block_as_wide_as_the_table_has_no_projection():
    assert shapes(MixedDimension(SIZES, DIMS), MOVIES) == sorted(
        [(400, 64), (1300, 32), (32, 64), (2006, 16), (16, 64)]
    )
    assert MixedDimension(SIZES, DIMS).bytes(MOVIES) == 102_368 * 4


def test_the_keras_layout_counts_as_the_keras_example():
    method = MixedDimension(SIZES, DIMS, layout="keras")
    assert shapes(method, MOVIES) == sorted([(401, 64), (1301, 32), (32, 64), (1, 64), (2007, 16), (16, 64), (1, 64)])
    assert method.bytes(MOVIES) == 102_608 * 4


def test_the_keras_layout_draws_as_keras():
    torch.manual_seed(0)
    table = Table("movie", 3706, 64, std=2.0)
    for name, parameter in MixedDimension(SIZES, DIMS, layout="keras").build(table).named_parameters():
        if name.endswith("_bias.weight"):
            assert not parameter.any()
        elif parameter.shape[0] > 64:
            assert 0.049 < parameter.abs().max() <= 0.05
        else:
            limit = (6 / sum(parameter.shape)) ** 0.5  # Glorot and Bengio, 2010
            assert 0.98 * limit < parameter.abs().max() <= limit


def test_every_block_has_the_deviation_of_the_table():
    table = Table("item", 30_000, 32, std=0.2)
    torch.manual_seed(0)
    vectors = MixedDimension((10_000, 10_000, 10_000), (32, 16, 4)).build(table).materialize()
    for block in vectors.split(10_000):
        assert abs(block.std().item() / 0.2 - 1) < 0.2


def test_an_id_reads_its_own_block_only():
    table = Table("item", 10, 4)
    module = MixedDimension((2, 3, 5), (4, 2, 1)).build(table)
    for block, ids in enumerate([range(2), range(2, 5), range(5, 10)]):
        for i in ids:
            module.zero_grad()
            module.lookup(torch.tensor([i])).sum().backward()
            for name, parameter in module.named_parameters():
                touched = parameter.grad is not None and bool(parameter.grad.any())
                assert touched == name.startswith(f"blocks.{block}."), (i, name)


def test_ids_at_the_bounds_by_hand():
    table = Table("item", 5, 2)
    module = MixedDimension((2, 3), (2, 1)).build(table)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.shape == (2, 2):
                parameter.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
            elif parameter.shape == (3, 1):
                parameter.copy_(torch.tensor([[5.0], [6.0], [7.0]]))
            else:
                parameter.copy_(torch.tensor([[10.0, -1.0]]))
    expected = [[1, 2], [3, 4], [50, -5], [60, -6], [70, -7]]
    assert module.lookup(torch.arange(5)).tolist() == expected
    assert module.lookup(torch.tensor([[4, 0], [1, 2]])).tolist() == [[[70, -7], [1, 2]], [[3, 4], [50, -5]]]


@pytest.mark.parametrize(
    ("sizes", "dims", "words"),
    [
        ((400, 1300, 2005), DIMS, "3706.*3705"),
        ((400, 1300, 2007), DIMS, "3706.*3707"),
        (SIZES, (65, 32, 16), "64.*65"),
    ],
)
@pytest.mark.parametrize("layout", ["compact", "keras"])
def test_blocks_that_do_not_fit_are_refused(sizes, dims, words, layout):
    method = MixedDimension(sizes, dims, layout)
    with pytest.raises(InputError, match=f"'movie'.*{words}"):
        method.check(MOVIES)
    with pytest.raises(InputError, match="'movie'"):
        method.build(MOVIES)
    with pytest.raises(InputError, match="'movie'"):
        method.components(MOVIES)


@pytest.mark.parametrize(
    ("sizes", "dims", "words"),
    [
        ((0, 1700, 2006), DIMS, "block_sizes.*0, 1700"),
        ((-400, 2100, 2006), DIMS, "block_sizes.*-400"),
        (SIZES, (64, 32, 0), "block_dims.*64, 32, 0"),
        (SIZES, (64, -32, 16), "block_dims.*64, -32, 16"),
        (SIZES, (64, 32), r"2006\].*\[64, 32\]"),
        ((), (), "block_sizes.*block_dims"),
    ],
)
@pytest.mark.parametrize("layout", ["compact", "keras"])
def test_blocks_that_fit_no_table_are_refused(sizes, dims, words, layout):
    with pytest.raises(InputError, match=f"'mixed_dimension'.*{words}"):
        MixedDimension(sizes, dims, layout)


@pytest.mark.parametrize("layout", ["compact", "keras"])
def test_the_meta_device_looks_up_shapes(layout):
    with torch.device("meta"):
        module = MixedDimension(SIZES, DIMS, layout).build(MOVIES)
    assert module.lookup(torch.zeros(2, 3, dtype=torch.int64, device="meta")).shape == (2, 3, 64)


@pytest.mark.parametrize(("layout", "kinds"), [("compact", [""]), ("keras", ["", "_bias"])])
def test_projections_are_those_of_narrow_blocks(layout, kinds):
    module = MixedDimension(SIZES, DIMS, layout).build(MOVIES)
    named = {id(parameter): name for name, parameter in module.named_parameters()}
    expected = [f"blocks.{block}.projection{kind}.weight" for block in (1, 2) for kind in kinds]
    assert [named[id(projection)] for projection in module.projections()] == expected


def test_fresh_projections_are_the_same_under_every_seed_and_nested():
    found = []
    for seed, dims in ((0, DIMS), (1, DIMS), (0, (64, 8, 4))):
        torch.manual_seed(seed)
        found.append([p.detach() for p in MixedDimension(SIZES, dims).build(MOVIES).projections()])
    wide, narrow = found[0]
    assert all(torch.equal(one, other) for one, other in zip(found[0], found[1], strict=True))
    for other in (narrow, *found[2]):  # the narrower projection is the first rows of the wider, scaled
        torch.testing.assert_close(other, wide[: len(other)] * (len(wide) / len(other)) ** 0.5)


def test_a_budget_that_dlrm_s_solver_overshoots():
    for budget in range(20_000, MOVIES.full_bytes, 20_011):
        assert MixedDimension.for_budget(MOVIES, budget).bytes(MOVIES) <= budget
