"""`measure`: the ledger of a model that is there, read off its tensors and those of its optimizers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from coset.errors import InputError
from coset.ledger.book import Ledger, Line, owner_of
from coset.schema import Kind

_TO_A_BYTE = {torch.quint4x2: 2, torch.quint2x4: 4}
_BY_ROW = torch.per_channel_affine, torch.per_channel_affine_float_qparams


def measure(
    model: nn.Module, optimizer: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None = None
) -> Ledger:
    """What a model of any kind takes in bytes now.

    Parameters and buffers are counted by their elements, tied ones once, under their first name; buffers that
    `state_dict` leaves out are marked, and no part of the artifact. What torch's quantized modules pack away is counted
    by the tensors of their state. The optimizer's state is all tensors that it holds,
    counts of steps included; numbers of Python's are not counted. Torch makes the state of a parameter in the first
    step in which it has a gradient. The step's part is what there is of it now: gradients, and what optimizers of
    coset keep to use again.

    Args:
        model: any module.
        optimizer: that trains it, or several; torch's or coset's. State of parameters that are not the model's is
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
    states = _states(optimizers)
    lines: list[Line] = []
    places: dict[Any, int] = {}
    for key, tensor, kind, saved in list(_stored(model)):  # all at once, as a tensor that is gone leaves its address
        if is_lazy(tensor):
            raise InputError(f"{key!r} has no shape yet; run a batch through the model first")
        state = states.pop(id(tensor), 0)
        if (at := places.setdefault(_memory(tensor), len(lines))) < len(lines):
            line = lines[at]
            lines[at] = replace(line, optimizer=line.optimizer + state, saved=line.saved or saved)
            continue
        shape, size = tuple(tensor.shape), tensor_bytes(tensor)
        lines.append(Line(owner_of(key), key, shape, tensor.dtype, kind, size, state, saved))
    if stray := sum(states.values()):
        name = "(not of the model)"
        lines.append(Line(name, name, (0,), torch.float32, "parameter", 0, stray, saved=False))
    steps = {"gradients": sum(tensor_bytes(p.grad) for p in model.parameters() if p.grad is not None)}
    for each in optimizers:
        scratch: Mapping[str, int] = getattr(each, "scratch_bytes", dict)()
        for what, size in scratch.items():
            steps[what] = steps.get(what, 0) + size
    about = {"optimizer": ", ".join(type(each).__name__ for each in optimizers) or None}
    return Ledger(tuple(lines), {what: size for what, size in steps.items() if size}, "measured", about)


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of the elements of a tensor; of those that it stores, where it is sparse, and with scales where these are
    of its rows."""
    if tensor.is_quantized and tensor.qscheme() in _BY_ROW:
        scales = (tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points())
        return -(-tensor.numel() // _TO_A_BYTE.get(tensor.dtype, 1)) + sum(map(tensor_bytes, scales))
    if tensor.layout == torch.sparse_coo:
        return tensor_bytes(tensor._indices()) + tensor_bytes(tensor._values())
    return tensor.numel() * tensor.element_size()


def _stored(model: nn.Module) -> Iterator[tuple[str, Tensor, Kind, bool]]:
    """All parameters and buffers in the order of the state, under each of their names; and whether the state has them.
    What quantized modules pack away is unpacked, and so is new each time: it comes under its first name alone.

    `state_dict` itself is not asked: it brings tables of dense Adam to the last step, and so changes them.
    """
    unpacked: set[nn.Module] = set()
    for path, module in model.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield f"{prefix}{name}", parameter, "parameter", True
        for name, buffer in module._buffers.items():
            if buffer is not None:
                yield f"{prefix}{name}", buffer, "index", name not in module._non_persistent_buffers_set
        if type(module).__module__.startswith("torch.ao.nn.") and module not in unpacked:
            unpacked.add(module)
            yield from _packed(module, prefix)


def _packed(module: nn.Module, prefix: str) -> Iterator[tuple[str, Tensor, Kind, bool]]:
    """What a quantized module keeps in objects of its kernels, and writes into its state as tensors."""
    state: dict[str, Any] = {}
    module._save_to_state_dict(state, prefix, keep_vars=True)
    known = {f"{prefix}{name}" for name in (*module._parameters, *module._buffers)}
    for name, value in state.items():
        for number, tensor in enumerate(_tensors(value) if name not in known else ()):
            yield f"{name}.{number}" if number else name, tensor, "parameter", True


def _memory(tensor: Tensor) -> Any:
    """What two tensors have in common that are the same array."""
    try:
        storage = tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # sparse tensors and the like have none of their own
        return id(tensor)
    return storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _listed(optimizer: Any) -> list[torch.optim.Optimizer]:
    if optimizer is None:
        return []
    found = [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)
    for each in found:
        if not isinstance(each, torch.optim.Optimizer):
            raise InputError(f"measure takes optimizers of torch's or coset's, not {type(each).__name__}")
    return found


def _states(optimizers: Iterable[torch.optim.Optimizer]) -> dict[int, int]:
    """Bytes of the state of each parameter, by its id."""
    found: dict[int, int] = {}
    seen: set[Any] = set()
    for optimizer in optimizers:
        for parameter, state in optimizer.state.items():
            held = sum(tensor_bytes(tensor) for tensor in _tensors(state) if not _repeated(tensor, seen))
            found[id(parameter)] = found.get(id(parameter), 0) + held
    return found


def _repeated(tensor: Tensor, seen: set[Any]) -> bool:
    memory = _memory(tensor)
    found = memory in seen
    seen.add(memory)
    return found


def _tensors(state: Any) -> Iterator[Tensor]:
    """All tensors in a state, however deep."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from _tensors(value)
    elif isinstance(state, torch.ScriptObject):
        yield from _tensors(state.__getstate__())
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _tensors(value)
