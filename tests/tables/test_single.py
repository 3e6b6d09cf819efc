"""`Embedding` and `EmbeddingBag` against torch, their padding, and the ids that they refuse."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coset.errors import InputError
from coset.tables import Embedding, EmbeddingBag
from tests.tables.against_torch import DIM, METHODS, OPTIONS, N

MODES = ["sum", "mean", "max"]


def pair(ours, theirs, seed=0, **options):
    """A coset module and the torch module of the same options, both holding the same float64 weight."""
    torch.manual_seed(seed)
    ours = ours(N, DIM, dtype=torch.float64, name="item", **options)
    theirs = theirs(N, DIM, dtype=torch.float64, **options)
    (weight,) = ours.parameters()
    with torch.no_grad():
        fresh = torch.randn(N, DIM, dtype=torch.float64)
        weight.copy_(fresh)
        theirs.weight.copy_(fresh)
    return ours, theirs


def agree(ours, theirs, *arguments, **keywords):
    """Both give the same values, the same gradients, and the same weight afterwards."""
    found, expected = ours(*arguments, **keywords), theirs(*arguments, **keywords)
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    slope = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=expected.dtype)
    (weight,) = ours.parameters()
    weight.grad = theirs.weight.grad = None
    (found * slope).sum().backward()
    (expected * slope).sum().backward()
    torch.testing.assert_close(weight.grad, theirs.weight.grad, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(weight.detach(), theirs.weight.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("ids", [[2, 2, 8, 0, 3], [[1, 2], [2, 8]], 3, [], [[[0]], [[2]]]], ids=str)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_embedding_full_is_torch(options, ids, dtype):
    agree(*pair(Embedding, nn.Embedding, **options), torch.tensor(ids).to(dtype))


BAG_OPTIONS = [
    {},
    {"padding_idx": 2},
    {"padding_idx": -1},
    {"max_norm": 1.0},
    {"max_norm": 0.8, "norm_type": 1.0, "padding_idx": 0},
]


@pytest.mark.parametrize("options", BAG_OPTIONS, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
@pytest.mark.parametrize("offsets", [[0, 3], [0], [0, 0, 2, 2, 7, 7], [0, 1, 2, 3, 4, 5, 6]], ids=str)
def test_bags_with_offsets_are_torch(options, mode, dtype, offsets):
    ids = torch.tensor([2, 2, 8, 0, 3, 5, 2], dtype=dtype)
    agree(*pair(EmbeddingBag, nn.EmbeddingBag, mode=mode, **options), ids, torch.tensor(offsets, dtype=dtype))


@pytest.mark.parametrize("options", BAG_OPTIONS, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_bags_in_two_dimensions_are_torch(options, mode, dtype):
    ids = torch.tensor([[2, 2, 8], [0, 3, 5], [2, 2, 2], [1, 1, 2]], dtype=dtype)
    agree(*pair(EmbeddingBag, nn.EmbeddingBag, mode=mode, **options), ids)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("offsets", [[0, 3, 7], [0, 7], [0, 0, 3, 3, 7, 7]], ids=str)
def test_bags_with_a_last_offset_are_torch(mode, offsets):
    modules = pair(EmbeddingBag, nn.EmbeddingBag, mode=mode, include_last_offset=True)
    agree(*modules, torch.tensor([2, 2, 8, 0, 3, 5, 2]), torch.tensor(offsets))


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("padding", [None, 2])
def test_bag_gradients_scaled_by_frequency_are_those_of_pooled_items(mode, padding):
    # torch's Embedding is the reference: its EmbeddingBag takes the counts of other ids on the CPU (seen in 2.13,
    # where an id that occurs once, after one that occurs three times, has its gradient divided by three).
    ours, theirs = pair(EmbeddingBag, nn.EmbeddingBag, mode=mode, scale_grad_by_freq=True, padding_idx=padding)
    items = nn.Embedding(N, DIM, padding, scale_grad_by_freq=True, _weight=theirs.weight.detach().clone())
    ids = torch.tensor([[2, 2, 8], [0, 3, 2]])
    kept = (ids != (-1 if padding is None else padding)).double().unsqueeze(-1)
    pooled = (items(ids) * kept).sum(1)
    if mode == "mean":
        pooled = pooled / kept.sum(1)
    slope = torch.randn(2, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (pooled * slope).sum().backward()
    for arguments in ((ids,), (ids.view(-1), torch.tensor([0, 3]))):
        ours.zero_grad()
        found = ours(*arguments)
        torch.testing.assert_close(found, pooled)
        (found * slope).sum().backward()
        (weight,) = ours.parameters()
        torch.testing.assert_close(weight.grad, items.weight.grad)


def test_the_default_mode_is_torch():
    assert EmbeddingBag(N, DIM).mode == nn.EmbeddingBag(N, DIM).mode == "mean"


@pytest.mark.parametrize("padding", [None, 2])
@pytest.mark.parametrize("two_dimensions", [False, True])
def test_weights_of_items_are_torch(padding, two_dimensions):
    ours, theirs = pair(EmbeddingBag, nn.EmbeddingBag, mode="sum", padding_idx=padding)
    ids, offsets = torch.tensor([2, 2, 8, 0, 3, 5]), torch.tensor([0, 0, 2])
    weights = torch.tensor([0.5, -1.0, 2.0, 0.0, 1.0, 3.0], dtype=torch.float64)
    if two_dimensions:
        ids, offsets, weights = ids.view(2, 3), None, weights.view(2, 3)
    agree(ours, theirs, ids, offsets, per_sample_weights=weights)
    of_ours, of_theirs = weights.clone().requires_grad_(), weights.clone().requires_grad_()
    ours(ids, offsets, per_sample_weights=of_ours).pow(2).sum().backward()
    theirs(ids, offsets, per_sample_weights=of_theirs).pow(2).sum().backward()
    torch.testing.assert_close(of_ours.grad, of_theirs.grad)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_bags_of_nothing_are_zeros(method, mode):
    bag = EmbeddingBag(N, DIM, method, mode=mode)
    nothing = torch.empty(0, dtype=torch.int64)
    for found, count in [
        (bag(nothing, torch.zeros(3, dtype=torch.int64)), 3),
        (bag(nothing, nothing), 0),
        (bag(torch.empty(2, 0, dtype=torch.int64)), 2),
        (bag(torch.empty(0, 3, dtype=torch.int64)), 0),
    ]:
        assert found.shape == (count, DIM)
        assert not found.any()
        found.sum().backward()


bags_of_ids = st.lists(st.lists(st.integers(0, N - 1), max_size=6), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(bags_of_ids, st.sampled_from(MODES), st.none() | st.integers(0, N - 1), st.booleans())
def test_any_bags_are_torch(bags, mode, padding, last):
    modules = pair(EmbeddingBag, nn.EmbeddingBag, mode=mode, padding_idx=padding, include_last_offset=last)
    offsets = np.cumsum([0, *map(len, bags)])
    ids = torch.tensor([i for bag in bags for i in bag], dtype=torch.int64)
    agree(*modules, ids, torch.from_numpy(offsets if last else offsets[:-1]))


@settings(deadline=None, max_examples=60)
@given(bags_of_ids, st.sampled_from(METHODS), st.sampled_from(MODES), st.none() | st.integers(0, N - 1))
def test_any_bag_of_any_method_is_the_pool_of_its_items(bags, method, mode, padding):
    bag = EmbeddingBag(N, DIM, method, mode=mode, padding_idx=padding, dtype=torch.float64)
    embedding = Embedding(N, DIM, method, dtype=torch.float64)
    embedding.load_state_dict(bag.state_dict())
    offsets = torch.from_numpy(np.cumsum([0, *map(len, bags)])[:-1])
    found = bag(torch.tensor([i for ids in bags for i in ids], dtype=torch.int64), offsets)
    for vector, ids in zip(found, bags, strict=True):
        items = embedding(torch.tensor([i for i in ids if i != padding], dtype=torch.int64))
        pooled = {"sum": items.sum(0), "mean": items.sum(0) / max(1, len(items))}
        expected = pooled[mode] if mode in pooled else items.amax(0) if len(items) else torch.zeros(DIM)
        torch.testing.assert_close(vector, expected.double(), rtol=1e-6, atol=1e-12)


# -- padding ------------------------------------------------------------------------------------------


def test_a_full_padding_row_begins_at_zero_and_can_be_set():
    embedding = Embedding(N, DIM, padding_idx=2)
    (weight,) = embedding.parameters()
    assert not weight[2].any()
    with torch.no_grad():
        weight[2] = 7
    assert embedding(torch.tensor([2])).tolist() == [[7.0] * DIM]


@pytest.mark.parametrize("method", METHODS[1:], ids=str)
def test_padding_of_other_methods_reads_as_zeros(method):
    embedding = Embedding(N, DIM, method, padding_idx=-1)
    vectors = embedding(torch.tensor([N - 1, 0, N - 1]))
    assert not vectors[[0, 2]].any()
    assert vectors[1].any()
    assert not embedding.materialize()[N - 1].any()


@pytest.mark.parametrize("padding", [N, -N - 1, 100, 1.0, True, "1"])
def test_padding_must_be_an_id(padding):
    with pytest.raises(InputError, match=rf"'item'.*{padding}"):
        Embedding(N, DIM, name="item", padding_idx=padding)


# -- ids and offsets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("wrong", [-1, N, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_an_id_out_of_range_is_named(method, wrong, dtype):
    ids = torch.tensor([[0, 1], [wrong, 2]]).to(dtype)
    for module in (Embedding(N, DIM, method, name="item"), EmbeddingBag(N, DIM, method, name="item")):
        with pytest.raises(IndexError, match=rf"'item'.*{wrong}.*0 … 8"):
            module(ids)


@pytest.mark.parametrize(
    "ids", [torch.tensor([1.0]), torch.tensor([True]), torch.tensor([1], dtype=torch.int16)], ids=str
)
def test_ids_are_whole_numbers_of_32_or_64_bits(ids):
    with pytest.raises(TypeError, match=r"'item'.*int64 or int32"):
        Embedding(N, DIM, name="item")(ids)
    with pytest.raises(TypeError, match=r"'item'.*int64 or int32"):
        EmbeddingBag(N, DIM, name="item")(ids, torch.tensor([0]))


@pytest.mark.parametrize("offsets", [[1, 2], [0, 5], [0, 3, 2], [-1, 2], [[0, 1]], [0.0, 1.0]], ids=str)
def test_offsets_that_make_no_bags_are_refused(offsets):
    with pytest.raises(ValueError, match=r"'item'.*offsets"):
        EmbeddingBag(N, DIM, name="item")(torch.tensor([1, 2, 3, 4]), torch.tensor(offsets))


def test_a_last_offset_must_end_the_ids():
    bag = EmbeddingBag(N, DIM, name="item", include_last_offset=True)
    for offsets in ([0, 2], [0, 2, 5], []):
        with pytest.raises(ValueError, match="'item'"):
            bag(torch.tensor([1, 2, 3, 4]), torch.tensor(offsets, dtype=torch.int64))


def test_ids_that_no_bag_holds_are_refused():
    # torch (2.13, CPU) takes them, and in the modes mean and max it then ends the process.
    for mode in MODES:
        with pytest.raises(ValueError, match=r"'item'.*offsets"):
            EmbeddingBag(N, DIM, name="item", mode=mode)(torch.tensor([1, 2]), torch.empty(0, dtype=torch.int64))


def test_the_shape_of_ids_says_whether_offsets_are_needed():
    bag = EmbeddingBag(N, DIM, name="item")
    with pytest.raises(ValueError, match=r"'item'.*offsets"):
        bag(torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"'item'.*offsets"):
        bag(torch.tensor([[1, 2]]), torch.tensor([0]))
    with pytest.raises(ValueError, match="'item'"):
        bag(torch.tensor([[[1, 2]]]))


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_weights_are_for_sums(mode):
    bag = EmbeddingBag(N, DIM, name="item", mode=mode)
    with pytest.raises((NotImplementedError, ValueError), match="per_sample_weights"):
        bag(torch.tensor([[1, 2]]), per_sample_weights=torch.ones(1, 2))


def test_weights_have_the_shape_of_the_ids():
    bag = EmbeddingBag(N, DIM, name="item", mode="sum")
    with pytest.raises(ValueError, match=r"'item'.*per_sample_weights"):
        bag(torch.tensor([[1, 2]]), per_sample_weights=torch.ones(2))


def test_an_unknown_mode_is_refused():
    with pytest.raises(InputError, match="'avg'"):
        EmbeddingBag(N, DIM, mode="avg")


def test_maxima_have_no_gradient_scaled_by_frequency():
    with pytest.raises(ValueError, match="scale_grad_by_freq"):
        EmbeddingBag(N, DIM, mode="max", scale_grad_by_freq=True)


@pytest.mark.parametrize("options", [{"max_norm": 1.0}, {"scale_grad_by_freq": True}], ids=str)
@pytest.mark.parametrize("method", METHODS[1:], ids=str)
@pytest.mark.parametrize("kind", [Embedding, EmbeddingBag])
def test_options_of_bare_rows_are_for_full(kind, method, options):
    (option,) = options
    with pytest.raises(InputError, match=rf"'item'.*{option}"):
        kind(N, DIM, method, name="item", **options)
