"""Copies of models and optimizers, and readers of parameters: all see rows as of the last step."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from coset.errors import InputError
from coset.methods import LowRank, QuotientRemainder
from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad, TableOptimizer
from coset.schema import Table
from coset.tables import EmbeddingBagCollection

KINDS: dict[str, Callable[..., TableOptimizer]] = {
    "sgd": lambda m: SGD(m, lr=0.1, max_norm=1.0),
    "adagrad": lambda m: Adagrad(m, lr=0.1, nonfinite="skip"),
    "rowwise": lambda m: RowWiseAdagrad(m, lr=0.1, projection_scale=0.5),
    "lazy": lambda m: Adam(m, lr=0.1),
    "dense": lambda m: Adam(m, lr=0.1, mode="dense", weight_decay=0.1),
}
WAYS: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda given: pickle.loads(pickle.dumps(given)),
    "save": lambda given: _saved(given),
}


def _saved(given: Any) -> Any:
    file = io.BytesIO()
    torch.save(given, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


class Model(nn.Module):
    """Two collections, and a layer that torch trains."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.left = EmbeddingBagCollection([(Table("a", 30, 4), "full"), (Table("b", 30, 4), LowRank(2))])
        self.right = EmbeddingBagCollection(
            [(Table("c", 30, 4), QuotientRemainder(7))], orders={"c": torch.arange(30).flip(0)}
        )

    def forward(self, ids: Tensor) -> Tensor:
        found = [*self.left({"a": ids, "b": ids}).values(), *self.right({"c": ids}).values()]
        return torch.stack([vectors.square().sum() for vectors in found]).sum()


def learn(model: nn.Module, optimizer: TableOptimizer, *steps: int) -> None:
    for step in steps:
        model(torch.tensor([step, (step * 7) % 30])).backward()
        optimizer.step()


def same(one: nn.Module, other: nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_copied_pair_goes_on_as_the_first_does(kind: str, way: str) -> None:
    model = Model()
    optimizer = KINDS[kind](model)
    learn(model, optimizer, 1, 2, 3)
    model(torch.tensor([5])).backward()  # waits for a step, here and in the copy
    optimizer.param_groups[0]["lr"] = 0.05
    twin, other = WAYS[way]((model, optimizer)) if kind != "lazy" else WAYS[way]((optimizer, model))[::-1]
    assert type(other) is type(optimizer)
    for each, of in ((model, optimizer), (twin, other)):
        of.step()
        learn(each, of, 4, 1, 6)
    assert same(model, twin)
    assert other.steps == optimizer.steps == 7
    learn(model, optimizer, 9)
    assert not same(model, twin)  # they share nothing
    other.release()
    learn_plain(twin)


def learn_plain(model: nn.Module) -> None:
    model(torch.tensor([1])).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()


def test_a_model_copied_alone_is_up_to_date_and_belongs_to_nobody() -> None:
    model = Model()
    optimizer = KINDS["dense"](model)
    learn(model, optimizer, 1, 2, 3)
    twin = copy.deepcopy(model)
    assert same(model, twin)
    assert {type(parameter) for parameter in twin.parameters()} == {nn.Parameter}
    learn_plain(twin)
    learn(model, optimizer, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_an_optimizer_copied_alone_trains_nothing_in_silence(kind: str) -> None:
    model = Model()
    optimizer = KINDS[kind](model)
    learn(model, optimizer, 1, 2)
    alone = copy.deepcopy(optimizer)
    state = alone.state_dict()
    learn(model, optimizer, 3)
    for _ in range(2):
        with pytest.raises(
            InputError, match=r"cannot take this step: .*copied without it.*deepcopy\(\(model, optimizer"
        ):
            alone.step()
    assert alone.steps == 2
    optimizer.load_state_dict(state)  # what such a copy is good for
    learn(model, optimizer, 4)
    assert optimizer.steps == 3


def test_an_optimizer_of_a_collection_that_is_gone_says_so() -> None:
    model = Model()
    optimizer = KINDS["sgd"](model)
    model.right = nn.Identity()
    learned = model.left({"a": torch.tensor([1])})["a"].sum()
    learned.backward()
    with pytest.raises(
        InputError, match=r"SGD cannot take this step: the collection of its tables \['c'\] is no longer"
    ):
        optimizer.step()


def test_a_shallow_copy_of_an_optimizer_is_refused() -> None:
    model = Model()
    optimizer = KINDS["sgd"](model)
    with pytest.raises(InputError, match="owns a table of this model already"):
        copy.copy(optimizer)
    learn(model, optimizer, 1)


READERS: dict[str, Callable[[list[nn.Parameter]], list[Tensor]]] = {
    "detach": lambda given: [p.detach().clone() for p in given],
    "data": lambda given: [p.data.clone() for p in given],
    "vector": lambda given: [torch.nn.utils.parameters_to_vector(given)],
    "foreach": lambda given: list(torch._foreach_mul(given, 1.0)),
    "index": lambda given: [p[1:3].detach() for p in given],
    "numpy": lambda given: [torch.from_numpy(p.detach().numpy().copy()) for p in given],
    "norm": lambda given: [torch.nn.utils.get_total_norm(given)],
    "deepcopy": lambda given: copy.deepcopy(given),  # type: ignore[return-value]
    "save": lambda given: _saved(given),
    "kernel": lambda given: [torch.as_tensor(p.tolist()) for p in given],
}


@pytest.mark.parametrize("reader", READERS)
def test_whoever_reads_parameters_sees_the_last_step(reader: str) -> None:
    found = []
    for first in (False, True):
        model = Model()
        optimizer = KINDS["dense"](model)
        learn(model, optimizer, 1, 2, 3)
        if first:
            optimizer.synchronize()
        found.append(READERS[reader](list(model.parameters())))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_weight_averages_are_those_of_plain_torch() -> None:
    fused, plain = Model(), Model()
    owner, other = Adam(fused, lr=0.1, mode="dense"), torch.optim.Adam(plain.parameters(), lr=0.1)
    averages = []
    for model, optimizer in ((fused, owner), (plain, other)):
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
        for step in range(4):
            optimizer.zero_grad()
            model(torch.tensor([step, 5])).backward()
            optimizer.step()
            average.update_parameters(model)
        averages.append(average.module.state_dict())
    for name in averages[0]:
        torch.testing.assert_close(averages[0][name], averages[1][name], msg=name)


def test_what_is_written_by_hand_has_missed_no_steps() -> None:
    model = Model()
    optimizer = KINDS["dense"](model)
    learn(model, optimizer, 1, 2, 3)
    rows = model.left.tables["a"].rows.weight
    nn.init.ones_(rows)
    assert torch.equal(model.left({"a": torch.tensor([1])})["a"], torch.ones(1, 4))


def test_what_is_known_without_values_brings_nothing_up() -> None:
    model = Model()
    optimizer = KINDS["dense"](model)
    learn(model, optimizer, 1, 2, 3)
    for parameter in model.parameters():
        assert parameter.grad is None
        assert parameter.requires_grad
        assert (parameter.dtype, parameter.device.type) == (torch.float32, "cpu")
        assert parameter.numel() == parameter.shape.numel()
    model.zero_grad()
    assert optimizer._begun < optimizer.steps
