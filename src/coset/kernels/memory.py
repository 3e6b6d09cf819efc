"""Arrays at addresses, so that one kernel reads any number of tables of any shape."""

from __future__ import annotations

from typing import Any

from numba import carray
from numba.core import cgutils, types
from numba.extending import intrinsic

from coset.kernels.compile import compiled


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _pointer(context: Any, address: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.intp), build


@compiled
def vector(address: int, start: int, length: int, like: Any) -> Any:
    """`length` numbers of the type of `like`, from the element `start` on of what is at `address`."""
    return carray(_pointer(address + start * like.itemsize), (length,), like.dtype)
