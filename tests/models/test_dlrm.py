"""DLRM: interactions by hand, gradients, an independent formula, and tables that do not suit it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from coset import Dense, Full
from coset.errors import InputError
from coset.models.dlrm import DLRM, DLRMSettings, PairwiseDots
from coset.schema import Table
from coset.tables import EmbeddingBagCollection

DOUBLE = torch.float64


def tables(*dims: int, dtype: torch.dtype = DOUBLE) -> EmbeddingBagCollection:
    return EmbeddingBagCollection([(Table(f"t{n}", 7, dim, 1.0, dtype), "full") for n, dim in enumerate(dims)])


# -- pairs -------------------------------------------------------------------------------------------------------------


def test_dot_products_by_hand() -> None:
    vectors = torch.tensor([[[1.0, 2.0], [3.0, -1.0], [0.5, 4.0], [0.0, 2.0]], [[1.0, 0.0], [0, 1], [1, 1], [2, 3]]])
    # (1,0) (2,0) (2,1) (3,0) (3,1) (3,2)
    by_hand = [[1.0, 8.5, -2.5, 4.0, -2.0, 8.0], [0.0, 1.0, 1.0, 2.0, 3.0, 5.0]]
    assert PairwiseDots(4)(vectors).tolist() == by_hand


@pytest.mark.parametrize("count", [2, 3, 6])
def test_gradients_of_dot_products(count: int) -> None:
    torch.manual_seed(count)
    vectors = torch.randn(3, count, 4, dtype=DOUBLE, requires_grad=True)
    dots = PairwiseDots(count)
    assert torch.autograd.gradcheck(dots, vectors)
    assert torch.autograd.gradgradcheck(dots, vectors)


def test_dot_products_of_no_rows() -> None:
    assert PairwiseDots(3)(torch.zeros(0, 3, 2)).shape == (0, 3)


def test_places_of_pairs_are_no_part_of_the_state() -> None:
    assert PairwiseDots(5).state_dict() == {}


# -- the model ---------------------------------------------------------------------------------------------------------


def test_logits_by_hand() -> None:
    settings = DLRMSettings(embedding_dim=2, bottom=(), top=())
    model = DLRM(tables(2), 1, settings)
    assert model.bottom is not None
    with torch.no_grad():
        (weight,) = model.tables.parameters()
        weight[3] = torch.tensor([5.0, -1.0])
        model.bottom[0].weight.copy_(torch.tensor([[2.0], [-3.0]]))
        model.bottom[0].bias.copy_(torch.tensor([1.0, 4.0]))
        model.head.weight.copy_(torch.tensor([[1.0, 10.0, 100.0]]))
        model.head.bias.fill_(0.5)
    # x = relu(2 · 1 + 1, -3 · 1 + 4) = (3, 1), and (5, 0) for 2; products 15 - 1 = 14 and 25
    logits = model(torch.tensor([[1.0], [2.0]], dtype=DOUBLE), torch.tensor([[3, 3]]))
    assert logits.tolist() == [3 + 10 + 1400 + 0.5, 5 + 2500 + 0.5]
    assert model.predict(torch.tensor([[1.0]], dtype=DOUBLE), torch.tensor([[3]])).item() == pytest.approx(1.0)


def test_logits_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    settings = DLRMSettings(embedding_dim=4, bottom=(6, 5), top=(8, 3))
    model = DLRM(tables(4, 4, 4), 2, settings)
    numeric, ids = torch.randn(11, 2, dtype=DOUBLE), torch.randint(7, (3, 11))
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    expected = []
    for row in range(11):
        x = numeric[row].numpy()
        for layer in (0, 2, 4):
            x = np.maximum(state[f"bottom.{layer}.weight"] @ x + state[f"bottom.{layer}.bias"], 0)
        every = [x, *(state[f"tables.tables.t{n}.rows.weight"][ids[n, row]] for n in range(3))]
        x = np.array([*x, *(every[i] @ every[j] for i in range(4) for j in range(i))])
        for layer in (0, 2):
            x = np.maximum(state[f"top.{layer}.weight"] @ x + state[f"top.{layer}.bias"], 0)
        expected.append(float(state["head.weight"][0] @ x + state["head.bias"][0]))
    np.testing.assert_allclose(model(numeric, ids).detach().numpy(), expected, rtol=1e-12)


def test_gradients_of_the_model() -> None:
    torch.manual_seed(1)
    model = DLRM(tables(2, 2), 3, DLRMSettings(embedding_dim=2, bottom=(4,), top=(5,)))
    numeric, ids = torch.randn(4, 3, dtype=DOUBLE, requires_grad=True), torch.randint(7, (2, 4))
    parameters = dict(model.named_parameters())

    def logits(numeric: Tensor, *given: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(zip(parameters, given, strict=True)), (numeric, ids))

    assert torch.autograd.gradcheck(logits, (numeric, *parameters.values()))


def test_without_numeric_columns_features_interact_alone() -> None:
    torch.manual_seed(2)
    model = DLRM(tables(2, 2, 2), 0, DLRMSettings(embedding_dim=2, top=()))
    assert model.bottom is None
    ids = torch.randint(7, (3, 5))
    found = model.tables({f"t{n}": ids[n] for n in range(3)})
    dots = torch.stack([(found[a] * found[b]).sum(1) for a, b in (("t1", "t0"), ("t2", "t0"), ("t2", "t1"))], 1)
    expected = model.head(dots).squeeze(1)
    torch.testing.assert_close(model(torch.empty(5, 0, dtype=DOUBLE), ids), expected)


def test_defaults_are_the_papers() -> None:
    model = DLRM(EmbeddingBagCollection([(DLRMSettings().table(f"C{n}", 3), "full") for n in range(26)]), 13)
    widths = [tuple(layer.weight.shape) for layer in [*model.bottom[::2], *model.top[::2], model.head]]  # type: ignore[index]
    assert widths == [(512, 13), (256, 512), (64, 256), (16, 64), (512, 16 + 351), (256, 512), (1, 256)]


def test_fresh_layers_have_the_deviations_of_the_papers_code() -> None:
    torch.manual_seed(0)
    model = DLRM(tables(16, dtype=torch.float32), 13)
    layer = model.bottom[2]  # type: ignore[index]
    assert layer.weight.std().item() == pytest.approx((2 / (512 + 256)) ** 0.5, rel=0.02)
    assert layer.bias.std().item() == pytest.approx((1 / 256) ** 0.5, rel=0.2)


def test_tables_of_another_dim_are_refused() -> None:
    with pytest.raises(InputError, match=r"'t1' has vectors of 3 elements.*embedding_dim = 2"):
        DLRM(tables(2, 3), 1, DLRMSettings(embedding_dim=2))
    with pytest.raises(InputError, match="two features"):
        DLRM(tables(2), 0, DLRMSettings(embedding_dim=2))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"embedding_dim": 70_000}, "embedding_dim"),
        ({"bottom": (4, 0)}, "bottom"),
        ({"top": (70_000,)}, "top"),
        ({"top": 4}, "top"),
        ({"std": 0.0}, "std"),
    ],
)
def test_bad_settings(choices: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DLRMSettings(**choices)  # type: ignore[arg-type]


def test_layers_are_of_the_type_that_is_read_not_of_the_stored_one() -> None:
    few = EmbeddingBagCollection([(Table("a", 7, 4), Full(storage=Dense("bfloat16"))), (Table("b", 7, 4), "full")])
    model = DLRM(few, 2, DLRMSettings(embedding_dim=4, bottom=(4,), top=(4,)))
    assert {layer.dtype for name, layer in model.named_parameters() if not name.startswith("tables")} == {torch.float32}
    ids = torch.tensor([0, 1])
    assert model(torch.ones(2, 2), {"a": ids, "b": ids}).dtype == torch.float32
