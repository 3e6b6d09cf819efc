"""The threads that torch's own operators run on, lent to a kernel.

Threads of OpenMP that have ended their work go on looking for more, for a millisecond or so, and take the core from any
other thread meanwhile. So kernels between two operators of torch had better run on the same threads. They are asked for
by the function into which compilers turn a parallel region, found in the library that torch has loaded, whichever that
is; each thread calls the machine code of a kernel, without Python.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import ir
from numba import typeof
from numba.core import cgutils, types
from numba.extending import intrinsic

from coset.kernels.compile import kernel

RESULT, STATUS, WORDS = 0, 1, 2
"""What a part leaves in its row of int64 words: what it returned, of at most so many bytes, and numba's status, which
is 0 where it returned at all."""


class _Library(NamedTuple):
    """Addresses of functions of torch's OpenMP library; 0 where it has none of that name.

    Args:
        region: of `GOMP_parallel(body, data, threads, flags)`.
        pause: of `omp_pause_resource_all(kind)`.
    """

    region: int
    pause: int


@cache
def _library() -> _Library:
    try:
        library = ctypes.CDLL(torch._C.__file__)  # functions are looked for in all that it needs, in turn
    except OSError:
        return _Library(0, 0)
    names = "GOMP_parallel", "omp_pause_resource_all"
    found = [ctypes.cast(getattr(library, name, None), ctypes.c_void_p).value or 0 for name in names]
    return _Library(*found)


_HARD = 2
"""How OpenMP is to pause: give back all threads."""
_paused, _forked = False, False
"""Whether all threads were given back before a fork; and whether this process is a fork of one where they were not, as
the library would wait here for the threads of its parent."""


def _before() -> None:
    """Give back the threads that wait for this one's next region; that region, here or in the child, starts others. So
    torch's own operators do not wait in the child, either, for threads that kernels have asked for."""
    global _paused
    address = _library().pause
    _paused = address != 0 and ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(address)(_HARD) == 0


def _in_child() -> None:
    global _forked
    _forked = _forked or not _paused


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_in_child)


def at_hand() -> bool:
    """Whether torch's threads can be asked."""
    return not _forked and _library().region != 0


def _types_of(arguments: Any) -> tuple[Any, ...]:
    return (types.int64, types.int64, *arguments)


def _mark(of: tuple[Any, ...]) -> int:
    """A number for these types: kernels of other types are other machine code."""
    return int.from_bytes(hashlib.sha256(str(of).encode()).digest()[:8], "little", signed=True)


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _mark_of(context: Any, arguments: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return ir.IntType(64)(_mark(_types_of(arguments.types)))

    return types.int64(arguments), build


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def _share_out(context: Any, region: Any, address: Any, parts: Any, found: Any, arguments: Any) -> Any:
    """Call the kernel at `address` for every part, on so many threads: each takes the next part that nobody has taken,
    as OpenMP may lend fewer than it was asked for."""
    word = ir.IntType(64)

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        region, address, parts, found, packed = given
        packer = context.get_arg_packer(_types_of(arguments.types))
        handed = packer.as_arguments(builder, [word(0), word(0), *cgutils.unpack_tuple(builder, packed)])[2:]
        record = ir.LiteralStructType([word] * 4 + [each.type for each in handed])
        asked = cgutils.alloca_once(builder, record)
        for at, value in enumerate([word(0), parts, address, found, *handed]):
            builder.store(value, cgutils.gep_inbounds(builder, asked, 0, at))
        body = _body(context, builder.module, record)
        number = ir.IntType(32)
        called = ir.FunctionType(ir.VoidType(), [body.type, cgutils.voidptr_t, number, number])
        builder.call(
            builder.inttoptr(region, called.as_pointer()),
            [body, builder.bitcast(asked, cgutils.voidptr_t), builder.trunc(parts, number), number(0)],
        )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64, arguments), build


def _body(context: Any, module: Any, record: Any) -> Any:
    """What each thread does: parts of the call that `record` holds, until all are taken."""
    word, number = ir.IntType(64), ir.IntType(32)
    name = module.get_unique_name("coset_parts")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t]), name)
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block())
    asked = builder.bitcast(function.args[0], record.as_pointer())

    def held(at: int) -> Any:
        return cgutils.gep_inbounds(builder, asked, 0, at)

    raised = cgutils.alloca_once(builder, cgutils.voidptr_t)
    parts, address, found = (builder.load(held(at)) for at in (1, 2, 3))
    handed = [builder.load(held(at)) for at in range(4, len(record.elements))]
    called = ir.FunctionType(number, [cgutils.voidptr_t, raised.type, word, word, *(each.type for each in handed)])
    compiled = builder.inttoptr(address, called.as_pointer())
    again, do, end = (function.append_basic_block() for _ in range(3))
    builder.branch(again)
    builder.position_at_end(again)
    part = builder.atomic_rmw("add", held(0), word(1), "monotonic")
    builder.cbranch(builder.icmp_signed("<", part, parts), do, end)
    builder.position_at_end(do)
    row = builder.add(found, builder.mul(part, word(8 * WORDS)))
    left = builder.inttoptr(row, cgutils.voidptr_t)
    status = builder.call(compiled, [left, raised, part, parts, *handed])
    at = builder.inttoptr(builder.add(row, word(8 * STATUS)), word.as_pointer())
    builder.store(builder.zext(status, word), at)
    builder.branch(again)
    builder.position_at_end(end)
    builder.ret_void()
    return function


@kernel
def _call(region, known, parts, found, arguments):
    """Whether machine code for the types of these arguments is `known`; then it has been called, for every part."""
    mark = _mark_of(arguments)
    for k in range(len(known)):
        if known[k, 0] == mark:
            _share_out(region, known[k, 1], np.int64(parts), np.int64(found.ctypes.data), arguments)
            return True
    return False


_known: dict[Any, np.ndarray] = {}
"""For each kernel the marks of the types that it is compiled for, each with the address of its machine code."""
_NONE = np.empty((0, 2), np.int64)


def _learn(of: Any, arguments: tuple[Any, ...]) -> np.ndarray:
    """The same, with the types of these arguments, for which the kernel is compiled or read from disk."""
    signature = _types_of(typeof(each) for each in arguments)
    of.compile(signature)
    made = of.overloads[signature]
    if (returned := made.signature.return_type) not in (types.none, types.boolean, types.int64):
        raise TypeError(f"{of.__name__} returns {returned}; a part may return a truth, an int64 or nothing")
    address = made.library.get_pointer_to_function(made.fndesc.llvm_func_name)
    line = np.array([[_mark(signature), address]], np.int64)
    _known[of] = np.concatenate([_known.get(of, _NONE), line])
    return _known[of]


def share_out(kernel: Callable[..., Any], parts: int, arguments: tuple[Any, ...]) -> list[int]:
    """What each part of a kernel returns, as whole numbers: a truth or a number, or nothing, which is 0. An interrupt
    is raised when all parts are done.

    Args:
        kernel: called as `kernel(part, parts, *arguments)`.
        parts: of its work, and threads that are asked for.

    Raises:
        MemoryError: a part had no room for what it needs meanwhile; kernels raise nothing else.
    """
    found, region = np.zeros((parts, WORDS), np.int64), _library().region
    if not _call(region, _known.get(kernel, _NONE), parts, found, arguments) and not _call(
        region, _learn(kernel, arguments), parts, found, arguments
    ):
        raise TypeError(f"{kernel.__name__}: numba types its arguments in two ways")
    results, statuses = found.T.tolist()
    if any(statuses):
        raise MemoryError(f"{kernel.__name__}: no memory is left for what it needs while it runs")
    return results
