"""The result of a compression, as tables for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from coset.report.checkpoints import compressed_table
from coset.report.phrases import headings, method_words, number, titled
from coset.sizes import format_size


def compression_tables(found: dict[str, Any]) -> Any:
    """The result of `coset compress`, as tables for the terminal."""
    if "checkpoint" in found:
        return compressed_table(found)
    return Group(_tables(found), _quality(found))


def _tables(found: dict[str, Any]) -> Table:
    title = f"{found['from']} on {found['dataset']}: {format_size(found['bytes_before'])} → "
    title = titled(title + format_size(found["bytes"]), found)
    table = Table(title=Text(title), title_justify="left")
    for heading in ("table", "ids", "method", "before", "after", "error", "relative"):
        table.add_column(heading, justify="left" if heading in ("table", "method") else "right")
    for of in found["tables"]:
        how = method_words(of["method"])
        table.add_row(
            of["name"], f"{of['num_embeddings']:,}", how, format_size(of["bytes_before"]),
            format_size(of["bytes_after"]), f"{of['error']:.3g}", number(of["relative"], ".1%"),
        )  # fmt: skip
    return table


def _quality(found: dict[str, Any]) -> Table:
    table = Table(caption=Text(f"run: {found['run']}"))
    named = headings()
    shown = [name for key in found["before"] if (name := key.removeprefix("val_")) in named]
    for heading in ("", *(f"val {named[name]}" for name in shown)):
        table.add_column(heading, justify="right" if heading else "left")
    for heading in ("before", "fitted", "finetuned"):
        if found[heading] is not None:
            table.add_row(heading, *(number(found[heading][f"val_{name}"]) for name in shown))
    return table
