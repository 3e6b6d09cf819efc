"""Collections: features that share tables, small tables and orders, and what is refused."""

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from coset import ledger
from coset.errors import InputError
from coset.methods import Blocks, FeatureGeneration, Full, Hashing, LowRank, QuotientRemainder
from coset.tables import EmbeddingBagCollection, EmbeddingCollection
from coset.testing.cases import stored
from tests.tables.features import DOUBLE, FEATURES, GENRE, MOVIE, PAIR, KeyedJagged, bags, jagged, rows

# -- one vector an id ---------------------------------------------------------------------------------


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


# -- features that share a table ----------------------------------------------------------------------


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


# -- small tables, orders -----------------------------------------------------------------------------


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


# -- what is refused ----------------------------------------------------------------------------------


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
