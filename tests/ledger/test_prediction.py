"""What is predicted from choices against what real collections and optimizers hold."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import coset
from coset import (
    EmbeddingBagCollection,
    Full,
    Hashing,
    LowRank,
    QuotientRemainder,
    Robe,
    Table,
    TensorTrain,
    optimizers,
)
from coset.errors import InputError
from coset.ledger import Ledger, measure, predict
from coset.ledger.optimizers import TABLES as KNOWN_TABLES
from coset.ledger.optimizers import TORCH as KNOWN_TORCH
from coset.methods import Method, registered
from coset.testing.cases import attributed, stored

CRITEO = (1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194, 27, 14992, 5461306, 10,
          5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572)  # fmt: skip


def cases(*tables: Table) -> list[Any]:
    """Each table with each example of each method."""
    return [
        pytest.param(table, example, id=f"{table.name}-{name}-{number}")
        for table in tables
        for name, cls in sorted(registered().items())
        for number, example in enumerate(cls.examples(table))
    ]


def composed(table: Table, method: Method) -> bool:
    """Whether kernels can train the table."""
    return method.descriptor(table) is not None


EVEN = attributed("even", 100, 16)
DOUBLE = attributed("double", 64, 8, dtype=torch.float64)

TORCH: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "sgd_momentum": lambda p: torch.optim.SGD(p, momentum=0.9),
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.Adam,
    "adam_amsgrad": lambda p: torch.optim.Adam(p, amsgrad=True),
    "adamw": torch.optim.AdamW,
    "adamw_amsgrad": lambda p: torch.optim.AdamW(p, amsgrad=True),
    "sparse_adam": torch.optim.SparseAdam,
    "rmsprop": torch.optim.RMSprop,
    "rmsprop_centered": lambda p: torch.optim.RMSprop(p, centered=True),
    "rmsprop_momentum": lambda p: torch.optim.RMSprop(p, momentum=0.9),
    "adadelta": torch.optim.Adadelta,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "asgd": torch.optim.ASGD,
    "rprop": torch.optim.Rprop,
    "adafactor": torch.optim.Adafactor,
}
TABLES: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": optimizers.SGD,
    "adagrad": optimizers.Adagrad,
    "row_wise_adagrad": optimizers.RowWiseAdagrad,
    "lazy_adam": optimizers.Adam,
    "adam": lambda module: optimizers.Adam(module, mode="dense"),
}


def step(bags: EmbeddingBagCollection, *optimizers: torch.optim.Optimizer) -> None:
    """One step in which every parameter has a gradient."""
    ids = {feature: torch.arange(bags.tables[table].table.num_embeddings) for feature, table in bags.features.items()}
    found = bags(ids)
    torch.autograd.backward(list(found.values()), [torch.ones_like(vectors) for vectors in found.values()])
    for optimizer in optimizers:
        optimizer.step()


def test_every_optimizer_of_torch_is_known_or_left_out_for_a_reason() -> None:
    left_out = {
        "Optimizer",
        "LBFGS",  # keeps as many gradients as its history says
        "Muon",  # takes matrices of hidden layers alone
    }
    there = {
        name for name, of in vars(torch.optim).items() if isinstance(of, type) and issubclass(of, torch.optim.Optimizer)
    }
    known = {type(make([torch.nn.Parameter(torch.zeros(2, 2))])).__name__ for make in TORCH.values()}
    assert there == known | left_out
    assert KNOWN_TORCH.keys() == TORCH.keys() | {"lazy_adam"}  # of the dot model's own loop
    assert KNOWN_TABLES.keys() == TABLES.keys()


@pytest.mark.parametrize(
    ("table", "method"), [*cases(EVEN), *(case for case in cases(DOUBLE) if str(case.id).endswith("-0"))]
)
def test_all_of_torch(table: Table, method: Method) -> None:
    for name, make in TORCH.items():
        if name == "sparse_adam":
            continue
        bags = EmbeddingBagCollection([(table, method)])
        optimizer = make(bags.parameters())
        step(bags, optimizer)
        told, found = predict([(table, method)], optimizer=name), measure(bags, optimizer)
        assert told.lines == found.lines, name
        assert told.optimizer > 0 or name == "sgd"
        assert found.steps == {"gradients": told.parameters}


@pytest.mark.compiles
@pytest.mark.parametrize(("table", "method"), [case for case in cases(EVEN, DOUBLE) if composed(*case.values)])
def test_all_of_coset(table: Table, method: Method) -> None:
    for name, make in TABLES.items():
        bags = EmbeddingBagCollection([(table, method)])
        told = predict([(table, method)], optimizer=name, engine="fused", batch_size=table.num_embeddings)
        optimizer = make(bags)
        assert told.lines == measure(bags, optimizer).lines, name
        step(bags, optimizer)
        found = measure(bags, optimizer)
        assert told.lines == found.lines, name
        assert found.steps.keys() <= told.steps.keys()
        for what, size in found.steps.items():
            assert size <= told.steps[what], (name, what)


@pytest.mark.parametrize("width", [1, 16])
def test_sparse_adam_keeps_no_count_in_a_tensor(width: int) -> None:
    table, model = Table("ids", 100, width), torch.nn.Embedding(100, width, sparse=True)
    optimizer = torch.optim.SparseAdam(model.parameters())
    model(torch.tensor([1, 2, 2])).sum().backward()
    optimizer.step()
    told, found = predict([(table, Full())], optimizer="sparse_adam"), measure(model, optimizer)
    assert told.optimizer == found.optimizer == 2 * told.parameters
    assert found.steps == {"gradients": 3 * (8 + 4 * width)}


SHARING = [
    (Table("user", 50, 8), Robe(64, array="all")),
    (Table("movie", 40, 8), Robe(64, array="all", seed=1)),
    (Table("genre", 18, 8), "full"),
    (Table("tag", 300, 8), QuotientRemainder(20)),
]


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_a_collection_that_shares_arrays_and_tables(default: torch.dtype) -> None:
    """Arrays and tables that several features read are there once, and so is their state."""
    features = {"seen": "genre", "liked": "genre", "user": "user", "movie": "movie", "tag": "tag"}
    given = [(table, coset.method(how)) for table, how in SHARING]
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        bags = EmbeddingBagCollection(SHARING, features, orders={"tag": torch.arange(299, -1, -1)})
        optimizer = torch.optim.Adam(bags.parameters())
        step(bags, optimizer)
        told = predict(given, features, optimizer="adam", orders=["tag"], batch_size=10)
        assert sorted(told.lines, key=lambda line: line.key) == sorted(
            measure(bags, optimizer).lines, key=lambda line: line.key
        )
    finally:
        torch.set_default_dtype(before)
    assert told.owners["shared.all"].parameters == 64 * 4
    assert told.index == 300 * 4
    assert told.inference == sum(value.nbytes for value in stored(bags).values())
    assert told.artifact == sum(value.nbytes for value in bags.state_dict().values())


@pytest.mark.filterwarnings("ignore::coset.errors.UnownedTables")
def test_tables_that_kernels_do_not_train_have_an_optimizer_of_torch() -> None:
    given = [(Table("user", 100, 8), QuotientRemainder(20)), (Table("movie", 64, 8), TensorTrain(2))]
    bags = EmbeddingBagCollection(given)
    tables = optimizers.RowWiseAdagrad(bags)
    both = tables, torch.optim.Adam(tables.others(bags))
    step(bags, *both)
    told = predict(given, optimizer="row_wise_adagrad", others="adam", engine="fused", batch_size=64)
    assert told.lines == measure(bags, both).lines
    assert {"sums of gradients by row", "gradients"} <= told.steps.keys()
    with pytest.raises(InputError, match="table 'movie': kernels do not train"):
        predict(given, optimizer="row_wise_adagrad", engine="fused")


@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=4),
    dim=st.integers(1, 9),
    choice=st.sampled_from(["full", "hashing", "low_rank"]),
    optimizer=st.sampled_from(sorted(TABLES)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=40, deadline=None)
def test_any_collection(sizes: list[int], dim: int, choice: str, optimizer: str, dtype: torch.dtype) -> None:
    make = {"full": lambda n: Full(), "hashing": lambda n: Hashing(-(-n // 3)), "low_rank": lambda n: LowRank(1)}[
        choice
    ]
    given = [(Table(f"t{at}", n, dim, dtype=dtype), make(n)) for at, n in enumerate(sizes)]
    bags = EmbeddingBagCollection(given)
    told = predict(given, optimizer=optimizer, engine="fused", batch_size=50)
    found = measure(bags, TABLES[optimizer](bags))
    assert told.lines == found.lines
    assert (told.inference, told.optimizer, told.artifact) == (found.inference, found.optimizer, found.artifact)


class Made(TorchDispatchMode):
    """Notes the bytes of the tensors that torch's operators give."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.bytes += [each.nbytes for each in tree_leaves(out) if isinstance(each, torch.Tensor) and not each.is_meta]
        return out


