"""Kernels on torch's own threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
import torch

from coset.kernels import launch, openmp
from coset.kernels.compile import kernel

pytestmark = pytest.mark.skipif(not openmp.at_hand(), reason="torch has no OpenMP here that lends its threads")


@kernel
def add_parts(part, parts, numbers, factor, names):
    """Every `parts`-th number becomes what `factor` makes of it; `names` says who did it."""
    for n in range(part, len(numbers), parts):
        numbers[n] += factor * n
        names[n] = part
    return 10 * parts + part


@kernel
def find_odd(part, parts, numbers):
    return numbers[part] % 2 == 1


@kernel
def find_room(part, parts, size):
    return len(np.empty(size if part else 1, np.float64))


@pytest.mark.parametrize("type_", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_every_part_is_done_for_arguments_of_any_type(type_: type, parts: int) -> None:
    numbers, names = np.zeros(1001, type_), np.full(1001, -1)
    for factor in (2, 3):
        assert openmp.share_out(add_parts, parts, (numbers, factor, names)) == [10 * parts + p for p in range(parts)]
    np.testing.assert_array_equal(numbers, 5 * np.arange(1001))
    np.testing.assert_array_equal(names, np.arange(1001) % parts)


def test_arrays_that_do_not_lie_in_one_piece() -> None:
    """Types that differ in nothing but this are other machine code."""
    whole = np.zeros((100, 2))
    openmp.share_out(add_parts, 2, (whole[:, 0].copy(), 1.5, np.empty(100, np.int64)))
    openmp.share_out(add_parts, 2, (whole[:, 1], 1.5, np.empty(100, np.int64)))
    np.testing.assert_array_equal(whole, np.stack([np.zeros(100), 1.5 * np.arange(100)], 1))


def test_truths_are_told_by_part() -> None:
    assert [bool(each) for each in openmp.share_out(find_odd, 4, (np.array([1, 2, 4, 7]),))] == [
        True,
        False,
        False,
        True,
    ]


def test_a_part_without_memory_is_an_error() -> None:
    with pytest.raises(MemoryError, match="find_room: no memory"):
        openmp.share_out(find_room, 2, (1 << 60,))
    assert openmp.share_out(find_room, 2, (3,)) == [1, 3]


def test_a_kernel_that_returns_more_than_a_number_is_refused() -> None:
    @kernel
    def return_two(part, parts):
        return part, parts

    @kernel
    def return_narrow(part, parts):
        return np.int32(-part)

    for each in (return_two, return_narrow):
        with pytest.raises(TypeError, match=f"{each.__name__} returns"):
            openmp.share_out(each, 2, ())


def test_calls_of_many_threads_between_operators_of_torch() -> None:
    wrong = []

    def ask(number: int) -> None:
        torch.set_num_threads(2)  # which is said for each thread
        numbers, names = np.zeros(20_000), np.empty(20_000, np.int64)
        for _ in range(20):
            launch.launch(add_parts, launch.SMALL, numbers, number, names)
            torch.zeros(100_000).add_(1).sum()
        if not np.array_equal(numbers, 20 * number * np.arange(20_000)):
            wrong.append(number)

    before = torch.get_num_threads()
    asking = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(60)
    torch.set_num_threads(before)
    assert not wrong


@pytest.mark.parametrize("lent", [True, False])
@pytest.mark.parametrize("ids", [launch.SMALL, 2 * launch._EACH, 2 * launch._EACH - 1])
def test_calls_are_shared_out_by_their_size(lent: bool, ids: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's threads take calls that threads of Python, which sleep, are not woken for."""
    monkeypatch.setattr(openmp, "at_hand", lambda: lent)
    monkeypatch.setattr(launch.config, "NUMBA_NUM_THREADS", 2)  # also where there is one core
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        numbers, names = np.zeros(1001), np.empty(1001, np.int64)
        for _ in range(2):  # the first time, a kernel may be compiled by one thread
            found = launch.launch(add_parts, ids, numbers, 2, names)
    finally:
        torch.set_num_threads(before)
    assert found == ([20, 21] if ids >= (2 * launch._EACH if lent else launch.SMALL) else [10])
    np.testing.assert_array_equal(numbers, 4 * np.arange(1001))


_FEWER = """
import numpy as np, torch
from tests.kernels.test_openmp import add_parts
from coset.kernels import openmp
numbers = np.zeros(1001)
assert openmp.share_out(add_parts, 4, (numbers, 2, np.empty(1001, np.int64))) == [40, 41, 42, 43]
assert (numbers == 2 * np.arange(1001)).all()
"""


def test_fewer_threads_than_were_asked_for_do_all_parts() -> None:
    subprocess.run([sys.executable, "-c", _FEWER], env={**os.environ, "OMP_THREAD_LIMIT": "1"}, check=True, timeout=60)


_FORK = """
import os, signal, sys, warnings
import numpy as np, torch
from tests.kernels.test_openmp import add_parts
from coset.kernels import openmp
warnings.simplefilter("ignore")  # of Python, of the threads that this process has
torch.set_num_threads(2)
if "torch" in sys.argv:
    torch.zeros(2_000_000).add_(1)
if "kernels" in sys.argv:
    openmp.share_out(add_parts, 2, (np.zeros(10), 1, np.empty(10, np.int64)))
child = os.fork()
signal.alarm(30)  # by which a child that waits for ever ends
torch.zeros(2_000_000).add_(1)
numbers = np.zeros(1001)
assert openmp.at_hand()
assert openmp.share_out(add_parts, 2, (numbers, 2, np.empty(1001, np.int64))) == [20, 21]
assert (numbers == 2 * np.arange(1001)).all()
if not child:
    os._exit(0)  # as multiprocessing does: at a usual end, torch waits for a thread that the child has not
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.skipif(not openmp._library().pause, reason="this OpenMP cannot give its threads back")
@pytest.mark.parametrize("first", [["torch"], ["kernels"], ["torch", "kernels"]])
def test_a_fork_has_threads_of_its_own(first: list[str]) -> None:
    """For kernels and for torch, whichever asked for threads before the fork."""
    subprocess.run([sys.executable, "-c", _FORK, *first], check=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_does_without_threads_that_were_not_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openmp, "_library", lambda: openmp._Library(1, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if not child:
        os._exit(7 if openmp.at_hand() else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert openmp.at_hand()
