"""Threads that share out the work of one kernel.

Numba's own, for loops compiled with `parallel=True`, want a second version of every kernel, which takes three times as
long to compile as the first. Here a kernel is compiled once and does the part of its work that it is told; threads of
Python, which are free of the global lock while they compute, call it with a part each.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from itertools import count
from typing import Any

_PENDING = object()
"""In the place of a result that is not there yet."""


class _Call:
    """One call of a kernel in several parts: the first is done by who asks, each other by whichever thread takes it.

    All that the asking thread does may be repeated, so that an interrupt at any point is made up for.
    """

    def __init__(self, kernel: Callable[..., Any], parts: int, arguments: tuple[Any, ...]) -> None:
        self.kernel, self.parts, self.arguments = kernel, parts, arguments
        self.results: list[Any] = [_PENDING] * parts
        self.failed: BaseException | None = None
        self._taken, self._done = count(1), count(2)
        self._all_done = threading.Lock()
        self._all_done.acquire()

    def help(self) -> None:
        """Do one of the other parts, if one is left. A thread that finds none was told twice."""
        part = next(self._taken)
        if part >= self.parts:
            return
        try:
            self.results[part] = self.kernel(part, self.parts, *self.arguments)
        except BaseException as error:
            self.failed, self.results[part] = error, None
        if next(self._done) == self.parts:
            self._all_done.release()

    def do(self) -> None:
        """Do the first part, and see to it that all others are done."""
        for _ in range(1, self.parts):
            _asked.put(self)
        if self.results[0] is _PENDING:
            self.results[0] = self.kernel(0, self.parts, *self.arguments)
        self.wait()

    def wait(self) -> None:
        """Wait until no thread is at work any more."""
        while any(result is _PENDING for result in self.results[1:]):
            self._all_done.acquire()


_asked: queue.SimpleQueue[_Call] = queue.SimpleQueue()
"""What threads wait for."""
_started = 0
"""How many threads there are."""


def _help_on() -> None:
    while True:
        _asked.get().help()


def _in_child() -> None:
    """A fork has none of its parent's threads."""
    global _asked, _started
    _asked, _started = queue.SimpleQueue(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def share_out(kernel: Callable[..., Any], parts: int, arguments: tuple[Any, ...]) -> list[Any]:
    """What each part of a kernel returns. When this returns or raises, no part is still at work.

    Args:
        kernel: called as `kernel(part, parts, *arguments)`. To do a part a second time, after the first, must change
            nothing: an interrupt has parts repeated.
        parts: at least 2; one is done here, each other by a thread of its own.
    """
    global _started
    while _started < parts - 1:
        threading.Thread(target=_help_on, name="coset-kernels", daemon=True).start()
        _started += 1
    call = _Call(kernel, parts, arguments)
    waits: KeyboardInterrupt | None = None
    try:
        while True:
            try:
                call.do()
                break
            except KeyboardInterrupt as interrupt:
                waits = interrupt
    finally:
        call.wait()
    for error in (waits, call.failed):
        if error is not None:
            raise error
    return call.results
