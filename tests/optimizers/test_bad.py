"""What must not go wrong quietly: wrong ids, gradients and arguments, interrupts, threads and forks."""

from __future__ import annotations

import copy
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
from torch import Tensor, nn

import coset
from coset.engine import fused as fused_engine
from coset.errors import InputError
from coset.kernels.compile import SMALL, ParallelKernel, lock
from coset.methods import FeatureGeneration, Full, LowRank, QuotientRemainder, TensorTrain
from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad, TableOptimizer, base
from coset.schema import Table
from coset.tables import EmbeddingBagCollection, EmbeddingCollection
from coset.testing.cases import difference

N = 30
KINDS: dict[str, Callable[..., TableOptimizer]] = {
    "sgd": lambda m, **o: SGD(m, lr=0.1, **o),
    "adagrad": lambda m, **o: Adagrad(m, lr=0.1, **o),
    "rowwise": lambda m, **o: RowWiseAdagrad(m, lr=0.1, **o),
    "lazy": lambda m, **o: Adam(m, lr=0.1, **o),
    "dense": lambda m, **o: Adam(m, lr=0.1, mode="dense", **o),
}


def collection(**options: Any) -> EmbeddingBagCollection:
    torch.manual_seed(0)
    methods = {"full": Full(), "mult": QuotientRemainder(7), "narrow": LowRank(2), "many": FeatureGeneration((6, 5))}
    tables = [(Table(name, N, 4), how) for name, how in methods.items()]
    return EmbeddingBagCollection(tables, {**{name: name for name in methods}, "again": "mult"}, **options)


def state(module: nn.Module, optimizer: TableOptimizer | None = None) -> dict[str, Tensor]:
    kept = {name: value.clone() for name, value in module.state_dict().items()}
    if optimizer is not None:
        for number, of in optimizer.state_dict()["state"].items():
            kept |= {f"{number}.{name}": value.clone() for name, value in of.items()}
        kept["steps"] = torch.tensor(optimizer.steps)
    return kept


def ids_of(step: int, count: int = 4) -> Tensor:
    return torch.randint(N, (5, count), generator=torch.Generator().manual_seed(step))


def backward(module: nn.Module, step: int, times: float = 1.0) -> None:
    (sum(vectors.square().sum() for vectors in module(ids_of(step)).values()) * times).backward()


def learn(module: nn.Module, optimizer: TableOptimizer, steps: range) -> None:
    for step in steps:
        backward(module, step)
        optimizer.step()


# -- ids ---------------------------------------------------------------------------------------------------------------

