"""The examples in docstrings of layers say what the code does."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

import coset.keras

MODULES = sorted(module.name for module in pkgutil.walk_packages(coset.keras.__path__, "coset.keras."))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    found = doctest.testmod(import_module(name))
    assert found.failed == 0, f"{found.failed} of {found.attempted} examples in {name} fail"
