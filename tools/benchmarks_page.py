"""`docs/benchmarks.md`, made of `benchmarks/results`: `make docs` writes it, and a test tells when it is stale."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from coset.files import read_json
from tools.bench import ROOT

_HEAD = """\
# Benchmarks

Made by `make docs` from `benchmarks/results`, which `make bench` writes; `make bench NAME=…` runs one benchmark. In
each, coset and its peers were measured in one run, in turns, with warm-up apart; times are medians in milliseconds.
*Ratio* is the peer's time over coset's: above 1 coset is faster.
"""
_NONE = "There are no results yet: `make bench` measures them.\n"
_OWN = {"case", "peer", "coset_ms", "peer_ms", "ratio"}


def page(root: Path = ROOT) -> str:
    """The page in Markdown.

    Args:
        root: of the checkout that has the scripts and their results.
    """
    folder = root / "benchmarks"
    found = [(path.stem, read_json(path)) for path in sorted((folder / "results").glob("*.json"))]
    parts = [_HEAD] + [_section(name, about(folder / f"{name}.py"), of) for name, of in found]
    return "\n".join(parts if found else [_HEAD, _NONE])


def about(script: Path) -> list[str]:
    """What a script says of itself, by paragraph, without the command that runs it; nothing if it is gone."""
    if not script.is_file():
        return []
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    return [part for part in text.split("\n\n") if not part.lstrip().startswith("$")]


def _section(name: str, paragraphs: list[str], found: Mapping[str, Any]) -> str:
    host = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in found["host"].items())
    parts = [f"## {name}", *paragraphs, "\n".join(_table(found["rows"])), f"Measured on {host}."]
    return "\n\n".join(parts) + "\n"


def _table(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    """Rows with what further numbers they carry, such as memory."""
    further = list(dict.fromkeys(key for row in rows for key in row if key not in _OWN))
    heads = ["case", "peer", "coset ms", "peer ms", "ratio", *(key.replace("_", " ") for key in further)]
    yield "| " + " | ".join(heads) + " |"
    yield "| --- | --- |" + " ---: |" * (len(heads) - 2)
    for row in rows:
        cells = [row["case"], row["peer"], _milliseconds(row["coset_ms"]), _milliseconds(row["peer_ms"])]
        cells.append(f"{row['ratio']:.2f}")
        cells += [_further(key, row[key]) if key in row else "" for key in further]
        yield "| " + " | ".join(cells) + " |"


def _further(key: str, value: float) -> str:
    """An error in full, any other number whole."""
    return f"{value:.4f}" if key.endswith("_mse") else f"{value:,.0f}"


def _milliseconds(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


if __name__ == "__main__":
    sys.stdout.buffer.write(page().encode())  # a file in UTF-8, whatever the locale
