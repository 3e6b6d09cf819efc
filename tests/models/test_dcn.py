"""DCN: cross layers by hand, gradients, an independent formula, and choices that do not fit together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coset.errors import InputError
from coset.models.cross import LowRankCross, MatrixCross, VectorCross
from coset.models.dcn import DCN, DCNSettings
from coset.schema import Table
from coset.tables import EmbeddingBagCollection

DOUBLE = torch.float64
CROSSES = ("vector", "matrix", "low_rank")


def tables(*dims: int, dtype: torch.dtype = DOUBLE) -> EmbeddingBagCollection:
    return EmbeddingBagCollection([(Table(f"t{n}", 7, dim, 1.0, dtype), "full") for n, dim in enumerate(dims)])


def filled(module: nn.Module, **values: Any) -> nn.Module:
    with torch.no_grad():
        for name, value in values.items():
            module.get_parameter(name.replace("__", ".")).copy_(torch.tensor(value))
    return module


def any_cross(kind: str, width: int, layers: int, rank: int = 2) -> nn.Module:
    """A cross network in float64 with biases other than 0."""
    torch.manual_seed(width + layers)
    made = {"vector": VectorCross, "matrix": MatrixCross}
    cross = made[kind](width, layers) if kind in made else LowRankCross(width, layers, rank)
    for parameter in cross.parameters():
        nn.init.normal_(parameter, std=0.5)
    return cross.double()


# -- layers ------------------------------------------------------------------------------------------------------------


def test_vector_cross_by_hand() -> None:
    cross = filled(VectorCross(2, 2), weight=[[1.0, -1.0], [0.5, 2.0]], bias=[[10.0, 0.0], [0.0, 7.0]])
    # x₀ = (3, 1): x₀ · w = 2, so x₁ = (6, 2) + (10, 0) + (3, 1) = (19, 3);
    # x₁ · w = 15.5, so x₂ = (46.5, 15.5) + (0, 7) + (19, 3)
    # x₀ = (0, 2): -2, so (0, -4) + (10, 0) + (0, 2) = (10, -2); 1, so (0, 2) + (0, 7) + (10, -2)
    assert cross(torch.tensor([[3.0, 1.0], [0.0, 2.0]])).tolist() == [[65.5, 25.5], [10.0, 7.0]]


def test_matrix_cross_by_hand() -> None:
    first = {"layers__0__weight": [[1.0, 2.0], [0.0, -1.0]], "layers__0__bias": [0.5, 1.0]}
    second = {"layers__1__weight": [[0.0, 1.0], [1.0, 0.0]], "layers__1__bias": [0.0, -3.0]}
    cross = filled(MatrixCross(2, 2), **first, **second)
    # x₀ = (2, 3): W x + b = (8.5, -2), so x₁ = (17, -6) + (2, 3) = (19, -3);
    # W x + b = (-3, 16), so x₂ = (-6, 48) + (19, -3)
    assert cross(torch.tensor([[2.0, 3.0]])).tolist() == [[13.0, 45.0]]


def test_low_rank_cross_by_hand() -> None:
    cross = filled(
        LowRankCross(2, 1, 1), narrow__0__weight=[[1.0, 2.0]], widen__0__weight=[[3.0], [-1.0]], widen__0__bias=[0.5, 1]
    )
    # x₀ = (2, 3): Vᵀ x = 8, U · 8 + b = (24.5, -7), so x₁ = (49, -21) + (2, 3)
    assert cross(torch.tensor([[2.0, 3.0]])).tolist() == [[51.0, -18.0]]


@pytest.mark.parametrize("kind", CROSSES)
@pytest.mark.parametrize(("width", "layers"), [(1, 1), (5, 1), (4, 3), (7, 6)])
def test_cross_is_the_papers_formula(kind: str, width: int, layers: int) -> None:
    cross = any_cross(kind, width, layers)
    state = {name: value.numpy() for name, value in cross.state_dict().items()}
    inputs = torch.randn(9, width, dtype=DOUBLE)
    expected = []
    for first in inputs.numpy():
        x = first
        for layer in range(layers):
            if kind == "vector":
                x = first * (x @ state["weight"][layer]) + state["bias"][layer] + x
            elif kind == "matrix":
                x = first * (state[f"layers.{layer}.weight"] @ x + state[f"layers.{layer}.bias"]) + x
            else:
                narrow = state[f"narrow.{layer}.weight"] @ x
                x = first * (state[f"widen.{layer}.weight"] @ narrow + state[f"widen.{layer}.bias"]) + x
        expected.append(x)
    np.testing.assert_allclose(cross(inputs).detach().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("kind", CROSSES)
def test_gradients_of_cross_layers(kind: str) -> None:
    cross = any_cross(kind, 4, 3)
    parameters = dict(cross.named_parameters())
    inputs = torch.randn(3, 4, dtype=DOUBLE, requires_grad=True)

    def crossed(inputs: Tensor, *given: Tensor) -> Tensor:
        return torch.func.functional_call(cross, dict(zip(parameters, given, strict=True)), (inputs,))

    assert torch.autograd.gradcheck(crossed, (inputs, *parameters.values()))


def test_vector_cross_in_float32_is_as_exact_as_layer_by_layer() -> None:
    cross = any_cross("vector", 429, 6)
    with torch.no_grad():
        for parameter in cross.parameters():
            parameter.mul_(0.1)
    inputs = torch.randn(50, 429, dtype=DOUBLE)
    exact = cross(inputs)
    torch.testing.assert_close(cross.float()(inputs.float()).double(), exact, rtol=1e-4, atol=1e-4)


# -- the model ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CROSSES)
@pytest.mark.parametrize("num_numeric", [0, 2])
def test_logits_are_those_of_the_formula(kind: Any, num_numeric: int) -> None:
    torch.manual_seed(0)
    model = DCN(tables(4, 3), num_numeric, DCNSettings(cross=kind, cross_layers=2, deep=(6, 5)))
    numeric, ids = torch.randn(8, num_numeric, dtype=DOUBLE), torch.randint(7, (2, 8))
    found = model.tables({f"t{n}": ids[n] for n in range(2)})
    x = torch.cat([found["t0"], found["t1"], numeric], 1)
    assert model.width == x.shape[1] == 7 + num_numeric
    deep = x
    for layer in (0, 2):
        deep = torch.relu(deep @ model.deep[layer].weight.t() + model.deep[layer].bias)
    expected = torch.cat([model.cross(x), deep], 1) @ model.head.weight[0] + model.head.bias
    torch.testing.assert_close(model(numeric, ids), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", CROSSES)
def test_gradients_of_the_model(kind: Any) -> None:
    torch.manual_seed(1)
    model = DCN(tables(2, 1), 1, DCNSettings(cross=kind, cross_layers=2, deep=(4,)))
    numeric, ids = torch.randn(3, 1, dtype=DOUBLE, requires_grad=True), torch.randint(7, (2, 3))
    parameters = dict(model.named_parameters())

    def logits(numeric: Tensor, *given: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(zip(parameters, given, strict=True)), (numeric, ids))

    assert torch.autograd.gradcheck(logits, (numeric, *parameters.values()))


def test_defaults_are_the_papers() -> None:
    settings = DCNSettings()
    model = DCN(EmbeddingBagCollection([(settings.table(f"C{n}", 3), "full") for n in range(26)]), 13)
    assert isinstance(model.cross, VectorCross)
    assert model.cross.weight.shape == (6, 26 * 16 + 13)
    assert [tuple(layer.weight.shape) for layer in model.deep[::2]] == [(512, 429), (256, 512), (64, 256)]
    assert model.head.weight.shape == (1, 429 + 64)


def test_rank_is_a_quarter_of_the_width_unless_it_is_given() -> None:
    for choices, rank in (({}, 4), ({"rank": 9}, 9)):
        model = DCN(tables(16, 1), 2, DCNSettings(cross="low_rank", **choices))
        assert isinstance(model.cross, LowRankCross)
        assert model.cross.narrow[0].weight.shape == (rank, 19)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"cross": "tensor"}, "cross"),
        ({"cross_layers": 0}, "cross_layers"),
        ({"cross_layers": 101}, "cross_layers"),
        ({"rank": 4}, "rank is for"),
        ({"cross": "low_rank", "rank": 0}, "rank"),
        ({"deep": ()}, "deep must have 1 layer"),
        ({"deep": (0,)}, "deep"),
    ],
)
def test_bad_settings(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DCNSettings(**choices)
