"""Memory in large pages: a row that is read at random costs a walk through the page table as well, which they make
short."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

from torch import Tensor

_PAGE = 2 << 20
"""Bytes of a large page on most machines; where it has another size, less is gained."""
_HUGEPAGE = 14
"""Linux's number for MADV_HUGEPAGE."""


def in_large_pages(tensor: Tensor) -> Tensor:
    """The same tensor, which must be fresh and not yet written to; Linux backs it with large pages where it has any."""
    if sys.platform == "linux" and type(tensor) is Tensor and tensor.is_cpu:  # others may have no memory at all
        begin = -(-tensor.data_ptr() // _PAGE) * _PAGE
        end = (tensor.data_ptr() + tensor.numel() * tensor.element_size()) // _PAGE * _PAGE
        if begin < end:
            _advise()(begin, end - begin, _HUGEPAGE)  # advice alone: a system that does not take it changes nothing
    return tensor


@cache
def _advise() -> Any:
    function = ctypes.CDLL(None).madvise
    function.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    return function