WRONG: dict[str, Any] = {
    "below": {"mult": torch.tensor([3, -1, 2])},
    "at_n": {"full": torch.tensor([3, N])},
    "far": {"narrow": torch.tensor([2**62, 1])},
    "far_below": {"narrow": torch.tensor([0, -(2**63)])},
    "several": {"mult": torch.tensor([N + 3, 1, N + 9, N])},
    "several_below": {"mult": torch.tensor([N, -5, -9, 2])},
    "narrow": {"many": torch.tensor([0, N], dtype=torch.int32)},
    "wide_bag": {"again": torch.tensor([[1, 2], [N + 1, 0]])},
    "bag": {"full": (torch.tensor([1, N, 2]), torch.tensor([0, 1]))},
    "weighted": {"full": (torch.tensor([1, N, 2]), torch.tensor([0, 1]), torch.ones(3))},
    "second": {"mult": torch.tensor([0, 1]), "again": torch.tensor([N]), "full": torch.tensor([N + 1])},
    "matrix": torch.full((5, 3), N),
    "late": {"full": torch.cat([torch.zeros(3000, dtype=torch.int64), torch.tensor([-7])])},
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("kind", ["sgd", "dense"])
@pytest.mark.parametrize("mode", ["sum", "max"])
def test_ids_out_of_range_are_those_of_plain_torch(case: str, kind: str, mode: Any) -> None:
    if case == "weighted" and mode == "max":
        return
    plain, fused = collection(mode=mode), collection(mode=mode)
    optimizer = KINDS[kind](fused)
    learn(fused, optimizer, range(2))
    before = state(fused, optimizer)
    with pytest.raises(IndexError) as expected:
        plain(WRONG[case])
    for context in (torch.enable_grad, torch.no_grad):
        with context(), pytest.raises(IndexError) as found:
            fused(WRONG[case])
        assert str(found.value) == str(expected.value)
    if case == "matrix":
        with pytest.raises(IndexError, match=f"id {N} is out of range"):
            fused.concatenated(WRONG[case])
    optimizer.step()
    before["steps"] += 1
    if kind == "sgd":  # dense Adam goes on without a gradient
        assert difference(state(fused, optimizer), before) is None


def test_ids_out_of_range_with_an_order() -> None:
    tables = [(Table("a", N, 4), QuotientRemainder(7))]
    for make in (EmbeddingCollection, EmbeddingBagCollection):
        module = make(tables, orders={"a": torch.arange(N).flip(0)})
        SGD(module)
        for wrong in (-1, N, 2**40):
            with pytest.raises(IndexError, match=f"table 'a': id {wrong} is out of range, its ids are 0 … 29"):
                module({"a": torch.tensor([0, wrong])})


def test_a_batch_with_a_wrong_id_leaves_what_waits_for_a_step() -> None:
    fused, twin = collection(), collection()
    optimizers = [Adagrad(fused), Adagrad(twin)]
    for module in (fused, twin):
        backward(module, 0)
    with pytest.raises(IndexError):
        fused({"full": torch.tensor([N])})
    for optimizer in optimizers:
        optimizer.step()
    assert difference(state(fused, optimizers[0]), state(twin, optimizers[1])) is None


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"full": torch.tensor([1.0])}, TypeError),
        ({"full": torch.tensor([1], dtype=torch.int16)}, TypeError),
        ({"nobody": torch.tensor([1])}, InputError),
        ({"full": torch.zeros(1, 1, 1, dtype=torch.int64)}, InputError),
        ({"full": (torch.tensor([1, 2]), torch.tensor([0, 3]))}, InputError),
        ({"full": (torch.tensor([1, 2]), torch.tensor([1]))}, InputError),
        ({"full": (torch.tensor([1, 2]), torch.tensor([0]), torch.ones(3))}, InputError),
        (torch.zeros(4, 2, dtype=torch.int64), InputError),
        (torch.zeros(5, 2), TypeError),
        ([1, 2], InputError),
    ],
)
def test_wrong_batches_are_refused_as_by_plain_torch(given: Any, error: type[Exception]) -> None:
    plain, fused = collection(), collection()
    SGD(fused)
    with pytest.raises(error) as expected:
        plain(given)
    for call in (fused, fused.concatenated):
        with pytest.raises(error) as found:
            call(given)
        assert str(found.value) == str(expected.value)


def test_bags_of_different_numbers_cannot_stand_side_by_side() -> None:
    fused = collection()
    SGD(fused)
    with pytest.raises(InputError, match="same number of bags"):
        fused.concatenated({"full": torch.tensor([1, 2]), "mult": torch.tensor([1])})


# -- gradients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_that_are_not_finite_change_nothing(kind: str, value: float) -> None:
    fused, skipping = collection(), collection()
    optimizer, other = KINDS[kind](fused), KINDS[kind](skipping, nonfinite="skip", max_norm=1.0)
    learn(fused, optimizer, range(2))
    learn(skipping, other, range(2))
    before, after = state(fused, optimizer), state(skipping, other)
    for module in (fused, skipping):
        vectors = module(ids_of(5))
        factor = torch.ones(4, 4)
        factor[2, 1] = value
        loss = vectors["full"].sum() + (vectors["mult"] * factor).sum()
        loss.backward()
    with pytest.raises(FloatingPointError, match="table 'mult': a gradient is NaN or infinite"):
        optimizer.step()
    assert difference(state(fused, optimizer), before) is None
    other.step()
    assert other.skipped == 1
    assert difference(state(skipping, other), after) is None
    learn(fused, optimizer, range(5, 7))  # the wrong gradients are gone
    assert all(torch.isfinite(of).all() for of in fused.parameters())


