"""Words of memory by which threads tell each other what to do without the system: who waits looks at them again and
again, free of the global lock."""

from __future__ import annotations

import platform

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from coset.kernels.compile import kernel

TOLD, DONE, WORDS = 0, 16, 32
"""Where a thread's row of int64 words says what it was told, and what it has done; and the length of the row. The two
lie in lines of the cache of their own."""

_PAUSES: dict[str, tuple[str, list[int]]] = {
    "x86_64": ("llvm.x86.sse2.pause", []), "AMD64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [1]), "arm64": ("llvm.aarch64.hint", [1]),
}  # fmt: skip
_PAUSE = _PAUSES.get(platform.machine())
"""LLVM's name of the instruction by which a waiting thread leaves the core to its twin, and what it is given."""


@intrinsic
def _load(typingctx, address):
    def generate(context, builder, signature, arguments):
        word = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(word, "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic
def _store(typingctx, address, value):
    def generate(context, builder, signature, arguments):
        word = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store_atomic(arguments[1], word, "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def _pause(typingctx):
    def generate(context, builder, signature, arguments):
        if _PAUSE is not None:
            name, given = _PAUSE
            word = ir.IntType(32)
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), [word] * len(given)), name
            )
            builder.call(function, [word(each) for each in given])
        return context.get_dummy_value()

    return types.void(), generate


@kernel
def stand_by(row, done, most, grace):
    """Say that what `done` numbers is done, and wait until something else is told, for `most` looks; what is told then.

    Whoever tells holds the global lock for a moment longer; who sees it lets `grace` looks pass, since to wait for that
    lock takes longer.
    """
    base = np.int64(row.ctypes.data)
    _store(base + 8 * DONE, done)
    for _ in range(most):
        if _load(base + 8 * TOLD) != done:
            break
        _pause()
    told = _load(base + 8 * TOLD)
    if told != done:
        for _ in range(grace):
            _pause()
    return told


@kernel
def wait_for(places, ticket, most):
    """Whether all threads whose rows are at these addresses have done what `ticket` numbers, after at most so many
    looks."""
    for at in range(len(places)):
        word = places[at] + 8 * DONE
        left = most
        while _load(word) != ticket:
            if left <= 0:
                return False
            left -= 1
            _pause()
    return True
