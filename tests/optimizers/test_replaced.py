"""Arrays that users replace, move, freeze or fill anew between steps: kernels refuse them, or are right."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor

from coset.errors import InputError
from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad, TableOptimizer
from coset.schema import Table
from coset.tables import EmbeddingBagCollection

N = 50


def made(**options: object) -> tuple[EmbeddingBagCollection, Tensor]:
    torch.manual_seed(0)
    bags = EmbeddingBagCollection([(Table("a", N, 4), "full")], **options)  # type: ignore[arg-type]
    return bags, next(bags.parameters())


def train(bags: EmbeddingBagCollection, optimizer: TableOptimizer, *ids: int) -> None:
    for each in ids:
        bags({"a": torch.tensor([each])})["a"].sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_rows_that_are_behind_survive_half() -> None:
    bags, row = made()
    twin, expected = made()
    for each in (bags, twin):
        train(each, Adam(each, lr=0.1, mode="dense"), 1, 2, 2, 2)
    twin.state_dict()
    bags.half().state_dict()
    assert torch.equal(row, expected.half())


def test_a_step_after_half_changes_nothing() -> None:
    bags, row = made()
    optimizer = SGD(bags, lr=1.0)
    bags({"a": torch.tensor([N - 1])})["a"].sum().backward()
    before = bags.half() and row.clone()
    with pytest.raises(InputError, match="moved to"):
        optimizer.step()
    assert torch.equal(row, before)


def test_arrays_of_other_strides_or_shapes() -> None:
    for values in (torch.zeros(4, N).t(), torch.zeros(N - 1, 4)):
        bags, row = made()
        optimizer = SGD(bags)
        train(bags, optimizer, 1)
        row.data = values
        with pytest.raises(InputError, match="was replaced"):
            bags({"a": torch.tensor([1])})


def test_other_tables_in_place_of_all() -> None:
    (bags, _), (other, _) = made(), made()
    optimizer = SGD(bags)
    train(bags, optimizer, 1)
    bags.tables = other.tables
    with pytest.raises(InputError, match="'tables' was replaced"):
        bags({"a": torch.tensor([1])})
    optimizer.release()
    assert torch.equal(bags({"a": torch.tensor([1])})["a"], other({"a": torch.tensor([1])})["a"])


def test_loading_by_assignment_is_refused() -> None:
    bags, row = made()
    optimizer = SGD(bags)
    with pytest.raises(InputError, match="assign"):
        bags.load_state_dict({key: torch.ones_like(value) for key, value in bags.state_dict().items()}, assign=True)
    train(bags, optimizer, 1)
    assert next(bags.parameters()) is row


def test_loaded_orders_out_of_range() -> None:
    bags, _ = made(orders={"a": torch.arange(N)})
    optimizer = SGD(bags)
    train(bags, optimizer, 1)
    state = bags.state_dict()
    state["tables.a.order"] = torch.full((N,), 2**30, dtype=torch.int32)
    with pytest.raises(InputError, match="other order"):
        bags.load_state_dict(state)
    bags.get_buffer("tables.a.order").fill_(2**30)
    bags.load_state_dict({}, strict=False)
    for _ in range(2):
        with pytest.raises(InputError, match="index"):
            bags({"a": torch.tensor([1])})


def test_ids_that_are_not_on_the_cpu() -> None:
    bags, _ = made()
    assert SGD(bags).steps == 0
    reads: list[Callable[..., object]] = [bags, bags.concatenated]
    for read in reads:
        for given in ({"a": torch.tensor([1], device="meta")}, torch.zeros(1, 2, dtype=torch.int64, device="meta")):
            with pytest.raises(InputError, match="on the CPU"):
                read(given)


def test_frozen_tables_and_gradients_from_elsewhere() -> None:
    bags, row = made()
    optimizer = SGD(bags, lr=1.0)
    before = row.detach().clone()
    (bags({"a": torch.tensor([1])})["a"].sum() + row.square().sum()).backward()
    with pytest.raises(InputError, match=r"\.grad"):
        optimizer.step()
    optimizer.zero_grad()
    bags({"a": torch.tensor([1])})["a"].sum().backward()
    with pytest.raises(InputError, match="frozen"):
        bags.requires_grad_(False) and optimizer.step()
    assert torch.equal(row, before)
    bags.requires_grad_(True)
    optimizer.step()
    assert torch.equal(row[1], before[1] - 1)


def test_offsets_and_weights_filled_anew_before_backward() -> None:
    bags, row = made(include_last_offset=True)
    optimizer, before = SGD(bags, lr=1.0), row.detach().clone()
    offsets, weights = torch.tensor([0, 1, 2]), torch.ones(2)
    vectors = bags({"a": (torch.tensor([1, 2]), offsets, weights)})["a"]
    offsets.fill_(2**40)
    weights.zero_()
    vectors.sum().backward()
    optimizer.step()
    assert torch.allclose(row[1:3], before[1:3] - 1)


def test_fresh_values_have_missed_no_steps() -> None:
    bags, row = made()
    train(bags, Adam(bags, lr=1.0, mode="dense"), 1, 2, 2, 2)
    bags.reset_parameters()
    fresh = row[1].clone()
    assert torch.equal(bags({"a": torch.tensor([1])})["a"][0], fresh)


def test_states_that_were_replaced_are_not_written_to_after_they_are_gone() -> None:
    bags, row = made()
    optimizer = Adagrad(bags)
    kept = optimizer.state[row]["sum"]
    optimizer.state.clear()
    train(bags, optimizer, 1)
    assert torch.equal(kept[1], torch.ones(4))


@pytest.mark.parametrize("mode", ["lazy", "dense"])
def test_tables_that_are_given_back_are_ordinary_again(mode: Literal["lazy", "dense"]) -> None:
    bags, weight = made()
    owner = Adam(bags, lr=0.1, mode=mode)
    train(bags, owner, 1, 2)
    with pytest.raises(InputError, match=r"Adam owns a table.*release\(\)"):
        SGD(bags)
    owner.release()
    bags({"a": torch.tensor([3])})["a"].sum().backward()
    assert weight.grad is not None
    torch.optim.SGD(bags.parameters(), lr=0.1).step()
    train(bags, SGD(bags), 4)


@pytest.mark.parametrize("kind", [Adagrad, RowWiseAdagrad, Adam])
def test_states_lie_where_the_tables_do_whatever_the_default_device(kind: type[TableOptimizer]) -> None:
    bags, row = made(device="cpu")
    before = row.detach().clone()
    with torch.device("meta"):
        optimizer = kind(bags, **({"mode": "dense"} if kind is Adam else {}))
    train(bags, optimizer, 3, 3)
    assert not torch.equal(row[3], before[3])
    assert all(value.device.type == "cpu" for state in optimizer.state.values() for value in state.values())


def test_vectors_may_be_changed_in_place() -> None:
    tables = [(Table("a", N, 4), "full"), (Table("b", N, 4), "full")]
    fused, plain = EmbeddingBagCollection(tables), EmbeddingBagCollection(tables)  # type: ignore[arg-type]
    plain.load_state_dict(fused.state_dict())
    optimizer, reference = SGD(fused, lr=0.5), torch.optim.SGD(plain.parameters(), lr=0.5)
    for bags, each in ((fused, optimizer), (plain, reference)):
        found = bags({"a": torch.arange(N), "b": torch.arange(N)})
        (torch.relu_(found["a"]).sum() + found["b"].mul_(2).sum()).backward()
        each.step()
    assert all(torch.equal(one, other) for one, other in zip(fused.parameters(), plain.parameters(), strict=True))


def test_vectors_that_are_kept_stay_what_they_were() -> None:
    bags, row = made()
    optimizer = SGD(bags, lr=0.1)
    kept: list[tuple[Tensor, Tensor]] = []
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        ids = torch.randint(N, (500,), generator=generator)
        expected = row[ids].detach().clone()
        found = bags({"a": ids})["a"]
        found.square().sum().backward()
        optimizer.step()
        kept.append((found.detach()[::7], expected[::7]))
        kept = kept[-int(torch.randint(1, 9, (), generator=generator)) :]
        assert all(torch.equal(*pair) for pair in kept)


def replaced(how: str, bags: EmbeddingBagCollection) -> None:
    table = bags.tables["a"]
    if how == "parameter":
        table.rows.weight = torch.nn.Parameter(torch.zeros(N, 4))
    elif how == "rows":
        table.rows = EmbeddingBagCollection([(Table("a", N, 4), "full")]).tables["a"].rows
    elif how == "table":
        bags.tables._modules["a"] = EmbeddingBagCollection([(Table("a", N, 4), "full")]).tables["a"]
    elif how == "parametrized":
        torch.nn.utils.parametrize.register_parametrization(table.rows, "weight", torch.nn.Identity())
    else:
        del table.rows.weight


@pytest.mark.parametrize("how", ["parameter", "rows", "table", "parametrized", "deleted"])
@pytest.mark.parametrize("mode", ["lazy", "dense"])
def test_what_stands_in_the_place_of_a_table_is_not_overlooked(how: str, mode: Literal["lazy", "dense"]) -> None:
    bags, row = made()
    optimizer = Adam(bags, lr=0.1, mode=mode)
    train(bags, optimizer, 1, 2)
    bags({"a": torch.tensor([1])})["a"].sum().backward()
    replaced(how, bags)
    before = row.detach().clone() if mode == "lazy" else None
    for read in (lambda: bags({"a": torch.tensor([1])}), lambda: bags.concatenated({"a": torch.tensor([1])})):
        with pytest.raises(InputError, match=r"table 'a': its .* was replaced"):
            read()
    with pytest.raises(InputError, match="was replaced"):
        optimizer.step()
    assert optimizer.steps == 2
    assert before is None or torch.equal(row, before)
    optimizer.release()
    if how != "deleted":
        train(bags, SGD(bags), 1) if how != "parametrized" else bags({"a": torch.tensor([1])})


def test_a_functional_call_is_refused_unless_it_gives_the_same_parameters() -> None:
    bags, row = made()
    optimizer = SGD(bags, lr=1.0)
    given = {"a": torch.tensor([1])}
    own = dict(bags.named_parameters())
    assert torch.equal(torch.func.functional_call(bags, own, (given,))["a"][0], row[1])
    with pytest.raises(InputError, match="functional_call"):
        torch.func.functional_call(bags, {name: value * 2 for name, value in own.items()}, (given,))
    train(bags, optimizer, 1)


def test_tables_in_shared_memory_go_on() -> None:
    bags, row = made()
    optimizer = SGD(bags, lr=1.0)
    bags.share_memory()
    before = row[1].clone()
    train(bags, optimizer, 1)
    assert row.is_shared()
    assert torch.equal(bags.state_dict()["tables.a.rows.weight"][1], before - 1)


def test_memory_that_was_taken_away() -> None:
    bags, row = made()
    optimizer = SGD(bags, lr=1.0)
    row.untyped_storage().resize_(0)
    with pytest.raises(InputError, match="no memory"):
        bags({"a": torch.tensor([1])})
    with pytest.raises(InputError, match="no memory"):
        optimizer.step()


def test_orders_that_are_put_in_place_are_read_or_refused() -> None:
    bags, row = made(orders={"a": torch.arange(N)})
    SGD(bags)
    table = bags.tables["a"]
    table.order = torch.arange(N, dtype=torch.int32).flip(0)
    assert torch.equal(bags({"a": torch.tensor([1])})["a"][0], row[N - 2])
    for wrong in (torch.arange(N), torch.arange(N - 1, dtype=torch.int32), torch.full((N,), N, dtype=torch.int32)):
        table.order = wrong
        with pytest.raises(InputError, match="index"):
            bags({"a": torch.tensor([1])})


def test_no_features_at_all() -> None:
    bags, _ = made()
    SGD(bags)
    with pytest.raises(InputError, match="no features"):
        bags.concatenated({})


def test_memory_is_free_at_once_when_nobody_uses_it() -> None:
    bags, row = made()
    optimizer = Adam(bags, lr=0.1, mode="dense")
    train(bags, optimizer, 1, 2)
    gone = [weakref.ref(each) for each in (row, bags, optimizer, bags.engine)]
    gc.disable()
    try:
        del bags, row, optimizer
        assert [each() for each in gone] == [None] * 4
    finally:
        gc.enable()


def test_an_optimizer_lives_as_long_as_its_tables() -> None:
    bags, row = made()
    train(bags, SGD(bags, lr=1.0), 1)
    before = row.detach().clone()
    bags({"a": torch.tensor([3])})["a"].sum().backward()
    gc.collect()
    assert bags.engine is not None
    bags.engine.optimizer.step()
    assert torch.equal(row[3], before[3] - 1)
