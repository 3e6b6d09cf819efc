"""What modules hold past parameters and buffers, tensors that are made of others, and memory that several share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from coset.ledger import measure
from coset.ledger.memory import Memory, leaves, tensor_bytes


class Scaled(Tensor):
    """A tensor made of two others, named as torch asks subclasses to name them."""

    @staticmethod
    def __new__(cls, whole: Tensor, scale: Tensor) -> Scaled:
        return Tensor._make_wrapper_subclass(cls, whole.shape, dtype=torch.float32)

    def __init__(self, whole: Tensor, scale: Tensor) -> None:
        self.whole, self.scale = whole, scale

    def __tensor_flatten__(self) -> tuple[list[str], Any]:
        return ["whole", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, *args: Any) -> Any:
        raise NotImplementedError


class Packed(Tensor):
    """A tensor of which nobody says what it is made of: two elements a byte."""

    @staticmethod
    def __new__(cls, bytes_: Tensor) -> Packed:
        return Tensor._make_wrapper_subclass(cls, (len(bytes_), 2 * bytes_.shape[1]), dtype=torch.uint8)

    def __init__(self, bytes_: Tensor) -> None:
        self.elem = bytes_

    @classmethod
    def __torch_dispatch__(cls, *args: Any) -> Any:
        raise NotImplementedError


def test_a_tensor_that_is_made_of_others_takes_what_these_take() -> None:
    module = nn.Module()
    inner = Scaled(torch.zeros(10, 8, dtype=torch.int8), torch.zeros(10))
    module.register_buffer("one", inner)
    module.register_buffer("in_one", Scaled(inner, torch.zeros(3)))  # of which the inner one is counted already
    module.register_buffer("packed", Packed(torch.zeros(100, 4, dtype=torch.uint8)))
    found = measure(module)
    assert [(line.key, line.shape, line.bytes) for line in found.lines] == [
        ("one", (10, 8), 120), ("in_one", (10, 8), 12), ("packed", (100, 8), 400),
    ]  # fmt: skip
    assert len(leaves(module.in_one)) == 3


@pytest.mark.filterwarnings("ignore:Sparse (CSR|CSC|BSR|BSC):UserWarning")
def test_sparse_tensors_take_indices_and_values() -> None:
    dense = torch.eye(4)
    assert tensor_bytes(dense.to_sparse_csr()) == 5 * 8 + 4 * 8 + 4 * 4
    assert tensor_bytes(dense.to_sparse_csc()) == 5 * 8 + 4 * 8 + 4 * 4
    assert tensor_bytes(dense.to_sparse_bsr((2, 2))) == 3 * 8 + 2 * 8 + 8 * 4
    assert tensor_bytes(torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged)) == 44


def test_what_modules_keep_in_attributes_is_held_and_not_saved() -> None:
    model, teacher = nn.Module(), nn.Linear(4, 4)
    model.head = nn.Linear(4, 2, bias=False)
    model.cache = {"rows": [torch.zeros(10), (torch.zeros(5), "word")], "again": model.head.weight}
    model.teachers = [teacher, teacher]
    model.head.parents = [model]  # a circle
    found = measure(model)
    assert (found.parameters, found.held, found.artifact) == (32, 60 + 80, 32)
    assert [line.key for line in found.lines] == [
        "head.weight", "cache.rows.0", "cache.rows.1.0", "teachers.0.weight", "teachers.0.bias",
    ]  # fmt: skip
    assert found.inference == 172 == found.to_json()["bytes"]["inference"]
    assert "held beside them" in str(found)


def test_optimizers_that_modules_hold_count_once() -> None:
    model = nn.Linear(4, 2, bias=False)
    model.tuned = [torch.optim.Adam(model.parameters())]
    model(torch.ones(1, 4)).sum().backward()
    model.tuned[0].step()
    assert measure(model).optimizer == measure(model, model.tuned[0]).optimizer == 2 * 32 + 4
    assert measure(model).held == 0


def test_parameters_that_are_state_of_an_optimizer_are_its_state() -> None:
    """Tables that train themselves register it, and tell of it."""

    class Trains(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.Parameter(torch.zeros(10, 4))
            self.momentum = nn.Parameter(torch.zeros(10))

        def split_optimizer_states(self) -> list[list[Tensor]]:
            return [[self.momentum[:4]], [self.momentum[4:].detach()]]

    found = measure(Trains())
    assert (found.parameters, found.optimizer, found.artifact) == (160, 40, 200)
    assert [line.kind for line in found.lines] == ["parameter", "optimizer"]


def test_an_optimizer_whose_state_holds_what_it_trains() -> None:
    model = nn.Linear(4, 2, bias=False)
    optimizer = torch.optim.SGD(model.parameters())
    optimizer.state[model.weight] = {"trained": model.weight, "slow": torch.zeros(2, 4)}
    found = measure(model, optimizer)
    assert (found.parameters, found.optimizer) == (32, 32)


def test_memory_that_several_tensors_lie_in_counts_once() -> None:
    model, whole = nn.Module(), torch.zeros(100, 12, dtype=torch.uint8)
    model.register_buffer("left", whole[:, :8])
    model.register_buffer("whole", whole)
    model.register_buffer("rows", whole[10:20])
    assert [line.bytes for line in measure(model).lines] == [800, 400, 0]
    assert measure(model).inference == 1200


def test_memory_that_a_view_keeps_is_held() -> None:
    model, large = nn.Module(), torch.zeros(1000)
    model.one = nn.Parameter(large[:10])
    model.other = nn.Parameter(large[20:30])
    found = measure(model)
    assert (found.parameters, found.held, found.artifact) == (80, 3920, 80)
    assert found.lines[-1].key == "one (rest of its memory)"
    del large, model.one
    assert measure(model).held == 3960


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_counted_intervals_join(order: tuple[int, ...]) -> None:
    whole, counted = torch.zeros(50), Memory()
    parts = [whole[10 * at : 10 * at + 10] for at in range(5)]
    assert [counted.take(parts[at]) for at in order] == [40] * 5
    assert counted.take(whole) == counted.take(whole[3:17]) == 0
    assert counted.has(whole[1:3])
    assert not counted.has(torch.zeros(2))


@pytest.fixture
def second_of_two() -> Iterator[DeviceMesh]:
    """This process as if it were one of two; nothing is sent."""
    dist.init_process_group("fake", store=FakeStore(), rank=1, world_size=2)
    try:
        yield DeviceMesh("cpu", [0, 1])
    finally:
        dist.destroy_process_group()


def test_of_a_sharded_tensor_this_process_holds_a_part(second_of_two: DeviceMesh) -> None:
    model = nn.Sequential(nn.Embedding(31, 4), nn.Linear(4, 4, bias=False))
    for module, placed in ((model[0], Shard(0)), (model[1], Replicate())):
        module.weight = nn.Parameter(distribute_tensor(module.weight.detach(), second_of_two, [placed]))
    optimizer = torch.optim.Adam(model.parameters())
    model[0].weight.grad = torch.ones_like(model[0].weight)
    optimizer.step()
    found = measure(model, optimizer)
    assert [(line.shape, line.bytes, line.whole) for line in found.lines[:2]] == [
        ((31, 4), 15 * 16, 31 * 16), ((4, 4), 64, 64),
    ]  # fmt: skip
    assert (found.parameters, found.whole, found.optimizer) == (304, 560, 2 * 240 + 4)
    assert found.steps == {"gradients": 240}
    assert "parameter, of 496" in str(found)
    assert "both in all processes" in str(found)
    assert found.to_json()["bytes"]["whole"] == 560
