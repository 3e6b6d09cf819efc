"""From the options of commands to a recipe, its data and how runs are driven."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.panel import Panel

from coset.cli.output import Bar, err
from coset.errors import InputError, unknown

if TYPE_CHECKING:
    from coset.experiments.task import Options

_MOVIELENS_TWIN = {"movielens-1m": "synthetic-ratings"}


def columns_of(
    user: str | None, item: str | None, rating: str | None, separator: str | None,
    user_attributes: list[str] | None = None, item_attributes: list[str] | None = None, time: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Which columns of a file of ratings are which."""
    return {
        "user": user,
        "item": item,
        "rating": rating,
        "separator": separator,
        "user_attributes": tuple(user_attributes) if user_attributes else None,
        "item_attributes": tuple(item_attributes) if item_attributes else None,
        "time": time,
    }


def options_of(
    resume: bool, engine: str, every: str | None, keep: int | None, tensorboard: bool, keep_state: bool = False
) -> Options:
    """How runs are driven."""
    from coset.experiments.task import Options
    from coset.experiments.words import checkpoints
    from coset.training.fused import ENGINES

    if engine not in ENGINES:  # refused before anything is loaded or written
        raise unknown("engine", engine, ENGINES)
    return Options(resume, engine, checkpoints(every, keep), tensorboard, keep_state)


def changed_by(
    recipe: Any, epochs: int | None, changes: list[str] | None, tuning: bool, first_seed: int, seeds: int | None
) -> Any:
    """The recipe with the seeds, and all that `coset.experiments.words.changed` knows to change."""
    from coset.experiments.words import changed

    recipe = replace(recipe, first_seed=first_seed, seeds=recipe.seeds if seeds is None else seeds)
    return changed(recipe, epochs, changes or [], tuning)


def load_or_twin(recipe: Any, is_recipe: bool, out: Path | None, progress: Bar) -> tuple[Any, Any, list[str]]:
    """The data of a recipe; where they cannot be had, their synthetic twin and a word about it."""
    from coset.data import DataNotFound

    beside = Path("runs") if out is None else out.parent
    try:
        return recipe, recipe.load(beside, progress), []
    except DataNotFound as error:
        twin = _MOVIELENS_TWIN.get(recipe.data.source)
        if twin is None or not is_recipe:
            raise
        err.print(
            Panel(
                f"{recipe.data.source} is not at hand, so this runs on its [bold]synthetic[/bold] twin: every figure "
                f"and picture below is about made-up ratings.\n\n[dim]{escape(str(error))}[/dim]",
                title="SYNTHETIC DATA",
                border_style="yellow",
            )
        )
        recipe = recipe.override("data", {"source": twin})
        return (
            recipe,
            recipe.load(beside, progress),
            [f"{error.args[0].split(':')[0]}; these are figures of its synthetic twin"],
        )


def use_threads(threads: int) -> None:
    """Let torch use so many threads."""
    import torch

    if not 1 <= threads <= 1024:
        raise InputError(f"--threads must lie in 1 … 1024, not {threads}")
    torch.set_num_threads(threads)
