"""The memory of tensors: the plain tensors that others are made of, and shared memory counted once."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_TO_A_BYTE = {torch.quint4x2: 2, torch.quint2x4: 4}
_BY_ROW = torch.per_channel_affine, torch.per_channel_affine_float_qparams
_COMPRESSED = {
    torch.sparse_csr: ("crow_indices", "col_indices"), torch.sparse_bsr: ("crow_indices", "col_indices"),
    torch.sparse_csc: ("ccol_indices", "row_indices"), torch.sparse_bsc: ("ccol_indices", "row_indices"),
}  # fmt: skip
SEQUENCES = (list, tuple, set, frozenset, deque)
Extent = tuple[Any, int, int]
"""Where a tensor lies: an address space, the first of its bytes and the one after the last."""


def leaves(tensor: Tensor) -> list[Tensor]:
    """The plain tensors that a tensor is made of; for most, the tensor itself.

    A sharded one has the shards of this process. A subclass that wraps other tensors names them by torch's
    `__tensor_flatten__`; where it does not, and has no memory of its own, they are the tensors among its attributes. A
    sparse tensor has its indices and values, and one that is quantized by row also scales and zeros.

    Example:
        >>> [tuple(part.shape) for part in leaves(torch.eye(4).to_sparse())]
        [(2, 4), (4,)]
    """
    return list(_leaves(tensor))


def leaves_of(state: Any) -> Iterator[Tensor]:
    """The plain tensors that all tensors in a state are made of."""
    for tensor in tensors(state):
        yield from leaves(tensor)


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of the elements that a tensor stores here.

    Example:
        >>> tensor_bytes(torch.zeros(3, 4)), tensor_bytes(torch.eye(4).to_sparse())
        (48, 80)
    """
    return sum(_size(leaf) for leaf in leaves(tensor))


def whole_bytes(tensor: Tensor) -> int | None:
    """Bytes of all parts together of a tensor that is sharded over processes; None where this process holds all of
    it."""
    if not hasattr(type(tensor), "local_shards") and not hasattr(type(tensor), "to_local"):
        return None
    found = leaves(tensor)
    held = sum(leaf.numel() for leaf in found)
    elements = int(torch.Size(tensor.size()).numel())
    if len(found) == 1 and held:
        return elements * _size(found[0]) // held
    return elements * tensor.dtype.itemsize


class Memory:
    """A record of the bytes that were counted.

    Example:
        >>> counted, whole = Memory(), torch.zeros(10, 4)
        >>> counted.take(whole), counted.take(whole[:5]), counted.take(torch.zeros(2))
        (160, 0, 8)
    """

    def __init__(self) -> None:
        self._taken: dict[Any, list[tuple[int, int]]] = {}
        self._storages: dict[Any, _Storage] = {}
        self._known: set[Any] = set()
        self._alive: list[Tensor] = []  # else another tensor could get the address of a freed one

    def take(self, leaf: Tensor, name: str = "") -> int:
        """Bytes of a plain tensor that were not counted before; the rest of the memory that it is a part of goes under
        its `name`."""
        self._alive.append(leaf)
        size = _size(leaf)
        space, begin, end = extent = extent_of(leaf)
        key = extent, leaf.shape, leaf.layout == torch.strided and leaf.stride()
        if key in self._known:
            return 0
        self._known.add(key)
        storage = self._storages.setdefault(*_storage_of(leaf, extent, name))
        new = min(size, self._free(extent), storage.size - storage.taken)
        storage.taken += new
        if size == end - begin:  # its elements are contiguous, so it covers all of its extent
            self._cover(space, begin, end)
        return new

    def has(self, leaf: Tensor) -> bool:
        """Whether all of a plain tensor was counted."""
        extent = extent_of(leaf)
        return extent[1] < extent[2] and not self._free(extent)

    def rest(self) -> dict[str, int]:
        """Bytes that belong to no counted tensor, by the name of the first tensor that keeps them from being freed:
        torch keeps a whole allocation as long as there is a view of any part."""
        found: dict[str, int] = {}
        for storage in self._storages.values():
            if storage.name and storage.size > storage.taken:
                found[storage.name] = found.get(storage.name, 0) + storage.size - storage.taken
        return found

    def _free(self, extent: Extent) -> int:
        space, begin, end = extent
        intervals = self._taken.get(space, [])
        free = end - begin
        for at in range(max(0, bisect_left(intervals, (begin,)) - 1), len(intervals)):
            start, stop = intervals[at]
            if start >= end:
                break
            free -= max(0, min(stop, end) - max(start, begin))
        return free

    def _cover(self, space: Any, begin: int, end: int) -> None:
        if begin == end:
            return
        intervals = self._taken.setdefault(space, [])
        at = max(0, bisect_left(intervals, (begin,)) - 1)
        while at < len(intervals) and intervals[at][0] <= end:
            start, stop = intervals[at]
            if stop < begin:
                at += 1
                continue
            begin, end = min(begin, start), max(end, stop)
            del intervals[at]
        insort(intervals, (begin, end))