def test_all_of_criteo_is_predicted_without_building_anything() -> None:
    given = [
        (Table(f"C{at}", n, 128), Full() if n < 1000 else QuotientRemainder(-(-n // 4))) for at, n in enumerate(CRITEO)
    ]
    options: dict[str, Any] = {"optimizer": "adam", "engine": "fused", "batch_size": 2048}
    predict(given, **options)  # what is imported once
    tracemalloc.start()
    try:
        with Made() as made:
            told = predict(given, **options)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert told.parameters > 4 * 10**9
    assert max(made.bytes, default=0) < 1 << 20
    assert most < 1 << 20  # a few lines a table


def test_without_an_optimizer_or_a_batch_there_is_no_step() -> None:
    told = predict([(Table("user", 10, 4), Full())])
    assert (told.optimizer, told.steps, told.training) == (0, {}, 160)
    assert predict([], optimizer="adam").training == 0
    assert predict([], optimizer="adam", batch_size=2).training == 0
    assert isinstance(told, Ledger)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"optimizer": "adm"}, "unknown optimizer of engine 'plain' 'adm': did you mean 'adam'"),
        ({"optimizer": "rmsprop", "engine": "fused"}, "unknown optimizer of engine 'fused' 'rmsprop'"),
        ({"optimizer": "adam", "engine": "fast"}, "engine must be 'plain' or 'fused', not 'fast'"),
        ({"batch_size": 8}, "a training step needs an optimizer"),
        ({"batch_size": 0, "optimizer": "adam"}, "batch_size must be at least 1, not 0"),
        ({"orders": ["usr"]}, "unknown table with an order 'usr'"),
        ({"features": {"a": "usr"}, "optimizer": "adam", "batch_size": 1}, "unknown table (of feature 'a') 'usr'"),
        ({"ids_per_bag": {"usr": 1}, "optimizer": "adam", "batch_size": 1}, "unknown feature with ids_per_bag 'usr'"),
        (
            {"ids_per_bag": -1, "optimizer": "adam", "batch_size": 1},
            "feature 'user': ids_per_bag must lie in 0 … 1099",
        ),
        ({"sparse": True, "optimizer": "adam", "batch_size": 1}, "optimizer 'adam' takes no sparse gradients"),
    ],
)
def test_bad_input(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        predict([(Table("user", 10, 4), Full())], **options)
    assert sentence in str(error.value)


def test_bad_tables() -> None:
    user = Table("user", 10, 4)
    with pytest.raises(InputError, match=r"table 'user': a method is an object such as coset.Full\(\), not 'full'"):
        predict([(user, "full")])  # type: ignore[list-item]
    with pytest.raises(InputError, match="distinct names"):
        predict([(user, Full()), (user, Full())])
    with pytest.raises(InputError, match="table 'user': only full tables have sparse gradients"):
        predict([(user, Hashing(2))], optimizer="sgd", sparse=True, batch_size=1)
    with pytest.raises(InputError, match="table 'user'"):
        predict([(user, QuotientRemainder(num_buckets=11))], optimizer="sgd")
