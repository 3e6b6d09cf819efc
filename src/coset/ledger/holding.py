"""What a model holds: parameters and buffers, other tensors of modules, and state of optimizers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from coset.ledger.book import Purpose
from coset.ledger.memory import SEQUENCES, tensors
from coset.storage import StoredRows

OF_TORCH = frozenset(vars(nn.Module())) | {"_modules", "_parameters", "_buffers"}
"""What torch itself keeps on every module; none of it refers to a module but these children."""
_DEPTH = 4  # nested lists and dicts that are searched within an attribute


@dataclass(frozen=True)
class Held:
    """A tensor of a model.

    Args:
        key: its name in the state of the model, or the way to it.
        tensor: the tensor.
        kind: as in `coset.ledger.book.Line`.
        saved: whether it is part of the state.
    """

    key: str
    tensor: Tensor
    kind: Purpose
    saved: bool


@dataclass
class Holding:
    """What a model holds.

    Args:
        tensors: in the order of the state, under each of their names; then those outside of the state.
        optimizers: that modules hold.
        state: of modules that are optimizers themselves.
    """

    tensors: list[Held] = field(default_factory=list)
    optimizers: list[torch.optim.Optimizer] = field(default_factory=list)
    state: list[Tensor] = field(default_factory=list)


def holding(model: nn.Module) -> Holding:
    """All that a model holds.

    Parameters and buffers are its state. Beside it, modules keep tensors, other modules and optimizers as attributes,
    or in lists and dicts there. It does not call `state_dict`, which brings tables of dense Adam to the last step, and
    so changes them.
    """
    found = Holding()
    walk = _Walk(found)
    found.tensors += _registered(model, walk)
    for path, module in model.named_modules():
        walk.attributes(module, f"{path}." if path else "")
    return found


class _Walk:
    """A walk through what modules hold, each module once."""

    def __init__(self, found: Holding) -> None:
        self.found = found
        self.met: set[nn.Module] = set()

    def attributes(self, module: nn.Module, prefix: str) -> None:
        """What a module holds beside its parameters, buffers and children."""
        if callable(own := getattr(module, "split_optimizer_states", None)):
            # What FBGEMM calls it; its tables train themselves as gradients come, some of them without a state.
            with suppress(NotImplementedError):
                self.found.state += tensors(own())
        for parameter in module._parameters.values():
            self.within(getattr(parameter, "_in_backward_optimizers", None), prefix)
        for name, value in vars(module).items():
            if name not in OF_TORCH:
                self.within(value, f"{prefix}{name}")

    def within(self, value: Any, key: str, depth: int = _DEPTH) -> None:
        """What an attribute refers to."""
        if isinstance(value, Tensor):
            self.found.tensors.append(Held(key, value, "held", saved=False))
        elif isinstance(value, nn.Module):
            self.module(value, key)
        elif isinstance(value, torch.optim.Optimizer):
            if not any(value is each for each in self.found.optimizers):
                self.found.optimizers.append(value)
        elif depth and isinstance(value, Mapping):
            for name, item in value.items():
                self.within(item, f"{key}.{name}", depth - 1)
        elif depth and isinstance(value, SEQUENCES):
            for number, item in enumerate(value):
                self.within(item, f"{key}.{number}", depth - 1)

    def module(self, module: nn.Module, key: str) -> None:
        """A module that is no child of the one that holds it, so that no state has what is in it."""
        if module in self.met:
            return
        new = [(path, of) for path, of in module.named_modules() if of not in self.met]
        for held in _registered(module, self):
            self.found.tensors.append(Held(f"{key}.{held.key}", held.tensor, "held", saved=False))
        for path, of in new:
            self.attributes(of, f"{key}.{path}." if path else f"{key}.")


def state_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The tensors in the state of an optimizer that are not what it trains."""
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return [tensor for state in optimizer.state.values() for tensor in tensors(state) if id(tensor) not in trained]


def _registered(model: nn.Module, walk: _Walk) -> Iterator[Held]:
    """Parameters and buffers, and what quantized modules pack away. Unpacking makes new tensors each time, so these
    occur under their first name alone."""
    for path, module in model.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield Held(f"{prefix}{name}", parameter, "parameter", saved=True)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                kind: Purpose = "codes" if isinstance(module, StoredRows) else "index"
                yield Held(f"{prefix}{name}", buffer, kind, name not in module._non_persistent_buffers_set)
        if type(module).__module__.startswith("torch.ao.nn.") and module not in walk.met:
            yield from _packed(module, prefix)
        walk.met.add(module)


def _packed(module: nn.Module, prefix: str) -> Iterator[Held]:
    """What a quantized module keeps in objects of its kernels, and writes into its state as tensors."""
    state: dict[str, Any] = {}
    module._save_to_state_dict(state, prefix, keep_vars=True)
    known = {f"{prefix}{name}" for name in (*module._parameters, *module._buffers)}
    for name, value in state.items():
        for number, tensor in enumerate(tensors(value) if name not in known else ()):
            yield Held(f"{name}.{number}" if number else name, tensor, "parameter", saved=True)
