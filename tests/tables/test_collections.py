"""Collections: ids in every form, features that share tables, tables that share arrays."""

import copy
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from coset import ledger
from coset.errors import InputError
from coset.methods import Blocks, FeatureGeneration, Full, Hashing, LowRank, QuotientRemainder, Robe, registered
from coset.optimizers import SGD
from coset.schema import Table
from coset.tables import EmbeddingBagCollection, EmbeddingCollection
from coset.testing.cases import stored

DOUBLE = torch.float64
MODES = ["sum", "mean", "max"]
MOVIE, GENRE = Table("movie", 20, 4, dtype=DOUBLE), Table("genre", 5, 3, dtype=DOUBLE)
PAIR = [(MOVIE, QuotientRemainder(5)), (GENRE, "full")]
FEATURES = {"seen": "movie", "liked": "movie", "genre": "genre"}


@dataclass
class Jagged:
    """What is read of a TorchRec `JaggedTensor`."""

    given: tuple[Tensor, Tensor, Tensor | None]

    def values(self) -> Tensor:
        return self.given[0]

    def offsets(self) -> Tensor:
        return self.given[1]

    def weights_or_none(self) -> Tensor | None:
        return self.given[2]


@dataclass
class KeyedJagged:
    """What is read of a TorchRec `KeyedJaggedTensor`: it is no mapping, and its offsets end with the number of ids."""

    features: dict[str, Jagged]
    inverse: tuple[list[str], Tensor] | None = None

    def inverse_indices_or_none(self) -> tuple[list[str], Tensor] | None:
        return self.inverse

    def keys(self) -> list[str]:
        return list(self.features)

    def to_dict(self) -> dict[str, Jagged]:
        return self.features


def jagged(values, offsets, weights=None):
    weights = None if weights is None else torch.tensor(weights, dtype=DOUBLE)
    return Jagged((torch.tensor(values, dtype=torch.int64), torch.tensor(offsets), weights))


def bags(tables=PAIR, features=FEATURES, seed=0, **options):
    torch.manual_seed(seed)
    return EmbeddingBagCollection(tables, features, **options)


def rows(collection, table, ids):
    """The vectors of a list of ids, detached."""
    return collection.tables[table].lookup(torch.tensor(ids, dtype=torch.int64)).detach()


