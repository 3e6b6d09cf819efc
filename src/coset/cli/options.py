"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="A built-in data set, a file, a folder of files, prepared data, or a finished run."
    ),
]
MovedData = Annotated[str | None, typer.Option("--data", help="Where the data of the run are now, if moved.")]
Subject = Annotated[str, typer.Argument(metavar="RECIPE|DATA", help="A recipe (name or .toml path), or data.")]
UserColumn = Annotated[str | None, typer.Option("--user", help="Column of user ids, for a file.")]
ItemColumn = Annotated[str | None, typer.Option("--item", help="Column of item ids, for a file.")]
RatingColumn = Annotated[str | None, typer.Option("--rating", help="Column of ratings, for a file.")]
TimeColumn = Annotated[str | None, typer.Option("--time", help="Column of times, for a file that is split by them.")]
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
