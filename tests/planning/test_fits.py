"""Methods and bits that fit trained tables best within a budget."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import coset
from coset import Full, LowRank, Packed, Table, compress_
from coset.errors import InfeasibleBudget, InputError
from coset.ledger import components_of, inference_bytes
from coset.planning.fits import Fits, Trained, best_fits
from coset.planning.storages import AllowedStorages


def popular(ids: int) -> np.ndarray:
    return np.asarray(1e4 / (1 + np.arange(ids)))


def drawn(ids: int, dim: int, deviations: Tensor | float = 1.0, seed: int = 0) -> Tensor:
    return torch.randn(ids, dim, generator=torch.Generator().manual_seed(seed)) * deviations


def two() -> nn.ModuleDict:
    model = nn.ModuleDict({"many": nn.Embedding(400, 8), "few": nn.Embedding(9, 8)})
    with torch.no_grad():
        model["many"].weight.copy_(drawn(400, 8, 0.7 ** torch.arange(8)))
    return model


@pytest.mark.parametrize("share", [0.02, 0.05, 0.15, 0.3, 0.6])
@pytest.mark.parametrize("known", [False, True])
def test_a_budget_is_kept_and_bits_come_nearer_than_floats(share: float, known: bool) -> None:
    counts = {"many": popular(400), "few": popular(9)} if known else None
    report = compress_(two(), share, frequencies=counts)
    assert report.bytes_after <= share * report.bytes_before
    assert report.bytes_after >= 0.9 * min(share, 0.25) * report.bytes_before
    try:
        floats = compress_(two(), share, frequencies=counts, storages=["float32"])
    except InfeasibleBudget:
        return
    squares = [sum((of.relative or 0) ** 2 for of in found.tables) for found in (report, floats)]
    assert squares[0] < 0.7 * squares[1]


def test_losses_are_those_of_the_fit() -> None:
    weight, counts = drawn(300, 6, 0.6 ** torch.arange(6)), popular(300)
    trained = Trained(Table("user", 300, 6, frequencies=counts), weight)
    found = Fits(trained, AllowedStorages()).each
    assert (found[0].method, found[0].loss) == (Full(), 0)
    assert all(fit.bytes == fit.method.bytes(trained.table) for fit in found)
    for fit in found[1::5]:
        module = fit.method.build(trained.table)
        error = float(module.fit_(weight, trained.reads)) * 6
        power = float(trained.reads @ weight.double().square().sum(1) / trained.reads.sum())
        assert fit.loss == pytest.approx(error / power, rel=0.1, abs=1e-5), fit.method


def test_frequent_ids_and_columns_that_matter_get_more_bits() -> None:
    table = Table("user", 2000, 4, frequencies=popular(2000))
    trained = Trained(table, drawn(2000, 4), importance=torch.tensor([100.0, 1.0, 1.0, 0.01]))
    found: Any = best_fits([trained], 3000, AllowedStorages())["user"]
    assert found.bytes(table) <= 3000
    bits = [method.storage.bits_of(4) for method in found.methods]
    assert sum(bits[0]) > sum(bits[-1])
    assert bits[0][0] > bits[0][1] > bits[0][3]


def test_ids_in_no_known_order_stay_one_block() -> None:
    found = best_fits([Trained(Table("user", 500, 4), drawn(500, 4))], 1000, AllowedStorages())["user"]
    assert isinstance(found, Full)
    assert isinstance(found.storage, Packed)


def test_ids_in_another_order_buy_one_where_that_pays() -> None:
    counts = popular(3000)
    shuffled = np.random.default_rng(0).permutation(counts)
    size = torch.from_numpy(shuffled / (shuffled + 20)).float().sqrt().unsqueeze(1)
    model = nn.ModuleDict({"wide": nn.Embedding(3000, 64), "thin": nn.Embedding(3000, 4)})
    with torch.no_grad():
        model["wide"].weight.copy_(drawn(3000, 64, 0.93 ** torch.arange(64)) * size)
    unknown = compress_(deepcopy(model), "5%").tables[0]
    before, given = model["wide"].weight.detach().clone(), {"wide": shuffled, "thin": shuffled}
    report = compress_(model, "5%", frequencies=given)
    wide, thin = report.tables
    assert wide.note == "with an order of ids"
    assert thin.note == ""
    assert report.bytes_after <= 0.05 * report.bytes_before
    assert wide.bytes_after == wide.method.bytes(Table("wide", 3000, 64)) + 4 * 3000
    assert report.bytes_after == sum(inference_bytes(components_of(of)) for of in model.values())
    most = int(shuffled.argmax())
    gap = (model["wide"](torch.tensor([most])) - before[most]).square().sum() / before[most].square().sum()
    assert gap < 0.05  # its own row, and not that of another id
    share = torch.from_numpy(shuffled)
    again = deepcopy(model["wide"]).eval()
    error = (again(torch.arange(3000)) - before).double().square().sum(1) @ share
    assert error / (before.double().square().sum(1) @ share) < 0.6 * (unknown.relative or 1) ** 2
    fresh = nn.ModuleDict({"wide": nn.Embedding(3000, 64), "thin": nn.Embedding(3000, 4)})
    compress_(fresh, report.methods, fit=False, frequencies={"wide": shuffled})
    fresh.load_state_dict(model.state_dict())


def test_few_axes_are_stored_as_low_rank() -> None:
    weight = drawn(2000, 2) @ drawn(2, 32, seed=1)
    found = best_fits([Trained(Table("user", 2000, 32), weight)], 4000, AllowedStorages())["user"]
    assert isinstance(found, LowRank)
    assert found.rank == 2


def test_large_tables_are_looked_at_in_part() -> None:
    weight = drawn(30_000, 4)
    whole = [
        fit for fit in Fits(Trained(Table("user", 30_000, 4), weight), AllowedStorages(["int4"])).each if fit.loss
    ][-1]
    module = whole.method.build(Table("user", 30_000, 4))
    error = float(module.fit_(weight)) / float(weight.double().square().mean())
    assert whole.loss == pytest.approx(error, rel=0.1)


def test_storages_limit_the_choice() -> None:
    report = compress_(two(), "30%", storages=["int8", coset.Dense("bfloat16")])
    known = Packed(8), coset.Dense("bfloat16"), coset.Dense()
    assert all(of.method.storage in known for of in report.tables)
    assert any(of.method.storage == Packed(8) for of in report.tables)
    assert AllowedStorages(["float32", "float64"]).floats_alone
    assert not AllowedStorages(["packed"]).floats_alone


def test_what_was_compressed_trains_further_and_back() -> None:
    model = two()
    compress_(model, "10%")
    before = model["many"](torch.arange(5)).detach().clone()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model["many"](torch.arange(5)).square().sum().backward()
    optimizer.step()
    after = model["many"](torch.arange(5)).detach().clone()
    assert after.square().sum() < before.square().sum()
    coset.pack_(model)
    assert not list(model["many"].parameters())
    assert torch.equal(model["many"](torch.arange(5)), after)
    assert list(coset.unpack_(model)["many"].parameters())


def test_padding_does_not_count() -> None:
    model = nn.ModuleDict({"a": nn.Embedding(300, 4, padding_idx=0)})
    compress_(model, "10%")
    assert not model["a"](torch.tensor([0])).any()


def test_what_is_wrong_is_said() -> None:
    model = two()
    with torch.no_grad():
        model["many"].weight[7, 3] = float("nan")
    with pytest.raises(InputError, match="module 'many': table 'many': row 7 has a number that is not finite"):
        compress_(model, "10%")
    assert type(model["many"]) is nn.Embedding
    with pytest.raises(InfeasibleBudget, match="the smallest plan for these tables takes"):
        compress_(two(), 6)
