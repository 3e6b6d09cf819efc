"""Threads that share out the work of one kernel.

Numba's own, for loops compiled with `parallel=True`, want a second version of every kernel, which takes three times as
long to compile as the first. Here a kernel is compiled once and does the part of its work that it is told; threads of
Python, which are free of the global lock while they compute, call it with a part each.

To wake a thread takes the system longer than many a kernel runs, so threads look for work for a moment before they
sleep (`coset.kernels.spin`), as long as each can have a core.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from itertools import count
from time import perf_counter
from typing import Any

import numpy as np

from coset.kernels import spin

_PENDING = object()
"""In the place of a result that is not there yet."""
_LOOKS, _FEW, _GRACE = 20_000, 2_000, 250
"""How often a thread looks for work, or for the end of others' work, before it sleeps: for some 600 µs, or 60 µs where
work has lately come later than that, since torch's own threads may want its core meanwhile. And how often it waits for
the one that told it to leave the global lock."""
_SOON, _OFTEN = 700e-6, 4
"""Seconds within which work must have come this many times for a thread to look for long."""
_tickets = count(1)


class _Call:
    """One call of a kernel in several parts: the first is done by who asks, each other by a helper.

    All that the asking thread does may be repeated, so that an interrupt at any point is made up for.
    """

    def __init__(self, kernel: Callable[..., Any], parts: int, arguments: tuple[Any, ...]) -> None:
        self.kernel, self.parts, self.arguments = kernel, parts, arguments
        self.results: list[Any] = [_PENDING] * parts
        self.failed: BaseException | None = None
        self.ticket = next(_tickets)
        self.begun = False
        self._done = count(2)
        self._all_done = threading.Lock()
        self._all_done.acquire()

    def help(self, part: int) -> None:
        """Do one of the other parts."""
        try:
            self.results[part] = self.kernel(part, self.parts, *self.arguments)
        except BaseException as error:
            self.failed, self.results[part] = error, None
        if next(self._done) == self.parts:
            self._all_done.release()

    def do(self, looks: int) -> None:
        """Do the first part, and see to it that all others are done. No thread is at work any more then."""
        self.begun = True
        self._tell()
        if self.results[0] is _PENDING:
            self.results[0] = self.kernel(0, self.parts, *self.arguments)
        if looks:
            spin.wait_for(_places[: self.parts - 1], self.ticket, looks)
        self.wait()

    def wait(self) -> None:
        """See to it that all parts but the first are done."""
        self._tell()  # where an interrupt came before
        while any(result is _PENDING for result in self.results[1:]):
            self._all_done.acquire()

    def _tell(self) -> None:
        for helper in _helpers[: self.parts - 1]:
            if self.results[helper.part] is _PENDING:
                helper.tell(self)

    @property
    def is_done(self) -> bool:
        """Whether all parts are."""
        return not any(result is _PENDING for result in self.results)


class _Helper:
    """A thread that does one part of every call it is told.

    Args:
        part: that it does.
        row: its words, see `coset.kernels.spin`.
    """

    def __init__(self, part: int, row: np.ndarray) -> None:
        self.part, self.row = part, row
        self.call: _Call | None = None
        self.looks = 0
        self._soon = _OFTEN
        self._sleeps = False
        self._wake = threading.Lock()
        self._wake.acquire()
        threading.Thread(target=self._help_on, name="coset-kernels", daemon=True).start()

    def tell(self, call: _Call) -> None:
        """To do its part of a call. To be told twice is to be told once."""
        self.call = call
        self.row[spin.TOLD] = call.ticket
        if self._sleeps and self._wake.locked():
            self._wake.release()

    def _help_on(self) -> None:
        done = 0
        while True:
            told = self._await(done)
            assert self.call is not None
            self.call.help(self.part)
            done = told

    def _await(self, done: int) -> int:
        """Say what is done, and wait until something else is told; what that is."""
        if not self.looks:
            self.row[spin.DONE] = done
            return self._sleep(done)
        begun = perf_counter()
        told: int = spin.stand_by(self.row, done, self.looks if self._soon >= _OFTEN else _FEW, _GRACE)
        if told == done:
            told = self._sleep(done)
        self._soon = self._soon + 1 if perf_counter() - begun < _SOON else 0
        return told

    def _sleep(self, done: int) -> int:
        """Wait for something else to be told, and what that is."""
        self._sleeps = True  # before it looks, as who tells looks for this after
        while self.row[spin.TOLD] == done:
            self._wake.acquire()
        self._sleeps = False
        return int(self.row[spin.TOLD])


_helpers: list[_Helper] = []
_places = np.empty(0, np.int64)
"""The addresses of their words."""


def _in_child() -> None:
    """A fork has none of its parent's threads."""
    _helpers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(helpers: int, looks: int) -> None:
    """Have so many helpers, which look so often."""
    global _places
    if helpers > len(_helpers) and looks:  # compiled, or loaded, before several threads ask for them
        spin.stand_by(np.zeros(spin.WORDS, np.int64), 0, 0, 0)
        spin.wait_for(np.empty(0, np.int64), 0, 0)
    while len(_helpers) < helpers:
        # A row of its own also where an interrupt left a thread that is in no list.
        _helpers.append(_Helper(len(_helpers) + 1, np.zeros(spin.WORDS, np.int64)))
    if len(_places) != len(_helpers):
        _places = np.array([helper.row.ctypes.data for helper in _helpers], np.int64)
    for helper in _helpers[:helpers]:
        helper.looks = looks


def share_out(kernel: Callable[..., Any], parts: int, arguments: tuple[Any, ...]) -> list[Any]:
    """What each part of a kernel returns. When this returns or raises, no part is still at work.

    One call at a time: who calls it holds `coset.kernels.launch.lock`.

    Args:
        kernel: called as `kernel(part, parts, *arguments)`. To do a part a second time, after the first, must change
            nothing: an interrupt has parts repeated.
        parts: at least 2; one is done here, each other by a thread of its own.
    """
    looks = _LOOKS if parts <= _cores() else 0
    _start(parts - 1, looks)
    call = _Call(kernel, parts, arguments)
    waits: KeyboardInterrupt | None = None
    try:
        while not call.is_done:
            try:
                call.do(looks)
            except KeyboardInterrupt as interrupt:
                waits = interrupt
    finally:
        if call.begun:
            call.wait()
    for error in (waits, call.failed):
        if error is not None:
            raise error
    return call.results
