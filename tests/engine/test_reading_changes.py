"""What is changed about tables that no optimizer owns, by casts, in place, by other threads, is read as it is."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad

from coset import Embedding, EmbeddingBagCollection, Full, LowRank, QuotientRemainder, Table, pack_, unpack_
from coset.storage import Dense, Packed, Storage

from .test_reading import calls, plainly, same  # noqa: F401 - a fixture

N, DIM = 60, 8
IDS = torch.arange(N)


def collection(storage: Storage, seed: int = 0) -> EmbeddingBagCollection:
    torch.manual_seed(seed)
    methods = QuotientRemainder(num_buckets=9, storage=storage), Full(storage=storage), LowRank(rank=2, storage=storage)
    tables = [(Table(str(at), N, DIM, std=1.0), method) for at, method in enumerate(methods)]
    return pack_(EmbeddingBagCollection(tables, mode="sum")).eval()  # type: ignore[return-value]


GIVEN = {str(at): IDS for at in range(3)}


@pytest.mark.parametrize("storage", [Dense(), Dense("bfloat16"), Packed(8), Packed(3)], ids=str)
def test_casts(storage: Storage, calls: list[str]) -> None:  # noqa: F811
    model = collection(storage)
    with torch.no_grad():
        model(GIVEN)
        for dtype in (torch.float64, torch.bfloat16, torch.float32):
            model.to(dtype)
            model(GIVEN)
            found = model(GIVEN)
            assert {vectors.dtype for vectors in found.values()} == {dtype}
            same(found, plainly(lambda: model(GIVEN)))
        assert "read_composed" in calls


def test_other_tables_and_features_in_place(calls: list[str]) -> None:  # noqa: F811
    model, other = collection(Packed(4)), collection(Packed(4), seed=1)
    with torch.no_grad():
        before = model(GIVEN)
        model.tables = other.tables
        found = model(GIVEN)
        same(found, plainly(lambda: other(GIVEN)))
        assert not torch.equal(found["0"], before["0"])
        model.features["1"] = "2"
        torch.testing.assert_close(model(GIVEN)["1"], plainly(lambda: other(GIVEN))["2"])
    assert "read_composed" in calls


def test_no_gradient_is_lost_in_the_first_call_after_a_change() -> None:
    served, trained = (pack_(Embedding(N, DIM, QuotientRemainder(9, storage=Packed(8)), name="t")).eval() for _ in "ab")
    served(IDS)
    served.tables._modules["t"] = unpack_(trained).tables["t"]  # type: ignore[union-attr]
    assert served(IDS).requires_grad
    assert served(IDS).requires_grad


def test_vectors_may_be_changed_in_place_where_torch_allows_it() -> None:
    model, added = collection(Packed(8)), torch.nn.Parameter(torch.ones(DIM))
    found = model(GIVEN)
    found["0"] += added
    found["0"].sum().backward()
    assert added.grad is not None
    assert not found["1"].requires_grad


def test_what_is_replaced_does_not_stay_in_memory_while_others_are_trained() -> None:
    model = collection(Dense())
    with torch.no_grad():
        model(GIVEN)
    old = weakref.ref(model.tables["0"].parameters().__next__())
    model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)
    model.train()(GIVEN)
    gc.collect()
    assert old() is None


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # of torch's own making
def test_autocast_and_tangents_are_left_to_torch() -> None:
    model = Embedding(N, DIM, LowRank(rank=2)).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert model(IDS).dtype == plainly(lambda: model(IDS)).dtype
    bags, offsets = collection(Packed(8)), torch.tensor([0, 20])
    with torch.no_grad(), forward_ad.dual_level():
        weights = forward_ad.make_dual(torch.ones(N), torch.ones(N))
        assert forward_ad.unpack_dual(bags({"0": (IDS, offsets, weights)})["0"]).tangent is not None
    with torch.no_grad():
        negative = torch.complex(torch.zeros(N), torch.ones(N)).conj().imag  # whose sign is a bit beside its memory
        found = bags({"1": (IDS, offsets, negative)})
        same(found, plainly(lambda: bags({"1": (IDS, offsets, negative)})))


@pytest.mark.parametrize("storage", [Dense(), Packed(4), Packed(3)], ids=str)
def test_threads_read_while_another_exchanges_arrays(storage: Storage) -> None:
    """Every answer is that of one of the states; of a table of several arrays, which are exchanged one after the other,
    no more can be said than that nothing else is read, or written."""
    model = collection(storage)
    states = [collection(storage, seed).state_dict() for seed in (1, 2)]
    expected: list[dict[str, Any]] = []
    with torch.no_grad():
        for state in states:
            model.load_state_dict({name: value.clone() for name, value in state.items()}, assign=True)
            model(GIVEN)
            expected.append(model(GIVEN))
    failures, done, whole = [], threading.Event(), isinstance(storage, Dense)

    def serve() -> None:
        try:
            with torch.no_grad():
                for _ in range(150):
                    bare = model(GIVEN)["1"]
                    if whole and not any(torch.allclose(bare, each["1"], atol=1e-5) for each in expected):
                        failures.append(bare)
                    assert bare.isfinite().all()
        except BaseException as error:
            failures.append(error)

    def exchange() -> None:
        at = 0
        while not done.is_set():
            state = {name: value.clone() for name, value in states[at % 2].items()}
            model.load_state_dict(state, assign=True)
            at += 1

    readers = [threading.Thread(target=serve) for _ in range(4)]
    writer = threading.Thread(target=exchange)
    for thread in (*readers, writer):
        thread.start()
    for thread in readers:
        thread.join(120)
    done.set()
    writer.join(60)
    assert not failures
    with torch.no_grad():
        model(GIVEN)
        same(model(GIVEN), plainly(lambda: model(GIVEN)))
