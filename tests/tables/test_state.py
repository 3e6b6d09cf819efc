"""States say what a table is, and index state is what was given: however a table began, and whatever is loaded."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load, load_model, save, save_model
from torch import Tensor, nn
from torch.nn.utils import skip_init

from coset import (
    AttributePartitions,
    Blocks,
    Embedding,
    EmbeddingBag,
    EmbeddingBagCollection,
    EmbeddingCollection,
    Full,
    HashEmbedding,
    Hashing,
    LowRank,
    QuotientRemainder,
    Robe,
    Table,
    TensorTrain,
)
from coset.errors import InputError
from coset.methods import Method, registered
from coset.optimizers import SGD
from coset.testing.cases import attributed

N, DIM = 60, 8
TABLE = attributed("item", N, DIM)
WIDE = Table("wide", 600, 4, attributes={"a": np.arange(600) % 300, "b": np.arange(600) // 300})
ORDER = np.random.default_rng(0).permutation(N)
EXAMPLES = [
    pytest.param(example, id=f"{name}-{at}")
    for name, kind in sorted(registered().items())
    for at, example in enumerate(kind.examples(TABLE))
]
KEY = "tables.item.choice._extra_state"


def embedding(method: Any, **options: Any) -> Embedding:
    return Embedding.from_table(TABLE, method, **options)


def through_torch(state: dict[str, Tensor]) -> dict[str, Tensor]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    found: dict[str, Tensor] = torch.load(file, weights_only=True)
    return found


# -- what a state says of a table ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", EXAMPLES)
def test_a_state_is_loaded_by_the_same_table_alone(method: Method) -> None:
    old = embedding(method, order=ORDER)
    state = old.state_dict()
    for of, given in ((through_torch(state), {}), (load(save(state)), {"assign": True})):
        new = embedding(method, order=ORDER)
        new.load_state_dict(of, **given)
        assert torch.equal(new.materialize(), old.materialize())
    with pytest.raises(InputError, match=r"'item': .*made with an order, and this one without one"):
        embedding(method).load_state_dict(state, strict=False)
    other = Embedding(N + 1, DIM, "full", name="item")
    with pytest.raises(InputError, match=r"'item': .*(method is|num_embeddings is 60 there and 61 here)"):
        other.load_state_dict(state, strict=False, assign=True)


@pytest.mark.parametrize(
    ("there", "here", "said"),
    [
        (QuotientRemainder(6), QuotientRemainder(6, "add"), "operation is 'mult' there and 'add' here"),
        (Hashing(50, seed=3), Hashing(50), "seed is 3 there and 0 here"),
        (Hashing(50), Hashing(51), "num_buckets is 50 there and 51 here"),
        (Hashing(50), LowRank(2), "method is 'hashing' there and 'low_rank' here"),
        (HashEmbedding(9, 2, seed=1), HashEmbedding(9, 2, seed=2), "seed is 1 there and 2 here"),
        (TensorTrain(2), TensorTrain(2, (5, 4, 3)), r"row_shape is null there and \[5, 4, 3\] here"),
        (Robe(50), Robe(50, chunk=4), "chunk is 8 there and 4 here"),
        (
            Blocks((9,), (Full(), Hashing(5, seed=1))), Blocks((9,), (Full(), Hashing(5))),
            r"methods\[1\]\.seed is 1 there and 0 here",
        ),
        (
            Blocks((9,), (Full(), Hashing(5))), Blocks((9,), (Hashing(9), Hashing(5))),
            r"methods\[0\]\.method is 'full' there and 'hashing' here",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("options", [{}, {"strict": False}, {"assign": True}], ids=str)
def test_the_choice_that_differs_is_named(there: Any, here: Any, said: str, options: Any) -> None:
    new, state = embedding(here), embedding(there).state_dict()
    before = new.materialize()
    with pytest.raises(InputError, match=f"^table 'item': the state to load is of another table: {said}; build"):
        nn.Sequential(new).load_state_dict({f"0.{key}": value for key, value in state.items()}, **options)
    assert torch.equal(new.materialize(), before)


def test_another_order_is_named() -> None:
    state = embedding("full", order=ORDER).state_dict()
    with pytest.raises(InputError, match=r"'item'.* other order, from id \d+ on .*give the order that was given"):
        embedding("full", order=np.roll(ORDER, 1)).load_state_dict(state)
    without = {key: value for key, value in state.items() if key != KEY}
    with pytest.raises(InputError, match=r"'item': .*with an order, and this one has none; give order=tables.item.or"):
        embedding("full").load_state_dict(without, strict=False)


@pytest.mark.parametrize("kind", [EmbeddingCollection, EmbeddingBagCollection])
def test_collections_compare_table_by_table(kind: Any) -> None:
    def tables(seed: int) -> Any:
        return kind([(Table("user", 9, 4), Robe(20, array="all")), (Table("tag", 30, 4), Hashing(6, seed=seed))])

    state = tables(0).state_dict()
    tables(0).load_state_dict(state)
    new = tables(1)
    before = {name: value.clone() for name, value in new.named_parameters()}
    with pytest.raises(InputError, match=r"'tag': .*seed is 0 there and 1 here"):
        new.load_state_dict(state)
    assert all(torch.equal(value, before[name]) for name, value in new.named_parameters())
    alone = {key: value for key, value in state.items() if "tag" not in key}
    assert all("tag" in key for key in new.load_state_dict(alone, strict=False).missing_keys)
    # The places of a shared array are hashed of the table's name too.
    renamed = {key.replace("tables.user", "tables.shop"): value for key, value in state.items() if "tag" not in key}
    with pytest.raises(InputError, match=r"'shop': .*name is 'user' there and 'shop' here"):
        kind([(Table("shop", 9, 4), Robe(20, array="all"))]).load_state_dict(renamed)


def test_a_state_that_an_optimizer_owns_says_it_too() -> None:
    old = EmbeddingCollection([(TABLE, QuotientRemainder(6))])
    optimizer = SGD(old, lr=0.1)
    old({"item": torch.arange(N)})["item"].sum().backward()
    optimizer.step()
    new = EmbeddingCollection([(TABLE, QuotientRemainder(6))])
    new.load_state_dict(old.state_dict())
    assert torch.equal(new.tables["item"].materialize(), old.tables["item"].materialize())
    with pytest.raises(InputError, match="operation is 'add' there and 'mult' here"):
        old.load_state_dict(EmbeddingCollection([(TABLE, QuotientRemainder(6, "add"))]).state_dict())


def test_a_state_made_by_hand_is_loaded_if_it_need_not_be_whole() -> None:
    torchs = nn.Embedding(N, DIM)
    state = {"tables.item.rows.weight": torchs.weight.detach()}
    new = embedding("full")
    with pytest.raises(RuntimeError, match=r"Missing key.*tables\.item\.choice\._extra_state"):
        new.load_state_dict(state)
    assert new.load_state_dict(state, strict=False).missing_keys == [KEY]
    assert torch.equal(new.materialize(), torchs.weight)


@pytest.mark.parametrize("words", [torch.tensor([1.0]), torch.zeros(3, dtype=torch.uint8), {"method": 1}, None, "x"])
def test_words_that_nobody_understands_are_refused(words: Any) -> None:
    new = embedding("full")
    with pytest.raises(InputError, match=r"'item': .*this version of coset cannot read which"):
        new.load_state_dict({**new.state_dict(), KEY: words})


def test_files_of_tensors_hold_it(tmp_path: Any) -> None:
    old = embedding(QuotientRemainder(6))
    save_model(old, tmp_path / "model")
    assert load_model(embedding(QuotientRemainder(6)), tmp_path / "model") == (set(), [])
    with pytest.raises(InputError, match="operation"):
        load_model(embedding(QuotientRemainder(6, "add")), tmp_path / "model")


# -- tables that begin without values --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", EXAMPLES)
def test_what_was_given_outlives_the_meta_device(method: Method) -> None:
    expected = embedding(method, order=ORDER)
    with torch.device("meta"):
        begun = embedding(method, order=ORDER)
    for new in (begun, embedding(method, order=ORDER)):
        new.to_empty(device="cpu").reset_parameters()
        index = {key: value for key, value in new.state_dict().items() if not value.is_floating_point()}
        assert all(torch.equal(value, expected.state_dict()[key]) for key, value in index.items())
        assert new(torch.arange(N)).isfinite().all()
    with torch.device("meta"):
        assigned = embedding(method, order=ORDER)
    assigned.load_state_dict(expected.state_dict(), assign=True)
    assert torch.equal(assigned.materialize(), expected.materialize())


def test_collections_outlive_the_meta_device() -> None:
    orders = {"item": ORDER}
    expected = EmbeddingBagCollection([(TABLE, AttributePartitions()), (WIDE, AttributePartitions())], orders=orders)
    new = EmbeddingBagCollection(
        [(TABLE, AttributePartitions()), (WIDE, AttributePartitions())], orders=orders, device="meta"
    )
    nn.ModuleDict({"bags": new}).to_empty(device="cpu")
    new.reset_parameters()
    state = {**expected.state_dict(), **dict(new.named_parameters())}
    expected.load_state_dict({key: value.detach() for key, value in state.items()})
    ids = {"item": torch.arange(N), "wide": torch.arange(N)}
    assert all(torch.equal(value, expected(ids)[name]) for name, value in new(ids).items())


def test_skip_init_leaves_index_state_alone() -> None:
    new = skip_init(Embedding, N, DIM, LowRank(2), order=ORDER)
    assert new.state_dict()["tables.embedding.order"].tolist() == ORDER.tolist()
    bag = skip_init(EmbeddingBag, N, DIM, LowRank(2), order=ORDER, mode="sum")
    assert bag.state_dict()["tables.embedding.order"].tolist() == ORDER.tolist()
    assert bag.mode == "sum"


def test_an_order_on_the_meta_device_comes_with_a_state() -> None:
    old = embedding("full", order=ORDER)
    with torch.device("meta"):
        new = embedding("full", order=torch.arange(N))
    new.to_empty(device="cpu")
    with pytest.raises(InputError, match="'order' was given on the meta device"):
        new.reset_parameters()
    new.load_state_dict(old.state_dict())
    assert torch.equal(new.materialize(), old.materialize())
    new.reset_parameters()
    assert new.state_dict()["tables.item.order"].tolist() == ORDER.tolist()
    with pytest.raises(InputError, match=r"'item': order is on the meta device"):
        embedding("full", order=torch.arange(N, device="meta"))


def test_the_order_that_was_given_stays_the_caller_s() -> None:
    order = torch.from_numpy(ORDER.astype(np.int32))
    new = embedding("full", order=order)
    order.zero_()
    assert new.state_dict()["tables.item.order"].tolist() == ORDER.tolist()


# -- processes -------------------------------------------------------------------------------------------------------


def test_index_state_is_of_types_that_collectives_carry() -> None:
    kinds = {value.dtype for value in Embedding.from_table(WIDE, AttributePartitions()).buffers()}
    assert kinds == {torch.uint8}
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        for param in EXAMPLES:
            module = nn.parallel.DistributedDataParallel(embedding(param.values[0], order=ORDER))
            module(torch.arange(N)).sum().backward()
        wide = Embedding.from_table(WIDE, AttributePartitions())
        ids = torch.arange(600)
        assert torch.equal(nn.parallel.DistributedDataParallel(wide)(ids), wide(ids))
    finally:
        dist.destroy_process_group()
