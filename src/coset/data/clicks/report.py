"""The contents of a prepared folder, as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coset.data.clicks.schema import MISSING


def numeric_columns(names: Sequence[str]) -> str:
    """The number of numeric columns, and of those that mark missing values of another.

    Example:
        >>> numeric_columns(["age", "price", "age:missing"])
        '2 numeric columns and 1 that says where one misses values'
    """
    marks = sum(name.endswith(MISSING) and name.removesuffix(MISSING) in names for name in names)
    own = len(names) - marks
    said = f"{own} numeric {'column' if own == 1 else 'columns'}"
    return f"{said} and {marks} that {'says' if marks == 1 else 'say'} where one misses values" if marks else said


def _order(files: Sequence[str]) -> str:
    """The order in which the files of a log were read, where there are several."""
    if len(files) < 2:
        return ""
    shown = ", ".join(files) if len(files) <= 5 else f"{', '.join(files[:3])} … {files[-1]}"
    return f"\n{len(files)} files, read in this order: {shown}"


def prepared_table(found: Mapping[str, Any]) -> Any:
    """The result of `prepare` as a table of rich."""
    from rich.table import Table

    parts = ", ".join(f"{rows:,} {part}" for part, rows in found["parts"].items())
    table = Table(
        title=f"{found['data']}: {found['rows']:,} rows ({parts}), {found['click_rate']:.1%} clicks",
        caption=f"{numeric_columns(found['numeric'])}; {found['ids']:,} ids; {found['bytes'] / 1e6:,.1f} MB in "
        f"{found['out']}; {found['skipped']:,} rows left out; {found['seconds']:.1f} s{_order(found['files'])}",
    )
    for title, justify in (("feature", "left"), ("ids", "right"), ("distinct", "right"), ("of missing", "right"),
                           ("of the unseen", "right")):  # fmt: skip
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for feature in found["features"]:
        cells = (feature["num_embeddings"], feature.get("distinct"), feature["missing"], feature["shared"])
        table.add_row(feature["name"], *("–" if cell is None else f"{cell:,}" for cell in cells))
    return table
