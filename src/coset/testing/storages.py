"""The contract of storages: promises about one stored array, and those of methods that a storage can break."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

import torch
from safetensors.torch import load, save
from torch import Tensor

from coset.errors import InputError
from coset.methods import registered
from coset.storage import Storage, StoredRows
from coset.storage import storage as read
from coset.testing.cases import Case, stored
from coset.testing.check import expect, refused
from coset.testing.suite import CHECKS

ROWS, WIDTH = 37, 6
_FLOAT = torch.float32
IN_FULL = "full", "quotient_remainder"
"""Methods that run the whole contract with each storage; the others run the checks that a storage can break."""
BREAKABLE = (
    "shapes", "lookup_follows_the_descriptor", "materialize_is_every_lookup", "gradient_reaches_every_parameter",
    "components_are_the_stored_tensors", "json_is_the_method", "state_saves_and_reloads",
)  # fmt: skip
DIFFERENTIATED = "gradients_are_those_of_the_values", "bag_gradients_are_those_of_the_values"
"""Checks by finite differences, which need parameters of float64."""

FITS = "fit_of_any_weight", "fit_of_the_only_id_that_is_read", "fit_finds_what_the_method_can_hold"
"""Checks of fits, whose bounds products of rows keep that are not rounded too much."""
_COARSE = 0.5

StorageCheck = Callable[[Storage], None]
STORAGE_CHECKS: dict[str, StorageCheck] = {}
"""Every promise about one stored array, by name."""


def _promise(run: StorageCheck) -> StorageCheck:
    STORAGE_CHECKS[run.__name__] = run
    return run


def _filled(storage: Storage, seed: int = 0, dtype: torch.dtype = _FLOAT) -> StoredRows:
    """An array of numbers around 1."""
    array = storage.build(ROWS, WIDTH, dtype)
    draw = torch.Generator().manual_seed(seed)
    array.draw_(lambda numbers: numbers.copy_(torch.randn(numbers.shape, generator=draw) / 2 + 1))
    return array


def _bits(array: StoredRows) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in stored(array).items()}


def _same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@_promise
def what_is_said_is_stored(storage: Storage) -> None:
    """`components` are the arrays of the state, with their shapes and types"""
    said = {of.key: (of.shape, of.dtype) for of in storage.components("rows", ROWS, WIDTH, _FLOAT)}
    found = {f"rows.{name}": (tuple(v.shape), v.dtype) for name, v in stored(_filled(storage)).items()}
    expect(said == found, f"it says {said} and stores {found}")


@_promise
def rows_are_those_of_the_whole(storage: Storage) -> None:
    """rows of any ids are rows of `whole`, in the type that was asked for; there may be no ids at all"""
    for dtype in (torch.float32, torch.float64):
        array, ids = _filled(storage, dtype=dtype), torch.tensor([[3, 0, 3], [36, 1, 0]])
        whole = array.whole()
        expect(whole.shape == (ROWS, WIDTH) and whole.dtype == dtype, f"whole is {whole.shape}, {whole.dtype}")
        found = array(ids)
        expect(found.dtype == dtype and torch.equal(found, whole[ids]), "rows differ from those of whole")
        expect(array(ids[:0]).shape == (0, 3, WIDTH), "no ids do not give no rows")


@_promise
def what_is_read_is_written_as_it_is(storage: Storage) -> None:
    """writing what was read changes no bit; rows and columns are written where they are asked for, and nowhere else"""
    array = _filled(storage)
    before, bits = array.whole().detach().clone(), _bits(array)
    array.write_(before)
    expect(_same(bits, _bits(array)), "writing what was read changed bits")
    other = _filled(storage, seed=1).whole().detach()
    array.write_(other[[2, 5]], torch.tensor([2, 5]))
    expected = before.clone()
    expected[[2, 5]] = other[[2, 5]]
    expect(_near(storage, array.whole(), expected), "rows that were written differ, or others changed")
    array.write_(before)
    array.write_(other[:, 1:3], columns=slice(1, 3))
    expected = before.clone()
    expected[:, 1:3] = other[:, 1:3]
    expect(_near(storage, array.whole(), expected), "columns that were written differ, or others changed")


@_promise
def the_training_form_goes_there_and_back(storage: Storage) -> None:
    """what is read is the same to the bit in the stored and in the training form, and `pack` after `unpack` gives the
    same bits; the training form is what `training_components` say"""
    array = _filled(storage)
    said = {of.key: (of.shape, of.dtype) for of in storage.training_components("rows", ROWS, WIDTH, _FLOAT)}
    found = {f"rows.{name}": (tuple(value.shape), value.dtype) for name, value in array.state_dict().items()}
    expect(said == found, f"its training form is said to be {said} and is {found}")
    read, bits = array.whole().detach().clone(), _bits(array)
    array.pack()
    expect(torch.equal(array.whole().detach(), read), "packing changed what is read")
    array.pack()
    array.unpack()
    expect(torch.equal(array.whole().detach(), read), "unpacking changed what is read")
    array.unpack()
    expect(_same(bits, _bits(array)), "unpacking and packing changed bits")


@_promise
def its_precision_goes_up_and_back(storage: Storage) -> None:
    """`narrow` after `widen` gives the same bits, in the same parameters"""
    array = _filled(storage)
    bits, own = _bits(array), [id(parameter) for parameter in array.parameters()]
    array.widen(torch.float64)
    expect(all(p.dtype == torch.float64 for p in array.parameters()), "wide parameters are not of the type asked for")
    expect(array(torch.tensor([0])).dtype == torch.float64, "wide rows are not of the type asked for")
    array.narrow()
    expect(_same(bits, _bits(array)), "going back changed bits")
    expect(own == [id(parameter) for parameter in array.parameters()], "going back made new parameters")


@_promise
def gradients_are_those_of_rows(storage: Storage) -> None:
    """the gradient of a row is the sum of the gradients of what was read of it, within the precision of its parameter;
    a padding row gets none"""
    array, ids = _filled(storage), torch.tensor([3, 3, 8, 0])
    if array.needs_kernels:  # which leave none
        return
    array.pack()
    array.unpack()  # to numbers that are stored as they are
    slope = torch.arange(1.0, 4 * WIDTH + 1).reshape(4, WIDTH)
    (array(ids, padding_idx=0) * slope).sum().backward()
    (found,) = [p.grad for p in array.parameters() if p.grad is not None and p.shape == (ROWS, WIDTH)]
    expected = torch.zeros(ROWS, WIDTH)
    expected[3], expected[8] = slope[0] + slope[1], slope[2]
    expect(torch.allclose(found.float(), expected, rtol=2**-7), "gradients differ")


@_promise
def long_rows_are_shortened(storage: Storage) -> None:
    """`renorm_` shortens the rows that are longer, within the precision of the storage, and leaves the others"""
    array = _filled(storage)
    before = array.whole().detach().clone()
    array.renorm_(torch.tensor([4, 4, 7]), 0.5, 2.0)
    after = array.whole().detach()
    gap = (after[[4, 7]].norm(dim=1) - 0.5).abs().max()
    expect(bool(gap <= storage.coarseness * before.abs().max() * WIDTH**0.5), "rows have another norm")
    rest = [row for row in range(ROWS) if row not in (4, 7)]
    expect(torch.equal(after[rest], before[rest]), "other rows changed")


@_promise
def it_is_saved_and_copied(storage: Storage) -> None:
    """a state that went through safetensors, and a copy, have the same bits"""
    array, other = _filled(storage), _filled(storage, seed=1)
    other.load_state_dict(load(save({name: value.contiguous() for name, value in array.state_dict().items()})))
    expect(_same(_bits(array), _bits(other)), "a loaded state differs")
    expect(_same(_bits(array), _bits(copy.deepcopy(array))), "a copy differs")
    written = io.BytesIO()
    torch.save(array.state_dict(), written)


@_promise
def casts_reach_what_is_read(storage: Storage) -> None:
    """`.double()` makes what is read float64, and what is stored stays what `components` of float64 say"""
    array = _filled(storage).double()
    expect(array(torch.tensor([0])).dtype == torch.float64, "rows are not float64 after .double()")
    said = {of.key: of.dtype for of in storage.components("rows", ROWS, WIDTH, torch.float64)}
    found = {f"rows.{name}": value.dtype for name, value in stored(array).items()}
    expect(said == found, f"after .double() it stores {found}, and says {said}")


@_promise
def json_is_the_storage(storage: Storage) -> None:
    """its JSON leads back to it; an unknown field and a version to come are refused in one sentence"""
    value = storage.to_json()
    expect(read(value) == storage, f"{value} leads to {read(value)}")
    expect(hash(read(value)) == hash(storage), "equal storages have two hashes")
    refused(InputError, lambda: read({**value, "colour": 1}), "colour")
    refused(InputError, lambda: read({**value, "version": 99}), storage.name, 99)


def _near(storage: Storage, left: Tensor, right: Tensor) -> bool:
    """Within what the storage says of its rounding."""
    return bool((left.detach() - right).abs().max() <= storage.coarseness * right.abs().max())


def cases_of(storage: Storage) -> Iterator[tuple[str, list[Case]]]:
    """The checks of methods to run with a storage: the name of a check, and cases of one table."""
    every: list[list[Case]]
    for name, kind in sorted(registered().items()):
        for check in CHECKS.values():
            if check.name in DIFFERENTIATED or (check.name in FITS and storage.coarseness > _COARSE):
                every = []
            elif name in IN_FULL and storage == type(storage).examples()[0]:
                every = list(check.cases(kind))
            elif name in IN_FULL:
                every = list(check.cases(kind))[-1:]
            elif storage in type(storage).examples()[:2]:
                every = [cases[:1] for cases in check.cases(kind)][-1:] if check.name in BREAKABLE else []
            else:
                every = []
            for cases in every:
                yield check.name, [Case(case.table, replace(case.method, storage=storage)) for case in cases]


def check_storage(kind: type[Storage], only: Collection[str] = ()) -> None:
    """Hold a storage to the whole contract, over its `examples`.

    Args:
        kind: the class of the storage; registered, since its JSON must lead back to it.
        only: names of the checks to run, of `STORAGE_CHECKS` or `CHECKS`; all by default.

    Raises:
        AssertionError: one sentence that names the check, the storage and what is wrong.

    Example:
        >>> from coset.storage import Dense
        >>> check_storage(Dense, only=["rows_are_those_of_the_whole"])
    """
    with torch.random.fork_rng(devices=[]):
        for storage in kind.examples():
            for name, run in STORAGE_CHECKS.items():
                if not only or name in only:
                    try:
                        run(storage)
                    except Exception as error:
                        promise = " ".join((run.__doc__ or "").split())
                        raise AssertionError(f"{name}: {storage}: {error} (promised: {promise})") from error
            for name, cases in cases_of(storage):
                if not only or name in only:
                    CHECKS[name](*cases)
