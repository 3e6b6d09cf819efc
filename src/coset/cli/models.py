"""Training and measuring models: `coset train | compare | evaluate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coset.cli.arguments import columns_of, listed, numbers, options_of, use_threads
from coset.cli.options import (
    Changes,
    CheckpointEvery,
    ClickModelName,
    Dim,
    EngineChoice,
    Epochs,
    FullBelow,
    ItemAttributes,
    ItemColumn,
    Json,
    Keep,
    MovedData,
    Out,
    RatingColumn,
    Resume,
    SchemaFile,
    Separator,
    Subject,
    TaskName,
    TensorBoard,
    Threads,
    TimeColumn,
    Tuning,
    UserAttributes,
    UserColumn,
)
from coset.cli.output import err, progress_bar, show, warn_of_twin
from coset.errors import InputError
from coset.files import path_of

if TYPE_CHECKING:
    from coset.training.run import Options


def train(
    subject: Subject,
    row: Annotated[str | None, typer.Option(help="Train this row of the recipe; its first by default.")] = None,
    method: Annotated[
        str | None, typer.Option(help="Store all tables by this method (for DATA); full by default.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Fit the whole model into these bytes, as 240KB (for DATA).")
    ] = None,
    collisions: Annotated[
        int | None, typer.Option(help="Let this many ids share a row, in place of a budget (for DATA).")
    ] = None,
    full_below: FullBelow = None,
    plan: Annotated[
        str | None, typer.Option(help="Use the dim and the methods of this plan, which `coset plan` wrote.")
    ] = None,
    task: TaskName = None,
    dim: Dim = None,
    model: ClickModelName = None,
    schema: SchemaFile = None,
    user: UserColumn = None,
    item: ItemColumn = None,
    rating: RatingColumn = None,
    separator: Separator = None,
    user_attribute: UserAttributes = None,
    item_attribute: ItemAttributes = None,
    time: TimeColumn = None,
    epochs: Epochs = None,
    seed: Annotated[int, typer.Option(help="The seed of the split, of initial weights and of the order of rows.")] = 0,
    out: Out = None,
    resume: Resume = False,
    checkpoint_every: CheckpointEvery = None,
    keep: Keep = None,
    tensorboard: TensorBoard = False,
    changes: Changes = None,
    tuning: Tuning = False,
    further: Annotated[
        bool, typer.Option("--continue", help="Train a finished RUN for --epochs more, as a new run.")
    ] = False,
    data: MovedData = None,
    threads: Threads = 1,
    engine: EngineChoice = "auto",
    as_json: Json = False,
) -> None:
    """Train one model. A killed training goes on by --resume, at the sample after its last checkpoint.

    Examples: `coset train runs/mine --continue --epochs 3`,
    `coset train movielens-1m --method low_rank --budget 240KB --out runs/mine`,
    `coset train PREPARED --model dlrm --method quotient_remainder --collisions 4 --out runs/mine`,
    `coset train movielens-1m --plan plan.json`
    """
    from coset.experiments import places
    from coset.experiments.changes import changed
    from coset.experiments.planning import read_plan
    from coset.experiments.subject import RecipeOptions
    from coset.experiments.train import is_a_run, train_row
    from coset.report.runs import run_table

    if further:
        others = {
            "--row": row, "--method": method, "--budget": budget, "--collisions": collisions, "--plan": plan,
            "--full-below": full_below, "--dim": dim, "--model": model, "--schema": schema, "--user": user,
            "--item": item, "--rating": rating, "--separator": separator, "--user-attribute": user_attribute,
            "--item-attribute": item_attribute, "--time": time, "--task": task, "--seed": seed or None,
            "--tuning": tuning or None,
        }  # fmt: skip
        if given := [name for name, value in others.items() if value is not None]:
            raise InputError(f"--continue keeps the data and the model of a run; leave out {', '.join(given)}")
        options = options_of(resume, engine, checkpoint_every, keep, tensorboard, keep_state=True)
        _train_on(subject, out, epochs, changes or [], data, options, threads, as_json)
        return
    if data is not None:
        raise InputError("--data goes with --continue: it says where the data of the run are now")
    if (path_of(subject) / "run.json").is_file():
        raise is_a_run(Path(subject))
    if row is not None and (method is not None or plan is not None):
        maker = "--method" if plan is None else "--plan"
        raise InputError(f"--row chooses a row of the recipe and {maker} makes a new one; give one of them")
    if plan is not None and (method, budget, collisions, full_below) != (None,) * 4:
        raise InputError("--plan sets the method and size of every table; leave out --method and what sizes it")
    if plan is not None and dim not in (None, planned := read_plan(plan).embedding_dim):
        raise InputError(f"the plan {plan} has embedding_dim {planned}, and --dim is {dim}; leave --dim out")
    if method is not None and budget is None and collisions is None:
        raise InputError(
            f"--method {method} needs a --budget, which sizes it, or --collisions (the full table is `--row full`)"
        )
    if method is None and (budget is not None or collisions is not None):
        raise InputError(f"--{'collisions' if budget is None else 'budget'} needs a --method to size")
    chosen = RecipeOptions(
        columns_of(user, item, rating, separator, user_attribute, item_attribute, time), schema, model, dim,
        () if method is None else (method,), () if budget is None else (budget,),
        () if collisions is None else (collisions,), full_below, task,
    )  # fmt: skip
    recipe = chosen.one_row(subject, row, plan)
    recipe = changed(recipe, changes or (), epochs=epochs, tuning=tuning, first_seed=seed, seeds=1)
    out = out or places.of_run(recipe.name, recipe.only[0], seed)
    options = options_of(resume, engine, checkpoint_every, keep, tensorboard, keep_state=True)
    with progress_bar("") as progress:
        loaded = recipe.task.load(out.parent, progress)
    use_threads(threads)
    with progress_bar() as progress:
        metrics = train_row(recipe, out, loaded, options=options, progress=progress)
    show(metrics | {"run": str(out)}, as_json, run_table)


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]", help="The rows to predict, with or without a rating or label; the run's own by default."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The file to write, .csv or .parquet.")] = Path("predictions.csv"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    user: UserColumn = None,
    item: ItemColumn = None,
    rating: RatingColumn = None,
    separator: Separator = None,
    part: Annotated[
        str | None,
        typer.Option(
            help="Predict `all` rows (the default), or the `validation` or `training` part of the run's data."
        ),
    ] = None,
    data: MovedData = None,
    as_json: Json = False,
) -> None:
    """Write the predictions of a finished run for all rows of some data, or of a part of its own, to a file.

    Examples: `coset predict runs/mine new.csv --out predictions.csv`,
    `coset predict runs/mine --part validation`, `coset predict runs/mine PREPARED --out p.parquet`
    """
    from coset.experiments.predict import predict_run
    from coset.report.runs import prediction_table
    from coset.tasks.later import Scored, part_named

    asked = Scored(source, columns_of(user, item, rating, separator), part_named(part), data)
    show(predict_run(run, asked, out, overwrite=overwrite), as_json, prediction_table)


def _train_on(
    run: str, out: Path | None, epochs: int | None, changes: list[str], data: str | None, options: Options,
    threads: int, as_json: bool,
) -> None:  # fmt: skip
    from coset.experiments import places
    from coset.experiments.changes import changes_of_training
    from coset.experiments.train import train_on
    from coset.report.runs import run_table

    if epochs is None:
        raise InputError("--continue needs --epochs, the number of further epochs")
    training = changes_of_training(epochs, changes)
    out = out or places.beside_run(Path(run), "continued")
    use_threads(threads)
    with progress_bar() as progress:
        metrics = train_on(Path(run), out, training, data=data, options=options, progress=progress)
    show(metrics | {"run": str(out)}, as_json, run_table)


def compare(
    subject: Subject,
    methods: Annotated[
        str | None, typer.Option(help="Compare these methods, `all` or names with commas (for DATA); all by default.")
    ] = None,
    budgets: Annotated[
        str | None, typer.Option(help="Compare at these sizes, with commas (for DATA); 25% by default.")
    ] = None,
    collisions: Annotated[
        str | None,
        typer.Option(help="Let this many ids share a row, numbers with commas, in place of budgets (for DATA)."),
    ] = None,
    full_below: FullBelow = None,
    task: TaskName = None,
    dim: Dim = None,
    model: ClickModelName = None,
    schema: SchemaFile = None,
    user: UserColumn = None,
    item: ItemColumn = None,
    rating: RatingColumn = None,
    separator: Separator = None,
    user_attribute: UserAttributes = None,
    item_attribute: ItemAttributes = None,
    time: TimeColumn = None,
    row: Annotated[list[str] | None, typer.Option(help="Train this row of the recipe only; repeatable.")] = None,
    epochs: Epochs = None,
    seeds: Annotated[int | None, typer.Option(help="Train every row with this many seeds.")] = None,
    seed: Annotated[
        int, typer.Option(help="The first seed; a seed sets the split, initial weights and the order of rows.")
    ] = 0,
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
    """Train every row with every seed, and write a table, results.json, losses.png and frontier.png.

    Examples: `coset compare keras-example-corrected`,
    `coset compare my.csv --methods all --budgets 470KB,240KB --seeds 3`,
    `coset compare criteo-kaggle-dlrm --row full --row "hashing"`
    """
    from coset.experiments import places
    from coset.experiments.changes import changed
    from coset.experiments.compare import compare as run
    from coset.experiments.subject import RecipeOptions, is_recipe
    from coset.experiments.twin import load_or_twin
    from coset.report import folder
    from coset.report.comparison import table

    wanted = listed(methods) if methods is not None or is_recipe(subject) else ["all"]
    chosen = RecipeOptions(
        columns_of(user, item, rating, separator, user_attribute, item_attribute, time), schema, model, dim,
        tuple(wanted), tuple(listed(budgets)), tuple(numbers(collisions)), full_below, task,
    )  # fmt: skip
    recipe = chosen.recipe(subject)
    recipe = changed(recipe, changes or (), epochs=epochs, tuning=tuning, first_seed=seed, seeds=seeds)
    if row:
        recipe = replace(recipe, only=tuple(row))
    options = options_of(resume, engine, checkpoint_every, keep, tensorboard)
    with progress_bar("") as progress:
        recipe, data, missing = load_or_twin(
            recipe, places.for_preparing(out), progress, allowed=is_recipe(subject)
        )  # fmt: skip
    if missing is not None:
        warn_of_twin(missing.source, missing.why)
    notes = () if missing is None else (missing.note,)
    out = out or places.of_comparison(recipe.name, missing is not None)
    use_threads(threads)
    with progress_bar() as progress:
        results = run(recipe, out, data, options=options, progress=progress, notes=notes)
    folder.write(results, out)
    show(results, as_json, table)
    written = ", ".join(("results.json", *folder.WRITTEN))
    err.print(f"written to {out}: {written}", soft_wrap=True, highlight=False, markup=False)


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]", help="The rows to score: a built-in data set or a path; the run's own by default."
        ),
    ] = None,
    user: UserColumn = None,
    item: ItemColumn = None,
    rating: RatingColumn = None,
    separator: Separator = None,
    part: Annotated[
        str | None,
        typer.Option(
            help="Score the `validation` part (the default for the run's data), `training`, or `all` (for others)."
        ),
    ] = None,
    data: MovedData = None,
    as_json: Json = False,
) -> None:
    """Score a finished run on the validation part of its own data, or on any data of the same schema.

    Examples: `coset evaluate runs/mine`, `coset evaluate runs/mine later.csv`,
    `coset evaluate runs/mine --part training`
    """
    from coset.experiments.evaluate import evaluate_run
    from coset.report.runs import evaluation_table

    columns = columns_of(user, item, rating, separator)
    show(evaluate_run(run, source, columns, part, data), as_json, evaluation_table)
