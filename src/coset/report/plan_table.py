"""A plan as text: what it chose for each table, why, and what full tables would cost.

A pure function of what `coset plan --json` prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text

from coset.experiments.planning import ABOUT
from coset.report.phrases import method_words
from coset.sizes import format_size

_BAR = 24


def plan_table(found: Mapping[str, Any]) -> Group:
    """The JSON of `coset.experiments.plan.described`, for the terminal."""
    about = found[ABOUT]
    label = "SYNTHETIC DATA: " if about["synthetic"] else ""
    what = f"embedding_dim {found['embedding_dim']}" if found["tables"] else "biases alone"
    sizes = f"{format_size(found['bytes'])} within {format_size(found['budget'])}"
    title = Text(f"{label}{about['dataset']}: a plan of {sizes}, {what}")
    grid = Grid(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    grid.add_column("feature", no_wrap=True)
    for heading in ("ids", f"full, dim {about['full']['embedding_dim']}", "method", "bytes", "of full", "next best"):
        grid.add_column(heading, justify="left" if heading in ("method", "next best") else "right")
    for name, choice in found["tables"].items():
        full = about["features"][name]["full_bytes"]
        grid.add_row(
            Text(name), f"{choice['num_embeddings']:,}", format_size(full), Text(method_words(choice["method"])),
            format_size(choice["bytes"]), f"{choice['bytes'] / full:.1%}", Text(_instead(choice["instead"])),
        )  # fmt: skip
    if not found["tables"]:
        return Group(title, Text("\n".join(_reasons(found))), Text("\n".join(_totals(found))))
    return Group(grid, _bars(found), Text("\n".join(_reasons(found))), Text("\n".join(_totals(found))))


def _instead(instead: Mapping[str, Any] | None) -> str:
    if instead is None:
        return "–"
    return f"{method_words(instead['method'])}, {format_size(instead['bytes'])}"


def _bars(found: Mapping[str, Any]) -> Grid:
    """Bytes of every table, drawn to one scale: those of the plan, and the further ones of full tables."""
    features = found[ABOUT]["features"]
    most = max(of["full_bytes"] for of in features.values())
    grid = Grid(
        title="bytes, full and planned", title_justify="left", box=None, padding=(0, 1, 0, 0), show_header=False
    )
    grid.add_column()
    grid.add_column(justify="right")
    grid.add_column(justify="right")
    grid.add_column()
    for name, choice in found["tables"].items():
        full, planned = features[name]["full_bytes"], choice["bytes"]
        solid = max(1, round(_BAR * planned / most))
        bar = "█" * solid + "░" * (round(_BAR * full / most) - solid)
        grid.add_row(Text(name), format_size(full), f"→ {format_size(planned)}", bar)
    return grid


def _reasons(found: Mapping[str, Any]) -> list[str]:
    each = [f"{name}: {choice['why']}" for name, choice in found["tables"].items()]
    return ["", *each, *([f"{whole[0].upper()}{whole[1:]}."] if (whole := found.get("why")) else []), ""]


def _totals(found: Mapping[str, Any]) -> list[str]:
    tables = sum(choice["bytes"] for choice in found["tables"].values())
    parts = [f"tables {format_size(tables)}"] if tables else []
    if found["other_bytes"]:
        parts.append(f"biases and others {format_size(found['other_bytes'])}")
    if found["optimizer"] is not None:
        parts.append(f"state of {found['optimizer']} {format_size(found['optimizer_bytes'])}")
    full = found[ABOUT]["full"]
    return [
        f"{' + '.join(parts)} = {format_size(found['bytes'])} ({found['bytes']:,} bytes) of {found['budget']:,}; "
        f"full tables of dim {full['embedding_dim']} make it {format_size(full['bytes'])}, "
        f"{found[ABOUT]['ratio']:.1f} times as much.",
        *_loss(found),
    ]


def _loss(found: Mapping[str, Any]) -> list[str]:
    """The predicted loss, and how sure it is."""
    told, unit = found.get("prediction"), found[ABOUT]["losses_are"]
    said = []
    if found["tables"] and found["loss"] is not None:
        said.append(
            f"Predicted loss: {found['loss']:.2%} of what full tables gain over a model without them."
            if unit == "share"
            else f"Predicted by short trainings: {unit} {found['loss']:.4f} above that of full tables of unlimited dim."
        )
    if told is None:
        constants = "Not calibrated: constants that fit MovieLens-1M predict the losses."
        return [*said, *([constants] if found["tables"] else [])]
    return [*said, _sure(told)]


def _sure(told: Mapping[str, Any]) -> str:
    """The predicted score with its error."""
    by = f"Calibrated by {told['by']}"
    if told["alone"] is None or told["gain"] is None:
        return f"{by}: losses are sure to ± {told['error']:.4f} {told['metric']}."
    expected = told["alone"] - told["gain"] if told["better"] == "lower" else told["alone"] + told["gain"]
    gain, error = told["gain"], told["error"]
    if abs(gain) < 5e-5:
        return f"{by}: {told['metric']} {expected:.4f}, that of a bias for each id."
    which = "better" if gain > 0 else "worse"
    return (
        f"{by}: {told['metric']} {expected:.4f}, which is {abs(gain):.4f} ± {error:.4f} {which} than that of a bias "
        f"for each id there, {told['alone']:.4f}."
    )
