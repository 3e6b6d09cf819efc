"""How kernels are launched: one at a time, on as many threads as torch uses."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from numba.core import config

from coset.kernels import openmp, threads

T = TypeVar("T")

SMALL = 8192
"""Ids of a call that one thread has done before others are awake."""
_EACH = 1024
"""Ids for each thread of a smaller call, where threads are torch's, which are awake after an operator."""

lock = threading.RLock()
"""Held while a kernel runs, and by whoever must not have others run between two kernels, which `exclusively` does. A
fork waits for it, so a child never sees half a step."""


def exclusively(work: Callable[..., T], *arguments: Any) -> T:
    """What `work` returns, while no kernel of another thread runs.

    On one line, so that no debugger or tracer can raise between the work and the release of the lock.
    """
    with lock: return work(*arguments)  # fmt: skip  # noqa: E701


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


def launch(kernel: Callable[..., Any], ids: int, *arguments: Any) -> list[Any]:
    """What each part of the kernel returns, run on as many threads as torch uses; on one, for calls of few `ids`."""
    return exclusively(_run, kernel, ids, arguments)


def alongside(kernel: Callable[..., Any], ids: int, *arguments: Any) -> list[Any]:
    """The same of a kernel that changes nothing but what it returns, so that others may run meanwhile: where one does,
    this one is run on the thread that asks, without waiting. So as many threads of a server as there are cores look
    tables up at once."""
    alone = _at_work or ids < SMALL  # a server's threads have slept since the last call
    return [kernel(0, 1, *arguments)] if alone else launch(kernel, ids, *arguments)


_at_work = False
"""Whether a kernel is being run. Who finds a wrong answer here waits for a moment, or does without help."""


def _run(kernel: Callable[..., Any], ids: int, arguments: tuple[Any, ...]) -> list[Any]:
    global _at_work
    _at_work = True
    try:
        parts, lent = min(torch.get_num_threads(), config.NUMBA_NUM_THREADS), openmp.at_hand()
        if parts == 1 or ids < (min(SMALL, _EACH * parts) if lent else SMALL):
            return [kernel(0, 1, *arguments)]
        if lent:
            return openmp.share_out(kernel, parts, arguments)
        if not getattr(kernel, "overloads", True):  # one thread loads it, or compiles it, while the others would wait
            return [kernel(0, 1, *arguments)]
        return threads.share_out(kernel, parts, arguments)
    finally:
        _at_work = False
