"""One row of a recipe, trained once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from coset.errors import InputError
from coset.experiments.compare import Progress, Silent, counted, encode
from coset.experiments.recipe import resolve
from coset.experiments.task import Options
from coset.sizes import format_size


def train_row(
    recipe: Any, out: Path, data: Any, *, options: Options | None = None, resume: bool = False, engine: Any = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train the first row of `recipe` (of those in `only`) with its first seed, and return the run's metrics.

    Args:
        out: the folder of the run.
        data: what the recipe's `load` gave.
        options: how the run is driven; in place of `resume` and `engine`.
        resume: continue what it holds.
        engine: see `coset.training.loop.Trainer`.

    Raises:
        InputError: a row that does not fit the data, or an `out` that cannot be used.
    """
    encoded = encode(recipe, data, recipe.first_seed)
    row, *others = resolve(recipe, encoded)[0]
    if others and recipe.only:
        names = ", ".join(repr(of.name) for of in (row, *others))
        raise InputError(f"{recipe.only[0]!r} stands for several rows: choose one of {names}")
    progress = progress or Silent()
    steps = recipe.steps(row, encoded)
    progress.begin(steps)
    with counted(progress, row.name, steps) as on_step:
        metrics = recipe.execute(
            row, recipe.first_seed, out, data, encoded, options or Options(resume, engine), on_step
        )
    facts = recipe.facts(data, encoded)
    return {"name": row.name, "dataset": facts["dataset"], "synthetic": facts["synthetic"], **metrics}


def run_table(metrics: dict[str, Any]) -> Table:
    """The history of a run, as a table for the terminal."""
    title = f"{metrics['name']} on {metrics['dataset']}: {metrics['parameters']:,} parameters, "
    table = Table(title=Text(_labelled(title + format_size(metrics["bytes"]), metrics)), title_justify="left")
    headings = ("epoch", "train MSE", "val MSE", "val MAE", "seconds")
    for heading in headings:
        table.add_column(heading, justify="right")
    for of in metrics["history"]:
        table.add_row(str(of["epoch"]), *(f"{of[key]:.4f}" for key in ("train_mse", "val_mse", "val_mae")),
                      f"{of['seconds']:.1f}")  # fmt: skip
    table.caption = Text(f"run: {metrics['run']}")
    return table


def evaluation_table(found: dict[str, Any]) -> Table:
    """The errors of a run on some data, as a table for the terminal."""
    table = Table(title=Text(_labelled(f"{found['run']} on {found['dataset']}", found)), title_justify="left")
    for heading in ("rows", "MSE", "MAE"):
        table.add_column(heading, justify="right")
    table.add_row(f"{found['rows']:,}", f"{found['mse']:.4f}", f"{found['mae']:.4f}")
    return table


def _labelled(title: str, found: dict[str, Any]) -> str:
    return f"SYNTHETIC DATA: {title}" if found["synthetic"] else title
