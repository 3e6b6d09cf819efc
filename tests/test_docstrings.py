"""The examples in docstrings say what the code does."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

import coset

# The Keras layers' examples want keras, and are tried where their tests are.
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(coset.__path__, "coset.")
    if not module.name.startswith("coset.keras")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    found = doctest.testmod(import_module(name))
    assert found.failed == 0, f"{found.failed} of {found.attempted} examples in {name} fail"


def test_there_are_examples() -> None:
    assert sum(doctest.testmod(import_module(name)).attempted for name in MODULES if "partitions" in name) > 10
