"""Arguments, models and states that the optimizers of tables refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from coset.errors import InputError
from coset.methods import TensorTrain
from coset.optimizers import SGD, Adagrad, Adam
from coset.schema import Table
from coset.tables import EmbeddingBagCollection
from coset.testing.cases import difference
from tests.optimizers.small import KINDS, N, Two, collection, ids_of, learn, state


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (SGD, {"lr": -0.1}, "lr"),
        (SGD, {"lr": float("nan")}, "lr"),
        (SGD, {"lr": float("inf")}, "lr"),
        (Adagrad, {"eps": -1.0}, "eps"),
        (Adam, {"weight_decay": -1.0}, "weight_decay"),
        (Adam, {"betas": (1.0, 0.9)}, "betas"),
        (Adam, {"betas": (0.9, -0.1)}, "betas"),
        (Adam, {"mode": "eager"}, "mode"),
        (Adam, {"betas": (0.9,)}, "betas"),
        (Adam, {"betas": 0.9}, "betas"),
        (Adam, {"betas": (0.9, float("nan"))}, "betas"),
        (Adam, {"betas": ("0.9", 0.9)}, "betas"),
        (Adam, {"eps": float("inf")}, "eps"),
        (SGD, {"lr": "0.1"}, "lr"),
        (SGD, {"lr": None}, "lr"),
        (SGD, {"weight_decay": [1]}, "weight_decay"),
        (SGD, {"max_norm": "1"}, "max_norm"),
        (SGD, {"projection_scale": float("inf")}, "projection_scale"),
        (SGD, {"replicas": "many"}, "replicas"),
        (SGD, {"max_norm": 0.0}, "max_norm"),
        (SGD, {"max_norm": float("nan")}, "max_norm"),
        (SGD, {"nonfinite": "ignore"}, "nonfinite"),
        (SGD, {"projection_scale": 0.0}, "projection_scale"),
    ],
)
def test_wrong_arguments(kind: Any, options: dict[str, Any], words: str) -> None:
    fused = collection()
    with pytest.raises(InputError, match=words):
        kind(fused, **options)
    kind(fused)  # nobody owns the tables after an error


def test_models_without_tables_for_kernels() -> None:
    for module in (
        nn.Linear(2, 2),
        EmbeddingBagCollection([(Table("a", 9, 4), TensorTrain(2))]),
        EmbeddingBagCollection([(Table("a", 9, 4, dtype=torch.bfloat16), "full")]),
        EmbeddingBagCollection([(Table("a", 9, 4), "full")], device="meta"),
    ):
        with pytest.raises(InputError, match=r"can own no table here: 'a'|finds no table of coset"):
            SGD(module)


def test_tables_of_two_dtypes_in_one_collection() -> None:
    module = EmbeddingBagCollection([(Table("a", 9, 4), "full"), (Table("b", 9, 4, dtype=torch.float64), "full")])
    with pytest.raises(InputError, match="one dtype"):
        SGD(module)
    module.double()
    SGD(module)


def test_one_array_in_two_collections_is_refused() -> None:
    model = Two()
    model.second.tables["full"].rows.weight = model.first.tables["full"].rows.weight
    with pytest.raises(InputError, match="two collections"):
        SGD(model)


def test_a_model_that_was_moved_is_refused() -> None:
    fused = collection()
    SGD(fused)
    fused.double()
    with pytest.raises(InputError, match="move a model first"):
        fused(ids_of(0))


def test_parameters_that_got_other_memory_are_found() -> None:
    fused, twin = collection(), collection()
    optimizer, other = Adagrad(fused), Adagrad(twin)
    learn(fused, optimizer, range(2))
    for parameter in fused.parameters():
        parameter.data = parameter.data.clone()
    learn(fused, optimizer, range(2, 4))
    learn(twin, other, range(4))
    assert difference(state(fused, optimizer), state(twin, other)) is None


@pytest.mark.parametrize("saved", KINDS)
@pytest.mark.parametrize("own", KINDS)
def test_states_of_another_kind_are_refused_and_change_nothing(saved: str, own: str) -> None:
    if saved == own:
        return
    of = KINDS[saved](collection())
    fused, twin = collection(), collection()
    optimizer, other = KINDS[own](fused), KINDS[own](twin)
    learn(fused, optimizer, range(2))
    with pytest.raises(InputError, match="the state to load is of another optimizer"):
        optimizer.load_state_dict(of.state_dict())
    learn(fused, optimizer, range(2, 4))
    learn(twin, other, range(4))
    assert difference(state(fused, optimizer), state(twin, other)) is None


def test_states_of_other_tables_are_refused_and_change_nothing() -> None:
    fused, twin = collection(), collection()
    optimizer, other = Adagrad(fused), Adagrad(twin)
    learn(fused, optimizer, range(2))
    larger = Adagrad(EmbeddingBagCollection([(Table(str(n), N + 1, 4), "full") for n in range(7)]))
    fewer = Adagrad(EmbeddingBagCollection([(Table("a", N, 4), "full")]))
    empty = optimizer.state_dict()
    for state_dict in (larger.state_dict(), fewer.state_dict(), {**empty, "state": {}}, {}):
        with pytest.raises(InputError, match="the state to load is of another optimizer"):
            optimizer.load_state_dict(state_dict)
    learn(fused, optimizer, range(2, 4))
    learn(twin, other, range(4))
    assert difference(state(fused, optimizer), state(twin, other)) is None


def test_groups_cannot_be_added() -> None:
    optimizer = SGD(collection())
    with pytest.raises(InputError, match="takes tables over when it is made"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2, 2))]})
