"""A small collection of one table, and steps on it, for tables that are stored in fewer bits than computed in."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from coset import EmbeddingBagCollection, Table
from coset.methods import Method
from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad, TableOptimizer

N, DIM, BATCH = 60, 6, 24
LAZY: dict[str, Callable[..., TableOptimizer]] = {
    "sgd": lambda model: SGD(model, lr=0.05),
    "adagrad": lambda model: Adagrad(model, lr=0.02),
    "row_wise_adagrad": lambda model: RowWiseAdagrad(model, lr=0.02),
    "lazy_adam": lambda model: Adam(model, lr=0.01),
}


def tables(method: Method, dtype: torch.dtype = torch.float32) -> EmbeddingBagCollection:
    torch.manual_seed(3)
    return EmbeddingBagCollection([(Table("item", N, DIM, std=1.0, dtype=dtype), method)])


def batch(step: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(step)
    return torch.randint(N, (BATCH,), generator=draw), torch.arange(0, BATCH, 3)


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    """Bags, and single ids."""
    for step in steps:
        optimizer.zero_grad()
        found, alone = model({"item": batch(step)})["item"], model({"item": batch(step)[0][:8]})["item"]
        ((found - 1.0).square().mean(1).sum() + (alone - 1.0).square().sum()).backward()
        optimizer.step()


def assert_the_same_bits(
    method: Callable[[], Method], make: Callable[[EmbeddingBagCollection], TableOptimizer]
) -> None:
    """With another number of threads, and after a state was saved and loaded, or copied."""
    found = []
    for way in ("whole", "threads", "loaded", "copied"):
        threads = torch.get_num_threads()
        torch.set_num_threads(2 if way == "threads" else 1)
        try:
            model = tables(method())
            optimizer = make(model)
            learn(model, optimizer, range(4))
            saved = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
            if way == "loaded":
                optimizer.release()
                model = tables(method())
                model.load_state_dict(saved[0])
                optimizer = make(model)
                optimizer.load_state_dict(saved[1])
            if way == "copied":
                model, optimizer = copy.deepcopy((model, optimizer))
            learn(model, optimizer, range(4, 8))
            found.append({name: value.clone() for name, value in model.state_dict().items()})
        finally:
            torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in other)