def attributed(n=30, dim=4):
    ids = np.arange(n)
    return Table("item", n, dim, dtype=DOUBLE, attributes={"make": ids // 6, "year": ids % 6})


EXAMPLES = [
    pytest.param(example, id=f"{name}-{number}")
    for name, kind in sorted(registered().items())
    for number, example in enumerate(kind.examples(attributed()))
]


# -- bags of every form --------------------------------------------------------------------------------------


def pooled(items, mode):
    if not len(items):
        return items.new_zeros(items.shape[1:])
    return {"sum": items.sum(0), "mean": items.mean(0), "max": items.amax(0)}[mode]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("example", EXAMPLES)
def test_a_bag_is_the_pool_of_its_items_for_every_method(example, mode):
    table = attributed()
    torch.manual_seed(0)
    collection = EmbeddingBagCollection([(table, example)], {"seen": "item", "liked": "item"}, mode=mode)
    single = EmbeddingCollection([(table, example)], {"one": "item"})
    single.load_state_dict(collection.state_dict())
    seen, cuts = torch.tensor([3, 29, 3, 0, 17, 8, 8]), (0, 0, 2, 3, 3, 7)
    liked = torch.tensor([[1, 2], [28, 1], [5, 5]])
    found = collection({"seen": (seen, torch.tensor(cuts[:-1])), "liked": liked})
    for output in range(example.table_outputs):
        name = "" if example.table_outputs == 1 else f"@{output}"
        items, others = single({"one": seen})[f"one{name}"], single({"one": liked})[f"one{name}"]
        expected = torch.stack([pooled(items[start:stop], mode) for start, stop in pairwise(cuts)])
        torch.testing.assert_close(found[f"seen{name}"], expected, rtol=1e-10, atol=1e-12)
        expected = torch.stack([pooled(of, mode) for of in others])
        torch.testing.assert_close(found[f"liked{name}"], expected, rtol=1e-10, atol=1e-12)
        if mode == "sum":
            weights = torch.tensor([0.5, -1.0, 2.0, 0.0, 1.0, 3.0, 1.5], dtype=DOUBLE)
            weighted = collection({"seen": (seen, torch.tensor(cuts[:-1]), weights)})[f"seen{name}"]
            items = items * weights[:, None]
            expected = torch.stack([items[start:stop].sum(0) for start, stop in pairwise(cuts)])
            torch.testing.assert_close(weighted, expected, rtol=1e-10, atol=1e-12)


def test_all_forms_of_the_same_bags_agree():
    collection, last = bags(), bags(include_last_offset=True)
    ids, weights = [7, 3, 19, 0], [0.5, 2.0, -1.0, 1.0]
    values, factors = torch.tensor(ids), torch.tensor(weights, dtype=DOUBLE)
    vectors = rows(collection, "movie", ids)
    plain, weighted = vectors.view(2, 2, 4).sum(1), (vectors * factors[:, None]).view(2, 2, 4).sum(1)
    for given in (
        (values, torch.tensor([0, 2])),
        [values, torch.tensor([0, 2])],
        (values.int(), torch.tensor([0, 2], dtype=torch.int32)),
        values.view(2, 2),
        values.view(2, 2).int(),
    ):
        torch.testing.assert_close(collection({"seen": given})["seen"], plain)
    torch.testing.assert_close(last({"seen": (values, torch.tensor([0, 2, 4]))})["seen"], plain)
    torch.testing.assert_close(last({"seen": values.view(2, 2)})["seen"], plain)
    torch.testing.assert_close(collection({"seen": (values, torch.tensor([0, 2]), factors)})["seen"], weighted)
    torch.testing.assert_close(last({"seen": (values, torch.tensor([0, 2, 4]), factors)})["seen"], weighted)
    torch.testing.assert_close(collection({"seen": values})["seen"], vectors)  # one id a bag
    for either in (collection, last):
        torch.testing.assert_close(either(KeyedJagged({"seen": jagged(ids, [0, 2, 4])}))["seen"], plain)
        torch.testing.assert_close(either(KeyedJagged({"seen": jagged(ids, [0, 2, 4], weights)}))["seen"], weighted)


def test_many_features_are_read_together():
    collection = bags()
    found = collection(
        KeyedJagged({"genre": jagged([4, 0, 0], [0, 0, 1, 3]), "liked": jagged([1], [0, 1, 1, 1], [2.0])})
    )
    assert list(found) == ["liked", "genre"]  # as the collection has them
    genre, zeros = rows(collection, "genre", [4, 0, 0]), torch.zeros(4, dtype=DOUBLE)
    torch.testing.assert_close(found["genre"], torch.stack([torch.zeros(3, dtype=DOUBLE), genre[0], 2 * genre[1]]))
    torch.testing.assert_close(found["liked"], torch.stack([2 * rows(collection, "movie", [1])[0], zeros, zeros]))


def test_bags_worked_by_hand():
    collection = EmbeddingBagCollection([(Table("movie", 3, 2), "full")], {"seen": "movie"})
    with torch.no_grad():
        next(collection.parameters()).copy_(torch.tensor([[1.0, 2.0], [10.0, 20.0], [100.0, 50.0]]))
    given = (torch.tensor([0, 2, 1, 1]), torch.tensor([0, 2, 2]))
    assert collection({"seen": given})["seen"].tolist() == [[101.0, 52.0], [0.0, 0.0], [20.0, 40.0]]
    weights = torch.tensor([2.0, 0.5, 1.0, -1.0])
    assert collection({"seen": (*given, weights)})["seen"].tolist() == [[52.0, 29.0], [0.0, 0.0], [0.0, 0.0]]


def test_each_feature_may_have_a_mode():
    collection = bags(mode={"liked": "max", "genre": "mean"})
    ids = torch.tensor([[1, 7, 19]])
    found = collection({"seen": ids, "liked": ids, "genre": ids % 5})
    vectors = rows(collection, "movie", [1, 7, 19])
    torch.testing.assert_close(found["seen"][0], vectors.sum(0))
    torch.testing.assert_close(found["liked"][0], vectors.amax(0))
    torch.testing.assert_close(found["genre"][0], rows(collection, "genre", [1, 2, 4]).mean(0))
    assert collection.modes == {"seen": "sum", "liked": "max", "genre": "mean"}


@pytest.mark.parametrize("mode", MODES)
def test_bags_of_nothing_are_zeros(mode):
    collection, nothing = bags(mode=mode), torch.empty(0, dtype=torch.int64)
    for given, count in (
        ((nothing, torch.zeros(3, dtype=torch.int64)), 3),
        ((nothing, nothing), 0),
        (torch.empty(2, 0, dtype=torch.int64), 2),
        (nothing, 0),
    ):
        found = collection({"seen": given})["seen"]
        assert found.shape == (count, 4)
        assert not found.any()
        found.sum().backward()
    assert collection(KeyedJagged({"seen": jagged([], [0, 0, 0])}))["seen"].shape == (2, 4)
    assert collection({}) == {}


def test_weights_get_their_gradient():
    collection = bags()
    weights = torch.tensor([0.5, 2.0, -1.0], dtype=DOUBLE, requires_grad=True)
    collection({"seen": (torch.tensor([7, 3, 19]), torch.tensor([0, 1]), weights)})["seen"].sum().backward()
    torch.testing.assert_close(weights.grad, rows(collection, "movie", [7, 3, 19]).sum(1))


# -- what TorchRec hands on ---------------------------------------------------------------------------------------


OWNED = [False, True]


def owned(owner, **options):
    """A collection with weights of its own, or of an optimizer that looks them up by kernels."""
    collection = bags(**options)
    return (collection, SGD(collection, lr=0.1) if owner else torch.optim.SGD(collection.parameters(), lr=0.1))


@pytest.mark.parametrize("owner", OWNED)
def test_bags_that_are_held_once_are_given_out_as_often_as_they_stand_in_the_batch(owner):
    collection, optimizer = owned(owner, mode={"liked": "max"})
    once = {"genre": jagged([4, 0, 0], [0, 1, 3]), "seen": jagged([7, 3], [0, 2]), "liked": jagged([1, 2], [0, 1, 2])}
    where = {"liked": [1, 1, 0], "genre": [1, 0, 1], "seen": [0, 0, 0]}
    held = KeyedJagged(once, (list(where), torch.tensor(list(where.values()))))
    expected = {name: vectors[where[name]].detach() for name, vectors in collection(KeyedJagged(once)).items()}
    found = collection(held)
    assert list(found) == ["seen", "liked", "genre"]
    for name, vectors in found.items():
        assert torch.equal(vectors, expected[name])
    joined = collection.concatenated(held)
    assert torch.equal(joined, torch.cat([expected[name] for name in FEATURES], -1))
    before = rows(collection, "genre", [4]).clone()
    joined.sum().backward()  # the bag of id 4 stands in one place, that of two ids 0 in two
    zero = rows(collection, "genre", [0]).clone()
    optimizer.step()
    torch.testing.assert_close(before - rows(collection, "genre", [4]), torch.full((1, 3), 0.1, dtype=DOUBLE))
    torch.testing.assert_close(zero - rows(collection, "genre", [0]), torch.full((1, 3), 0.4, dtype=DOUBLE))
    torch.testing.assert_close(collection.concatenated(held), torch.cat(list(collection(held).values()), -1))


def test_vectors_of_single_ids_are_those_of_the_values():
    torch.manual_seed(0)
    collection = EmbeddingCollection(PAIR, FEATURES)
    held = KeyedJagged({"seen": jagged([7, 3], [0, 2])}, (["seen"], torch.tensor([[0, 0, 0]])))
    assert torch.equal(collection(held)["seen"], rows(collection, "movie", [7, 3]))


@pytest.mark.parametrize("owner", OWNED)
@pytest.mark.parametrize(
    ("inverse", "said"),
    [
        ((["genre"], torch.tensor([[0]])), "feature 'seen': .*inverse indices, and none of this feature"),
        ((["seen"], torch.tensor([[0, 2]])), "feature 'seen': an inverse index is 2, of 2 bags"),
        ((["seen"], torch.tensor([[0, -1]])), "feature 'seen': an inverse index is -1, of 2 bags"),
        ((["seen"], torch.tensor([0])), r"of shape \(1 features, batch\), not int64 of shape \(1,\)"),
        ((["seen"], torch.tensor([[0.0]])), r"int64 or int32 .*, not float32"),
    ],
)
def test_wrong_inverse_indices_are_refused_in_a_sentence(owner, inverse, said):
    collection, _ = owned(owner)
    with pytest.raises(InputError, match=said):
        collection(KeyedJagged({"seen": jagged([7, 3], [0, 1, 2])}, inverse))


@pytest.mark.parametrize("owner", OWNED)
def test_side_by_side_all_features_stand_in_the_order_of_the_collection(owner):
    collection, _ = owned(owner)
    given = {name: jagged([1, 2, 3], [0, 2, 3], [1.0, 0.5, 2.0]) for name in ("genre", "other", "liked", "seen")}
    expected = torch.cat([collection({name: given[name]})[name] for name in FEATURES], -1)
    torch.testing.assert_close(collection.concatenated(KeyedJagged(given)), expected)
    torch.testing.assert_close(collection.concatenated({name: given[name] for name in FEATURES}), expected)
    for lacking in FEATURES:
        rest = {name: of for name, of in given.items() if name != lacking}
        with pytest.raises(InputError, match=f"KeyedJaggedTensor has no feature '{lacking}'"):
            collection.concatenated(KeyedJagged(rest))
        assert list(collection(KeyedJagged(rest))) == [name for name in FEATURES if name != lacking]


@pytest.mark.parametrize("kind", [EmbeddingCollection, EmbeddingBagCollection])
def test_a_mapping_of_jagged_tensors_is_read_as_all_at_once(kind):
    torch.manual_seed(0)
    collection = kind(PAIR, FEATURES)
    given = {"genre": jagged([4, 0, 0], [0, 0, 1, 3]), "liked": jagged([1], [0, 1, 1, 1], [2.0])}
    found, expected = collection(given), collection(KeyedJagged(given))
    assert list(found) == list(given)
    for name, vectors in found.items():
        assert torch.equal(vectors, expected[name])


@pytest.mark.parametrize("owner", OWNED)
def test_different_numbers_of_bags_do_not_stand_side_by_side(owner):
    collection, _ = owned(owner, mode="max" if owner else "sum")
    with pytest.raises(InputError, match=r"the same number of bags, not \[1, 2\]"):
        collection.concatenated({"seen": torch.tensor([1, 2]), "genre": torch.tensor([1])})


def test_side_by_side_there_must_be_a_feature():
    nothing, some = EmbeddingBagCollection([]), bags()
    for given in ({}, torch.empty(0, 3, dtype=torch.int64), KeyedJagged({}), KeyedJagged({"a": jagged([1], [0, 1])})):
        with pytest.raises(InputError, match="no features to concatenate"):
            nothing.concatenated(given)
    with pytest.raises(InputError, match="has no feature 'seen'"):
        some.concatenated(KeyedJagged({}))
    assert some(KeyedJagged({})) == nothing(KeyedJagged({})) == {}


# -- one vector an id ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (4,), (2, 2), (1, 0, 3)])
def test_ids_of_any_shape_are_read_one_by_one(shape):
    torch.manual_seed(0)
    collection = EmbeddingCollection(PAIR, FEATURES)
    ids = torch.arange(int(np.prod(shape))).reshape(shape)
    found = collection({"seen": ids, "genre": ids.int()})
    assert list(found) == ["seen", "genre"]
    assert found["seen"].shape == (*shape, 4)
    assert found["genre"].shape == (*shape, 3)
    assert torch.equal(found["seen"], collection.tables["movie"].lookup(ids))


def test_offsets_leave_the_values_as_they_are():
    torch.manual_seed(0)
    collection = EmbeddingCollection(PAIR, FEATURES)
    values = torch.tensor([7, 3, 19, 0])
    expected = rows(collection, "movie", [7, 3, 19, 0])
    for given in (
        {"seen": values},
        {"seen": (values, torch.tensor([0, 3]))},
        {"seen": (values, torch.tensor([0, 3, 4]))},
        KeyedJagged({"seen": jagged([7, 3, 19, 0], [0, 3, 4])}),
    ):
        torch.testing.assert_close(collection(given)["seen"], expected)


# -- features that share a table -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", [Full(), LowRank(2), QuotientRemainder(5), QuotientRemainder(5, "add"), Hashing(7)])
def test_features_of_one_table_sum_their_gradients(how):
    seen, liked = (torch.tensor([1, 2, 1, 19]), torch.tensor([0, 2])), torch.tensor([[2, 2], [0, 13]])
    slopes = {"seen": torch.randn(2, 4, dtype=DOUBLE), "liked": torch.randn(2, 4, dtype=DOUBLE)}
    gradients = []
    for given in ({"seen": seen, "liked": liked}, {"seen": seen}, {"liked": liked}):
        collection = bags([(MOVIE, how)], {"seen": "movie", "liked": "movie"})
        sum((vectors * slopes[name]).sum() for name, vectors in collection(given).items()).backward()
        gradients.append([p.grad for p in collection.parameters()])
    assert len(gradients[0]) == len(how.components(MOVIE))  # stored once, whoever reads it
    for together, one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(together, one + other)
        assert one.any()
        assert other.any()


def test_a_table_of_many_features_is_stored_once():
    one, three = bags([(MOVIE, "full")], {"seen": "movie"}), bags([(MOVIE, "full")], dict.fromkeys("abc", "movie"))
    assert list(stored(three)) == list(stored(one)) == ["tables.movie.rows.weight"]
    assert ledger.inference_bytes(three.components()) == 20 * 4 * 8


@pytest.mark.parametrize("kind", [EmbeddingCollection, EmbeddingBagCollection])
def test_by_default_every_table_is_a_feature(kind):
    collection = kind(PAIR)
    assert collection.features == {"movie": "movie", "genre": "genre"}
    assert collection.output_dims == {"movie": 4, "genre": 3}
    assert list(collection({"genre": torch.tensor([0]), "movie": torch.tensor([1])})) == ["genre", "movie"]


@pytest.mark.parametrize("kind", [EmbeddingCollection, EmbeddingBagCollection])
@pytest.mark.parametrize("scheme", ["mixed_radix", "chinese_remainder"])
def test_generated_features_are_numbered(kind, scheme):
    torch.manual_seed(0)
    tables = [(MOVIE, FeatureGeneration((3, 4, 5), scheme)), (GENRE, "full")]
    collection = kind(tables, FEATURES)
    assert collection.output_dims == {
        "seen@0": 4, "seen@1": 4, "seen@2": 4, "liked@0": 4, "liked@1": 4, "liked@2": 4, "genre": 3,
    }  # fmt: skip
    found = collection({"seen": torch.tensor([7, 19]), "genre": torch.tensor([1, 2])})
    assert list(found) == ["seen@0", "seen@1", "seen@2", "genre"]
    digits = {"mixed_radix": (1, 2, 0), "chinese_remainder": (1, 3, 2)}[scheme]  # of 7
    for number, (array, row) in enumerate(zip(collection.tables["movie"].parameters(), digits, strict=True)):
        assert torch.equal(found[f"seen@{number}"][0], array[row])
    assert {name: vectors.shape[-1] for name, vectors in found.items()}.items() <= collection.output_dims.items()


# -- small tables, orders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [EmbeddingCollection, EmbeddingBagCollection])
@pytest.mark.parametrize(
    ("limit", "full"), [(0, []), (5, []), (6, ["genre"]), (20, ["genre"]), (21, ["movie", "genre"])]
)
def test_tables_below_a_number_of_ids_stay_full(kind, limit, full):
    collection = kind([(MOVIE, Hashing(3)), (GENRE, Hashing(2))], full_below=limit)
    stayed = [name for name in ("movie", "genre") if collection.tables[name].method == Full()]
    assert stayed == full
    stored = {component.key: component.rows for component in collection.components()}
    assert sorted(stored.values()) == sorted([20 if "movie" in full else 3, 5 if "genre" in full else 2])


def test_a_full_table_below_the_limit_may_not_fit_its_method():
    # A method too large for a small table is no error there: it is not used.
    assert EmbeddingCollection([(GENRE, Hashing(100))], full_below=6).tables["genre"].method == Full()
    with pytest.raises(InputError, match=r"'genre'.*100"):
        EmbeddingCollection([(GENRE, Hashing(100))], full_below=5)


ORDER = torch.tensor([3, 1, 4, 0, 2])


@pytest.mark.parametrize("order", [ORDER, ORDER.int(), ORDER.numpy()], ids=["int64", "int32", "numpy"])
def test_an_order_is_read_by_every_feature_of_its_table(order):
    tables = [(GENRE, Blocks((1,), (Full(), Hashing(2)))), (MOVIE, "full")]
    features = {"one": "genre", "other": "genre", "movie": "movie"}
    plain, ordered = bags(tables, features), bags(tables, features, orders={"genre": order})
    ids = torch.tensor([[0, 1], [2, 2]])
    for feature in ("one", "other"):
        expected = plain({feature: ORDER[ids]})[feature]
        assert torch.equal(ordered({feature: ids})[feature], expected)
    torch.manual_seed(0)
    single = EmbeddingCollection(tables, features, orders={"genre": order})
    assert torch.equal(single({"one": ids})["one"], plain.tables["genre"].lookup(ORDER[ids]))
    assert torch.equal(ordered({"movie": ids})["movie"], plain({"movie": ids})["movie"])
    index = {c.key: (c.kind, c.bytes) for c in ordered.components() if c.kind == "index"}
    assert index == {"tables.genre.order": ("index", 4 * 5)}
    again = bags(tables, features, seed=1, orders={"genre": order})
    again.load_state_dict(load(save(ordered.state_dict())))
    assert torch.equal(again({"one": ids})["one"], ordered({"one": ids})["one"])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [0, 1, 2, 3, 3], [1, 2, 3, 4, 5], [0.0] * 5], ids=str)
