"""Generated pages are what the code would generate now."""

from pathlib import Path

import pytest

from coset.methods import registered
from tools import benchmarks_page, methods_page

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_of_methods_is_fresh() -> None:
    assert (DOCS / "methods.md").read_text("utf-8") == methods_page.page(), "docs/methods.md is stale: run make docs"


def test_the_page_of_benchmarks_is_fresh() -> None:
    assert (DOCS / "benchmarks.md").read_text("utf-8") == benchmarks_page.page(), "docs/benchmarks.md: run make docs"


@pytest.mark.parametrize("name", sorted(registered()))
def test_every_method_is_on_the_page_with_all_that_it_says(name: str) -> None:
    facts = registered()[name].facts
    assert facts is not None
    rows = [line for line in methods_page.page().splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 2
    for said in (facts.paper, facts.formula, facts.elements, facts.operations, facts.uniqueness, facts.combines):
        assert any(said in row for row in rows)
        assert "|" not in said  # it would begin another cell
