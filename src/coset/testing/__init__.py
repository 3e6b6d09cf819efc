"""The contract suite: every promise that a method makes, as checks to run over a method of your own.

from coset.testing import check_method

def test_my_method():
    check_method(MyMethod)
"""

from coset.testing.cases import Case, uncovered
from coset.testing.check import Check
from coset.testing.reference import compose
from coset.testing.storages import STORAGE_CHECKS, check_storage
from coset.testing.suite import CHECKS, check_method

__all__ = ["CHECKS", "STORAGE_CHECKS", "Case", "Check", "check_method", "check_storage", "compose", "uncovered"]
