"""Packed arrays: their levels, what they learn, their two forms, and what they refuse."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from coset import (
    Blocks,
    Embedding,
    EmbeddingCollection,
    Full,
    Packed,
    Table,
    compress_,
    measure,
    pack_,
    predict,
    unpack_,
)
from coset.errors import InputError
from coset.methods.rounding import rounding_
from coset.optimizers import Adam
from coset.storage.levels import Levels, least_squares_steps
from coset.storage.packed_rows import PackedRows
from coset.storage.rounding import rounded


def embedding(storage: Packed, rows: int = 50, dim: int = 4) -> Embedding:
    torch.manual_seed(0)
    return Embedding(rows, dim, Full(storage=storage))


def rows_of(module: nn.Module) -> PackedRows:
    (found,) = [inner for inner in module.modules() if isinstance(inner, PackedRows)]
    return found


def test_levels_are_even_about_zero() -> None:
    every = torch.linspace(-9, 9, 1001).unsqueeze(1)
    for bits, expected in [(1, [-0.5, 0.5]), (2, [-1.5, -0.5, 0.5, 1.5]), (3, [-3, -2, -1, 0, 1, 2, 3])]:
        levels, step = Levels([bits]), torch.tensor([1.0])
        assert levels.values(levels.codes(every, step), step).unique().tolist() == expected
    levels = Levels([8])
    assert len(levels.values(levels.codes(every * 20, step), step).unique()) == 255


def test_bytes_are_exact_to_the_bit() -> None:
    for storage, expected in [
        (Packed(4), 50 * 4 * 4 // 8 + 4 * 4),
        (Packed((4, 3, 2, 0), step="array"), -(-50 * 9 // 8) + 4),
        (Packed((4, 3, 2, 0), step="array", padded=True), 50 * 2 + 4),
        (Packed(1, step="row", step_dtype="float16"), -(-50 * 4 // 8) + 50 * 2),
        (Packed(3, step="block", block=3), 50 * 12 // 8 + 2 * 4),
        (Packed(0), 0),
    ]:
        table = pack_(embedding(storage))
        assert sum(value.nbytes for value in table.buffers()) == expected == sum(c.bytes for c in table.components())
        assert measure(table).inference == expected


def test_the_best_step_is_found() -> None:
    """Of a normal law, 2 bits lose least at a step of 0.9957 and 3 at 0.5860 without the level beyond (Max, 1960)."""
    numbers = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for bits in (2, 3, 4):
        found = least_squares_steps(numbers[:60_000], Levels([bits]), (0,), None)
        levels = Levels([bits])
        tried = {
            step: float((levels.values(levels.codes(numbers, s), s) - numbers).square().mean())
            for step in torch.linspace(0.05, 2.5, 491).tolist()
            for s in [torch.tensor([step], dtype=torch.float64)]
        }
        own = float((levels.values(levels.codes(numbers, found[0]), found[0]) - numbers).square().mean())
        assert own <= 1.01 * min(tried.values())
        if bits == 2:
            assert float(found) == pytest.approx(0.9957, rel=0.03)


def test_weights_choose_which_rows_fit() -> None:
    numbers = torch.tensor([[1.0], [0.7], [90.0], [40.0]])
    weights = torch.tensor([1000.0, 1000.0, 0.0, 0.0])
    assert least_squares_steps(numbers, Levels([3]), (0,), weights) < 0.5
    assert least_squares_steps(numbers, Levels([3]), (0,), None) > 10


@pytest.mark.parametrize("bits", [1, 2, 3, 5])
def test_gradients_are_those_of_the_paper(bits: int) -> None:
    """Straight through within the levels; that of a step is level less place, or the outermost level beyond."""
    numbers = (torch.randn(40, 2, dtype=torch.float64) * 3).requires_grad_()
    sizes = [0.5, 1.5]
    steps = torch.tensor(sizes, dtype=torch.float64, requires_grad=True)
    slope = torch.randn(40, 2, dtype=torch.float64)
    (rounded(numbers, steps, Levels([bits, bits])) * slope).sum().backward()
    most = (2**bits - 1 if bits <= 2 else 2**bits - 2) / 2
    for column in range(2):
        step, expected = sizes[column], 0.0
        for row in range(40):
            place, given = float(numbers.detach()[row, column]) / step, float(slope[row, column])
            shift = 0.5 if bits <= 2 else 0.0
            level = min(max(math.floor(place + shift + 0.5) - shift, -most), most)
            inside = abs(place) <= most + 0.5
            assert numbers.grad is not None
            assert float(numbers.grad[row, column]) == (given if inside else 0.0)
            expected += given * (level - place if inside else level)
        assert steps.grad is not None
        assert float(steps.grad[column]) == pytest.approx(expected, rel=1e-9)


def test_training_reaches_what_the_levels_can_hold() -> None:
    torch.manual_seed(0)
    target = torch.randint(-3, 4, (50, 4)) * torch.tensor([0.5, 0.1, 2.0, 1.0])
    table = embedding(Packed(3))
    optimizer, every = torch.optim.Adam(table.parameters(), lr=0.05), torch.arange(50)
    for step in range(600):
        if step in (0, 200):  # floats find the range of values first
            rounding_(table, on=step == 200)
        optimizer.zero_grad()
        (table(every) - target).square().mean().backward()
        optimizer.step()
    before = table(every).detach()
    assert float((before - target).square().mean()) < 0.01 * float(target.square().mean())
    assert torch.equal(pack_(table)(every), before)
    assert not list(table.parameters())


def test_both_forms_load_either_state() -> None:
    trained, other = embedding(Packed((4, 2, 0, 8))), embedding(Packed((4, 2, 0, 8)))
    packed = pack_(copy.deepcopy(trained))
    every, expected = torch.arange(50), trained(torch.arange(50)).detach()
    other.load_state_dict(packed.state_dict())
    assert rows_of(other).is_packed
    assert torch.equal(other(every), expected)
    other.load_state_dict(trained.state_dict())
    assert not rows_of(other).is_packed
    assert torch.equal(other(every).detach(), expected)
    unpack_(packed)
    assert torch.equal(packed(every).detach(), expected)


def test_blocks_have_bits_of_their_own() -> None:
    method = Blocks((10,), (Full(storage=Packed(6)), Full(storage=Packed((2, 0, 0, 0)))))
    table = Table("item", 100, 4)
    collection = EmbeddingCollection([(table, method)])
    assert method.bytes(table) == 10 * 3 + 16 + 90 * 2 // 8 + 1 + 4
    assert (pack_(collection)({"item": torch.tensor([99])})["item"][0, 1:] == 0).all()


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match="bits are 0 to 8, not 9"):
        Packed(9)
    with pytest.raises(InputError, match=r"bits are 0 to 8, not \[4, -1\]"):
        Packed((4, -1))
    with pytest.raises(InputError, match="bits must be of type int"):
        Packed(True)
    with pytest.raises(InputError, match="bits of 2 columns for an array of 4"):
        Embedding(10, 4, Full(storage=Packed((4, 2))))
    with pytest.raises(InputError, match="step must be one of"):
        Packed(4, step="table")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_not_packed(value: float) -> None:
    model = nn.ModuleDict({"first": embedding(Packed(4)), "second": embedding(Packed(4))})
    with torch.no_grad():
        rows_of(model["second"]).master[7, 1] = value
    with pytest.raises(InputError, match=r"second\.\S*: row 7 has a number that is not finite"):
        pack_(model)
    assert not rows_of(model["first"]).is_packed
    rows_of(model["second"]).master.data[7] = 0
    state = pack_(model)["first"].state_dict()
    scales = next(name for name in state if name.endswith("scales"))
    state[scales][0] = value
    with pytest.raises(InputError, match=r"scales\W* .*not finite"):
        model["first"].load_state_dict(state)


def test_rows_of_other_bits_are_refused() -> None:
    with pytest.raises(InputError, match="bits"):
        embedding(Packed(8)).load_state_dict(pack_(embedding(Packed(4))).state_dict())


def test_an_optimizer_of_kernels_names_what_it_leaves() -> None:
    collection = EmbeddingCollection([(Table("user", 20, 4), Full(storage=Packed(4, step="row")))])
    with pytest.raises(
        InputError, match=r"'user' .kernels do not train floats that are rounded by a step of their row"
    ):
        Adam(collection)


def test_packed_rows_have_no_gradients() -> None:
    table = pack_(embedding(Packed(4)))
    for module in (table, rows_of(table)):
        with pytest.raises(InputError, match=r"packed.*no gradients; coset.unpack_"):
            module.requires_grad_()
    assert table.requires_grad_(False) is table
    assert unpack_(table).requires_grad_() is table


def test_compression_fits_packed_tables() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(300, 16))
    before = model[0].weight.detach().clone()
    report = compress_(model, Full(storage=Packed(8)))
    assert report.bytes_after == 300 * 16 + 16 * 4
    assert float((model(torch.arange(300)).detach() - before).abs().max()) < 0.03
    assert sum(value.nbytes for value in pack_(model).buffers()) == report.bytes_after


def test_packed_tables_know_where_they_are() -> None:
    table = pack_(embedding(Packed(4)))
    assert table.materialize().shape == (50, 4)
    assert table.to("meta")(torch.arange(3, device="meta")).shape == (3, 4)


@pytest.mark.parametrize("missing", ["codes", "scales", "short"])
def test_a_state_that_does_not_fit_changes_nothing(missing: str) -> None:
    state = pack_(embedding(Packed(4))).state_dict()
    key = next(name for name in state if name.endswith("scales" if missing == "scales" else "codes"))
    if missing == "short":
        state[key] = state[key][:-1]
    else:
        del state[key]
    table = embedding(Packed(4))
    before = table(torch.arange(50)).detach()
    with pytest.raises(RuntimeError, match="Error"):
        table.load_state_dict(state)
    assert torch.equal(table(torch.arange(50)).detach(), before)
    assert not rows_of(table).is_packed


@pytest.mark.parametrize("packed", [True, False])
def test_casts_keep_what_is_stored(packed: bool) -> None:
    table = embedding(Packed(8))
    every, before = torch.arange(50), table(torch.arange(50)).detach()
    if packed:
        pack_(table)
        assert torch.equal(table.half().float()(every), before)
        assert torch.equal(table.bfloat16().float()(every), before)
    else:
        step = rows_of(table).scales.detach().clone()
        table.bfloat16().float()
        assert torch.equal(rows_of(table).scales, step)


def test_steps_of_narrow_tables_learn() -> None:
    table = Embedding(50, 8, Full(storage=Packed(4)), dtype=torch.bfloat16)
    before = rows_of(table).scales.detach().clone()
    optimizer = torch.optim.SGD(table.parameters(), lr=0.01)
    table(torch.arange(50)).float().square().sum().backward()
    optimizer.step()
    assert not torch.equal(rows_of(table).scales, before)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_zeros_are_near_zero(bits: int) -> None:
    values = 1e-5 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    values[3] = 0
    table = embedding(Packed(bits, step="row"))
    table.fit_(values)
    assert float(table(torch.tensor([3])).detach().abs().max()) < 1e-9


def test_padding_is_zero_where_no_level_is() -> None:
    table = Embedding(9, 4, Full(storage=Packed(2)), padding_idx=0)
    assert not bool(table(torch.tensor([0])).any())
    assert not bool(pack_(table).eval()(torch.tensor([0])).any())


def test_nothing_is_stored_in_no_bits() -> None:
    for step in ("row", "column", "array", "block"):
        table = embedding(Packed(0, step=step))  # type: ignore[arg-type]
        assert not bool(table(torch.arange(50)).any())
        assert not bool(pack_(table)(torch.arange(50)).any())


@pytest.mark.parametrize("scale", [1e6, -1e6])
def test_steps_beyond_all_numbers_are_refused(scale: float) -> None:
    table = embedding(Packed(4))
    rows_of(table).scales.data[0] = scale
    with pytest.raises(InputError, match="a step is 0 or not finite"):
        pack_(table)
    assert not rows_of(table).is_packed


def test_numbers_that_are_nearly_zero_are_read() -> None:
    table = embedding(Packed(8))
    table.fit_(1e-44 * torch.ones(50, 4))
    assert bool(table(torch.arange(50)).isfinite().all())


def test_long_rows_are_shortened_below_the_norm() -> None:
    table = Embedding(50, 8, Full(storage=Packed(4)), max_norm=0.1)
    assert float(table(torch.arange(50)).detach().norm(dim=1).max()) <= 0.1 * (1 + 1e-5)


def test_the_training_form_of_a_wide_cast_is_what_the_storage_says() -> None:
    rows = rows_of(embedding(Packed(4)).double())
    said = {of.key: of.dtype for of in rows.packing.trained("rows", 50, torch.float64)}
    assert said == {f"rows.{name}": value.dtype for name, value in rows.state_dict().items()}
    assert rows.float().scales.dtype == torch.float32


def test_packing_what_was_read_as_floats_fits_steps_first() -> None:
    table = rounding_(embedding(Packed(8)), False)
    with torch.no_grad():
        rows_of(table).master.copy_(5 * torch.randn(rows_of(table).master.shape))
    before = table.materialize()
    after = pack_(table).materialize()
    assert float((after - before).square().mean()) < 1e-3 * float(before.square().mean())


def test_gradients_of_steps_are_not_rounded_to_the_type_they_are_stored_in() -> None:
    for factor in (1e9, 1e-7):
        table = embedding(Packed(4, step_dtype="float16"))
        (table(torch.arange(20)).square().sum() * factor).backward()
        found = rows_of(table).scales.grad
        assert found is not None
        assert bool((found.isfinite() & (found != 0)).all())


def test_nothing_is_counted_of_columns_of_no_bits() -> None:
    given = [(Table("t", 50, 4), Full(storage=Packed(0)))]
    assert predict(given, optimizer="sgd").parameters == measure(EmbeddingCollection(given)).parameters == 0