def test_an_order_that_is_no_permutation_is_refused(order):
    with pytest.raises(InputError, match=r"'genre'.*order"):
        bags(orders={"genre": torch.tensor(order)})


def test_an_order_of_no_table_is_refused():
    with pytest.raises(InputError, match=r"order 'genr': did you mean 'genre'"):
        bags(orders={"genr": ORDER})


# -- tables that share an array ------------------------------------------------------------------------------

USER = Table("user", 30, 8)
ITEM = Table("item", 12, 6)
SHARING = [
    (USER, Robe(50, 4, "all")),
    (ITEM, Robe(50, 3, "all", seed=2)),
    (Table("genre", 5, 8), "full"),
    (Table("city", 40, 8), Blocks((4,), (LowRank(2), Robe(50, 8, "all")))),
    (Table("shop", 9, 8), Robe(20, 4, "other")),
    (Table("tag", 9, 8), Robe(20, 4)),
]
KEYS = {
    "shared.all.weight", "shared.other.weight", "tables.tag.array.weight", "tables.genre.rows.weight",
    "tables.city.blocks.0.rows.weight", "tables.city.blocks.0.projection.weight",
}  # fmt: skip
IDS = {table.name: torch.arange(table.num_embeddings) for table, _ in SHARING}


def sharing(kind=EmbeddingCollection, seed=0, **options):
    torch.manual_seed(seed)
    return kind(SHARING, **options)


