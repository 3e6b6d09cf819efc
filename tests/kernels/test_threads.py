"""Threads that share out a kernel's work."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest

from coset.kernels import threads
from coset.kernels.launch import exclusively
from coset.kernels.threads import share_out


def test_every_part_is_done_once_by_a_thread_of_its_own() -> None:
    together = threading.Barrier(3)

    def kernel(part: int, parts: int, base: int) -> tuple[int, int, int]:
        together.wait(30)  # none of the three is done before the others begin
        return part, parts, base

    for base in range(20):
        assert share_out(kernel, 3, (base,)) == [(0, 3, base), (1, 3, base), (2, 3, base)]


@pytest.mark.parametrize("wrong", [0, 1])
def test_an_error_of_any_part_is_raised_when_no_part_is_at_work(wrong: int) -> None:
    done = []

    def kernel(part: int, parts: int) -> None:
        if part == wrong:
            raise MemoryError("no room")
        done.append(part)

    with pytest.raises(MemoryError, match="no room"):
        share_out(kernel, 2, ())
    assert done == [1 - wrong]
    assert share_out(lambda part, parts: part, 2, ()) == [0, 1]


def test_an_interrupt_waits_for_all_parts() -> None:
    """Also one that comes before the first part is done, and one while it waits for the others."""
    for first in (True, False):
        done: list[int] = []
        told = threading.Event()

        def kernel(part: int, parts: int, first: bool, done: list[int], told: Any) -> int:
            if first == (part == 0) and not told.is_set():
                told.set()
                os.kill(os.getpid(), signal.SIGINT)
            done.append(part)
            return part

        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                share_out(kernel, 2, (first, done, told))
        finally:
            signal.signal(signal.SIGINT, before)
        assert sorted(set(done)) == [0, 1]
        assert done.count(1) == 1  # only what the asking thread does is repeated


def test_a_call_from_many_threads_at_once() -> None:
    found: dict[int, list[int]] = {}

    def ask(number: int) -> None:
        found[number] = exclusively(share_out, lambda part, parts, of: of * 10 + part, 4, (number,))

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(30)
    assert found == {number: [10 * number + part for part in range(4)] for number in range(16)}


@pytest.mark.parametrize("cores", [1, 64])
def test_threads_that_fell_asleep_are_woken(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they look for work first, as they do where each has a core."""
    monkeypatch.setattr(threads, "_cores", lambda: cores)
    for pause in (0.0, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.05, 0.0):
        time.sleep(pause)
        assert share_out(lambda part, parts: part, 3, ()) == [0, 1, 2]
