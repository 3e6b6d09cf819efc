"""Tables that no optimizer owns: kernels read what plain torch reads, as it is now, and lose no gradient."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import coset.engine.reading as engine
from coset import Embedding, EmbeddingBag, EmbeddingBagCollection, EmbeddingCollection, Full, QuotientRemainder, Table
from coset.errors import InputError
from coset.optimizers import SGD
from coset.storage import Dense, Packed, Storage
from coset.storage.forms import pack_, unpack_
from coset.testing import check_method

N, DIM, IDS = 50, 10, 120
STORAGES: dict[str, Storage] = {
    "float32": Dense(),
    "bfloat16": Dense("bfloat16"),
    "float16": Dense("float16"),
    "int8": Packed(8),
    "int4": Packed(4),
    "int3": Packed(3),
    "mixed": Packed((4, 3, 0, 2, 5, 6, 7, 8, 8, 1)),
    "int8 by row": Packed(8, step="row"),
    "int4 by block": Packed(4, step="block", block=4, step_dtype="float16"),
    "int3 by row, padded": Packed(3, step="row", padded=True),
    "one step": Packed(4, step="array"),
}


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kernels read from the first id on; the calls of kernels that found vectors, by what they read."""
    found: list[str] = []
    run = engine.Reader._run

    def noted(self: Any, view: Any, features: Any, asked: Any, ids: int) -> bool:
        wrong = run(self, view, features, asked, ids)
        found.extend(kernel for kernel, read in view.by_kernel.items() if read[asked].any() and not wrong)
        return wrong

    monkeypatch.setattr(engine, "_left", [0])
    monkeypatch.setattr(engine, "FEW", 0)
    monkeypatch.setattr(engine.Reader, "_run", noted)
    return found


