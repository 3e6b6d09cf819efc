"""The ledger against real modules and real optimizers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from coset import ledger, optimizers
from coset.methods import Method, registered
from coset.methods.mixed_dimension import MixedDimension
from coset.methods.quotient_remainder import QuotientRemainder
from coset.schema import Component, Table
from coset.tables import Embedding, EmbeddingBag, EmbeddingBagCollection, EmbeddingCollection
from coset.tasks import TrainingSettings
from coset.testing.cases import stored
from coset.training.optimizers import of_tables_in_torch

TABLES = (
    Table("even", 100, 16),
    Table("odd", 101, 7),
    Table("double", 64, 8, dtype=torch.float64),
)
CASES = [
    pytest.param(table, example, id=f"{table.name}-{number}-{name}")
    for table in TABLES
    for name, cls in sorted(registered().items())
    for number, example in enumerate(cls.examples(table))
]


def by_key(components: list[Component]) -> dict[str, Component]:
    assert len({component.key for component in components}) == len(components)
    return {component.key: component for component in components}


def real_bytes(values: list[torch.Tensor]) -> int:
    return sum(value.numel() * value.element_size() for value in values)


@pytest.mark.parametrize(("table", "example"), CASES)
def test_predicted_is_measured(table: Table, example: Method) -> None:
    predicted, module = example.components(table), example.build(table)
    assert by_key(predicted) == by_key(ledger.components_of(module))
    assert ledger.parameters(predicted) == sum(parameter.numel() for parameter in module.parameters())
    assert ledger.inference_bytes(predicted) == real_bytes(list(module.state_dict().values())) == example.bytes(table)


@pytest.mark.parametrize(("table", "example"), CASES)
def test_optimizer_bytes_are_those_of_the_torch_optimizer(table: Table, example: Method) -> None:
    module = Embedding.from_table(table, example)
    module(torch.arange(table.num_embeddings)).square().sum().backward()
    names: tuple[ledger.TableOptimizerName, ...] = ("sgd", "adagrad", "adam")
    for optimizer in names:
        stepping = of_tables_in_torch(list(module.parameters()), set(), TrainingSettings(optimizer=optimizer))
        stepping.step()
        state = [value for of in stepping.state.values() for value in of.values() if isinstance(value, torch.Tensor)]
        assert ledger.optimizer_bytes(module.components(), optimizer) == real_bytes(state), optimizer


def test_index_state_is_stored_and_not_trained() -> None:
    module = Embedding(10, 4, order=torch.arange(9, -1, -1))
    components = module.components()
    assert by_key(components) == by_key(ledger.components_of(module))
    assert ledger.inference_bytes(components) == 10 * 4 * 4 + 10 * 4
    assert ledger.parameters(components) == 40
    assert ledger.optimizer_bytes(components, "adam") == 2 * 160 + 4
    assert ledger.optimizer_bytes(components, "sgd") == 0


def test_a_scalar_and_a_vector_are_measured() -> None:
    module = nn.Module()
    module.mean = nn.Parameter(torch.tensor(1.0))
    module.register_buffer("order", torch.zeros(5, dtype=torch.int32))
    assert by_key(ledger.components_of(module)) == by_key(
        [Component("mean", 1, 0), Component("order", 5, 0, torch.int32, "index")]
    )


def test_a_parameter_of_two_names_is_trained_under_both() -> None:
    module = nn.Module()
    module.one = module.other = nn.Parameter(torch.zeros(2, 3))
    assert by_key(ledger.components_of(module)) == by_key([Component("one", 2, 3), Component("other", 2, 3)])


@pytest.mark.parametrize(("table", "example"), CASES)
def test_components_follow_a_change_of_type(table: Table, example: Method) -> None:
    order = torch.arange(table.num_embeddings)
    for change, dtype in (("half", torch.float16), ("double", torch.float64)):
        for module in (
            Embedding.from_table(table, example, order=order),
            EmbeddingBag.from_table(table, example, order=order),
            EmbeddingCollection([(table, example)]),
        ):
            components = getattr(module, change)().components()
            assert {component.dtype for component in components if component.kind == "parameter"} == {dtype}
            assert ledger.inference_bytes(components) == real_bytes(list(stored(module).values()))


def test_nothing_costs_nothing() -> None:
    assert ledger.parameters([]) == ledger.inference_bytes([]) == ledger.optimizer_bytes([], "adam") == 0


TABLE_OPTIMIZERS = {
    "sgd": optimizers.SGD,
    "adagrad": optimizers.Adagrad,
    "row_wise_adagrad": optimizers.RowWiseAdagrad,
    "lazy_adam": optimizers.Adam,
    "adam": lambda module: optimizers.Adam(module, mode="dense"),
}


@pytest.mark.parametrize("optimizer", TABLE_OPTIMIZERS)
def test_bytes_of_table_optimizers_are_those_of_their_state(optimizer: Any) -> None:
    tables = [
        (Table("user", 50, 8), QuotientRemainder(10)),
        (Table("movie", 40, 8), MixedDimension((10, 30), (8, 2), "keras")),
        (Table("genre", 5, 8), "full"),
    ]
    bags = EmbeddingBagCollection(tables)
    state = TABLE_OPTIMIZERS[optimizer](bags).state
    assert ledger.table_optimizer_bytes(bags.components(), optimizer) == sum(
        value.numel() * value.element_size() for of in state.values() for value in of.values()
    )
