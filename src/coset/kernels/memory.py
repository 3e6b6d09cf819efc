"""Arrays at addresses, so that one kernel reads any number of tables of any shape."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
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


_LINE = 64
"""Bytes of a cache line."""


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _prefetch(context: Any, address: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = ir.IntType(32)
        called = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, called, "llvm.prefetch.p0")
        pointer = builder.inttoptr(arguments[0], cgutils.voidptr_t)
        builder.call(function, [pointer, number(0), number(3), number(1)])  # to read, keep, data
        return context.get_dummy_value()

    return types.void(types.intp), build


@compiled
def fetch(address: int, start: int, length: int, like: Any) -> None:
    """Ask for what `vector` of the same arguments will read, so that it is there by then."""
    first = address + start * like.itemsize
    for at in range(first, first + length * like.itemsize, _LINE):
        _prefetch(at)


@compiled
def fetch_bytes(address: int, size: int) -> None:
    """Ask for so many bytes at an address."""
    for at in range(address, address + size, _LINE):
        _prefetch(at)


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def size_of(context: Any, number: Any) -> Any:
    """Bytes of a number of this type."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.IntType(64)(number.bitwidth // 8)

    return types.int64(number), build


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def uncounted(context: Any, arrays: Any) -> Any:
    """The same arrays, a tuple of them, without what counts who uses them: numba counts at every call of a function, by
    an atomic operation for each array that is handed on, which takes longer than the work on a short row. Only for what
    a kernel is given, as that is held by who calls it."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = []
        for number, kind in enumerate(arrays.types):
            array = context.make_array(kind)(context, builder, value=builder.extract_value(arguments[0], number))
            array.meminfo = ir.Constant(array.meminfo.type, None)
            array.parent = ir.Constant(array.parent.type, None)
            found.append(array._getvalue())
        return context.make_tuple(builder, signature.return_type, found)

    return types.Tuple(arrays.types)(arrays), build
