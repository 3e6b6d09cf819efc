"""The command line: `coset inspect | train | compare | evaluate | bench`. No logic of its own."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typer.main import get_command

from coset.errors import InputError, unknown

if TYPE_CHECKING:
    from coset.data import Ratings
    from coset.experiments.recipe import Recipe

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown",
    help="Memory-efficient embedding tables for recommender models: what they save, and what the saving costs.",
)  # fmt: skip

Source = Annotated[str, typer.Argument(metavar="DATA", help="A built-in data set, or a path.")]
Subject = Annotated[str, typer.Argument(metavar="RECIPE|DATA", help="A recipe (name or .toml path), or data.")]
UserColumn = Annotated[str | None, typer.Option("--user", help="Column of user ids, for a file.")]
ItemColumn = Annotated[str | None, typer.Option("--item", help="Column of item ids, for a file.")]
RatingColumn = Annotated[str | None, typer.Option("--rating", help="Column of ratings, for a file.")]
Separator = Annotated[str | None, typer.Option(help="Between the columns of a text file.")]
UserAttributes = Annotated[
    list[str] | None, typer.Option("--user-attribute", help="Column about the user, for a file; repeatable.")
]
ItemAttributes = Annotated[
    list[str] | None, typer.Option("--item-attribute", help="Column about the item, for a file; repeatable.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout, all else to stderr.")]
Out = Annotated[Path | None, typer.Option(help="Folder for what is written.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue what the folder holds, if anything.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs, for all rows.")]
Dim = Annotated[int | None, typer.Option(help="Embedding dim of the full model.")]
Threads = Annotated[int, typer.Option(help="Threads for training; results do not depend on it.")]
EngineChoice = Annotated[str, typer.Option("--engine", help="`auto`, `fused` kernels or `plain` torch; equal results.")]
Changes = Annotated[list[str] | None, typer.Option("--set", help="A recipe's field, as training.l2=0.02; repeatable.")]
Tuning = Annotated[bool, typer.Option("--tuning", help="Report on 5 % of the training part, to choose settings by.")]

_err = Console(stderr=True)
_MOVIELENS_TWIN = {"movielens-1m": "synthetic-ratings"}


@app.command()
def inspect(
    data: Source,
    dim: Annotated[int, typer.Option(help="Embedding dim that bytes are counted for.")] = 64,
    user: UserColumn = None,
    item: ItemColumn = None,
    rating: RatingColumn = None,
    separator: Separator = None,
    user_attribute: UserAttributes = None,
    item_attribute: ItemAttributes = None,
    as_json: Json = False,
) -> None:
    """Cardinalities, attributes, popularity, and what full tables would cost.

    Examples: `coset inspect movielens-1m --dim 64`, `coset inspect my.csv --item-attribute year`
    """
    from coset.data.settings import DataSettings
    from coset.experiments.inspect import inspect as look
    from coset.experiments.inspect import inspection_table

    columns = _columns(user, item, rating, separator, user_attribute, item_attribute)
    found = look(DataSettings(data, **columns).load(), dim)
    _print(found, as_json, inspection_table)


@app.command()
def train(
    subject: Subject,
    row: Annotated[str | None, typer.Option(help="Which row of the recipe; its first by default.")] = None,
    method: Annotated[str | None, typer.Option(help="For DATA: a method for all tables; full by default.")] = None,
    budget: Annotated[str | None, typer.Option(help="For DATA: bytes of the whole model, as 240KB.")] = None,
    dim: Dim = None,
    user: UserColumn = None,
    item: ItemColumn = None,
    rating: RatingColumn = None,
    separator: Separator = None,
    user_attribute: UserAttributes = None,
    item_attribute: ItemAttributes = None,
    epochs: Epochs = None,
    seed: Annotated[int, typer.Option(help="Of split, initial weights and order.")] = 0,
    out: Out = None,
    resume: Resume = False,
    changes: Changes = None,
    tuning: Tuning = False,
    threads: Threads = 1,
    engine: EngineChoice = "auto",
    as_json: Json = False,
) -> None:
    """Train one model, resumable at every epoch.

    Example: `coset train movielens-1m --method low_rank --budget 240KB --out runs/mine`
    """
    from coset.experiments.single import run_table, train_row

    if row is not None and method is not None:
        raise InputError("--row chooses a row that is there and --method makes one; give one of them")
    if method is not None and budget is None:
        raise InputError(f"--method {method} needs a --budget, which sizes it (the full table is `--row full`)")
    if budget is not None and method is None:
        raise InputError("--budget needs a --method to size")
    methods, budgets = ([], []) if method is None or budget is None else ([method], [budget])
    columns = _columns(user, item, rating, separator, user_attribute, item_attribute)
    recipe = _recipe(subject, columns, methods, budgets, dim)
    recipe = _changed(recipe, epochs, changes, tuning, first_seed=seed, seeds=1)
    row = row or method or recipe.rows[0].name
    recipe = replace(recipe, only=(row,))
    out = out or Path("runs") / re.sub(r"[^\w.=%-]+", "-", f"{recipe.name}-{row}-seed-{seed}")
    ratings = recipe.data.load()
    _use_threads(threads)
    with _progress() as progress:
        metrics = train_row(recipe, out, ratings, resume=resume, engine=_engine(engine), progress=progress)
    _print(metrics | {"run": str(out)}, as_json, run_table)


@app.command()
def compare(
    subject: Subject,
    methods: Annotated[str | None, typer.Option(help="For DATA: `all` (the default), or names with commas.")] = None,
    budgets: Annotated[str | None, typer.Option(help="For DATA: sizes with commas; 25% by default.")] = None,
    dim: Dim = None,
    user: UserColumn = None,
    item: ItemColumn = None,
    rating: RatingColumn = None,
    separator: Separator = None,
    user_attribute: UserAttributes = None,
    item_attribute: ItemAttributes = None,
    row: Annotated[list[str] | None, typer.Option(help="Only this row of the recipe; repeatable.")] = None,
    epochs: Epochs = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds; each sets split, weights and order.")] = None,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    out: Out = None,
    resume: Resume = False,
    changes: Changes = None,
    tuning: Tuning = False,
    threads: Threads = 1,
    engine: EngineChoice = "auto",
    as_json: Json = False,
) -> None:
    """Train every row with every seed: a table, results.json, losses.png and frontier.png.

    Examples: `coset compare keras-example-corrected`,
    `coset compare my.csv --methods all --budgets 470KB,240KB --seeds 3`
    """
    from coset.experiments.compare import compare as run
    from coset.experiments.report import table

    wanted = _listed(methods) if methods is not None or _is_recipe(subject) else ["all"]
    columns = _columns(user, item, rating, separator, user_attribute, item_attribute)
    recipe = _recipe(subject, columns, wanted, _listed(budgets), dim)
    recipe = _changed(recipe, epochs, changes, tuning, first_seed=seed, seeds=seeds)
    if row:
        recipe = replace(recipe, only=tuple(row))
    recipe, ratings, notes = _load_or_twin(recipe, is_recipe=_is_recipe(subject))
    out = out or Path("runs") / (f"{recipe.name}-synthetic" if notes else recipe.name)
    _use_threads(threads)
    with _progress() as progress:
        results = run(recipe, out, ratings, resume=resume, engine=_engine(engine), progress=progress, notes=notes)
    _print(results, as_json, table)
    written = "results.json, results.md, losses.png, frontier.png"
    _err.print(f"written to {out}: {written}", soft_wrap=True, highlight=False, markup=False)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    data: Source,
    user: UserColumn = None,
    item: ItemColumn = None,
    rating: RatingColumn = None,
    separator: Separator = None,
    as_json: Json = False,
) -> None:
    """Error of a finished run on any data of the same schema.

    Example: `coset evaluate runs/mine later.csv`
    """
    from coset.data.settings import DataSettings
    from coset.experiments.single import evaluation_table
    from coset.training.run import FinishedRun

    finished = FinishedRun.load(run)
    # No attributes: those that the run was trained with are in its vocabularies.
    ratings = DataSettings(data, **_columns(user, item, rating, separator)).load(to_learn=False)
    errors = finished.evaluate(ratings)
    found = {"run": str(run), "dataset": ratings.name, "synthetic": ratings.synthetic, "rows": errors.count,
             "mse": errors.mse, "mae": errors.mae}  # fmt: skip
    _print(found, as_json, evaluation_table)


@app.command()
def bench(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One benchmark; all by default.")] = None,
    options: Annotated[list[str] | None, typer.Argument(metavar="[-- OPTIONS]", help="For its script.")] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Measure coset against its peers, with the scripts of a source checkout.

    Examples: `coset bench embedding_step`, `coset bench embedding_step -- --quick --threads 1`
    """
    from coset.experiments.bench import bench as run
    from coset.experiments.bench import lines

    found = []
    for results in run(name, options or [], out):
        found.append(results)
        if not as_json:
            print("\n".join(lines(results)), flush=True)
    if as_json:
        print(json.dumps(found[0] if name else {"benchmarks": found}, allow_nan=False))


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from coset import __version__

        typer.echo(f"coset {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; an error that the user can mend is one sentence and exit code 2."""
    try:
        sys.exit(get_command(app).main(prog_name="coset", standalone_mode=False) or 0)
    except InputError as error:
        _fail(str(error))
    except OSError as error:  # a full disk, a folder that may not be written
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    except typer.Abort:
        sys.exit(130)
    except Exception as error:
        # A wrong call, such as an unknown option; typer's own class for it moved between versions.
        if not hasattr(error, "format_message"):
            raise
        if sentence := error.format_message():
            _fail(f"{sentence} (see --help)")
        sys.exit(2)  # no command was named: the help is printed already


def _fail(sentence: str) -> None:
    print(f"coset: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(2)


# -- from words to recipes ----------------------------------------------------------------------------------


def _columns(
    user: str | None, item: str | None, rating: str | None, separator: str | None,
    user_attributes: list[str] | None = None, item_attributes: list[str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "user": user,
        "item": item,
        "rating": rating,
        "separator": separator,
        "user_attributes": tuple(user_attributes) if user_attributes else None,
        "item_attributes": tuple(item_attributes) if item_attributes else None,
    }


def _is_recipe(subject: str) -> bool:
    from coset.experiments.recipe import shipped

    return subject.endswith(".toml") or subject in shipped()


def _recipe(subject: str, columns: dict[str, Any], methods: list[str], budgets: list[str], dim: int | None) -> Any:
    from coset.data import DATASETS
    from coset.data.settings import DataSettings
    from coset.experiments.recipe import load_recipe, recipe_for_data, shipped

    if _is_recipe(subject):
        if methods or budgets or any(columns.values()):
            raise InputError(
                f"{subject} is a recipe, which says its own rows and columns; "
                f"methods, budgets and column names are for DATA"
            )
        recipe = load_recipe(subject)
        return recipe if dim is None else recipe.override("model", {"embedding_dim": dim})
    if subject not in DATASETS and not Path(subject).exists():
        if Path(subject).suffix or "/" in subject:
            raise InputError(f"{subject}: no such file")
        raise unknown("recipe or data set", subject, [*shipped(), *DATASETS])
    return recipe_for_data(DataSettings(subject, **columns), methods, budgets, dim)


def _changed(
    recipe: Recipe, epochs: int | None, changes: list[str] | None, tuning: bool, first_seed: int, seeds: int | None
) -> Recipe:
    recipe = replace(recipe, first_seed=first_seed, seeds=recipe.seeds if seeds is None else seeds)
    if epochs is not None:
        recipe = recipe.override("training", {"epochs": epochs})
    if tuning:
        recipe = recipe.override("split", {"tuning": 0.05})
    for change in changes or []:
        key, equals, value = change.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot):
            raise InputError(f"--set is written section.field=value, as training.l2=0.02, not {change!r}")
        recipe = recipe.override(section, {name: _value(value.strip())})
    return recipe


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _listed(text: str | None) -> list[str]:
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InputError(f"a list with commas has an empty place: {text!r}")
    return parts


def _load_or_twin(recipe: Recipe, is_recipe: bool) -> tuple[Recipe, Ratings, list[str]]:
    """The data of a recipe; where they cannot be had, their synthetic twin and a word about it."""
    from coset.data import DataNotFound

    try:
        return recipe, recipe.data.load(), []
    except DataNotFound as error:
        twin = _MOVIELENS_TWIN.get(recipe.data.source)
        if twin is None or not is_recipe:
            raise
        _err.print(
            Panel(
                f"{recipe.data.source} is not at hand, so this runs on its [bold]synthetic[/bold] twin: every figure "
                f"and picture below is about made-up ratings.\n\n[dim]{escape(str(error))}[/dim]",
                title="SYNTHETIC DATA",
                border_style="yellow",
            )
        )
        recipe = recipe.override("data", {"source": twin})
        return recipe, recipe.data.load(), [f"{error.args[0].split(':')[0]}; these are figures of its synthetic twin"]


# -- output -------------------------------------------------------------------------------------------------


def _print(found: dict[str, Any], as_json: bool, render: Any) -> None:
    if as_json:
        print(json.dumps(found, allow_nan=False))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(render(found))


def _use_threads(threads: int) -> None:
    import torch

    if not 1 <= threads <= 1024:
        raise InputError(f"--threads must lie in 1 … 1024, not {threads}")
    torch.set_num_threads(threads)


def _engine(name: str) -> Any:
    """The engine of that name, refused before anything is loaded or written."""
    from coset.training.fused import ENGINES

    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    return name


@contextmanager
def _progress() -> Iterator[_Bar]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_err, transient=True, disable=not _err.is_terminal) as shown:
        yield _Bar(shown)


class _Bar:
    """A bar on stderr; where that is no terminal, a line for each run."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._task = shown.add_task("", total=None)
        self._what = ""

    def begin(self, steps: int) -> None:
        self._shown.update(self._task, total=steps)

    def advance(self, steps: int, what: str) -> None:
        if what != self._what and not _err.is_terminal:
            _err.print(f"training {what}", highlight=False, markup=False, soft_wrap=True)
        self._what = what
        self._shown.update(self._task, advance=steps, description=what)


if __name__ == "__main__":
    main()
