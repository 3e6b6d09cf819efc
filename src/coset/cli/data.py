"""Commands on data: `coset inspect | prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coset.cli.arguments import columns_of
from coset.cli.options import (
    ItemAttributes,
    ItemColumn,
    Json,
    RatingColumn,
    Resume,
    SchemaFile,
    Separator,
    Sources,
    TablePatterns,
    TaskName,
    UserAttributes,
    UserColumn,
)
from coset.cli.output import progress_bar, show, warn


def inspect(
    data: Sources,
    dim: Annotated[int | None, typer.Option(help="Count bytes for this embedding dim; the model's by default.")] = None,
    task: TaskName = None,
    schema: SchemaFile = None,
    user: UserColumn = None,
    item: ItemColumn = None,
    rating: RatingColumn = None,
    separator: Separator = None,
    user_attribute: UserAttributes = None,
    item_attribute: ItemAttributes = None,
    table: TablePatterns = None,
    as_json: Json = False,
) -> None:
    """Show how many ids each feature of the data has, how often they occur, and the bytes of full tables and of the
    state of optimizers; or the tables, data and metrics of a finished run; or the tables of checkpoints of any model,
    and what they could be in fewer bytes.

    Examples: `coset inspect movielens-1m --dim 64`, `coset inspect my.csv --item-attribute year`,
    `coset inspect PREPARED --dim 16`, `coset inspect runs/mine`, `coset inspect model.safetensors`
    """
    from coset.experiments.inspect import inspect as look
    from coset.experiments.subject import RecipeOptions
    from coset.report.inspection import inspection_table

    columns = columns_of(user, item, rating, separator, user_attribute, item_attribute)
    with progress_bar("") as progress:
        found = look(data, RecipeOptions(columns, schema, task=task), dim, progress, table or ())
    show(found, as_json, inspection_table)


def prepare(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="The log: `criteo-kaggle`, a file, or a folder of files.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder that the prepared data go to.")],
    schema: Annotated[
        str | None, typer.Option(help="The schema of the columns: `criteo-kaggle`, or a .toml or .json file.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Which rows validate: `random` ones, the last ones (`ordered`), or the latest (`time`).")
    ] = "random",
    validation: Annotated[float, typer.Option(help="The share of rows that validate.")] = 0.15,
    seed: Annotated[int, typer.Option(help="The seed of a random split.")] = 0,
    min_frequency: Annotated[
        int, typer.Option(help="Give categories that occur less often than this one shared id.")
    ] = 1,
    max_size: Annotated[
        int | None, typer.Option(help="Give at most this many categories of a feature their own ids.")
    ] = None,
    unseen: Annotated[
        str,
        typer.Option(help="How to treat categories without an id: they share one (`shared`), or are an `error`."),
    ] = "shared",
    hashes: Annotated[
        list[str] | None,
        typer.Option("--hash", help="Hash categories into this many buckets: 100000, or C3=100000; repeatable."),
    ] = None,
    hash_seed: Annotated[int, typer.Option(help="The seed of the hash function.")] = 0,
    log: Annotated[bool, typer.Option(help="Replace each number x by sign(x) log(1 + |x|).")] = True,
    standardise: Annotated[bool, typer.Option(help="Scale numbers to mean 0 and standard deviation 1.")] = True,
    like: Annotated[
        Path | None, typer.Option(help="Use the vocabularies and means of these prepared data; all rows validate.")
    ] = None,
    missing: Annotated[
        list[str] | None, typer.Option(help="Text that stands for a missing value, besides an empty field; repeatable.")
    ] = None,
    skip_bad: Annotated[
        int, typer.Option(help="Leave out up to this many bad rows, and write them to skipped.jsonl.")
    ] = 0,
    threads: Annotated[
        int | None, typer.Option(help="How many threads coset uses; results do not depend on it.")
    ] = None,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Turn a click log of any size into columns and vocabularies to train on. --resume continues a killed preparation.

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
    with progress_bar("") as progress:
        found = run(
            data, out, schema, chosen, like=like, missing=missing or (), resume=resume, skip_bad=skip_bad,
            threads=threads, progress=progress,
        )  # fmt: skip
    for hint in found["hints"]:
        warn(f"{out}: {hint}")
    show(found, as_json, prepared_table)
