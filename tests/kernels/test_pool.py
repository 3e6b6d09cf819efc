"""Memory that is used again is never somebody's who still has it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode

from coset.kernels import pool as room
from coset.kernels.pool import Pool
from coset.storage.pages import in_large_pages

FLOAT = np.dtype(np.float32)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_what_nobody_has_is_used_again() -> None:
    pool = Pool(FLOAT)
    first = pool.take(1000)
    place = address(first)
    del first
    assert address(pool.take(900)) == place


@given(st.lists(st.tuples(st.integers(1, 200_000), st.integers(0, 5)), max_size=40))
def test_no_two_that_are_held_overlap(asked: list[tuple[int, int]]) -> None:
    pool, held = Pool(FLOAT), []
    for count, drop in asked:
        taken = pool.take(count, count // 8)
        assert len(taken) == count
        spans = sorted((address(each), address(each) + each.nbytes) for each in (*held, taken))
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
        held.append(taken)
        del held[:drop], taken


WAYS: dict[str, Callable[[torch.Tensor], Any]] = {
    "numpy": lambda tensor: tensor.numpy()[::2],
    "view": lambda tensor: tensor[3:],
    "storage": lambda tensor: tensor.untyped_storage(),
    "transposed": lambda tensor: tensor.t().numpy(),
    "dlpack": torch.from_dlpack,
}


@pytest.mark.parametrize("way", WAYS)
def test_any_way_to_hold_it_counts(way: str) -> None:
    pool = Pool(FLOAT)
    held = WAYS[way](torch.from_numpy(pool.take(64).reshape(8, 8)))
    place = address(pool._kept[0])
    assert address(pool.take(64)) != place
    del held
    assert address(pool.take(64)) == place


def test_two_threads_do_not_get_one_array(monkeypatch: pytest.MonkeyPatch) -> None:
    holders = room._holders

    def slow(arrays: list[np.ndarray], at: int) -> int:
        found = holders(arrays, at)
        time.sleep(1e-4)  # another thread has all the time to ask the same
        return found

    monkeypatch.setattr(room, "_holders", slow)
    pool, wrong = Pool(FLOAT), []

    def work(number: int) -> None:
        for _ in range(50):
            mine = pool.take(100)
            mine[:] = number
            time.sleep(1e-5)
            wrong.extend(mine[mine != number])

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert not wrong


def test_what_nobody_asks_for_again_is_given_back() -> None:
    pool = Pool(FLOAT)
    pool.take(10_000_000)
    for _ in range(40):
        pool.take(10)
    assert sum(each.nbytes for each in pool._kept) < 1 << 20
    pool.clear()
    assert not pool._kept


def test_large_pages_change_no_value() -> None:
    tensor = torch.empty(3_000_000)
    assert in_large_pages(tensor) is tensor
    assert tensor.fill_(7).eq(7).all()
    for small in (torch.empty(0), torch.empty(5), torch.empty(3, device="meta")):
        assert in_large_pages(small) is small
    with FakeTensorMode():
        in_large_pages(torch.empty(3_000_000))  # which has no address
