"""Interrupts, threads and forks: a step is done as a whole or not at all."""

from __future__ import annotations

import copy
import linecache
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import coset
from coset.engine import fused as fused_engine
from coset.kernels import launch as launching
from coset.kernels.launch import SMALL, lock
from coset.methods import QuotientRemainder
from coset.optimizers import Adagrad, Adam, base
from coset.schema import Table
from coset.tables import EmbeddingBagCollection
from coset.testing.cases import difference
from tests.optimizers.small import KINDS, Two, backward, collection, ids_of, learn, state

# -- interrupts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["together", "apply", "bring_all", "look_up", "add_gradients"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_leaves_all_of_a_step_or_nothing(kind: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, twin = Two(), Two()
    optimizer, other = KINDS[kind](model), KINDS[kind](twin)
    learn(model, optimizer, range(3))
    learn(twin, other, range(3))
    room: Any = base.updates if where in ("apply", "bring_all") else base
    if where in ("look_up", "add_gradients"):
        room = fused_engine
    whole, calls = getattr(room, where), []

    def interrupts(function: Callable[..., Any]) -> Callable[..., Any]:
        def interrupted(*given: Any) -> Any:
            calls.append(where)
            if len(calls) == 1:
                os.kill(os.getpid(), signal.SIGINT)
            return function(*given)

        return interrupted

    interrupted = interrupts(whole)
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            if where not in ("together", "apply"):
                patch.setattr(room, where, interrupted)
            if where != "bring_all" or kind != "dense":
                backward_again = where in ("look_up", "add_gradients")
                if backward_again:
                    with pytest.raises(KeyboardInterrupt):
                        backward(model, 7)
                    optimizer.zero_grad()
                else:
                    backward(model, 7)
                    patch.setattr(room, where, interrupted)
                    if where == "bring_all":
                        optimizer.step()
                    else:
                        with pytest.raises(KeyboardInterrupt):
                            optimizer.step()
            else:
                with pytest.raises(KeyboardInterrupt):
                    optimizer.synchronize()
                assert len(calls) >= 2  # both collections, the interrupt notwithstanding
    finally:
        handler = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, before)
    assert handler is signal.default_int_handler
    if where == "together":
        assert optimizer.steps == 3
        assert difference(state(model, optimizer), state(twin, other)) is None
        optimizer.step()  # the gradients still wait
    if where in ("apply", "together") or (where == "bring_all" and kind != "dense"):
        backward(twin, 7)
        other.step()
        assert optimizer.steps == 4
    for module, of in ((model, optimizer), (twin, other)):
        assert difference(state(model, optimizer), state(twin, other)) is None
        learn(module, of, range(10, 10))
    learn(model, optimizer, range(10, 13))
    learn(twin, other, range(10, 13))
    assert difference(state(model, optimizer), state(twin, other)) is None


PACKAGE = f"{Path(coset.__file__).parent}{os.sep}"
"""What the files of the package begin with; those of an environment within a folder called coset do not."""


