"""Tables of a collection that share an array."""

import copy
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from coset import ledger
from coset.errors import InputError
from coset.methods import Blocks, Full, LowRank, Robe
from coset.schema import Table
from coset.tables import EmbeddingBagCollection, EmbeddingCollection
from coset.testing.cases import stored
from tests.tables.features import DOUBLE

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