def every_vector(collection):
    return {name: vectors.detach() for name, vectors in collection(IDS).items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", [EmbeddingCollection, EmbeddingBagCollection])
def test_a_shared_array_is_stored_counted_and_predicted_once(kind):
    collection = sharing(kind)
    assert set(stored(collection)) == KEYS
    assert {name for name, _ in collection.named_parameters(remove_duplicate=False)} == KEYS
    measured = {component.key: component for component in collection.components()}
    methods = {table.name: how if not isinstance(how, str) else Full() for table, how in SHARING}
    told = ledger.together({table.name: methods[table.name].components(table) for table, _ in SHARING})
    assert len(told) == len(measured)
    assert {component.key: component for component in told} == measured
    elements = 50 + 20 + 20 + 5 * 8 + 4 * 2 + 2 * 8
    assert ledger.inference_bytes(told) == ledger.inference_bytes(collection.components()) == 4 * elements
    assert sum(parameter.numel() for parameter in collection.parameters()) == elements


def test_tables_read_rows_of_their_own_from_a_shared_array():
    same_sizes = [(Table(name, 200, 8, dtype=DOUBLE), Robe(1000, 4, "all")) for name in ("user", "item", "shop")]
    torch.manual_seed(0)
    found = EmbeddingCollection(same_sizes)({name: torch.arange(200) for name in ("user", "item", "shop")})
    vectors = torch.cat(list(found.values())).detach()
    elements = {float(value) for value in vectors.flatten()}
    assert len(elements) <= 1000  # all out of one array
    assert len(vectors.unique(dim=0)) > 597
    for one, other in (("user", "item"), ("item", "shop"), ("user", "shop")):
        assert (found[one] == found[other]).all(1).sum() <= 2


def test_every_table_trains_the_array_that_it_shares():
    slopes = {name: torch.randn(vectors.shape) for name, vectors in every_vector(sharing()).items()}
    gradients = {}
    for names in (("user", "item", "city"), ("user",), ("item",), ("city",)):
        collection = sharing()
        found = collection({name: IDS[name] for name in names})
        sum((found[name] * slopes[name]).sum() for name in names).backward()
        gradients[names] = collection.shared["all"].weight.grad
    together = gradients.pop(("user", "item", "city"))
    torch.testing.assert_close(together, sum(gradients.values()))
    collection = sharing()
    before = every_vector(collection)
    optimizer = torch.optim.SGD(collection.parameters(), lr=0.1)
    collection({"user": IDS["user"]})["user"].sum().backward()
    optimizer.step()
    after = every_vector(collection)
    for name in ("user", "item", "city"):
        assert not torch.equal(before[name], after[name]), name
    for name in ("genre", "shop", "tag"):
        assert torch.equal(before[name], after[name]), name


def test_a_shared_array_is_saved_and_reloaded():
    old, new = sharing(), sharing(seed=1)
    assert not same(every_vector(old), every_vector(new))
    new.load_state_dict(load(save(old.state_dict())))  # safetensors refuses arrays that share memory
    assert same(every_vector(old), every_vector(new))
    missing = {key: value for key, value in old.state_dict().items() if key != "shared.all.weight"}
    with pytest.raises(RuntimeError, match=r"shared\.all\.weight"):
        new.load_state_dict(missing)


def test_a_copy_shares_within_itself_and_not_with_the_original():
    old = sharing()
    before = every_vector(old)
    new = copy.deepcopy(old)
    assert set(stored(new)) == KEYS
    assert same(every_vector(new), before)
    with torch.no_grad():
        new.shared["all"].weight.add_(1)
    changed = every_vector(new)
    for name in ("user", "item"):
        torch.testing.assert_close(changed[name], before[name] + 1)
    assert same(every_vector(old), before)


@pytest.mark.parametrize(("change", "dtype"), [("double", DOUBLE), ("bfloat16", torch.bfloat16)])
def test_a_shared_array_follows_a_change_of_type(change, dtype):
    collection = getattr(sharing(), change)()
    assert {component.dtype for component in collection.components()} == {dtype}
    assert {vectors.dtype for vectors in every_vector(collection).values()} == {dtype}
    with torch.no_grad():
        collection.shared["all"].weight.fill_(7)
    found = every_vector(collection)
    assert (found["user"] == 7).all()
    assert (found["item"] == 7).all()


def test_a_shared_array_may_be_on_the_meta_device():
    collection = EmbeddingBagCollection(SHARING, device="meta")
    assert {value.device.type for value in stored(collection).values()} == {"meta"}
    assert set(stored(collection)) == KEYS


def test_fresh_values_of_a_shared_array_have_the_deviation_of_its_tables():
    tables = [(Table(name, 50_000, 8, std=0.2), Robe(20_000, 4, "all")) for name in ("user", "item")]
    torch.manual_seed(0)
    collection = EmbeddingCollection(tables)
    for _ in range(2):
        found = collection({name: torch.arange(5000) for name in ("user", "item")})
        for vectors in found.values():
            assert vectors.std().item() == pytest.approx(0.2, rel=0.05)
        collection.reset_parameters()


def test_tables_that_share_are_materialized_and_take_orders():
    order = torch.arange(39, -1, -1)
    plain, ordered = sharing(), sharing(orders={"city": order, "user": torch.arange(29, -1, -1)})
    vectors = every_vector(plain)
    for name, found in vectors.items():
        assert torch.equal(plain.tables[name].materialize(), found)
    ranked = every_vector(ordered)
    assert torch.equal(ranked["city"], vectors["city"].flip(0))
    assert torch.equal(ranked["user"], vectors["user"].flip(0))
    nothing_else = EmbeddingCollection(
        [(USER, Blocks((4,), (Robe(50, 4, "all"), Robe(50, 4, "all", seed=1))))], orders={"user": torch.arange(30)}
    )
    assert nothing_else.tables["user"].materialize().shape == (30, 8)
    assert set(stored(nothing_else)) == {"shared.all.weight", "tables.user.order"}


@pytest.mark.parametrize("name", ["user", "city"])
def test_a_fit_of_what_others_share_is_refused(name):
    collection = sharing()
    before = every_vector(collection)
    with pytest.raises(InputError, match=rf"'{name}'.*shared"):
        collection.tables[name].fit_(torch.ones_like(before[name]))
    assert same(every_vector(collection), before)


@pytest.mark.parametrize(
    ("table", "how", "said"),
    [
        (ITEM, Robe(51, 4, "all"), r"50.*51"),
        (replace(ITEM, std=0.1), Robe(50, 4, "all"), r"0\.05.*0\.1"),
        (replace(ITEM, dtype=DOUBLE), Robe(50, 4, "all"), r"float32.*float64"),
        (ITEM, Blocks((4,), (Full(), Robe(49, 4, "all"))), r"50.*49"),
    ],
)
@pytest.mark.parametrize("kind", [EmbeddingCollection, EmbeddingBagCollection])
def test_tables_must_agree_on_what_they_share(kind, table, how, said):
    with pytest.raises(InputError, match=rf"'user' and 'item' share the array 'all', but differ.*{said}"):
        kind([(USER, Robe(50, 4, "all")), (table, how)])


def test_a_small_table_that_stays_full_shares_nothing():
    collection = sharing(full_below=13)
    assert collection.tables["item"].method == Full()
    assert collection.tables["shop"].method == Full()
    assert set(stored(collection)) == (KEYS - {"shared.other.weight", "tables.tag.array.weight"}) | {
        f"tables.{name}.rows.weight" for name in ("item", "shop", "tag")
    }


def test_bags_of_a_shared_array_pool_its_vectors():
    single, collection = sharing(), sharing(EmbeddingBagCollection)
    ids = torch.tensor([[1, 2, 2], [0, 5, 11]])
    expected = single({"user": ids, "item": ids})
    for name, found in collection({"user": ids, "item": ids}).items():
        torch.testing.assert_close(found, expected[name].sum(1))


def test_a_collection_that_shares_compiles_whole():
    collection = sharing(EmbeddingBagCollection)
    given = {"user": torch.tensor([[1, 2], [3, 4]]), "item": (torch.tensor([1, 2, 3]), torch.tensor([0, 2]))}
    torch.compiler.reset()
    compiled = torch.compile(collection, fullgraph=True, backend="aot_eager")(given)
    gradients = []
    for found in (compiled, collection(given)):
        collection.zero_grad()
        sum(vectors.square().sum() for vectors in found.values()).backward()
        gradients.append(collection.shared["all"].weight.grad.clone())
    torch.testing.assert_close(*gradients)
    for name, vectors in collection(given).items():
        torch.testing.assert_close(compiled[name], vectors)


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [EmbeddingCollection, EmbeddingBagCollection])
@pytest.mark.parametrize(
    ("tables", "features", "said"),
    [
        (PAIR, {"seen": "movi", "genre": "genre"}, "table .of feature 'seen'. 'movi': did you mean 'movie'"),
        (PAIR, {"seen": "movie"}, "no feature reads table 'genre'"),
        (PAIR, {}, "no feature reads table"),
        (
            [(MOVIE, FeatureGeneration((5, 4))), (GENRE, "full")],
            {"a": "movie", "a@0": "genre"},
            "two features give an output 'a@0'",
        ),
        ([*PAIR, (MOVIE, "full")], None, r"distinct names.*'movie', 'genre', 'movie'"),
        ([(GENRE, Hashing(6))], None, r"'genre'.*6 buckets for 5 ids"),
        ([(GENRE, "ful")], None, "'ful': did you mean 'full'"),
        ([(GENRE, 5)], None, "a method is a name"),
    ],
)
def test_collections_that_cannot_be_are_refused(kind, tables, features, said):
    with pytest.raises(InputError, match=said):
        kind(tables, features)