def in_thread(work: Callable[..., Any], *given: Any) -> None:
    """Do `work` in another thread, and wait for it no longer than a minute."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work(*given)
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(60)
    assert not worker.is_alive()
    assert errors == []


def is_free() -> None:
    """Fail unless this thread, which is not the main one, can have the lock of the kernels."""
    assert lock.acquire(timeout=10)
    lock.release()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["rowwise", "dense"])
def test_an_interrupt_at_any_line_of_a_step(kind: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "SMALL", 0)  # all calls are shared out
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    model = Two()
    optimizer = KINDS[kind](model)
    learn(model, optimizer, range(2))
    start = copy.deepcopy((model.state_dict(), optimizer.state_dict()))

    def after(steps: int) -> None:
        """So many steps of training, the first two of them done; rows that the last ones do not read wait."""
        model.load_state_dict(start[0])
        optimizer.load_state_dict(start[1])
        optimizer.zero_grad()
        learn(model, optimizer, range(2, steps))

    ends = {}
    for steps in (3, 4):
        after(steps)
        optimizer.synchronize()
        ends[steps] = copy.deepcopy(model.state_dict())
    seen, line, interrupted = set(), 0, True
    while interrupted:
        after(3)
        backward(model, 3)
        left, interrupted = line, False

        def trace(frame: Any, event: str, argument: Any) -> Any:
            nonlocal left, interrupted
            if interrupted or not frame.f_code.co_filename.startswith(PACKAGE):
                return None  # the lines of torch are not traced; what it calls in the package is
            if event == "line":
                if linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with "):
                    return trace  # left without its `__exit__`, which no interrupt of the system does
                left -= 1
                if left < 0:
                    interrupted = True
                    raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            optimizer.step()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        in_thread(is_free)
        assert torch._C._is_torch_function_enabled()
        optimizer.synchronize()
        assert difference(model.state_dict(), ends[optimizer.steps]) is None, line
        seen.add(optimizer.steps)
        line += 2
    assert seen == {3, 4}
    assert line > 60


def test_steps_outside_the_main_thread() -> None:
    fused, twin = collection(), collection()
    optimizer, other = Adagrad(fused), Adagrad(twin)
    in_thread(learn, fused, optimizer, range(3))
    learn(twin, other, range(3))
    assert difference(state(fused, optimizer), state(twin, other)) is None


# -- threads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sgd", "dense"])
def test_eight_threads_that_look_up_at_once(kind: str) -> None:
    plain, fused = collection(), collection()
    optimizer = KINDS[kind](fused)
    learn(fused, optimizer, range(3))
    plain.load_state_dict(fused.state_dict())
    if kind == "dense":
        fused.load_state_dict(plain.state_dict())
        learn(fused, optimizer, range(3, 6))  # rows are behind, and brought up by whoever reads them first
    torch.set_num_threads(2)
    try:
        at_once = threading.Barrier(8)

        def work(ids: list[Tensor]) -> list[dict[str, Tensor]]:
            at_once.wait(timeout=60)
            found = []
            for number, some in enumerate(ids):
                with torch.set_grad_enabled(number % 2 == 0):
                    found.append(fused(some))
            return found

        # Over 64 shapes of calls, which are remembered no longer.
        asked = [[ids_of(at, 1 + at % 300) for at in range(40 * worker, 40 * worker + 40)] for worker in range(8)]
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(work, asked))
    finally:
        torch.set_num_threads(1)
    plain.load_state_dict(fused.state_dict())
    for ids, found in zip(asked, results, strict=True):
        for name, expected in plain(torch.cat(ids, 1)).items():
            vectors = torch.cat([each[name] for each in found])
            torch.testing.assert_close(vectors, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_after_large_steps_gives_the_same_bits() -> None:
    fused = EmbeddingBagCollection([(Table("a", 9000, 2), QuotientRemainder(90))])
    optimizer = Adam(fused, mode="dense")

    def step() -> None:
        ids = torch.arange(SMALL + 100) % 9000
        fused({"a": ids})["a"].backward(torch.ones(len(ids), 2))
        optimizer.step()

    torch.set_num_threads(2)
    try:
        step()
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python, of the threads that this process has
            child = os.fork()
        if child == 0:
            try:
                torch.set_num_threads(1)  # or torch's own sums would wait for threads of the parent
                step()
                os.write(writing, next(iter(fused.state_dict().values())).numpy()[:50].tobytes())
            finally:
                os._exit(0)
        ends, end = time.monotonic() + 60, (0, 0)
        while end == (0, 0) and time.monotonic() < ends:
            end = os.waitpid(child, os.WNOHANG)
            time.sleep(0.01)
        if end == (0, 0):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert end == (child, 0)
        step()
        expected = next(iter(fused.state_dict().values())).numpy()[:50].tobytes()
        assert os.read(reading, 2 * len(expected)) == expected
    finally:
        torch.set_num_threads(1)
        os.close(reading)
        os.close(writing)
