"""Every registered storage under the whole contract: one test a storage and promise, one a method with its checks."""

from __future__ import annotations

from itertools import groupby

import pytest

from coset.storage import Storage, registered_storages
from coset.testing import CHECKS, STORAGE_CHECKS, Case
from coset.testing.storages import cases_of

EXAMPLES = [storage for _, kind in sorted(registered_storages().items()) for storage in kind.examples()]
CASES = [
    pytest.param(check, [cases for _, cases in found], id=f"{storage}-{method}-{check}")
    for storage in EXAMPLES[1:]  # the first is what the contract of methods runs over
    for (method, check), found in groupby(cases_of(storage), lambda of: (of[1][0].method.name, of[0]))
]


@pytest.mark.parametrize("storage", EXAMPLES, ids=str)
@pytest.mark.parametrize("promise", STORAGE_CHECKS)
def test_one_array(promise: str, storage: Storage) -> None:
    STORAGE_CHECKS[promise](storage)


@pytest.mark.parametrize(("check", "every"), CASES)
def test_methods(check: str, every: list[list[Case]]) -> None:
    for cases in every:
        CHECKS[check](*cases)
