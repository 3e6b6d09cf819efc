"""What a prepared folder holds, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def prepared_table(found: Mapping[str, Any]) -> Any:
    """The result of `prepare` as a table of rich."""
    from rich.table import Table

    parts = ", ".join(f"{rows:,} {part}" for part, rows in found["parts"].items())
    table = Table(
        title=f"{found['data']}: {found['rows']:,} rows ({parts}), {found['click_rate']:.1%} clicks",
        caption=f"{len(found['numeric'])} numeric columns; {found['ids']:,} ids; {found['bytes'] / 1e6:,.1f} MB in "
        f"{found['out']}; {found['skipped']:,} rows left out; {found['seconds']:.1f} s",
    )
    for title, justify in (("feature", "left"), ("ids", "right"), ("distinct", "right"), ("of missing", "right"),
                           ("of the unseen", "right")):  # fmt: skip
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for feature in found["features"]:
        cells = (feature["num_embeddings"], feature.get("distinct"), feature["missing"], feature["shared"])
        table.add_row(feature["name"], *("–" if cell is None else f"{cell:,}" for cell in cells))
    return table
