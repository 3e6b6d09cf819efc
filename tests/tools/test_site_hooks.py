"""The site: which files become a part of it, and where links between files of the repository lead."""

import pytest

pytest.importorskip("mkdocs")

from tools import site_hooks


def test_links_lead_through_the_site() -> None:
    text = "[a](docs/data.md#ids) [b](findings/README.md) [c](https://x.org/y.md) [d](#e) [src](src/coset/schema.py)"
    assert site_hooks.relinked(text, "index.md") == (
        "[a](data.md#ids) [b](findings/README.md) [c](https://x.org/y.md) [d](#e) src"
    )
    inner = (
        "![p](../../recipes/results/ml-1m-hundred/frontier.png) [m](../methods.md)\n```python\n[x](../methods.md)\n```"
    )
    assert site_hooks.relinked(inner, "methods/hashes.md") == inner.replace("../../recipes", "../recipes")
    assert site_hooks.relinked("[r](README.md)", "CONTRIBUTING.md") == "[r](index.md)"


def test_files_outside_docs_that_pages_link_to_are_in_the_site() -> None:
    names = {path.relative_to(site_hooks.ROOT).as_posix() for path in site_hooks.outside()}
    wanted = {"CONTRIBUTING.md", "CHANGELOG.md", "findings/README.md", "recipes/results/ml-1m-hundred/frontier.png"}
    assert wanted <= names
    assert not any(name.startswith("docs/") for name in names)


def test_every_public_name_has_its_place_in_the_reference() -> None:
    page = site_hooks.reference("coset")
    assert "::: coset.Embedding\n" in page
    assert "::: coset.LowRank\n" not in page  # which the page of methods has
    assert "::: coset.methods.LowRank\n" in site_hooks.reference("methods")
