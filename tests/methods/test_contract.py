"""Every registered method under the whole contract, one test a method and check; a failure names variant and table."""

import pytest

from coset.methods import registered
from coset.testing import CHECKS, uncovered

CASES = [
    pytest.param(check, list(check.cases(kind)), id=f"{name}-{check.name}")
    for name, kind in sorted(registered().items())
    for check in CHECKS.values()
]


@pytest.mark.parametrize(("check", "tables"), CASES)
def test_contract(check, tables):
    for cases in tables:
        check(*cases)


def test_every_registered_method_is_under_every_check():
    given = [param.values for param in CASES]
    covered = {(type(case.method), check.name) for check, tables in given for cases in tables for case in cases}
    # What needs attributes is spared the checks whose tables have none: nobody has a column for 40 million ids.
    assert covered == {
        (kind, name)
        for kind in registered().values()
        for name, check in CHECKS.items()
        if not kind.needs_attributes or any(table.attributes for table in check.tables)
    }
    assert len([name for name, check in CHECKS.items() if not any(table.attributes for table in check.tables)]) == 1


@pytest.mark.parametrize("kind", registered().values(), ids=lambda kind: kind.name)
def test_examples_show_every_variant(kind):
    assert uncovered(kind) == []
