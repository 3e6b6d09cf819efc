"""What real models and optimizers hold, of coset or not."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn
from torch.ao import quantization

import coset
from coset import EmbeddingBagCollection, Full, QuotientRemainder, Table, optimizers
from coset.engine.owners import as_they_lie
from coset.errors import InputError
from coset.ledger import Ledger, Line, measure, predict


class Tower(nn.Module):
    """A model of plain torch with tied weights and all kinds of buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(100, 8)
        self.bags = nn.EmbeddingBag(20, 8)
        self.norm = nn.BatchNorm1d(8)
        self.out = nn.Linear(8, 100, bias=False)
        self.out.weight = self.items.weight
        self.register_buffer("kept", torch.zeros(3, dtype=torch.int32))
        self.register_buffer("scratch", torch.zeros(50), persistent=False)
        self.register_buffer("absent", None)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.items(ids) + self.bags(ids.unsqueeze(-1) % 20)))


def test_any_model() -> None:
    """Tied weights count once, buffers outside of the state are there and not saved."""
    model = Tower()
    found = measure(model)
    assert found.parameters == 4 * (100 * 8 + 20 * 8 + 8 + 8)
    assert found.index == 4 * 3 + 4 * 50 + 4 * (8 + 8) + 8
    assert found.artifact == found.inference - 200
    assert [line.key for line in found.lines if not line.saved] == ["scratch"]
    assert found.owners["items"].parameters == 3200
    assert "out" not in found.owners
    assert (found.optimizer, found.steps, found.kind) == (0, {}, "measured")


def test_state_and_gradients_that_are_there() -> None:
    model = Tower()
    optimizer = torch.optim.NAdam(model.parameters())
    assert measure(model, optimizer).optimizer == 0  # torch makes it in the first step
    model(torch.tensor([1, 2, 3])).sum().backward()
    optimizer.step()
    found = measure(model, optimizer)
    assert found.optimizer == 2 * found.parameters + 4 * 2 * 4  # and two numbers for each of four parameters
    assert found.steps == {"gradients": found.parameters}
    assert found.training == 4 * found.parameters + found.index + 32
    optimizer.zero_grad()
    assert measure(model, optimizer).steps == {}


def test_states_within_lists_and_of_other_models() -> None:
    model, other = nn.Linear(4, 3, bias=False), nn.Parameter(torch.zeros(5))
    optimizer = torch.optim.LBFGS([*model.parameters(), other], max_iter=3)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        total = model(torch.ones(2, 4)).square().sum() + (other - 1).square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    real = sum(
        value.numel() * value.element_size()
        for state in optimizer.state.values()
        for held in state.values()
        for value in (held if isinstance(held, list) else [held])
        if isinstance(value, torch.Tensor)
    )
    assert measure(model, optimizer).optimizer == real > 17 * 4

    apart = torch.optim.Adam([other])
    apart.step()
    found = measure(model, [apart])
    assert (found.optimizer, found.owners["(not of the model)"].optimizer) == (44, 44)
    assert (found.parameters, found.artifact) == (48, 48)


def test_weights_that_share_memory_count_once() -> None:
    one, other = nn.Embedding(10, 4), nn.Embedding(10, 4)
    other.weight.data = one.weight.data
    assert measure(nn.ModuleList([one, other])).parameters == 160


@pytest.mark.parametrize("names", [("first", "second"), ("second", "first")])
def test_a_buffer_under_two_names_is_saved_if_one_of_them_is(names: tuple[str, str]) -> None:
    module, held = nn.Module(), torch.zeros(10)
    for name in names:
        module.register_buffer(name, held, persistent=name == "first")
    found = measure(module)
    assert found.artifact == found.index == 40
    assert sum(value.nbytes for value in module.state_dict().values()) == 40


def test_state_that_several_parameters_hold_together_counts_once() -> None:
    layers = nn.ModuleList([nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)])
    optimizer = torch.optim.SGD(layers.parameters())
    own, both = torch.zeros(3), torch.zeros(100, dtype=torch.float64)
    for parameter in layers.parameters():
        optimizer.state[parameter] = {"both": both, "again": [both]}
    optimizer.state[layers[1].weight]["own"] = own
    found = measure(layers, [optimizer, torch.optim.SGD(layers.parameters())])
    assert [line.optimizer for line in found.lines] == [800, 12]


def test_odd_tensors() -> None:
    module = nn.Module()
    module.mean = nn.Parameter(torch.tensor(1.0))
    module.none = nn.Parameter(torch.zeros(0, 4))
    module.kernel = nn.Parameter(torch.zeros(2, 3, 4))
    module.register_buffer("sparse", torch.eye(4).to_sparse())
    assert [(line.key, line.shape, line.bytes) for line in measure(module).lines] == [
        ("mean", (), 4), ("none", (0, 4), 0), ("kernel", (2, 3, 4), 96), ("sparse", (4, 4), 2 * 4 * 8 + 4 * 4),
    ]  # fmt: skip
    with torch.device("meta"):
        assert measure(nn.Embedding(10**9, 128)).parameters == 512 * 10**9