@pytest.mark.parametrize("collection", [EmbeddingCollection(PAIR, FEATURES), EmbeddingBagCollection(PAIR, FEATURES)])
class TestIds:
    @pytest.mark.parametrize("wrong", [-1, 20, 2**31 - 1, 2**40])
    @pytest.mark.parametrize("feature", ["seen", "liked"])
    def test_an_id_out_of_range_is_named(self, collection, feature, wrong):
        ids = torch.tensor([3, wrong])
        for given in ({feature: ids}, {feature: (ids, torch.tensor([0, 1]))}):
            with pytest.raises(IndexError, match=rf"'movie'.*id {wrong} is out of range.*0 … 19"):
                collection(given)
        with pytest.raises(IndexError, match=rf"'movie'.*{wrong}.*0 … 19"):
            collection(KeyedJagged({feature: jagged([wrong], [0, 1])}))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.int16])
    def test_ids_are_whole_numbers_of_32_or_64_bits(self, collection, dtype):
        with pytest.raises(TypeError, match=r"'genre'.*int64 or int32"):
            collection({"genre": torch.tensor([1, 0]).to(dtype)})

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"sen": torch.tensor([1])}, "feature 'sen': did you mean 'seen'"),
            ({"colour": torch.tensor([1])}, "feature 'colour': known are genre, liked, seen"),
            (KeyedJagged({"sen": jagged([1], [0, 1])}), "feature 'sen': did you mean 'seen'"),
            ({"seen": [1, 2]}, "feature 'seen': ids are a tensor.*not list"),
            ({"seen": (torch.tensor([1]),)}, "feature 'seen': ids are a tensor.*not tuple"),
            ({"seen": (torch.tensor([1]), [0])}, "feature 'seen': ids are a tensor.*not tuple"),
            ({"seen": np.array([1])}, "feature 'seen': ids are a tensor.*not ndarray"),
            ({"seen": None}, "feature 'seen': ids are a tensor.*not NoneType"),
            (torch.tensor([1]), r"mapping.*not Tensor|matrix \(3 features, bags\).*shape \(1,\)"),
            ([("seen", torch.tensor([1]))], "mapping.*not list"),
            ({"seen": (torch.tensor([1, 2]), torch.tensor([1]))}, "'movie'.*offsets must begin at 0"),
            ({"seen": (torch.tensor([1, 2]), torch.tensor([0, 3]))}, r"'movie'.*offsets.*within 2.*\[0, 3\]"),
            ({"seen": (torch.tensor([1, 2]), torch.tensor([0, 2, 1]))}, r"'movie'.*not fall.*\[0, 2, 1\]"),
            ({"seen": (torch.tensor([1, 2]), torch.tensor([0.0]))}, "'movie'.*offsets must be 1-D int64 or int32"),
            ({"seen": (torch.tensor([1, 2]), torch.tensor([], dtype=torch.int64))}, "'movie'.*2 ids are in no bag"),
            (KeyedJagged({"seen": jagged([1, 2], [0, 1])}), r"'movie'.*end at 2.*\[0, 1\]"),
        ],
    )
    def test_wrong_input_is_refused_in_a_sentence(self, collection, given, said):
        with pytest.raises(InputError, match=said):
            collection(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.zeros(1, 2, 3, dtype=torch.int64), "'movie'.*1-D or 2-D, not 3-D"),
        (torch.tensor(1), "'movie'.*1-D or 2-D, not 0-D"),
        ((torch.tensor([[1, 2]]), torch.tensor([0])), "'movie'.*take no offsets"),
        ((torch.tensor([1, 2]), torch.tensor([0]), torch.ones(3)), r"'movie'.*per_sample_weights.*\(3,\).*\(2,\)"),
    ],
)
def test_bags_of_another_shape_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        bags()({"seen": given})


