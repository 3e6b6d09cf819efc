"""The command line: `coset inspect | prepare | train | compare | evaluate | bench`. No logic of its own."""

from __future__ import annotations

import json
import re
import sys
import warnings
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
    from coset.experiments.task import Options

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
Threads = Annotated[int, typer.Option(help="Threads; results do not depend on it, but click models round otherwise.")]
EngineChoice = Annotated[str, typer.Option("--engine", help="`auto`, `fused` kernels or `plain` torch; equal results.")]
Changes = Annotated[list[str] | None, typer.Option("--set", help="A recipe's field, as training.l2=0.02; repeatable.")]
FullBelow = Annotated[int | None, typer.Option(help="For DATA: tables of fewer ids than this stay full.")]
ClickModelName = Annotated[str | None, typer.Option("--model", help="Of clicks: `dlrm` or `dcn`.")]
SchemaFile = Annotated[str | None, typer.Option("--schema", help="Of a click log: a name, or a .toml or .json file.")]
CheckpointEvery = Annotated[str | None, typer.Option(help="Of clicks: steps, as 1000, or minutes, as 10min.")]
Keep = Annotated[int | None, typer.Option(help="Of clicks: how many checkpoints are kept; 2 by default.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Of clicks: write event files into the run.")]
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
def prepare(
    data: Annotated[str, typer.Argument(metavar="DATA", help="`criteo-kaggle`, a file, or a folder of files.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for what is prepared.")],
    schema: Annotated[str | None, typer.Option(help="`criteo-kaggle`, or a .toml file that says the columns.")] = None,
    split: Annotated[str, typer.Option(help="`random`, `ordered` (the last rows validate) or `time`.")] = "random",
    validation: Annotated[float, typer.Option(help="Share of the rows that validate.")] = 0.15,
    seed: Annotated[int, typer.Option(help="Of a random split.")] = 0,
    min_frequency: Annotated[int, typer.Option(help="Rarer categories share one id.")] = 1,
    max_size: Annotated[int | None, typer.Option(help="Most categories of a feature with ids of their own.")] = None,
    unseen: Annotated[str, typer.Option(help="Categories without an id: `shared` or `error`.")] = "shared",
    hashes: Annotated[
        list[str] | None, typer.Option("--hash", help="Buckets in place of vocabularies: 100000, or C3=100000.")
    ] = None,
    hash_seed: Annotated[int, typer.Option(help="Which hash function.")] = 0,
    log: Annotated[bool, typer.Option(help="Numbers become sign(x) log(1 + |x|).")] = True,
    standardise: Annotated[bool, typer.Option(help="Numbers get mean 0 and deviation 1.")] = True,
    like: Annotated[
        Path | None, typer.Option(help="Prepared data whose ids and means to take; all rows validate.")
    ] = None,
    skip_bad: Annotated[int, typer.Option(help="Leave out up to so many bad rows, to skipped.jsonl.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads; results do not depend on it.")] = None,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Turn a click log of any size into columns and vocabularies to train on, resumable at any moment.

    Examples: `coset prepare criteo-kaggle data/criteo --split ordered --validation 0.1429`,
    `coset prepare clicks.csv.gz data/mine --schema mine.toml --min-frequency 5`
    """
    from coset import settings
    from coset.data.clicks.prepare import prepare as run
    from coset.data.clicks.report import prepared_table
    from coset.data.clicks.settings import PrepareSettings, hashing_of

    given = {
        "split": split, "validation": validation, "seed": seed, "min_frequency": min_frequency, "max_size": max_size,
        "unseen": unseen, "hashing": hashing_of(hashes or []), "hash_seed": hash_seed, "log": log,
        "standardise": standardise,
    }  # fmt: skip
    chosen = settings.make(PrepareSettings, given, "prepare")
    how = None if like is not None and chosen == PrepareSettings() else chosen
    with _progress("") as progress:
        found = run(
            data, out, schema, how, like=like, resume=resume, skip_bad=skip_bad, threads=threads, progress=progress
        )
    _print(found, as_json, prepared_table)


@app.command()
def train(
    subject: Subject,
    row: Annotated[str | None, typer.Option(help="Which row of the recipe; its first by default.")] = None,
    method: Annotated[str | None, typer.Option(help="For DATA: a method for all tables; full by default.")] = None,
    budget: Annotated[str | None, typer.Option(help="For DATA: bytes of the whole model, as 240KB.")] = None,
    collisions: Annotated[int | None, typer.Option(help="For DATA: ids a row, in place of a budget.")] = None,
    full_below: FullBelow = None,
    dim: Dim = None,
    model: ClickModelName = None,
    schema: SchemaFile = None,
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
    checkpoint_every: CheckpointEvery = None,
    keep: Keep = None,
    tensorboard: TensorBoard = False,
    changes: Changes = None,
    tuning: Tuning = False,
    threads: Threads = 1,
    engine: EngineChoice = "auto",
    as_json: Json = False,
) -> None:
    """Train one model, resumable at every epoch; a click model, at every checkpoint.

    Examples: `coset train movielens-1m --method low_rank --budget 240KB --out runs/mine`,
    `coset train PREPARED --model dlrm --method quotient_remainder --collisions 4 --out runs/mine`
    """
    from coset.experiments.single import run_table, train_row
    from coset.experiments.words import Words

    if row is not None and method is not None:
        raise InputError("--row chooses a row that is there and --method makes one; give one of them")
    if method is not None and budget is None and collisions is None:
        raise InputError(
            f"--method {method} needs a --budget, which sizes it, or --collisions (the full table is `--row full`)"
        )
    if method is None and (budget is not None or collisions is not None):
        raise InputError(f"--{'collisions' if budget is None else 'budget'} needs a --method to size")
    words = Words(
        _columns(user, item, rating, separator, user_attribute, item_attribute), schema, model, dim,
        () if method is None else (method,), () if budget is None else (budget,),
        () if collisions is None else (collisions,), full_below,
    )  # fmt: skip
    recipe = words.recipe(subject)
    recipe = _changed(recipe, epochs, changes, tuning, first_seed=seed, seeds=1)
    row = row or method or recipe.rows[0].name
    recipe = replace(recipe, only=(row,))
    out = out or Path("runs") / re.sub(r"[^\w.=%-]+", "-", f"{recipe.name}-{row}-seed-{seed}")
    options = _options(resume, engine, checkpoint_every, keep, tensorboard)
    with _progress("") as progress:
        data = recipe.load(out.parent, progress)
    _use_threads(threads)
    with _progress() as progress:
        metrics = train_row(recipe, out, data, options=options, progress=progress)
    _print(metrics | {"run": str(out)}, as_json, run_table)


@app.command()
def compare(
    subject: Subject,
    methods: Annotated[str | None, typer.Option(help="For DATA: `all` (the default), or names with commas.")] = None,
    budgets: Annotated[str | None, typer.Option(help="For DATA: sizes with commas; 25% by default.")] = None,
    collisions: Annotated[str | None, typer.Option(help="For DATA: ids a row with commas; not with budgets.")] = None,
    full_below: FullBelow = None,
    dim: Dim = None,
    model: ClickModelName = None,
    schema: SchemaFile = None,
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
    checkpoint_every: CheckpointEvery = None,
    keep: Keep = None,
    tensorboard: TensorBoard = False,
    changes: Changes = None,
    tuning: Tuning = False,
    threads: Threads = 1,
    engine: EngineChoice = "auto",
    as_json: Json = False,
) -> None:
    """Train every row with every seed: a table, results.json, losses.png and frontier.png.

    Examples: `coset compare keras-example-corrected`,
    `coset compare my.csv --methods all --budgets 470KB,240KB --seeds 3`,
    `coset compare criteo-kaggle-dlrm --row full --row "hashing"`
    """
    from coset.experiments.compare import compare as run
    from coset.experiments.report import table
    from coset.experiments.words import Words, is_recipe, listed, numbers

    wanted = listed(methods) if methods is not None or is_recipe(subject) else ["all"]
    words = Words(
        _columns(user, item, rating, separator, user_attribute, item_attribute), schema, model, dim,
        tuple(wanted), tuple(listed(budgets)), tuple(numbers(collisions)), full_below,
    )  # fmt: skip
    recipe = words.recipe(subject)
    recipe = _changed(recipe, epochs, changes, tuning, first_seed=seed, seeds=seeds)
    if row:
        recipe = replace(recipe, only=tuple(row))
    options = _options(resume, engine, checkpoint_every, keep, tensorboard)
    with _progress("") as progress:
        recipe, data, notes = _load_or_twin(recipe, is_recipe(subject), out, progress)
    out = out or Path("runs") / (f"{recipe.name}-synthetic" if notes else recipe.name)
    _use_threads(threads)
    with _progress() as progress:
        results = run(recipe, out, data, options=options, progress=progress, notes=notes)
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
    part: Annotated[
        str | None, typer.Option(help="Of prepared clicks: `validation` (the default) or `training`.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Metrics of a finished run on any data of the same schema.

    Examples: `coset evaluate runs/mine later.csv`, `coset evaluate runs/mine PREPARED`
    """
    from coset.experiments.single import evaluate_run, evaluation_table

    _print(evaluate_run(run, data, _columns(user, item, rating, separator), part), as_json, evaluation_table)


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
    """Run the command line; an error that the user can mend is one sentence and exit code 2, a warning one sentence."""
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        _main()


def _main() -> None:
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


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"coset: warning: {' '.join(str(message).split())}", file=sys.stderr)


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


