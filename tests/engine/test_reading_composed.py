"""Tables whose vectors are composed, and that no optimizer owns: kernels read what plain torch reads."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from coset import (
    Embedding,
    EmbeddingBagCollection,
    EmbeddingCollection,
    Full,
    LowRank,
    MixedDimension,
    QuotientRemainder,
    Table,
    pack_,
)
from coset.methods import Method, registered
from coset.storage import Dense, Packed, Storage
from coset.testing import check_method
from coset.testing.cases import attributed

from .test_reading import calls, plainly, same  # noqa: F401 - a fixture

N, DIM, IDS = 300, 10, 400
BEGINS = torch.tensor([0, 0, 5, 6, 170, 170, 399])
STORAGES: dict[str, Storage] = {
    "float32": Dense(),
    "bfloat16": Dense("bfloat16"),
    "int8": Packed(8),
    "int4": Packed(4),
    "int3": Packed(3),
    "int8 by row": Packed(8, step="row", step_dtype="float16"),
    "one step": Packed(4, step="array"),
}


@cache
def examples() -> list[tuple[Table, Method]]:
    """Of every method that is composed of rows, some on a table each."""
    found: list[tuple[Table, Method]] = []
    for name, kind in sorted(registered().items()):
        table = attributed(name, N, DIM)
        composed = [one for one in kind.examples(table) if one.descriptor(table) is not None]
        for number, method in enumerate(dict.fromkeys([*composed[:2], *composed[-2:]])):
            found.append((replace(table, name=f"{name} {number}"), method))
    return found


def model(storage: Storage, kind: Any = EmbeddingBagCollection, **options: Any) -> Any:
    torch.manual_seed(1)
    tables = [(table, replace(method, storage=storage)) for table, method in examples()]
    return pack_(kind(tables, **options)).eval()


def bags(names: Any, seed: int = 0) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(seed)
    return {name: (torch.randint(N, (IDS,), generator=draw), BEGINS) for name in names}


def test_the_examples_are_of_all_that_is_composed() -> None:
    names = {method.name for _, method in examples()}
    assert {"quotient_remainder", "low_rank", "mixed_dimension", "blocks", "attribute_partitions", "bloom"} <= names
    pieces = [method.descriptor(table) for table, method in examples()]
    assert len(pieces) > 25


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("storage", STORAGES)
def test_vectors_are_those_of_torch(storage: str, mode: Any, calls: list[str]) -> None:  # noqa: F811
    read = model(STORAGES[storage], mode=mode)
    given = bags(read.features)
    with torch.no_grad():
        found = read(given)
        assert "read_composed" in calls
        same(found, plainly(lambda: read(given)))
        assert not found["low_rank 0"][0].any()  # an empty bag
        if mode == "sum":
            weights = torch.randn(IDS, generator=torch.Generator().manual_seed(5))
            given = {name: (*each, weights) for name, each in given.items()}
            same(read(given), plainly(lambda: read(given)))
        one = {name: each[0] for name, each in given.items()}
        same(read(one), plainly(lambda: read(one)))


def test_single_ids_and_orders(calls: list[str]) -> None:  # noqa: F811
    orders = {table.name: torch.randperm(N) for table, _ in examples()[::2]}
    read = model(Dense(), EmbeddingCollection, orders=orders)
    given = {name: torch.randint(N, (3, 50), dtype=torch.int32) for name in read.features}
    with torch.no_grad():
        read(given)
        found = read(given)
        assert "read_composed" in calls
        same(found, plainly(lambda: read(given)))


def test_wide_vectors_and_long_bags(calls: list[str]) -> None:  # noqa: F811
    methods = QuotientRemainder(num_buckets=41), LowRank(rank=18), MixedDimension((50, 250), (75, 20))
    for storage in (Dense(), Packed(4)):
        named = {f"{number}": replace(method, storage=storage) for number, method in enumerate(methods)}
        read = pack_(EmbeddingBagCollection([(Table(name, N, 75), of) for name, of in named.items()])).eval()
        given = {name: (torch.randint(N, (3000,)), torch.tensor([0, 1, 2500, 2501])) for name in named}
        with torch.no_grad():
            same(read(given), plainly(lambda read=read, given=given: read(given)), 1e-3)
    assert set(calls) == {"read_composed"}


@pytest.mark.parametrize("wrong", [-1, N, 1 << 40, -(1 << 62)])
def test_ids_out_of_range_are_named(wrong: int) -> None:
    read = model(Packed(4))
    for name in ("low_rank 0", "blocks 0", "quotient_remainder 1"):
        given = bags(read.features)
        given[name][0][377] = wrong
        with torch.no_grad(), pytest.raises(IndexError, match=f"'{name}': id {wrong} is out of range"):
            read(given)
        with torch.no_grad(), pytest.raises(IndexError, match=name):
            read({name: given[name][0]})


def test_what_is_trained_gets_its_gradient_from_torch(calls: list[str]) -> None:  # noqa: F811
    read = EmbeddingBagCollection(
        [(Table("a", N, DIM), QuotientRemainder(num_buckets=40)), (Table("b", N, DIM), Full())]
    ).eval()
    given = bags(read.features)
    found = read(given)
    assert calls == ["read_floats"]  # bare rows have a gradient from kernels
    (found["a"].sum() + found["b"].sum()).backward()
    assert all(parameter.grad is not None for parameter in read.parameters())
    calls.clear()
    packed = pack_(model(Packed(8)))
    packed(bags(packed.features))
    assert "read_composed" in calls  # nothing is trained there
    alone = Embedding(N, DIM, QuotientRemainder(num_buckets=40)).eval()
    assert alone(torch.arange(N)).requires_grad
    with torch.no_grad():
        torch.testing.assert_close(alone(torch.arange(N)), plainly(lambda: alone(torch.arange(N))))


def test_what_is_put_in_place_later_is_read(calls: list[str]) -> None:  # noqa: F811
    read = model(Dense())
    given = bags(read.features)

    def check() -> None:
        calls.clear()
        with torch.no_grad():
            read(given)
            same(read(given), plainly(lambda: read(given)))
        assert "read_composed" in calls

    check()
    state = {name: torch.randn_like(value) if value.is_floating_point() else value.clone()
             for name, value in read.state_dict().items()}  # fmt: skip
    read.load_state_dict(state)
    check()
    read.load_state_dict({name: value.clone() for name, value in state.items()}, assign=True)
    check()
    blocks = next(table.name for table, _ in examples() if table.name.startswith("blocks"))
    read.tables[blocks].blocks[0] = model(Dense()).tables[blocks].blocks[0]
    check()
    for name, buffer in read.named_buffers():
        if name.endswith("_codes"):
            buffer.zero_()
    check()


def test_threads_look_up_at_once_and_agree() -> None:
    read = model(Packed(4))
    given = [bags(read.features, seed) for seed in range(4)]
    before = torch.get_num_threads()
    with torch.no_grad():
        expected = [read(each) for each in given]
        failures: list[BaseException] = []

        def serve(first: int) -> None:
            try:
                with torch.no_grad():
                    for at in range(8):
                        same(read(given[(first + at) % 4]), expected[(first + at) % 4], 0.0)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=serve, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failures
        try:
            found: list[dict[str, Tensor]] = []
            for count in (1, 2):
                torch.set_num_threads(count)
                found.append(read(given[0]))
        finally:
            torch.set_num_threads(before)
        same(*found, 0.0)


@pytest.mark.parametrize("kind", [QuotientRemainder, LowRank])
def test_the_contract_holds_from_the_first_id_on(kind: type[Method], calls: list[str]) -> None:  # noqa: F811
    check_method(kind)
    assert calls
