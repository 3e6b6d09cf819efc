"""The contents of data, finished runs and checkpoints, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text

from coset.report.checkpoints import checkpoint_tables
from coset.report.phrases import NOTHING, headings, method_words
from coset.sizes import format_size

_SIZES = {"table": "table", "+ row-wise": "table_and_row_wise_adagrad", "+ Adagrad": "table_and_adagrad",
          "+ Adam": "table_and_adam"}  # fmt: skip
"""Headings of columns of bytes, and what they show."""
_MOST_HISTOGRAMS = 4


def inspection_table(found: Mapping[str, Any]) -> Group:
    """What `coset inspect` found in data, of a run or in checkpoints, for the terminal."""
    shown = {"run": _run_table, "checkpoints": checkpoint_tables}
    return next((show for key, show in shown.items() if key in found), _data_table)(found)


def _data_table(found: Mapping[str, Any]) -> Group:
    label = "SYNTHETIC DATA: " if found["synthetic"] else ""
    grid = Grid(
        title=Text(f"{label}{found['dataset']}: {found['summary']}"),
        title_justify="left",
        caption=f"full tables of dim {found['embedding_dim']} in float32, alone and with the state of each optimizer",
        caption_justify="left",
    )
    for heading in ("feature", "ids", "most", "median", "least", "top 1 %", "top 10 %", "top 50 %", *_SIZES):
        first = heading == "feature"
        grid.add_column(heading, justify="left" if first else "right", no_wrap=first)
    for of in found["features"]:
        known = [NOTHING] * 6
        if of["traffic_of_top"] is not None:
            counts = f"{of['most']:,}", f"{of['median']:g}", f"{of['least']:,}"
            known = [*counts, *(f"{share:.0%}" for share in of["traffic_of_top"].values())]
        name = f"{of['name']} (lists)" if of["multi_hot"] else of["name"]
        grid.add_row(Text(name), f"{of['num_embeddings']:,}", *known,
                     *(format_size(of["bytes"][size]) for size in _SIZES.values()))  # fmt: skip
    grid.add_section()
    ids = sum(of["num_embeddings"] for of in found["features"])
    grid.add_row("together", f"{ids:,}", *[""] * 6, *(format_size(found["bytes"][size]) for size in _SIZES.values()))
    attributes = [_attributes_table(found)] if any(of["attributes"] for of in found["features"]) else []
    notes = [Text(f"• {note}") for note in found["notes"]]
    few = len(found["features"]) <= _MOST_HISTOGRAMS
    histograms = [_histogram_table(of) for of in found["features"] if few and of["histogram"] is not None]
    return Group(grid, *notes, *attributes, *histograms)


def _attributes_table(found: Mapping[str, Any]) -> Grid:
    grid = Grid(title="attributes of ids", title_justify="left")
    for heading in ("feature", "column", "codes"):
        grid.add_column(heading, justify="right" if heading == "codes" else "left")
    for of in found["features"]:
        for column, codes in of["attributes"].items():
            grid.add_row(Text(of["name"]), Text(column), f"{codes:,}")
    return grid


def _histogram_table(feature: Mapping[str, Any]) -> Grid:
    grid = Grid(title=Text(f"popularity of {feature['name']} ids"), title_justify="left")
    for heading in ("occurrences", "ids", "", "traffic", " "):
        grid.add_column(heading, justify="left" if not heading.strip() else "right", no_wrap=True)
    most = max(group["ids"] for group in feature["histogram"])
    for group in feature["histogram"]:
        span = f"{group['from']}" if group["from"] == group["to"] else f"{group['from']} – {group['to']}"
        grid.add_row(span, f"{group['ids']:,}", "█" * round(24 * group["ids"] / most),
                     f"{group['traffic']:.1%}", "█" * round(24 * group["traffic"]))  # fmt: skip
    return grid


def _run_table(found: Mapping[str, Any]) -> Group:
    grid = Grid(
        title=Text(f"{found['run']}: a run on {found['task']}, {found['parameters']:,} parameters, "
                   f"{format_size(found['bytes'])}"),
        title_justify="left",
    )  # fmt: skip
    for heading in ("part", "table", "ids", "dim", "method", "bytes"):
        grid.add_column(heading, justify="right" if heading in ("ids", "dim", "bytes") else "left")
    for of in found["tables"]:
        grid.add_row(
            Text(of["part"]), Text(of["name"]), f"{of['num_embeddings']:,}", f"{of['embedding_dim']}",
            Text(method_words(of["method"])), format_size(of["bytes"]),
        )  # fmt: skip
    for part, size in found["others"].items():
        grid.add_row(Text(part), "", "", "", "", format_size(size))
    return Group(grid, *(Text(f"• {note}") for note in _run_notes(found)))


def _run_notes(found: Mapping[str, Any]) -> list[str]:
    """The origin of the run, its metrics, and commands that take it."""
    run, rows = found["run"], found["rows"]
    named = headings()
    metrics = [(named[name.removeprefix("val_")], value) for name, value in found["metrics"].items()
               if name.removeprefix("val_") in named and value is not None]  # fmt: skip
    epochs = "1 epoch" if found["epochs"] == 1 else f"{found['epochs']} epochs"
    notes = [
        f"{'trained for ' + epochs if found['epochs'] else 'solved'} on {rows['training']:,} rows of {found['data']}",
        f"on the {rows['validation']:,} rows that validate: " + ", ".join(f"{of} {value:.4f}" for of, value in metrics),
    ]
    if (how := found.get("compressed")) is not None:
        notes.insert(
            0, f"compressed from the {format_size(how['bytes_before'])} of {how['from']}; epochs count from then"
        )
    if (how := found.get("continued")) is not None:
        notes.insert(0, f"continues {how['run']}, whose epochs are included")
    smaller = f"coset compress {run} --budget 25%, " if any(of["embedding_dim"] > 1 for of in found["tables"]) else ""
    return [*notes, f"next: coset evaluate {run}, coset predict {run} DATA, {smaller}coset train {run} --continue "
                    f"--epochs N"]  # fmt: skip
