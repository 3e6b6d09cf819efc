"""The tensors of a safetensors file, as arrays that lie in the mapped file."""

from __future__ import annotations

import mmap
from math import prod
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from coset_runtime.documents import parse
from coset_runtime.errors import Damaged, brief

_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "?",
}  # fmt: skip
_KEYS = ("dtype", "shape", "data_offsets")


class Tensor(NamedTuple):
    """A stored tensor.

    Args:
        type: as the file names it, such as `"BF16"`.
        array: its elements as they lie; of bfloat16, their bits as uint16.
    """

    type: str
    array: np.ndarray


class Tensors:
    """Those of a file.

    Args:
        file: mapped.
        name: of the file, for errors.

    Raises:
        Damaged: a header that is none, or that says more than the file holds.
    """

    def __init__(self, file: mmap.mmap, name: str) -> None:
        self.name = name
        size = int.from_bytes(file[:8], "little")
        if len(file) < 8 or size > len(file) - 8:
            raise Damaged(f"{name} ends within its header")
        header = parse(file[8 : 8 + size].rstrip(b" "), f"the header of {name}")
        if not isinstance(header, dict):
            raise Damaged(f"the header of {name} is {brief(header)}")
        self._file, self._start = file, 8 + size
        self._header: dict[str, Any] = {key: of for key, of in header.items() if key != "__metadata__"}
        self._known: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        """The tensor of that name.

        Raises:
            Damaged: there is none, or its header contradicts itself.
        """
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def _read(self, name: str) -> Tensor:
        if name not in self._header:
            raise Damaged(f"{self.name} has no tensor {brief(name)}")
        of = self._header[name]
        kind, shape, place = (of.get(key) if isinstance(of, dict) else None for key in _KEYS)
        wrong = f"{self.name}: tensor {brief(name)} is said to be {brief(of)}"
        if not isinstance(kind, str) or kind not in _TYPES or not _are_sizes(shape) or not _are_sizes(place):
            raise Damaged(wrong)
        if len(place) != 2:
            raise Damaged(wrong)
        dtype = np.dtype(_TYPES[kind])
        begin, end = place
        if begin > end or self._start + end > len(self._file) or end - begin != prod(shape) * dtype.itemsize:
            raise Damaged(wrong)
        if begin == end:
            return Tensor(kind, np.empty(shape, dtype))
        found = np.frombuffer(self._file, dtype, prod(shape), self._start + begin)
        return Tensor(kind, found.reshape(shape))


def _are_sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(of) is int and 0 <= of < 2**63 for of in value)