def test_passes_that_are_finite_alone_but_not_together() -> None:
    fused = collection()
    optimizer = Adagrad(fused)
    before = state(fused, optimizer)
    for _ in range(2):
        (fused({"full": torch.tensor([1])})["full"] * 3e38).sum().backward()
    with pytest.raises(FloatingPointError, match="table 'full'"):
        optimizer.step()
    for value in (float("inf"), float("-inf")):
        (fused({"full": torch.tensor([1])})["full"] * value).sum().backward()
    with pytest.raises(FloatingPointError, match="table 'full'"):
        optimizer.step()
    assert difference(state(fused, optimizer), before) is None


def test_large_gradients_are_not_infinite_ones() -> None:
    fused = collection()
    optimizer = SGD(fused, lr=1e-30, max_norm=1.0)
    (fused({"full": torch.tensor([1])})["full"] * 1e30).sum().backward()
    optimizer.step()
    assert optimizer.steps == 1


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_whose_squares_are_infinite(kind: str) -> None:
    for times in (3e22, 1e30):
        fused, plain = collection(), collection()
        optimizer = KINDS[kind](fused, max_norm=1.0)
        other = KINDS[kind](plain, max_norm=1.0)
        (fused({"full": torch.tensor([1])})["full"] * times).sum().backward()
        plain({"full": torch.tensor([1])})["full"].sum().backward()
        optimizer.step()
        other.step()
        torch.testing.assert_close(state(fused, optimizer), state(plain, other), rtol=1e-4, atol=1e-6)
    before = state(fused, optimizer)
    (fused({"full": torch.tensor([2])})["full"] * 3e22).sum().backward()
    optimizer.max_norm = None
    if kind == "sgd":
        optimizer.step()
        return
    with pytest.raises(FloatingPointError, match=r"table 'full': a gradient is .* too large to be squared"):
        optimizer.step()
    assert difference(state(fused, optimizer), before) is None


