"""`measure`: the ledger of an existing model, read off its tensors and those of its optimizers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from coset.errors import InputError
from coset.ledger.book import Ledger, Line, Purpose, owner_of
from coset.ledger.holding import Held, holding, state_of
from coset.ledger.memory import Memory, extent_of, leaves, leaves_of, tensors, whole_bytes
from coset.schema import EXTRA

_STRAY = "(not of the model)"


def measure(
    model: nn.Module, optimizer: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None = None
) -> Ledger:
    """The bytes that any torch model takes now, in this process.

    It counts the memory that tensors occupy, once, under the first name that leads to it:

    * parameters and buffers; buffers that `state_dict` leaves out are marked, and no part of the artifact. For torch's
      quantized modules, the tensors of their state are counted.
    * For a tensor that is made of others, such as a quantized or sharded one, these: those that its
      `__tensor_flatten__` names, and the shards of this process. `Line.whole` has the bytes of a sharded tensor in all
      processes.
    * `"held"`: tensors that modules keep in attributes, in lists and dicts there, and in modules there. No state has
      them. Memory that no tensor uses is `"held"` too, where torch keeps it since a tensor is a view of a part of it.
    * The state of optimizers: all tensors that it holds, counts of steps included, but no Python numbers.
      Torch makes the state of a parameter in the first step in which it has a gradient. Optimizers that modules hold
      count too, and so does the state of tables that train themselves, as those of FBGEMM do, where it is among their
      parameters.
    * `step` is what exists of it now: gradients, and arrays that optimizers of coset keep to use again.

    Args:
        model: any module.
        optimizer: the optimizer of the model, or several; torch's or coset's. State of parameters of other models is
            counted as `(not of the model)`.

    Raises:
        InputError: no module, or a parameter that has no shape yet (of a lazy module).

    Example:
        >>> model = torch.nn.Embedding(1000, 16)
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> model(torch.tensor([1, 2])).sum().backward()
        >>> optimizer.step()
        >>> found = measure(model, optimizer)
        >>> found.parameters, found.optimizer, found.step
        (64000, 128004, 64000)
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"measure takes a module of torch, not {type(model).__name__}")
    optimizers = _listed(optimizer)
    found = holding(model)
    everywhere = [*optimizers, *(each for each in found.optimizers if not any(each is given for given in optimizers))]
    states = Memory()
    for leaf in leaves_of([found.state, *map(state_of, everywhere)]):
        states.take(leaf)
    book = _Book(states)
    for held in found.tensors:
        book.enter(held)
    for each in everywhere:
        for parameter, state in each.state.items():
            book.keep(parameter, state)
    steps = {"gradients": sum(book.new(p.grad) for p in model.parameters() if p.grad is not None)}
    for each in optimizers:
        scratch: Mapping[str, int] = getattr(each, "scratch_bytes", dict)()
        for what, size in scratch.items():
            steps[what] = steps.get(what, 0) + size
    about = {"optimizer": ", ".join(type(each).__name__ for each in optimizers) or None}
    kept = {what: size for what, size in steps.items() if size}
    return Ledger(book.lines, kept, dict(_words(model)), "measured", about)


def _words(model: nn.Module) -> Iterator[tuple[str, int]]:
    """Bytes of the tensors in the extra state of all modules, under their names in the state."""
    for path, module in model.named_modules(remove_duplicate=False):
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            said = leaves_of(module.get_extra_state())
            yield f"{path}.{EXTRA}" if path else EXTRA, sum(leaf.nbytes for leaf in said)


class _Book:
    """The lines so far, and the memory of their tensors.

    Args:
        states: the state of optimizers; a parameter or buffer in it counts as state.
    """

    def __init__(self, states: Memory) -> None:
        self._lines: list[Line] = []
        self._states = states
        self._memory = Memory()
        self._at: dict[Any, int] = {}

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines, also of memory that torch only keeps along with that of others."""
        rest = [
            Line(owner_of(key), f"{key} (rest of its memory)", (size,), torch.uint8, "held", size, saved=False)
            for key, size in self._memory.rest().items()
        ]
        return (*self._lines, *rest)

    def new(self, tensor: Tensor, key: str = "") -> int:
        """Bytes of a tensor that nothing before it lies in."""
        return sum(self._memory.take(leaf, key) for leaf in leaves(tensor))

    def enter(self, held: Held) -> None:
        """Add a line for a tensor of the model, unless it has one under another name."""
        tensor = held.tensor
        if is_lazy(tensor):
            raise InputError(f"{held.key!r} has no shape yet; run a batch through the model first")
        places = _places(tensor)
        if (at := self._at.get(places[-1])) is not None:
            self._lines[at] = replace(self._lines[at], saved=self._lines[at].saved or held.saved)
            return
        parts = leaves(tensor)
        kind: Purpose = "optimizer" if parts and all(map(self._states.has, parts)) else held.kind
        size = self.new(tensor, held.key)
        if held.kind == "held" and not size:
            return
        self._at |= dict.fromkeys(places, len(self._lines))
        shape, whole = tuple(tensor.shape), whole_bytes(tensor)
        self._lines.append(
            Line(owner_of(held.key), held.key, shape, tensor.dtype, kind, size, saved=held.saved, whole=whole)
        )

    def keep(self, parameter: Tensor, state: Any) -> None:
        """Add the state of a parameter to its line, as far as it is not counted yet."""
        size = sum(map(self.new, tensors(state)))
        at = next((self._at[place] for place in _places(parameter) if place in self._at), None)
        if at is None and size:
            at = self._at.setdefault(_STRAY, len(self._lines))
            if at == len(self._lines):
                self._lines.append(Line(_STRAY, _STRAY, (0,), torch.float32, "parameter", 0, saved=False))
        if at is not None:
            self._lines[at] = replace(self._lines[at], optimizer=self._lines[at].optimizer + size)


def _places(tensor: Tensor) -> list[Any]:
    """What identifies a tensor: the object, or all of its memory."""
    return [id(tensor), *filter(None, [tuple(map(extent_of, leaves(tensor)))])]


def _listed(optimizer: Any) -> list[torch.optim.Optimizer]:
    if optimizer is None:
        return []
    found = list(optimizer) if isinstance(optimizer, list | tuple) else [optimizer]
    for each in found:
        if not isinstance(each, torch.optim.Optimizer):
            raise InputError(f"measure takes optimizers of torch or coset, not {type(each).__name__}")
    return found
