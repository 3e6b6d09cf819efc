"""The state of an optimizer of tables as it lies in memory, so that taking it changes nothing.

`TableOptimizer.state_dict` brings every row to the last step first. Dense Adam then computes the steps that a row
missed in two parts, where it would have computed them in one: equal but for rounding. A run must end at the same bits
however often it is saved or killed, so a snapshot keeps rows as they are, with what is needed to bring them up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from coset.errors import InputError
from coset.optimizers.base import TableOptimizer


def snapshot(optimizer: TableOptimizer) -> dict[str, Tensor]:
    """All tensors that further steps depend on besides the parameters, by name: not copies, so save or copy them at
    once.

    Save the parameters with it as they lie in memory, from `named_parameters` of the model; `state_dict` brings rows
    up.

    Example:
        >>> from coset import EmbeddingBagCollection, Table
        >>> from coset.optimizers import RowWiseAdagrad
        >>> bags = EmbeddingBagCollection([(Table("movie", 20, 4), "full")])
        >>> {name: tuple(value.shape) for name, value in snapshot(RowWiseAdagrad(bags)).items()}
        {'0.sum': (20,), 'steps': (3,)}
    """
    found = {
        f"{number}.{name}": value
        for number, parameter in enumerate(optimizer._parameters)
        for name, value in optimizer.state[parameter].items()
    }
    if optimizer.dense:
        since = optimizer.steps - optimizer._begun
        for number, array in enumerate(optimizer._history.arrays):
            found[f"history.{number}"] = torch.from_numpy(array[..., :since])
    return found | {"steps": torch.tensor([optimizer.steps, optimizer._begun, optimizer.skipped])}


@torch.no_grad()
def restore(optimizer: TableOptimizer, names: Iterable[str], tensor_of: Callable[[str], Tensor]) -> None:
    """Go back to a `snapshot`, taken of an optimizer of the same kind and tables.

    Args:
        names: those of the snapshot.
        tensor_of: name → value; called for one at a time, whose value is copied.

    Raises:
        InputError: the snapshot is of another kind of optimizer or of other tables.
    """
    own = {name: value for name, value in snapshot(optimizer).items() if not name.startswith("history.")}
    given = {name for name in names if not name.startswith("history.")}
    if given != own.keys() or any(tensor_of(name).shape != value.shape for name, value in own.items()):
        raise InputError("optimizer: the state to load is of another optimizer, or of other tables")
    for name, value in own.items():
        if name != "steps":
            value.copy_(tensor_of(name))
    steps, optimizer._begun, optimizer.skipped = tensor_of("steps").tolist()
    for group in optimizer.param_groups:
        group["steps"] = steps
    if optimizer.dense:
        optimizer._history.load([tensor_of(f"history.{number}").numpy() for number in range(3)])
    optimizer._numbers = optimizer._new_numbers()
    optimizer.zero_grad()
    for engine in optimizer.engines:
        engine.forget_checks()
    optimizer.version += 1
