"""Checkpoints and what is made of them, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text

from coset.report.phrases import method_words, number
from coset.sizes import format_size

_MOST = 56
"""Characters of a method in a cell."""


def checkpoint_tables(found: Mapping[str, Any]) -> Group:
    """What `coset inspect` found in checkpoints."""
    return Group(*(part for of in found["checkpoints"] for part in _checkpoint(of)))


def _checkpoint(found: Mapping[str, Any]) -> list[Any]:
    title = f"{found['checkpoint']}: {found['tensors']:,} tensors, {format_size(found['bytes'])}"
    if not found["tables"]:
        return [Text(f"{title}; none looks like an embedding table, name one by --table")]
    grid = Grid(title=Text(title), title_justify="left")
    for heading in ("table", "by", "rows", "dim", "type", "bytes", "share"):
        grid.add_column(heading, justify="left" if heading in ("table", "by", "type") else "right")
    for of in found["tables"]:
        name = of["name"] + (f" (= {', '.join(of['tied'])})" if of["tied"] else "")
        grid.add_row(Text(name), of["why"], f"{of['rows']:,}", f"{of['dim']:,}", of["dtype"], format_size(of["bytes"]),
                     f"{of['share']:.1%}")  # fmt: skip
    parts: list[Any] = [grid, *_options(found)]
    parts += [Text(f"• {of['fault']}") for of in found["tables"] if of["fault"]]
    if found["left_out"]:
        parts.append(Text(f"• not of the model, and left out: {', '.join(found['left_out'][:8])}"))
    if any(of["options"] for of in found["tables"]):
        parts.append(Text(f"• next: coset compress {found['checkpoint']} --budget 10% --out small"))
    return parts


def compressed_table(found: Mapping[str, Any]) -> Group:
    """What `coset compress` made of a checkpoint."""
    title = f"{found['checkpoint']}: tables {format_size(found['bytes_before'])} → {format_size(found['bytes'])}"
    grid = Grid(title=Text(title), title_justify="left", caption=Text(f"artifact: {found['out']}"))
    for heading in ("table", "rows", "method", "before", "after", "error", "relative"):
        grid.add_column(heading, justify="left" if heading in ("table", "method") else "right")
    for of in found["tables"]:
        note = f" ({of['note']})" if of["note"] else ""
        grid.add_row(
            Text(of["name"]), f"{of['num_embeddings']:,}", Text(_method(of["method"]) + note),
            format_size(of["bytes_before"]), format_size(of["bytes_after"]), f"{of['error']:.3g}",
            number(of["relative"], ".1%"),
        )  # fmt: skip
    notes = [f"other tensors, {format_size(found['others'])}, are handed on as they were"]
    if found["left_out"]:
        notes.append(f"not of the model, and left out: {', '.join(found['left_out'][:8])}")
    notes.append(
        f'next: coset.load_compressed(model, "{found["out"]}") in Python; coset expand {found["out"]} --out '
        "model.safetensors"
    )
    return Group(grid, *(Text(f"• {note}") for note in notes))


def expanded_line(found: Mapping[str, Any]) -> Text:
    """What `coset expand` wrote."""
    return Text(f"{found['out']}: {found['tensors']:,} tensors, {format_size(found['bytes'])}")


def _options(found: Mapping[str, Any]) -> list[Grid]:
    if not any(of["options"] for of in found["tables"]):
        return []
    most = max(of["measured_on"] for of in found["tables"])
    grid = Grid(
        title=Text("what each could be"), title_justify="left",
        caption=Text(f"error: relative to the root mean square number, measured on up to {most:,} rows of each; "
                     "bytes are exact"),
        caption_justify="left",
    )  # fmt: skip
    for heading in ("table", "within", "method", "bytes", "error"):
        grid.add_column(heading, justify="right" if heading in ("within", "bytes", "error") else "left")
    for of in found["tables"]:
        for at, option in enumerate(of["options"]):
            grid.add_row(Text(of["name"] if not at else ""), option["budget"], Text(_method(option["method"])),
                         format_size(option["bytes"]), f"{option['error']:.2%}")  # fmt: skip
    return [grid]


def _method(method: Mapping[str, Any]) -> str:
    words = method_words(method)
    return words if len(words) <= _MOST else f"{words[: _MOST - 1]}…"