@pytest.mark.filterwarnings("ignore:.*(TypedStorage|torch.ao.quantization|quantiz):")
def test_what_quantized_modules_pack_away_is_counted() -> None:
    """A byte an element, and of tables a scale and a zero of each row; of layers the bias, a scale and a zero."""
    bags = nn.Sequential(nn.EmbeddingBag(1000, 16, mode="sum"), nn.EmbeddingBag(1000, 16, mode="sum"))
    bags.qconfig = quantization.float_qparams_weight_only_qconfig
    found = measure(quantization.convert(quantization.prepare(bags)))
    assert (found.parameters, len(found.lines)) == (2 * 1000 * (16 + 8), 2)
    layers = quantization.quantize_dynamic(nn.Sequential(nn.Linear(30, 20), nn.Linear(20, 10)), {nn.Linear})
    assert measure(layers).parameters == (30 * 20 + 20 * 4 + 12) + (20 * 10 + 10 * 4 + 12)
    assert measure(nn.ModuleDict({"one": layers[0], "again": layers[0]})).parameters == 30 * 20 + 20 * 4 + 12
    recurrent = quantization.quantize_dynamic(nn.Sequential(nn.LSTM(8, 16)), {nn.LSTM})
    assert measure(recurrent).parameters == 4 * 16 * (8 + 16) + 2 * 4 * 16 * 4
    half = nn.Sequential(nn.EmbeddingBag(1000, 64, mode="sum"))
    half.qconfig = quantization.float_qparams_weight_only_qconfig_4bit
    assert measure(quantization.convert(quantization.prepare(half))).parameters == 1000 * (64 // 2 + 8)


def test_measuring_changes_nothing() -> None:
    """Nor does it bring the rows of dense Adam to the last step, as `state_dict` does."""
    bags = EmbeddingBagCollection([(Table("movie", 50, 4), "full")])
    optimizer = optimizers.Adam(bags, mode="dense")
    for ids in ([1, 2], [3], [4]):
        bags({"movie": torch.tensor(ids)})["movie"].sum().backward()
        optimizer.step()
    before = [copy.deepcopy(value) for state in optimizer.state.values() for value in state.values()]
    with as_they_lie():
        rows = [p.detach().clone() for p in bags.parameters()]
    found = measure(bags, optimizer)
    after = [value for state in optimizer.state.values() for value in state.values()]
    assert all(map(torch.equal, before, after))
    with as_they_lie():
        assert all(map(torch.equal, rows, bags.parameters()))
    assert found.optimizer == 2 * 800 + 50 * 4
    assert set(found.steps) == {"vectors", "sums of gradients by row", "steps to make up for"}


def test_bad_input() -> None:
    with pytest.raises(InputError, match="'weight' has no shape yet; run a batch through the model first"):
        measure(nn.LazyLinear(3))
    with pytest.raises(InputError, match="measure takes optimizers of torch or coset, not str"):
        measure(nn.Linear(1, 1), ["adam"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="measure takes a module of torch, not int"):
        measure(5)  # type: ignore[arg-type]


def test_both_are_at_the_top() -> None:
    assert (coset.measure, coset.predict, coset.Ledger) == (measure, predict, Ledger)


def test_as_json_and_as_a_table() -> None:
    given = [(Table("user", 6040, 64), QuotientRemainder(120)), (Table("movie", 3706, 64), Full())]
    told = predict(given, optimizer="row_wise_adagrad", engine="fused", batch_size=1024, threads=2)
    value = told.to_json()
    assert json.loads(json.dumps(value)) == value
    assert value["schema"] == 1
    assert (value["optimizer"], value["engine"], value["batch_size"]) == ("row_wise_adagrad", "fused", 1024)
    sums = value["bytes"]
    assert sums["training"] == sums["parameters"] + sums["index"] + sums["optimizer"] + sum(value["step"].values())
    assert sums["parameters"] == sum(of["parameters"] for of in value["owners"].values()) == 992_512
    arrays = [array for of in value["owners"].values() for array in of["arrays"]]
    assert [array["key"] for array in arrays] == [line.key for line in told.lines]
    words = {f"tables.{table.name}.choice._extra_state": len(how.description(table)) for table, how in given}
    assert value["words"] == words
    assert sum(array["bytes"] for array in arrays) + sum(words.values()) == sums["artifact_tensors"]
    text = str(told)
    assert text == told.table()
    assert "993KB (992,512)" in text
    assert "tables.movie.rows.weight      3,706 x 64  float32  parameter  949KB (948,736)  14.8KB (14,824)" in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_header_of_very_many_arrays_is_larger() -> None:
    line = Line("tables.a", "tables.a.rows.weight", (1, 1), torch.float32, "parameter", 4)
    assert Ledger((line,) * 200).header == 1 << 16
    assert Ledger((line,) * 1000).header == (1 << 15) + 1000 * (20 + 128)