@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_groups_that_would_ruin_rows(kind: str) -> None:
    fused = collection()
    optimizer = KINDS[kind](fused)
    before = state(fused, optimizer)
    for name, value in (("lr", float("nan")), ("lr", 1e39), ("lr", "x"), ("eps", float("inf")), ("betas", (1.0, 2.0))):
        backward(fused, 0)
        kept = [group[name] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group[name] = value
        with pytest.raises(InputError, match=name):
            optimizer.step()
        optimizer.zero_grad()
        for group, given in zip(optimizer.param_groups, kept, strict=True):
            group[name] = given
    assert difference(state(fused, optimizer), before) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_of_zero_without_eps(kind: str) -> None:
    if kind != "sgd":
        fused = collection()
        optimizer = KINDS[kind](fused, eps=0.0)
        backward(fused, 0, times=0.0)
        optimizer.step()
        assert all(torch.isfinite(of).all() for of in fused.state_dict().values())


def test_gradients_are_scaled_back_before_they_are_clipped() -> None:
    fused, plain = collection(), collection()
    optimizer, other = SGD(fused, lr=0.1, max_norm=0.01), SGD(plain, lr=0.1, max_norm=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for module, scale in ((fused, scaler.get_scale() if scaler.scale(torch.ones(())) else 0), (plain, 1.0)):
        backward(module, 0, times=scale)
    with pytest.raises(InputError, match="scale_gradients"):
        scaler.step(optimizer)
    optimizer.scale_gradients(1 / scaler.get_scale())
    assert optimizer.gradient_norm() == pytest.approx(other.gradient_norm())
    for each in (optimizer, other):
        each.step()
    torch.testing.assert_close(state(fused, optimizer), state(plain, other))
    for wrong in (float("nan"), float("inf"), "2"):
        with pytest.raises(InputError, match="factor"):
            optimizer.scale_gradients(wrong)  # type: ignore[arg-type]


# -- interrupts --------------------------------------------------------------------------------------------------------


class Two(nn.Module):
    """Two collections, so that a step is two calls of a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = collection(), collection()

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        left, right = self.first(ids), self.second(ids)
        return {f"{name}.{side}": of[name] for side, of in (("l", left), ("r", right)) for name in of}


@pytest.mark.parametrize("where", ["together", "apply", "bring_all", "find_rows", "add_gradients"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_leaves_all_of_a_step_or_nothing(kind: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, twin = Two(), Two()
    optimizer, other = KINDS[kind](model), KINDS[kind](twin)
    learn(model, optimizer, range(3))
    learn(twin, other, range(3))
    room: Any = base.updates if where in ("apply", "bring_all") else base
    if where in ("find_rows", "add_gradients"):
        room = fused_engine
    whole, calls = getattr(room, where), []

    def interrupts(function: Callable[..., Any]) -> Callable[..., Any]:
        def interrupted(*given: Any) -> Any:
            calls.append(where)
            if len(calls) == 1:
                os.kill(os.getpid(), signal.SIGINT)
            return function(*given)

        return interrupted

    is_kernel = isinstance(whole, ParallelKernel)
    interrupted = ParallelKernel(*map(interrupts, whole)) if is_kernel else interrupts(whole)
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            if where not in ("together", "apply"):
                patch.setattr(room, where, interrupted)
            if where != "bring_all" or kind != "dense":
                backward_again = where in ("find_rows", "add_gradients")
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


@pytest.mark.parametrize("kind", ["rowwise", "dense"])
def test_an_interrupt_at_any_line_of_a_step(kind: str) -> None:
    before, after = Two(), Two()
    for model, steps in ((before, 3), (after, 4)):
        optimizer = KINDS[kind](model)
        learn(model, optimizer, range(steps))
        optimizer.synchronize()
    ends = {3: before.state_dict(), 4: after.state_dict()}
    model = Two()
    optimizer = KINDS[kind](model)
    start = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    seen, line, interrupted = set(), 0, True
    while interrupted:
        model.load_state_dict(start[0])
        optimizer.load_state_dict(start[1])
        optimizer.zero_grad()
        learn(model, optimizer, range(3))
        backward(model, 3)
        left, interrupted = line, False

        def trace(frame: Any, event: str, argument: Any) -> Any:
            nonlocal left, interrupted
            if event == "line" and frame.f_code.co_filename.startswith(PACKAGE) and not interrupted:
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
        optimizer.synchronize()
        assert difference(model.state_dict(), ends[optimizer.steps]) is None, line
        seen.add(optimizer.steps)
        line += 3
    assert seen == {3, 4}
    assert line > 60


def test_steps_outside_the_main_thread() -> None:
    fused, twin = collection(), collection()
    optimizer, other = Adagrad(fused), Adagrad(twin)
    in_thread(learn, fused, optimizer, range(3))
    learn(twin, other, range(3))
    assert difference(state(fused, optimizer), state(twin, other)) is None


# -- threads -----------------------------------------------------------------------------------------------------------


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


# -- arguments and states ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (SGD, {"lr": -0.1}, "lr"),
        (SGD, {"lr": float("nan")}, "lr"),
        (SGD, {"lr": float("inf")}, "lr"),
        (Adagrad, {"eps": -1.0}, "eps"),
        (Adam, {"weight_decay": -1.0}, "weight_decay"),
        (Adam, {"betas": (1.0, 0.9)}, "betas"),
        (Adam, {"betas": (0.9, -0.1)}, "betas"),
        (Adam, {"mode": "eager"}, "mode"),
        (Adam, {"betas": (0.9,)}, "betas"),
        (Adam, {"betas": 0.9}, "betas"),
        (Adam, {"betas": (0.9, float("nan"))}, "betas"),
        (Adam, {"betas": ("0.9", 0.9)}, "betas"),
        (Adam, {"eps": float("inf")}, "eps"),
        (SGD, {"lr": "0.1"}, "lr"),
        (SGD, {"lr": None}, "lr"),
        (SGD, {"weight_decay": [1]}, "weight_decay"),
        (SGD, {"max_norm": "1"}, "max_norm"),
        (SGD, {"projection_scale": float("inf")}, "projection_scale"),
        (SGD, {"replicas": "many"}, "replicas"),
        (SGD, {"max_norm": 0.0}, "max_norm"),
        (SGD, {"max_norm": float("nan")}, "max_norm"),
        (SGD, {"nonfinite": "ignore"}, "nonfinite"),
        (SGD, {"projection_scale": 0.0}, "projection_scale"),
    ],
)
def test_wrong_arguments(kind: Any, options: dict[str, Any], words: str) -> None:
    fused = collection()
    with pytest.raises(InputError, match=words):
        kind(fused, **options)
    kind(fused)  # nobody owns the tables after an error


def test_models_without_tables_for_kernels() -> None:
    for module in (
        nn.Linear(2, 2),
        EmbeddingBagCollection([(Table("a", 9, 4), TensorTrain(2))]),
        EmbeddingBagCollection([(Table("a", 9, 4, dtype=torch.bfloat16), "full")]),
        EmbeddingBagCollection([(Table("a", 9, 4), "full")], device="meta"),
    ):
        with pytest.raises(InputError, match=r"can own no table here: 'a'|finds no table of coset"):
            SGD(module)


def test_tables_of_two_dtypes_in_one_collection() -> None:
    module = EmbeddingBagCollection([(Table("a", 9, 4), "full"), (Table("b", 9, 4, dtype=torch.float64), "full")])
    with pytest.raises(InputError, match="one dtype"):
        SGD(module)
    module.double()
    SGD(module)


def test_one_array_in_two_collections_is_refused() -> None:
    model = Two()
    model.second.tables["full"].rows.weight = model.first.tables["full"].rows.weight
    with pytest.raises(InputError, match="two collections"):
        SGD(model)


def test_a_model_that_was_moved_is_refused() -> None:
    fused = collection()
    SGD(fused)
    fused.double()
    with pytest.raises(InputError, match="move a model first"):
        fused(ids_of(0))


def test_parameters_that_got_other_memory_are_found() -> None:
    fused, twin = collection(), collection()
    optimizer, other = Adagrad(fused), Adagrad(twin)
    learn(fused, optimizer, range(2))
    for parameter in fused.parameters():
        parameter.data = parameter.data.clone()
    learn(fused, optimizer, range(2, 4))
    learn(twin, other, range(4))
    assert difference(state(fused, optimizer), state(twin, other)) is None


@pytest.mark.parametrize("saved", KINDS)
@pytest.mark.parametrize("own", KINDS)
def test_states_of_another_kind_are_refused_and_change_nothing(saved: str, own: str) -> None:
    if saved == own:
        return
    of = KINDS[saved](collection())
    fused, twin = collection(), collection()
    optimizer, other = KINDS[own](fused), KINDS[own](twin)
    learn(fused, optimizer, range(2))
    with pytest.raises(InputError, match="the state to load is of another optimizer"):
        optimizer.load_state_dict(of.state_dict())
    learn(fused, optimizer, range(2, 4))
    learn(twin, other, range(4))
    assert difference(state(fused, optimizer), state(twin, other)) is None


def test_states_of_other_tables_are_refused_and_change_nothing() -> None:
    fused, twin = collection(), collection()
    optimizer, other = Adagrad(fused), Adagrad(twin)
    learn(fused, optimizer, range(2))
    larger = Adagrad(EmbeddingBagCollection([(Table(str(n), N + 1, 4), "full") for n in range(7)]))
    fewer = Adagrad(EmbeddingBagCollection([(Table("a", N, 4), "full")]))
    empty = optimizer.state_dict()
    for state_dict in (larger.state_dict(), fewer.state_dict(), {**empty, "state": {}}, {}):
        with pytest.raises(InputError, match="the state to load is of another optimizer"):
            optimizer.load_state_dict(state_dict)
    learn(fused, optimizer, range(2, 4))
    learn(twin, other, range(4))
    assert difference(state(fused, optimizer), state(twin, other)) is None


def test_groups_cannot_be_added() -> None:
    optimizer = SGD(collection())
    with pytest.raises(InputError, match="takes tables over when it is made"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2, 2))]})
