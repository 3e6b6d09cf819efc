"""How `Embedding` and `EmbeddingBag` are made and saved, and their order of popularity."""

import numpy as np
import pytest
import torch

from coset.errors import InputError
from coset.methods import Blocks, Full, Hashing, LowRank, QuotientRemainder
from coset.schema import Table
from coset.tables import Embedding, EmbeddingBag
from coset.testing.cases import stored
from tests.tables.against_torch import DIM, METHODS, OPTIONS, N

# -- construction -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Embedding, EmbeddingBag])
@pytest.mark.parametrize(("n", "dim"), [(0, 4), (-1, 4), (5, 0), (5, -2), (2.5, 4), (5, True)])
def test_sizes_are_positive(kind, n, dim):
    with pytest.raises(InputError, match="'item'"):
        kind(n, dim, name="item")


@pytest.mark.parametrize("kind", [Embedding, EmbeddingBag])
def test_a_method_that_does_not_fit_is_refused_by_the_table_s_name(kind):
    with pytest.raises(InputError, match="'item'"):
        kind(N, DIM, LowRank(DIM + 1), name="item")
    with pytest.raises(InputError, match="low_rank"):
        kind(N, DIM, "low_rnk")


@pytest.mark.parametrize("kind", [Embedding, EmbeddingBag])
def test_torch_s_third_argument_is_refused_in_a_sentence(kind):
    with pytest.raises(InputError, match=r"^a method is a name .*not 0$"):
        kind(N, DIM, 0)


@pytest.mark.parametrize("kind", [Embedding, EmbeddingBag])
@pytest.mark.parametrize("order", [None, torch.arange(N - 1, -1, -1)], ids=["plain", "order"])
def test_materialize_changes_nothing_under_a_largest_norm(kind, order):
    module = kind(N, DIM, std=1.0, max_norm=0.1, order=order)
    (weight,) = module.parameters()
    before = weight.detach().clone()
    assert torch.equal(module.materialize(), before if order is None else before[order])
    assert torch.equal(weight, before)
    module(torch.arange(N).view(1, N))
    assert (weight.norm(dim=1) < 0.101).all()
    assert torch.equal(module.materialize(), weight if order is None else weight[order])


def test_a_method_may_be_a_name_or_json():
    assert Embedding(N, DIM).method == Embedding(N, DIM, "full").method == Full()
    assert Embedding(N, DIM, {"method": "low_rank", "rank": 2}).method == LowRank(2)


@pytest.mark.parametrize("kind", [Embedding, EmbeddingBag])
def test_from_a_table(kind):
    table = Table("item", N, DIM, std=2.0, dtype=torch.float64, frequencies=np.arange(N))
    module = kind.from_table(table, LowRank(2), padding_idx=1)
    assert module.table == table
    assert (module.table.frequencies == np.arange(N)).all()
    assert module.padding_idx == 1
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float64}


def test_the_default_dtype_is_torch_s():
    assert Embedding(N, DIM)(torch.tensor(0)).dtype == torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert Embedding(N, DIM)(torch.tensor(0)).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_the_meta_device_allocates_nothing(method):
    embedding = Embedding(10**9, DIM, Full() if method == Full() else method, device="meta")
    assert {parameter.device.type for parameter in embedding.parameters()} == {"meta"}


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_components_are_the_state(method):
    for module in (
        Embedding(N, DIM, method, name="item"),
        EmbeddingBag(N, DIM, method, name="item", order=torch.arange(N)),
    ):
        told = {component.key: (component.shape, component.dtype) for component in module.components()}
        assert told == {key: (tuple(value.shape), value.dtype) for key, value in stored(module).items()}
        assert all(key.startswith("tables.item.") for key in told)


def test_state_of_one_seed_is_the_same():
    states = []
    for _ in range(2):
        torch.manual_seed(4)
        states.append(Embedding(N, DIM, QuotientRemainder(3)).materialize())
    assert torch.equal(*states)


# -- order --------------------------------------------------------------------------------------------


ORDER = torch.tensor([3, 0, 8, 1, 2, 7, 4, 6, 5])


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("order", [ORDER, ORDER.int(), ORDER.numpy()], ids=["int64", "int32", "numpy"])
def test_an_id_reads_as_its_rank(method, order):
    torch.manual_seed(0)
    plain = Embedding(N, DIM, method)
    torch.manual_seed(0)
    ordered = Embedding(N, DIM, method, order=order)
    assert torch.equal(ordered.materialize(), plain.materialize()[ORDER])
    ids = torch.tensor([[0, 8], [2, 2]])
    assert torch.equal(ordered(ids), plain(ORDER[ids]))
    torch.manual_seed(0)
    bag = EmbeddingBag(N, DIM, method, mode="sum", order=order)
    torch.testing.assert_close(bag(ids), plain(ORDER[ids]).sum(1))


