"""Generated pages are what the code would generate now."""

from pathlib import Path

from coset.methods import registered
from tools import benchmarks_page, methods_page

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_of_methods_is_fresh() -> None:
    assert (DOCS / "methods.md").read_text("utf-8") == methods_page.page(), "docs/methods.md is stale: run make docs"


def test_the_page_of_benchmarks_is_fresh() -> None:
    assert (DOCS / "benchmarks.md").read_text("utf-8") == benchmarks_page.page(), "docs/benchmarks.md: run make docs"


def test_every_method_is_on_the_page_with_all_that_it_says() -> None:
    lines = methods_page.page().splitlines()
    for name, kind in sorted(registered().items()):
        facts = kind.facts
        assert facts is not None, name
        rows = [line for line in lines if line.startswith(f"| `{name}` |")]
        assert len(rows) == 2, name
        for said in (facts.paper, facts.formula, facts.elements, facts.operations, facts.uniqueness, facts.combines):
            assert any(said in row for row in rows), (name, said)
            assert "|" not in said, name  # it would begin another cell
