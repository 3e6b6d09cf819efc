"""The table and the pictures in the folder of a comparison."""

from __future__ import annotations

from pathlib import Path

from coset.files import write_text
from coset.report import plots
from coset.report.comparison import Results, markdown

WRITTEN = ("results.md", "losses.png", "frontier.png")
"""The files that `write` writes."""


def write(results: Results, out: Path) -> None:
    """Write a comparison as a table in Markdown and as pictures.

    Args:
        results: those of `coset.experiments.compare.compare`, or the `results.json` that it wrote.
        out: the folder that gets the files `WRITTEN`.
    """
    plots.losses(results, out / "losses.png")
    plots.frontier(results, out / "frontier.png")
    write_text(out / "results.md", markdown(results))
