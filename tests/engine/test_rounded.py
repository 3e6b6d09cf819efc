"""Tables whose numbers are rounded to a few bits: kernels read and train them as plain torch does, and codes without
masters as wide rows, on average."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from coset import (
    Blocks,
    EmbeddingBagCollection,
    Full,
    InputError,
    LowRank,
    Packed,
    QuotientRemainder,
    Robe,
    Table,
    pack_,
    predict,
)
from coset.errors import UnownedTables
from coset.methods import Method
from coset.methods.mixed_dimension import MixedDimension
from coset.methods.rounding import rounding_
from coset.optimizers import SGD, Adagrad, Adam, TableOptimizer
from coset.storage import StoredRows
from tests.engine.small import DIM, LAZY, N, assert_the_same_bits, batch, learn, tables

METHODS: dict[str, Callable[[], Method]] = {
    "full": Full,
    "mult": lambda: QuotientRemainder(8),
    "concat": lambda: QuotientRemainder(8, "concat"),
    "low_rank": lambda: LowRank(3),
    "blocks": lambda: Blocks((20,), (Full(), QuotientRemainder(8))),
    "keras": lambda: MixedDimension((10, 50), (6, 2), layout="keras"),
}
KINDS: dict[str, tuple[Callable[..., TableOptimizer], Callable[..., torch.optim.Optimizer]]] = {
    "sgd": (lambda m: SGD(m, lr=0.05), lambda p: torch.optim.SGD(p, lr=0.05)),
    "adagrad": (lambda m: Adagrad(m, lr=0.02), lambda p: torch.optim.Adagrad(p, lr=0.02)),
    "adam": (lambda m: Adam(m, lr=0.01, mode="dense"), lambda p: torch.optim.Adam(p, lr=0.01)),
}
TRAINED = Packed(8, step="row", masters=False)
SHORT = Packed(8, step="row", masters=False, step_dtype="float16")


STORAGES = {
    "column": Packed(4),
    "array": Packed(2, step="array"),
    "block": Packed((8, 5, 4, 3, 2, 1), step="block", block=4, step_dtype="float16"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("method", ["full", "mult", "keras"])
def test_kernels_train_masters_as_torch_does(method: str, storage: str, kind: str) -> None:
    if method != "full" and storage == "block":
        storage = "column"  # bits by column fit one width
    fused, plain = (tables(METHODS[method]().stored(STORAGES[storage]), torch.float64) for _ in range(2))
    by_kernels, by_torch = KINDS[kind][0](fused), KINDS[kind][1](plain.parameters())
    for step in range(6):
        learn(fused, by_kernels, range(step, step + 1))
        learn(plain, by_torch, range(step, step + 1))
    kept = fused.state_dict()
    loose = {"rtol": 2e-3, "atol": 2e-3} if storage == "block" else {"rtol": 1e-6, "atol": 1e-7}
    for name, value in plain.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(kept[name], value, **loose, msg=lambda m, name=name: f"{name}: {m}")
    before = tables(METHODS[method]().stored(STORAGES[storage]), torch.float64).state_dict()
    moved = [name for name in before if name.endswith("scales") and not torch.equal(before[name], kept[name])]
    assert moved
    ids = torch.arange(N)
    torch.testing.assert_close(fused({"item": ids})["item"], plain({"item": ids})["item"], rtol=1e-2, atol=1e-2)


def test_masters_are_trained_as_floats_where_nothing_is_rounded_yet() -> None:
    fused, plain = (rounding_(tables(Full(storage=Packed(3))), False) for _ in range(2))
    by_kernels, by_torch = SGD(fused, lr=0.1), torch.optim.SGD(plain.parameters(), lr=0.1)
    learn(fused, by_kernels, range(3))
    learn(plain, by_torch, range(3))
    for model in (fused, plain):
        rounding_(model, True)
    for (name, kept), value in zip(fused.state_dict().items(), plain.state_dict().values(), strict=True):
        if value.is_floating_point():
            torch.testing.assert_close(kept, value, msg=lambda m, name=name: f"{name}: {m}")
    learn(fused, by_kernels, range(3, 6))
    learn(plain, by_torch, range(3, 6))
    torch.testing.assert_close(*(dict(m.named_parameters())["tables.item.rows.scales"] for m in (fused, plain)))
    ids = torch.arange(N)
    before = fused({"item": ids})["item"].detach().clone()
    by_kernels.release()
    assert torch.equal(pack_(fused)({"item": ids})["item"], before)


@pytest.mark.parametrize("storage", [TRAINED, SHORT])
@pytest.mark.parametrize("method", METHODS)
def test_kernels_read_codes_as_torch_does(method: str, storage: Packed) -> None:
    model = tables(METHODS[method]().stored(storage))
    plain = model({"item": batch(0)})["item"].detach().clone()
    alone = model({"item": torch.arange(N)})["item"].detach().clone()
    _ = SGD(model, lr=0.1)
    torch.testing.assert_close(model({"item": batch(0)})["item"], plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model({"item": torch.arange(N)})["item"], alone, rtol=1e-5, atol=1e-6)
    assert not list(model.parameters())


@pytest.mark.parametrize("kind", LAZY)
@pytest.mark.parametrize("method", METHODS)
def test_a_step_of_codes_is_the_wide_one_within_a_level(method: str, kind: str) -> None:
    codes, wide = tables(METHODS[method]().stored(SHORT)), tables(METHODS[method]())
    arrays = [[m for m in model.modules() if isinstance(m, StoredRows)] for model in (codes, wide)]
    for coded, floats in zip(*arrays, strict=True):
        floats.write_(coded.whole())
    for model in (codes, wide):
        optimizer = LAZY[kind](model)
        learn(model, optimizer, range(1))
    for coded, floats in zip(*arrays, strict=True):
        found, wanted = coded.whole(), floats.whole().detach()
        level = torch.exp(0.05 * coded.scales.float()).unsqueeze(1)
        assert bool(((found - wanted).abs() <= 1.001 * level).all())


def test_small_steps_of_codes_add_up() -> None:
    """Each is a hundredth of a level."""
    model = tables(Full(storage=TRAINED))
    (rows,) = (m for m in model.modules() if isinstance(m, StoredRows))
    rows.write_(torch.linspace(-1, 1, N * DIM).view(N, DIM).flip(1))
    level = torch.exp(0.05 * rows.scales).unsqueeze(1)
    before = rows.whole().clone()
    optimizer = SGD(model, lr=1.0)
    for _ in range(300):
        (model({"item": torch.arange(N)})["item"] * (0.01 * level)).sum().backward()
        optimizer.step()
    moved = (before - rows.whole()) / level
    assert 2.8 < float(moved.mean()) < 3.2
    assert float(moved.std()) > 1  # rounding to nearest would have moved none of them


def test_a_row_that_grows_has_larger_steps() -> None:
    model = tables(Full(storage=SHORT))
    optimizer = SGD(model, lr=1.0)
    for _ in range(3):
        (model({"item": torch.tensor([5])})["item"] * -10).sum().backward()
        optimizer.step()
    grown = model({"item": torch.tensor([5])})["item"].detach()
    assert 28 < float(grown.min()) <= float(grown.max()) < 33
    for _ in range(40):
        model({"item": torch.tensor([5])})["item"].square().sum().mul(0.25).backward()
        optimizer.step()
    (rows,) = (m for m in model.modules() if isinstance(m, StoredRows))
    assert float(torch.exp(0.05 * rows.scales[5].float())) < 1e-3
    assert float(rows.whole()[5].abs().max()) < 1e-3


@pytest.mark.parametrize("kind", ["row_wise_adagrad", "lazy_adam"])
@pytest.mark.parametrize("storage", [SHORT, Packed(4)])
def test_the_same_bits_again(storage: Packed, kind: str) -> None:
    assert_the_same_bits(lambda: QuotientRemainder(8, storage=storage), LAZY[kind])


def test_dense_adam_refuses_codes_and_says_what_trains_them() -> None:
    with pytest.raises(InputError, match=r"codes without masters .* give Adam\(mode='lazy'\), RowWiseAdagrad"):
        Adam(tables(Full(storage=TRAINED)), mode="dense")


def test_packed_tables_that_have_masters_are_not_trained_without_a_word() -> None:
    model = tables(Full(storage=Packed(4)))
    pack_(model)
    with pytest.raises(InputError, match=r"'item' .*it is packed.*unpack_"):
        SGD(model, lr=0.1)
    both = EmbeddingBagCollection([(Table("a", N, DIM), Full()), (Table("b", N, DIM), Full(storage=Packed(4)))])
    pack_(both)
    with pytest.warns(UnownedTables, match=r"'b' .*it is packed"):
        SGD(both, lr=0.1)


def test_storages_without_masters_are_of_eight_bits_by_row() -> None:
    with pytest.raises(InputError, match="without masters kernels train codes of 8 bits with a step a row, not of 4"):
        Packed(4, step="row", masters=False)
    with pytest.raises(InputError, match="by column"):
        Packed(8, masters=False)


@pytest.mark.parametrize("kind", ["sgd", "dense"])
def test_weight_decay_leaves_steps_alone(kind: str) -> None:
    model = tables(Full(storage=Packed(4)))
    before = model.state_dict()["tables.item.rows.scales"].clone()
    optimizer = SGD(model, lr=0.05, weight_decay=0.5)
    if kind == "dense":
        optimizer.release()
        optimizer = Adam(model, lr=0.05, weight_decay=0.5, mode="dense")
    for _ in range(3):
        (model({"item": torch.arange(N)})["item"] * 0).sum().backward()
        optimizer.step()
    assert torch.equal(model.state_dict()["tables.item.rows.scales"], before)


def test_a_row_that_decays_to_nothing_can_be_saved() -> None:
    model = tables(Full(storage=TRAINED))
    optimizer = SGD(model, lr=0.1, weight_decay=5.0)
    for _ in range(140):
        (model({"item": torch.tensor([0])})["item"] * 0).sum().backward()
        optimizer.step()
    tables(Full(storage=TRAINED)).load_state_dict(model.state_dict())
    assert float(model({"item": torch.tensor([0])})["item"].detach().abs().max()) < 1e-20


def test_a_float_that_is_none_is_read_as_such() -> None:
    model = tables(Full(storage=Packed(4)))
    with torch.no_grad():
        model.get_parameter("tables.item.rows.master")[3, 1] = torch.nan
    optimizer = SGD(model, lr=0.1)
    found = model({"item": torch.tensor([3])})["item"]
    assert bool(found[0, 1].isnan())
    found.sum().backward()
    with pytest.raises(FloatingPointError, match="'item'"):
        optimizer.step()
    optimizer.release()
    with pytest.raises(InputError, match=r"rows: row 3 has a number that is not finite, so no levels can be fitted"):
        rounding_(model, True)


def test_tables_without_masters_have_no_flag_that_freezes_them() -> None:
    model = tables(Full(storage=TRAINED))
    for flag in (True, False):
        with pytest.raises(InputError, match=r"'item': .*an optimizer of coset.optimizers trains them as they are"):
            model.requires_grad_(flag)


def test_what_nothing_can_train_says_so() -> None:
    model = EmbeddingBagCollection([(Table("item", N, DIM), Robe(64, storage=TRAINED))])
    with pytest.raises(InputError, match="without masters nothing else trains it, so give its storage masters"):
        SGD(model, lr=0.1)
    with pytest.raises(InputError, match="does not train codes without masters; name 'lazy_adam'"):
        predict([(Table("item", N, DIM), Full(storage=TRAINED))], optimizer="adam", engine="fused")
    with pytest.raises(InputError, match="kernels alone train codes without masters"):
        predict([(Table("item", N, DIM), Full(storage=TRAINED))], optimizer="adam")