@dataclass
class _Storage:
    """Memory that torch allocates and frees in one piece."""

    size: int
    name: str
    taken: int = 0


def extent_of(leaf: Tensor) -> Extent:
    """Where a plain tensor lies."""
    size = _size(leaf)
    try:
        storage = leaf.untyped_storage()
        address, place, offset = storage.data_ptr(), storage._cdata, int(leaf.storage_offset())
    except (NotImplementedError, RuntimeError):  # it has no storage in torch
        return id(leaf), 0, size
    space = leaf.device if address else place
    if leaf.is_quantized:
        return space, address, address + size
    begin = address + offset * leaf.element_size()
    if not leaf.numel():
        return space, begin, begin
    last = sum((length - 1) * stride for length, stride in zip(leaf.shape, leaf.stride(), strict=True))
    return space, begin, begin + (int(last) + 1) * leaf.element_size()


def storages(tensor: Tensor) -> set[tuple[Any, int]]:
    """The memory that a tensor lies in; nothing where it has none or is on the meta device."""
    found = set()
    for leaf in leaves(tensor):
        space, begin, end = extent_of(leaf)
        if isinstance(space, torch.device) and begin < end:
            found.add((space, leaf.untyped_storage().data_ptr()))
    return found


def _storage_of(leaf: Tensor, extent: Extent, name: str) -> tuple[Any, _Storage]:
    try:
        storage = leaf.untyped_storage()
        return (extent[0], storage.data_ptr()), _Storage(storage.nbytes(), name)
    except (NotImplementedError, RuntimeError):
        return extent[0], _Storage(extent[2], name)


def _size(leaf: Tensor) -> int:
    return -(-leaf.numel() * leaf.element_size() // _TO_A_BYTE.get(leaf.dtype, 1))


def _leaves(tensor: Tensor) -> Iterator[Tensor]:
    if shards := getattr(type(tensor), "local_shards", None):
        for shard in shards(tensor):
            yield from _leaves(getattr(shard, "tensor", shard))
    elif (parts := _parts(tensor)) is not None:
        for part in parts:
            yield from _leaves(part)
    elif tensor.layout == torch.sparse_coo:
        yield from (tensor._indices(), tensor._values())
    elif tensor.layout in _COMPRESSED:
        yield from (*(getattr(tensor, part)() for part in _COMPRESSED[tensor.layout]), tensor.values())
    else:
        yield tensor
        if tensor.is_quantized and tensor.qscheme() in _BY_ROW:
            yield from (tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points())


def _parts(tensor: Tensor) -> list[Tensor] | None:
    """The tensors that a subclass wraps; None where it wraps none."""
    if type(tensor) in (Tensor, torch.nn.Parameter):
        return None
    if hasattr(type(tensor), "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
        return list(tensors([getattr(tensor, name) for name in names]))
    try:
        tensor.untyped_storage().data_ptr()
    except RuntimeError:
        return list(tensors(vars(tensor))) or None
    return None


def tensors(state: Any) -> Iterator[Tensor]:
    """All tensors in a state, however deep."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from tensors(value)
    elif isinstance(state, torch.ScriptObject):
        yield from tensors(state.__getstate__())
    elif isinstance(state, SEQUENCES):
        for value in state:
            yield from tensors(value)
