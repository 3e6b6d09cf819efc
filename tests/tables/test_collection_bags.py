"""Bags of collections in every form, and what TorchRec hands on."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from coset.errors import InputError
from coset.methods import registered
from coset.optimizers import SGD
from coset.schema import Table
from coset.tables import EmbeddingBagCollection, EmbeddingCollection
from tests.tables.features import DOUBLE, FEATURES, PAIR, KeyedJagged, bags, jagged, rows

MODES = ["sum", "mean", "max"]


def attributed(n=30, dim=4):
    ids = np.arange(n)
    return Table("item", n, dim, dtype=DOUBLE, attributes={"make": ids // 6, "year": ids % 6})


EXAMPLES = [
    pytest.param(example, id=f"{name}-{number}")
    for name, kind in sorted(registered().items())
    for number, example in enumerate(kind.examples(attributed()))
]


# -- bags of every form -------------------------------------------------------------------------------


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


# -- what TorchRec hands on ---------------------------------------------------------------------------


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
        ((["genre"], torch.tensor([[0]])), "feature 'seen': .*inverse indices, but none for this feature"),
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
