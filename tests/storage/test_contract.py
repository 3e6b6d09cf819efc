"""Every registered storage under the whole contract: one test a storage and promise, one a method with its checks."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import pytest

from coset.storage import Packed, Storage, registered_storages
from coset.testing import CHECKS, STORAGE_CHECKS, Case
from coset.testing.cases import attributed
from coset.testing.storages import BREAKABLE, cases_of

MANY = attributed("many", 2000, 16, std=0.03)
EXAMPLES = [storage for _, kind in sorted(registered_storages().items()) for storage in kind.examples()]


def thin(check: str, cases: list[Case], storage: Storage) -> list[Case]:
    """What of these a storage can break by itself: means and deviations show on few rows; and between the first and the
    last variant of a method other operators are applied to the same rows, so one example of a storage shows it."""
    if check == "initial_deviation":
        cases = [Case(MANY, replace(of, storage=storage)) for of in type(cases[0].method).examples(MANY)]
    return cases if is_first(storage) else list(dict.fromkeys((cases[0], cases[-1])))


def is_first(storage: Storage) -> bool:
    """Whether it is the first example of its kind, which runs the most."""
    return bool(storage == type(storage).examples()[0])


CASES = [
    pytest.param(check, [thin(check, cases, storage) for _, cases in found], id=f"{storage}-{method}-{check}")
    for storage in EXAMPLES[1:]  # the first is what the contract of methods runs over
    for (method, check), found in groupby(cases_of(storage), lambda of: (of[1][0].method.name, of[0]))
    if is_first(storage) or method == "full" or check in BREAKABLE
]


BARE = Packed(8, step="row", step_dtype="float16", masters=False)
"""Has no parameters, which the contract of methods is about; `tests/engine/test_rounded.py` trains it."""


@pytest.mark.parametrize("storage", [*EXAMPLES, BARE], ids=str)
@pytest.mark.parametrize("promise", STORAGE_CHECKS)
def test_one_array(promise: str, storage: Storage) -> None:
    STORAGE_CHECKS[promise](storage)


@pytest.mark.parametrize(("check", "every"), CASES)
def test_methods(check: str, every: list[list[Case]]) -> None:
    for cases in every:
        CHECKS[check](*cases)
