"""What the tables of a collection were like when somebody last looked, and whether they still are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter, call, is_
from typing import Any

import torch
from torch import Tensor, nn

from coset.storage import StoredRows

_dtype = attrgetter("dtype")
_ARRAYS = Tensor, nn.Parameter


class Facts:
    """Places in modules and what was there, arrays, types and hooks, each noted once.

    Every lookup asks whether they hold, of some hundred places: so each kind of fact is kept in columns, which are
    compared without a loop of Python.
    """

    def __init__(self) -> None:
        self._gets: list[Callable[[str], Any]] = []
        self._names: list[str] = []
        self._found: list[Any] = []
        self._tensors: list[Tensor] = []
        self._kinds: list[type] = []
        self._addresses: list[int] = []
        self._dtypes: list[torch.dtype] = []
        self._shapes: list[torch.Size] = []
        self._memory: list[Tensor] = []
        """What keeps the memory of arrays."""
        self._stored: list[StoredRows] = []
        self._read_in: list[torch.dtype] = []
        self._hooks: list[Mapping[int, Any]] = []
        self._hooked: list[bool] = []

    def hold(self) -> bool:
        """Whether all is as it was."""
        tensors = self._tensors
        return (
            all(map(is_, map(call, self._gets, self._names), self._found))
            and [*map(bool, self._hooks)] == self._hooked
            and [*map(_dtype, self._stored)] == self._read_in
            and [*map(type, tensors)] == self._kinds
            and [*map(Tensor.data_ptr, tensors)] == self._addresses
            and [*map(_dtype, tensors)] == self._dtypes
            and [*map(Tensor.size, tensors)] == self._shapes
            and all(map(Tensor.is_contiguous, tensors))
        )

    def note(self, holder: Mapping[str, Any], name: str) -> Any:
        """What is at a place, to be noticed when it changes."""
        found: Any = holder.get(name)
        self._gets.append(holder.get)
        self._names.append(name)
        self._found.append(found)
        if type(found) in _ARRAYS and found.layout == torch.strided and found.is_cpu:
            kept = found.detach()
            self._tensors.append(found)
            self._kinds.append(type(found))
            self._addresses.append(kept.data_ptr())
            self._dtypes.append(found.dtype)
            self._shapes.append(found.shape)
            self._memory.append(kept)
        return found

    def module_at(self, module: nn.Module, path: str) -> Any:
        """The module at a path below another."""
        for step in path.split(".") if path else []:
            module = self.note(module._modules, step)
        return module

    def note_stored(self, stored: StoredRows) -> bool:
        """Note the type that an array is read in, which a cast alone may change, and its hooks, which kernels go round.
        Whether it has none of these."""
        self._stored.append(stored)
        self._read_in.append(stored.dtype)
        hooks = stored._forward_hooks, stored._forward_pre_hooks
        self._hooks += hooks
        self._hooked += map(bool, hooks)
        return not any(hooks)
