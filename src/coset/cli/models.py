"""Commands on models: `coset train | compare | evaluate | predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coset.cli.arguments import columns_of, listed, numbers, one, options_of, use_threads
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
    NoTune,
    Out,
    RatingColumn,
    RatingTransform,
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


def train(
    subject: Subject,
    row: Annotated[str | None, typer.Option(help="Train this row of the recipe; its first by default.")] = None,
    method: Annotated[
        str | None, typer.Option(help="Store all tables by this method (for DATA); full by default.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Fit the whole model into these bytes, such as 240KB (for DATA).")
    ] = None,
    bits: Annotated[
        bool,
        typer.Option(
            "--bits", help="Solve ratings in closed form, and store numbers in the few bits that fit --budget best."
        ),
    ] = False,
    collisions: Annotated[
        int | None, typer.Option(help="Size the method by this many ids a row, in place of a budget (for DATA).")
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
    rating_transform: RatingTransform = None,
    epochs: Epochs = None,
    seed: Annotated[
        int | None,
        typer.Option(help="The seed of the split, of initial weights and of the order of rows; 0 by default."),
    ] = None,
    out: Out = None,
    resume: Resume = False,
    checkpoint_every: CheckpointEvery = None,
    keep: Keep = None,
    tensorboard: TensorBoard = False,
    changes: Changes = None,
    tuning: Tuning = False,
    no_tune: NoTune = False,
    further: Annotated[
        bool, typer.Option("--continue", help="Train a finished RUN for --epochs more, as a new run.")
    ] = False,
    data: MovedData = None,
    threads: Threads = 1,
    engine: EngineChoice = "auto",
    as_json: Json = False,
) -> None:
    """Train one model. --resume continues a killed training at the sample after its last checkpoint.

    Examples: `coset train runs/mine --continue --epochs 3`,
    `coset train movielens-1m --method low_rank --budget 240KB --out runs/mine`,
    `coset train PREPARED --model dlrm --method quotient_remainder --collisions 4 --out runs/mine`,
    `coset train movielens-1m --bits --budget 25KB`, `coset train movielens-1m --plan plan.json`
    """
    from coset.experiments.jobs import TrainOptions
    from coset.experiments.subject import RecipeOptions
    from coset.report.runs import run_table

    columns = columns_of(user, item, rating, separator, user_attribute, item_attribute, time, rating_transform)
    recipe = RecipeOptions(
        columns, schema, model, dim, one(method), one(budget), one(collisions), full_below, task, bits,
    )  # fmt: skip
    given = TrainOptions(recipe, row, plan, seed, epochs, changes or (), tuning, further, data, not no_tune)
    options = options_of(resume, engine, checkpoint_every, keep, tensorboard, keep_state=True)
    job = given.job(subject, out)
    with progress_bar("") as progress:
        job.load(progress)
    use_threads(threads)
    with progress_bar() as progress:
        metrics = job.train(options, progress)
    show(metrics | {"run": str(job.out)}, as_json, run_table)


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


def compare(
    subject: Subject,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Compare these methods, `all` or names separated by commas (for DATA); by default all but the slowest "
            "to train, which the results name."
        ),
    ] = None,
    budgets: Annotated[
        str | None, typer.Option(help="Compare at these sizes, separated by commas (for DATA); 25% by default.")
    ] = None,
    collisions: Annotated[
        str | None,
        typer.Option(
            help="Size methods by these numbers of ids a row, separated by commas, in place of budgets (for DATA)."
        ),
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
    rating_transform: RatingTransform = None,
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
    no_tune: NoTune = False,
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
    from coset.experiments.subject import RecipeOptions
    from coset.experiments.twin import load_or_twin
    from coset.report import folder
    from coset.report.comparison import table

    columns = columns_of(user, item, rating, separator, user_attribute, item_attribute, time, rating_transform)
    given = RecipeOptions(
        columns, schema, model, dim, listed(methods), listed(budgets), numbers(collisions), full_below, task,
    )  # fmt: skip
    recipe = changed(
        given.comparison(subject), changes or (), epochs=epochs, tuning=tuning, first_seed=seed, seeds=seeds, only=row,
        tune=not no_tune,
    )  # fmt: skip
    options = options_of(resume, engine, checkpoint_every, keep, tensorboard)
    with progress_bar("") as progress:
        recipe, data, missing = load_or_twin(recipe, subject, places.for_preparing(out), progress)
    warn_of_twin(missing)
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