def plainly(look_up: Callable[[], Any]) -> Any:
    """What it gives by plain torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_left", [1 << 60])
        return look_up()


def bags(storage: Storage = STORAGES["float32"], dim: int = DIM, **options: Any) -> EmbeddingBagCollection:
    torch.manual_seed(1)
    tables = [(Table("item", N, dim, std=1.0), Full(storage=storage)), (Table("other", N + 9, dim), Full())]
    return pack_(EmbeddingBagCollection(tables, **options)).eval()  # type: ignore[return-value]


def asked(seed: int = 0, count: int = IDS, begins: tuple[int, ...] = (0, 0, 5, 70, 70, 120)) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(seed)
    return {name: (torch.randint(N, (count,), generator=draw), torch.tensor(begins)) for name in ("item", "other")}


def same(left: dict[str, Tensor], right: dict[str, Tensor], within: float = 1e-4) -> None:
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=within, atol=within)


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("storage", STORAGES)
def test_bags_are_those_of_torch(storage: str, mode: Any, calls: list[str]) -> None:
    model, given = bags(STORAGES[storage], mode=mode), asked()
    with torch.no_grad():
        found = model(given)
        assert calls
        same(found, plainly(lambda: model(given)))
        assert not found["item"][0].any()  # an empty bag
        weights = torch.randn(IDS, generator=torch.Generator().manual_seed(5))
        if mode == "sum":
            given = {name: (*each, weights) for name, each in given.items()}
            same(model(given), plainly(lambda: model(given)))


@pytest.mark.parametrize("dim", [1, 2, 3, 7, 16, 20, 64, 70])
@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8", "int4", "int3"])
def test_every_dim_is_read(storage: str, dim: int) -> None:
    model, given = bags(STORAGES[storage], dim), asked()
    with torch.inference_mode():
        same(model(given), plainly(lambda: model(given)))
        one = {name: ids for name, (ids, _) in given.items()}
        same(model(one), plainly(lambda: model(one)))


def test_long_bags_of_large_codes_do_not_overflow() -> None:
    for storage in (Packed(8), Packed(4)):
        model = bags(storage, 16)
        with torch.no_grad():
            model.tables["item"].rows.codes.fill_(255)
            given = asked(count=3000, begins=(0, 1, 2500))
            same(model(given), plainly(lambda model=model, given=given: model(given)), 1e-3)


def test_floats_have_the_bits_of_torch(calls: list[str]) -> None:
    table, ids = Embedding(N, DIM, std=1.0).eval(), torch.tensor([[3, 4], [49, 0]], dtype=torch.int32)
    pooled = EmbeddingBag(N, DIM, mode="sum", std=1.0).eval()
    with torch.no_grad():
        table.tables["embedding"].rows.weight[4, 0] = -0.0
        assert torch.equal(table(ids), plainly(lambda: table(ids)))
        assert table(ids)[0, 1, 0].signbit()
        many, offsets = torch.randint(N, (IDS,)), torch.tensor([0, 100])
        assert torch.equal(pooled(many, offsets), plainly(lambda: pooled(many, offsets)))
    assert calls == ["read_floats"] * 3


def test_collections_of_single_ids_and_matrices(calls: list[str]) -> None:
    tables = [(Table("a", N, 4), Full()), (Table("b", N, 3), QuotientRemainder(8)), (Table("c", N, 4), Full())]
    torch.manual_seed(0)
    model = EmbeddingCollection(tables, orders={"c": torch.randperm(N)}).eval()
    given = {"c": torch.randint(N, (4, 2)), "a": torch.randint(N, (5,)), "b": torch.randint(N, (3,))}
    with torch.no_grad():
        same(model(given), plainly(lambda: model(given)))
        both = bags()
        matrix = torch.randint(N, (2, 6))
        torch.testing.assert_close(both.concatenated(matrix), plainly(lambda: both.concatenated(matrix)))
        side = asked()
        torch.testing.assert_close(both.concatenated(side), plainly(lambda: both.concatenated(side)))
    assert len(calls) == 4  # in the first of three calls, what is composed is read apart


@pytest.mark.parametrize("storage", ["float32", "int8", "int3"])
@pytest.mark.parametrize("wrong", [-1, N, 1 << 40, -(1 << 62)])
def test_ids_out_of_range_are_named(storage: str, wrong: int) -> None:
    model, given = bags(STORAGES[storage]), asked()
    given["item"][0][77] = wrong
    with torch.no_grad(), pytest.raises(IndexError, match=f"'item': id {wrong} is out of range"):
        model(given)
    with torch.no_grad(), pytest.raises(IndexError, match="'item'"):
        model({"item": given["item"][0]})


@pytest.mark.parametrize("offsets", [[0, 9, 5], [1, 3], [0, IDS + 1], [0, -2, 4], [0, 1 << 60]])
def test_offsets_that_do_not_cut_are_refused(offsets: list[int]) -> None:
    for last in (False, True):
        model, given = bags(include_last_offset=last), asked()
        given["item"] = given["item"][0], torch.tensor([*offsets, IDS] if last else offsets)
        with torch.no_grad(), pytest.raises(InputError, match="offsets must begin at 0, not fall"):
            model(given)
    given["item"] = given["item"][0], torch.tensor([0, 5])
    with torch.no_grad(), pytest.raises(InputError, match=f"end at {IDS}"):
        model(given)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_padding_is_left_out_of_bags(mode: Any, calls: list[str]) -> None:
    pooled = EmbeddingBag(N, DIM, mode=mode, padding_idx=3).eval()
    with torch.no_grad():
        pooled.tables["embedding"].rows.weight[3] = 7.0
        ids, offsets = torch.tensor([3, 1, 3, 3, 2, 3, 5]), torch.tensor([0, 2, 2, 4])
        found = pooled(ids, offsets)
        assert calls
        torch.testing.assert_close(found, plainly(lambda: pooled(ids, offsets)))


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_no_gradient_is_lost_in_eval(mode: Any, calls: list[str]) -> None:
    model, given = bags(Dense(), mode=mode), asked()
    weights = torch.rand(IDS) + 0.5
    if mode == "sum":
        given["item"] = (*given["item"], weights)
    slopes = {name: torch.randn(6, DIM) for name in given}

    def gradients() -> list[Tensor]:
        total = sum((vectors * slopes[name]).square().sum() for name, vectors in model(given).items())
        first = torch.autograd.grad(total, list(model.parameters()), create_graph=True)
        second = torch.autograd.grad(sum(each.square().sum() for each in first), list(model.parameters()))
        return [*first, *second]

    for ours, theirs in zip(gradients(), plainly(gradients), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert calls
    given["item"][0][0] += 1  # between a lookup and its backward pass
    found = model(given)["item"].sum()
    given["item"][0][0] -= 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.backward()


def test_training_is_left_to_torch(calls: list[str]) -> None:
    model = bags().train()
    model(asked())["item"].sum().backward()
    assert not calls
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if "item" in name)
    _ = SGD(model, lr=0.1)
    model.eval()(asked())
    assert not calls  # an optimizer's engine reads what it owns


def test_what_is_put_in_place_later_is_read(calls: list[str]) -> None:
    model, given = bags(), asked()
    rows = model.tables["item"].rows
    other = {name: torch.randn_like(value) if value.is_floating_point() else value.clone()
             for name, value in model.state_dict().items()}  # fmt: skip

    def check(kernels: bool = True) -> None:
        calls.clear()
        with torch.no_grad():
            model(given)  # a call that finds other types reads by torch
            same(model(given), plainly(lambda: model(given)))
        assert bool(calls) == kernels

    check()
    model.load_state_dict(other)
    check()
    model.load_state_dict({name: value.clone() for name, value in other.items()}, assign=True)
    check()
    rows.weight.data = torch.randn(N, DIM)
    check()
    rows.weight.data = torch.randn(DIM, N).t()  # not row after row, so the other table alone is for kernels
    check()
    rows.weight = torch.nn.Parameter(torch.randn(N, DIM))
    check()
    model.double()
    check()
    assert model(given)["item"].dtype == torch.float64
    model.half()
    check(kernels=False)
    model.float()
    check()
    model.tables._modules["item"] = copy.deepcopy(model).tables["item"]
    with torch.no_grad():
        model.tables["item"].rows.weight.zero_()
    check()


def test_both_forms_of_packed_rows_are_read(calls: list[str]) -> None:
    model, given = bags(Packed(4)), asked()
    for change in (unpack_, pack_):
        change(model)
        with torch.no_grad():
            model(given)
            same(model(given), plainly(lambda: model(given)))
    assert {"read_codes", "read_floats"} == set(calls)


def test_copies_and_pickles_leave_the_reader_behind() -> None:
    model, given = bags(), asked()
    with torch.no_grad():
        before = model(given)
        copied = copy.deepcopy(model)
        assert copied._reader is None
        model.tables["item"].rows.weight.zero_()
        same(copied(given), before)


@pytest.mark.parametrize("storage", ["float32", "int8", "int3"])
def test_threads_look_up_at_once(storage: str) -> None:
    model = bags(STORAGES[storage], 16)
    batches = [asked(seed, 9000, (0, 10, 4000)) for seed in range(4)]
    with torch.no_grad():
        expected = [model(given) for given in batches]
        failures: list[BaseException] = []

        def serve(first: int) -> None:
            try:
                with torch.no_grad():
                    for at in range(24):
                        same(model(batches[(first + at) % 4]), expected[(first + at) % 4], 0.0)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=serve, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not failures


def test_vectors_have_the_same_bits_on_any_number_of_threads() -> None:
    given, before = asked(0, 30_000, tuple(range(0, 30_000, 7))), torch.get_num_threads()
    for storage in ("float32", "int4", "int3"):
        model, found = bags(STORAGES[storage], 16), []
        try:
            for threads in (1, 2):
                torch.set_num_threads(threads)
                with torch.no_grad():
                    found.append(model(given))
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(found[0][name], found[1][name]) for name in given)


def test_few_ids_are_left_to_torch(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    monkeypatch.setattr(engine, "_left", [2 * 2 * IDS + 1])
    model = bags()
    with torch.no_grad():
        for _ in range(3):
            assert not calls
            model(asked())
    assert calls


def test_tensors_that_are_not_plain_are_left_to_torch(calls: list[str]) -> None:
    class Own(torch.Tensor):
        pass

    model, (ids, _) = bags(), asked()["item"]
    with torch.no_grad():
        expected = model({"item": ids})["item"]
        calls.clear()
        assert torch.equal(model({"item": ids.as_subclass(Own)})["item"], expected)
        given = {name: parameter * 2 for name, parameter in model.named_parameters()}
        twice = torch.func.functional_call(model, given, ({"item": ids},))
        torch.testing.assert_close(twice["item"], expected * 2)
        mapped = torch.vmap(lambda some: model({"item": some})["item"])(ids.view(4, -1))
    torch.testing.assert_close(mapped.flatten(0, 1), expected)
    assert calls in ([], ["read_floats"])


def test_the_contract_holds_from_the_first_id_on(calls: list[str]) -> None:
    check_method(Full)
    assert calls