def _options(resume: bool, engine: str, every: str | None, keep: int | None, tensorboard: bool) -> Options:
    from coset.experiments.task import Options
    from coset.experiments.words import checkpoints
    from coset.training.fused import ENGINES

    if engine not in ENGINES:  # refused before anything is loaded or written
        raise unknown("engine", engine, ENGINES)
    return Options(resume, engine, checkpoints(every, keep), tensorboard)


def _changed(
    recipe: Any, epochs: int | None, changes: list[str] | None, tuning: bool, first_seed: int, seeds: int | None
) -> Any:
    from coset.experiments.words import changed

    recipe = replace(recipe, first_seed=first_seed, seeds=recipe.seeds if seeds is None else seeds)
    return changed(recipe, epochs, changes or [], tuning)


def _load_or_twin(recipe: Any, is_recipe: bool, out: Path | None, progress: _Bar) -> tuple[Any, Any, list[str]]:
    """The data of a recipe; where they cannot be had, their synthetic twin and a word about it."""
    from coset.data import DataNotFound

    beside = Path("runs") if out is None else out.parent
    try:
        return recipe, recipe.load(beside, progress), []
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
        return (
            recipe,
            recipe.load(beside, progress),
            [f"{error.args[0].split(':')[0]}; these are figures of its synthetic twin"],
        )


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


@contextmanager
def _progress(verb: str = "training ") -> Iterator[_Bar]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_err, transient=True, disable=not _err.is_terminal) as shown:
        yield _Bar(shown, verb)


class _Bar:
    """A bar on stderr; where that is no terminal, a line for each run, or whatever else takes its time."""

    def __init__(self, shown: Progress, verb: str) -> None:
        self._shown = shown
        self._verb = verb
        self._task = shown.add_task("", total=None)
        self._what = ""

    def begin(self, steps: int) -> None:
        self._shown.update(self._task, total=steps)

    def advance(self, steps: int, what: str) -> None:
        if what != self._what and not _err.is_terminal:
            _err.print(f"{self._verb}{what}", highlight=False, markup=False, soft_wrap=True)
        self._what = what
        self._shown.update(self._task, advance=steps, description=what)


if __name__ == "__main__":
    main()