def test_hot_ids_are_hot_by_order():
    embedding = Embedding(N, DIM, Blocks((2,), (Full(), Hashing(1))), order=ORDER)
    vectors = embedding.materialize()
    assert len(vectors.unique(dim=0)) == 3
    cold = [i for i in range(N) if ORDER[i] >= 2]
    assert len(vectors[cold].unique(dim=0)) == 1


def test_order_is_counted_as_index_state():
    embedding = Embedding(N, DIM, LowRank(2), name="item", order=ORDER)
    (order,) = [component for component in embedding.components() if component.kind == "index"]
    assert order.key == "tables.item.order"
    assert order.bytes == 4 * N
    assert embedding.state_dict()[order.key].dtype == torch.int32


def test_order_is_saved_and_reloaded():
    old = Embedding(N, DIM, LowRank(2), order=ORDER)
    new = Embedding(N, DIM, LowRank(2), order=ORDER)
    new.load_state_dict(old.state_dict())
    assert torch.equal(old.materialize(), new.materialize())


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_padding_is_an_id_and_not_a_rank(method):
    embedding = Embedding(N, DIM, method, padding_idx=2, order=ORDER)
    vectors = embedding(torch.arange(N))
    assert not vectors[2].any()
    assert all(vectors[i].any() for i in range(N) if i != 2)
    embedding(torch.tensor([2, 2])).sum().backward()
    assert not any(parameter.grad is not None and parameter.grad.any() for parameter in embedding.parameters())
    bag = EmbeddingBag(N, DIM, method, padding_idx=2, mode="mean", order=ORDER)
    torch.testing.assert_close(bag(torch.tensor([[2, 4, 2]])), bag(torch.tensor([[4]])))


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_fit_is_by_id_whatever_the_order(method):
    weight = torch.randn(N, DIM, generator=torch.Generator().manual_seed(0))
    frequencies = torch.arange(1.0, N + 1)
    embedding = Embedding(N, DIM, method, order=ORDER)
    error = embedding.fit_(weight, frequencies)
    gap = (embedding.materialize() - weight).pow(2).mean(1)
    assert error == pytest.approx(float(gap @ frequencies / frequencies.sum()), rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("order", [None, ORDER], ids=["plain", "order"])
def test_a_fit_to_other_shapes_is_refused(order):
    embedding = Embedding(N, DIM, name="item", order=order)
    for weight in (torch.ones(N - 1, DIM), torch.ones(N + 1, DIM), torch.ones(N, DIM + 1), torch.ones(N)):
        with pytest.raises(InputError, match=r"'item'.*weight to fit has shape"):
            embedding.fit_(weight)
    for frequencies in (torch.ones(N - 1), torch.ones(N + 1), torch.ones(N, 1)):
        with pytest.raises(InputError, match=r"'item'.*frequencies have shape"):
            embedding.fit_(torch.ones(N, DIM), frequencies)


@pytest.mark.parametrize(
    "order", [range(8), range(10), [0] * N, [*range(8), 9], [-1, *range(1, 9)], [0.5] * N, [[0] * N]], ids=str
)
def test_order_is_a_permutation(order):
    with pytest.raises(InputError, match=r"'item'.*order"):
        Embedding(N, DIM, name="item", order=torch.tensor(list(order)))


@pytest.mark.parametrize(
    ("method", "options"),
    [(Full(), options) for options in OPTIONS] + [(METHODS[-1], options) for options in ({}, {"padding_idx": 3})],
    ids=str,
)
def test_an_order_compiles_whole_with_every_option(method, options):
    ids = torch.tensor([[2, 2, 8], [0, 3, 2]])
    torch.manual_seed(0)
    plain = Embedding(N, DIM, method, order=ORDER, **options)
    torch.manual_seed(0)
    module = Embedding(N, DIM, method, order=ORDER, **options)
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(ids), plain(ids))
    compiled(ids).square().sum().backward()
    plain(ids).square().sum().backward()
    for one, other in zip(module.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_padding_follows_an_order_that_is_loaded():
    with torch.device("meta"):
        embedding = Embedding(N, DIM, padding_idx=2, order=torch.arange(N))  # whose values only a state can bring
    embedding.to_empty(device="cpu").load_state_dict(Embedding(N, DIM, padding_idx=2, order=ORDER.flip(0)).state_dict())
    embedding(torch.arange(N)).sum().backward()
    (weight,) = embedding.parameters()
    rank = int(ORDER.flip(0)[2])
    assert not weight.grad[rank].any()
    assert all(weight.grad[row].any() for row in range(N) if row != rank)


def test_an_order_of_a_meta_table_allocates_nothing():
    embedding = Embedding(N, DIM, padding_idx=2, order=ORDER, device="meta")
    assert {value.device.type for value in stored(embedding).values()} == {"meta"}
