"""Commands with a byte budget: `coset plan | compress`; and `coset expand`, which leads back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coset.cli.arguments import columns_of, engine_of, listed, use_threads
from coset.cli.options import (
    Changes,
    ChosenStorages,
    ClickModelName,
    Dim,
    Epochs,
    ItemAttributes,
    ItemColumn,
    Json,
    MovedData,
    Out,
    RatingColumn,
    RatingTransform,
    SchemaFile,
    Separator,
    Subject,
    TablePatterns,
    TaskName,
    Threads,
    TimeColumn,
    UserAttributes,
    UserColumn,
)
from coset.cli.output import err, progress_bar, show, warn_of_twin


def plan(
    subject: Subject,
    budget: Annotated[
        str,
        typer.Option(
            help="Fit the whole model into these bytes, such as 2MB, or this share of the full one, such as 25%."
        ),
    ],
    methods: Annotated[str | None, typer.Option(help="Choose among these methods, names separated by commas.")] = None,
    storages: ChosenStorages = None,
    optimizer: Annotated[
        str | None, typer.Option(help="Also count the state of this optimizer within the budget.")
    ] = None,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="Measure losses by short trainings first; --no-calibrate measures nothing. By default coset measures "
            "in closed form where it can, else by trainings that take less than a tenth of the planned one.",
            show_default=False,
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(help="Size tables by the alpha-power rule with this exponent, such as 0.3, instead of by losses."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the plan to this file; plan.json in --out by default.")
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
        int, typer.Option(help="The seed of the split; the plan counts how often ids occur in its training part.")
    ] = 0,
    changes: Changes = None,
    threads: Threads = 1,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Choose a dim, and a method, size and bits for each table, within a budget; `coset train --plan` trains it.

    Examples: `coset plan movielens-1m --budget 240KB -o plan.json`,
    `coset plan PREPARED --budget 25% --optimizer row_wise_adagrad --out plans/mine`
    """
    from coset.experiments import places
    from coset.experiments.changes import changed
    from coset.experiments.plan import make_plan
    from coset.experiments.plan_choices import Planning
    from coset.experiments.subject import RecipeOptions
    from coset.experiments.twin import load_or_twin
    from coset.files import check_writable
    from coset.report.plan_table import plan_table
    from coset.storage import registered_storages

    output, image = places.of_plan(out, output)
    written = [path for path in (output, image) if path is not None]
    for path in written:
        check_writable(path)
    columns = columns_of(user, item, rating, separator, user_attribute, item_attribute, time, rating_transform)
    recipe = RecipeOptions(columns, schema, model, dim, task=task).recipe(subject)
    recipe = changed(recipe, changes or (), epochs=epochs, first_seed=seed)
    allowed = tuple(listed(storages)) or (tuple(registered_storages()) if alpha is None else ())
    how = Planning(tuple(listed(methods)), (), optimizer, calibrate, alpha, allowed)
    beside = places.for_preparing(out)
    with progress_bar("") as progress:
        recipe, data, missing = load_or_twin(recipe, subject, beside, progress)
    warn_of_twin(missing)
    use_threads(threads)
    with progress_bar() as progress:
        chosen, found = make_plan(recipe, data, budget, how, beside, progress)
    if output is not None:
        chosen.save(output)
    if image is not None:
        from coset.report.plan_picture import picture  # which loads matplotlib

        picture(found, image)
    show(found, as_json, plan_table)
    for path in written:
        err.print(f"written to {path}", soft_wrap=True, highlight=False, markup=False)


def compress(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|FILE",
            help="The folder of a finished run; or a checkpoint of any model: .safetensors (also in shards, by their "
            "index), .pt, .pth or .bin.",
        ),
    ],
    budget: Annotated[
        str | None,
        typer.Option(
            help="Fit the new model into these bytes, such as 1MB, or this share of the run, such as 25%; of a "
            "checkpoint, its tables."
        ),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="Use this plan for the tables of a run, instead of making one.")
    ] = None,
    storages: ChosenStorages = None,
    finetune: Annotated[int, typer.Option(metavar="N", help="Train the fitted model of a run for N more epochs.")] = 0,
    data: MovedData = None,
    table: TablePatterns = None,
    frequencies: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Weigh the ids of a checkpoint by these counts: an array for each table, by the name of its tensor.",
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Choose among these methods for a checkpoint, separated by commas: blocks, full, hashing, "
            "low_rank. All by default."
        ),
    ] = None,
    out: Out = None,
    threads: Threads = 1,
    engine: Annotated[
        str | None,
        typer.Option(help="What trains the tables of a run: `fused` kernels, `plain` torch, or `auto`, the default."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compress a finished run into a new one, fitted to its trained tables, and show metrics before and after; or the
    tables of a checkpoint into an artifact, which `coset.load_compressed` puts into its model.

    Examples: `coset compress runs/mine --budget 3%`, `coset compress runs/mine --budget 25% --storages float32`,
    `coset compress model.safetensors --budget 10% --frequencies counts.npz --out small`
    """
    from coset.experiments import places
    from coset.experiments.compressible import Asked
    from coset.experiments.compressible import compress as act
    from coset.report.compression import compression_tables

    asked = Asked(
        budget=budget, storages=listed(storages), plan=plan, finetune=finetune, data=data,
        engine=None if engine is None else engine_of(engine), table=table or (), frequencies=frequencies,
        methods=listed(methods),
    )  # fmt: skip
    out = out or places.beside_run(Path(run), budget or "compressed")
    use_threads(threads)
    with progress_bar("") as progress:
        found = act(run, out, asked, progress)
    show(found, as_json, compression_tables)


def expand(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A folder that `coset compress FILE` wrote.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    as_json: Json = False,
) -> None:
    """Turn the compressed tables of a checkpoint back into an ordinary checkpoint, with the names and types it had.

    Examples: `coset expand small --out model.safetensors`
    """
    from coset.checkpoints import expand_checkpoint
    from coset.report.checkpoints import expanded_line

    show(expand_checkpoint(artifact, out), as_json, expanded_line)
