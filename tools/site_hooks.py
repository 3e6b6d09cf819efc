"""Hooks of the site (`mkdocs.yml`): the README as its first page, the API reference, and what pages link to elsewhere.

Pages link to each other as files of the repository, so that they can be read there. In the site, a Markdown file or a
picture outside docs/ that a page links to becomes a part of it under its own path; a link to anything else, such as a
source file, becomes plain text.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
REFERENCE = {
    "coset": ("coset", "Tables, plans and ledgers"),
    "methods": ("coset.methods", "Methods"),
    "storage": ("coset.storage", "Storages"),
    "optimizers": ("coset.optimizers", "Optimizers that own tables"),
    "models": ("coset.models", "Models"),
    "data": ("coset.data", "Ratings"),
    "clicks": ("coset.data.clicks", "Click logs"),
    "ledger": ("coset.ledger", "The ledger"),
    "testing": ("coset.testing", "The contract suite"),
    "keras": ("coset.keras", "Keras layers"),
}
"""Pages of the reference: the package whose public names a page has, and its title."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")
_SHOWN = {".md", ".png"}


def on_files(files: Files, config: Any) -> Files:
    """Add what the site has besides docs/."""
    files.append(File.generated(config, "index.md", content=(ROOT / "README.md").read_text("utf-8")))
    for name in REFERENCE:
        files.append(File.generated(config, f"reference/{name}.md", content=reference(name)))
    for path in outside():
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links between files of the repository lead through the site."""
    return relinked(markdown, page.file.src_uri)


def relinked(text: str, uri: str) -> str:
    """The text of the page `uri`, with its links to files of the repository as links within the site."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(lambda of: _link(of, uri), part) for part in parts)


def _link(found: re.Match[str], uri: str) -> str:
    picture, words, target, anchor = found.groups()
    path = (_source(uri).parent / target).resolve()
    if path.suffix not in _SHOWN or not path.is_file():
        return words
    place = os.path.relpath(_uri(path), Path(uri).parent.as_posix())
    return f"{picture}[{words}]({place}{anchor or ''})"


def _source(uri: str) -> Path:
    """The file of the repository that a page is made of."""
    if uri == "index.md":
        return ROOT / "README.md"
    return path if (path := ROOT / "docs" / uri).exists() else ROOT / uri


def _uri(path: Path) -> str:
    """Where a file of the repository is in the site."""
    if path == ROOT / "README.md":
        return "index.md"
    docs = ROOT / "docs"
    return path.relative_to(docs if path.is_relative_to(docs) else ROOT).as_posix()


def outside() -> list[Path]:
    """Files outside docs/ that pages link to, directly or by each other."""
    found: list[Path] = []
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "findings" / "README.md"]
    while pages:
        for path in _linked(page := pages.pop()):
            if path not in found and not path.is_relative_to(ROOT / "docs") and path != ROOT / "README.md":
                found.append(path)
                pages += [path] if path.suffix == ".md" else []
        if page.parent.name == "findings" and page not in found:
            found.append(page)
    return sorted(found)


def _linked(page: Path) -> Iterator[Path]:
    for found in _LINK.finditer(page.read_text("utf-8")):
        path = (page.parent / found[3]).resolve()
        if path.suffix in _SHOWN and path.is_file():
            yield path


def reference(name: str) -> str:
    """A page of the reference: every public name of a package, by its docstring."""
    package, title = REFERENCE[name]
    return f"# {title}\n\n" + "\n\n".join(f"::: {package}.{each}" for each in public(package)) + "\n"


def public(package: str) -> list[str]:
    """What a package lists in its `__all__`, read and not run; of coset itself, what has no page of its own."""
    tree = ast.parse((ROOT / "src" / Path(*package.split(".")) / "__init__.py").read_text("utf-8"))
    names: list[str] = []
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, ast.Assign | ast.AugAssign) and isinstance(target, ast.Name) and target.id == "__all__":
            names += ast.literal_eval(node.value)
    if package == "coset":
        elsewhere = {name for other, _ in REFERENCE.values() if other != "coset" for name in public(other)}
        names = [name for name in names if name not in elsewhere]
    return names
