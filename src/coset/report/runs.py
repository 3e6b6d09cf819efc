"""Results of training, evaluation and prediction, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from coset.report.phrases import headings, number, titled
from coset.report.remarks import remarks_of_run
from coset.sizes import format_size


def run_table(metrics: dict[str, Any]) -> Group:
    """The history of a run, as a table for the terminal."""
    title = f"{metrics['name']} on {metrics['dataset']}: {metrics['parameters']:,} parameters, "
    table = Table(title=Text(titled(title + format_size(metrics["bytes"]), metrics)), title_justify="left")
    named = headings()
    shown = [(key, *_part(key)) for key in metrics["history"][0] if _part(key)[1] in named]
    score = next((name for _, part, name in shown if part == "val"), None)
    shown = [(key, part, name) for key, part, name in shown if part == "val" or name == score]
    for heading in ("epoch", *(f"{part} {named[name]}" for _, part, name in shown), "seconds"):
        table.add_column(heading, justify="right")
    for of in metrics["history"]:
        values = (number(of[key]) for key, _, _ in shown)
        table.add_row(f"{of['epoch']:.4g}", *values, f"{of['seconds']:.1f}")
    words = [f"run: {metrics['run']}"]
    if "continued" in metrics:
        words.append(metrics["continued"]["words"])
    words += [*metrics["notes"], *remarks_of_run(metrics)]
    return Group(table, Text("\n".join(words)))  # a caption would be as narrow as the table


def evaluation_table(found: dict[str, Any]) -> Group:
    """The metrics of a run on some data, as a table for the terminal."""
    table = Table(title=Text(titled(f"{found['run']} on {found['dataset']}", found)), title_justify="left")
    named = headings()
    names = [name for name in found if name in named]
    for heading in ("rows", *(named[name] for name in names)):
        table.add_column(heading, justify="right")
    table.add_row(f"{found['rows']:,}", *(number(found[name]) for name in names))
    return Group(table, Text(_scored(found)))


def _scored(found: Mapping[str, Any]) -> str:
    """A sentence on which rows were scored."""
    own = "the run's own data" if found["own"] else "data that are not those of the run"
    count = f"{found['rows']:,} {'row' if found['rows'] == 1 else 'rows'}"
    whole = "the only row" if found["rows"] == 1 else f"all {count}"
    rows = whole if found["part"] == "all" else f"the {found['part']} part, {count},"
    learned = {"training": ", which is these", "all": ", which are among these"}
    among = learned.get(found["part"], "") if found["own"] else ""
    if found.get("known"):
        own += f", though {found['known']:,} of them equal rows that it was trained on"
    elif not found["own"] and found.get("known") is None:
        own += " (how many of them it was trained on is not known)"
    scale = f"; errors are of {found['scale']}" if found.get("scale") else ""
    return f"scored: {rows} of {own}; the run was trained on {found['trained_on']:,} rows{among}{scale}"


def _part(key: str) -> tuple[str, str]:
    part, _, name = key.partition("_")
    return part, name


def prediction_table(found: dict[str, Any]) -> Table:
    """The result of `coset predict`, for the terminal."""
    table = Table(title=Text(f"predictions of {found['run']}"), title_justify="left")
    for heading in ("rows", "mean prediction", "written to"):
        table.add_column(heading, justify="right" if heading != "written to" else "left")
    table.add_row(f"{found['rows']:,}", f"{found['mean']:.4f}", Text(found["out"]))
    which = "all rows" if found["part"] == "all" else f"the {found['part']} part"
    table.caption, table.caption_justify = Text(f"predicted: {which}"), "left"
    return table


def export_table(found: dict[str, Any]) -> Group:
    """The result of `coset export`, for the terminal."""
    table = Table(title=Text(f"{found['run']}, exported to {found['out']}"), title_justify="left")
    for heading in ("file", "bytes"):
        table.add_column(heading, justify="right" if heading == "bytes" else "left")
    for name, size in found["files"].items():
        table.add_row(Text(name), f"{size:,}")
    share = f"{100 * found['model'] / found['full']:.3g} %"
    words = (
        f"the model: {format_size(found['model'])}, {share} of {format_size(found['full'])} with a row of floats for "
        f"each id"
    )
    return Group(table, Text(words))
