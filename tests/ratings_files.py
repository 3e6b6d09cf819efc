"""Files of ratings that tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Coset = Callable[..., Any]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def coset_sentence(found: Any) -> str:
    """The sentence after the line that names what was about to be trained."""
    assert found.code == 2
    assert "Traceback" not in found.err
    *before, last = found.err.strip().splitlines()
    assert all(line.startswith("training ") for line in before), found.err
    assert last.startswith("coset: ")
    return str(last)