def test_a_last_offset_must_end_the_ids():
    collection = bags(include_last_offset=True)
    for offsets in ([0, 2], [0, 5], []):
        with pytest.raises(InputError, match=r"'movie'.*end .*4"):
            collection({"seen": (torch.tensor([1, 2, 3, 4]), torch.tensor(offsets, dtype=torch.int64))})


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_weights_are_for_sums(mode):
    collection = bags(mode={"seen": mode})
    ids, offsets, weights = torch.tensor([1, 2]), torch.tensor([0]), torch.ones(2, dtype=DOUBLE)
    with pytest.raises(InputError, match=f"'movie'.*per_sample_weights are for mode 'sum', not '{mode}'"):
        collection({"seen": (ids, offsets, weights)})
    with pytest.raises(InputError, match="per_sample_weights"):
        collection(KeyedJagged({"seen": jagged([1, 2], [0, 2], [1.0, 2.0])}))
    collection({"liked": (ids, offsets, weights)})


def test_unknown_modes_are_refused():
    with pytest.raises(InputError, match="'avg'"):
        bags(mode="avg")
    with pytest.raises(InputError, match="'avg'"):
        bags(mode={"seen": "avg"})
    with pytest.raises(InputError, match="feature with a mode 'sen': did you mean 'seen'"):
        bags(mode={"sen": "max"})
