"""The examples in docstrings say what the code does."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module
from itertools import groupby

import pytest

import coset

# The Keras layers' examples want keras, and are tried where their tests are.
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(coset.__path__, "coset.")
    if not module.name.startswith("coset.keras")
)


ROOMS = groupby(MODULES, lambda name: ".".join(name.split(".")[:2]))


@pytest.mark.parametrize("names", [pytest.param([*names], id=room) for room, names in ROOMS])
def test_examples(names: list[str]) -> None:
    attempted = 0
    for name in names:
        found = doctest.testmod(import_module(name))
        assert found.failed == 0, f"{found.failed} of {found.attempted} examples in {name} fail"
        attempted += found.attempted
    assert attempted > 10 or "coset.partitions" not in names
