"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA|FILE...",
        help="A built-in data set, a file, a folder of files, prepared data, a finished run; or checkpoints: "
        ".safetensors (also in shards, by their index), .pt, .pth or .bin files.",
    ),
]
TablePatterns = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        metavar="PATTERN",
        help="Take this tensor of a checkpoint for a table, or those that match a pattern such as '*.emb*', instead of "
        "those that look like some; repeatable.",
    ),
]
ChosenStorages = Annotated[
    str | None,
    typer.Option(
        "--storages",
        help="Choose among these storages, separated by commas: int8, bfloat16, packed (any number of bits) …; "
        "float32 leaves bits out. All by default.",
    ),
]
MovedData = Annotated[str | None, typer.Option("--data", help="The place of the run's data, if they were moved.")]
Subject = Annotated[str, typer.Argument(metavar="RECIPE|DATA", help="A recipe (its name, or a .toml file), or data.")]
UserColumn = Annotated[str | None, typer.Option("--user", help="The column of a ratings file that holds user ids.")]
ItemColumn = Annotated[str | None, typer.Option("--item", help="The column of a ratings file that holds item ids.")]
RatingColumn = Annotated[str | None, typer.Option("--rating", help="The column of a ratings file that holds ratings.")]
TimeColumn = Annotated[
    str | None, typer.Option("--time", help="The column that holds times, to split a ratings file by.")
]
RatingTransform = Annotated[
    str | None,
    typer.Option("--rating-transform", help="Train on a transform of ratings: `log` is log(1 + rating), for counts."),
]
Separator = Annotated[str | None, typer.Option(help="The separator between the columns of a text file.")]
UserAttributes = Annotated[
    list[str] | None, typer.Option("--user-attribute", help="A column that describes the user; repeatable.")
]
ItemAttributes = Annotated[
    list[str] | None, typer.Option("--item-attribute", help="A column that describes the item; repeatable.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout, and all else to stderr.")]
Out = Annotated[Path | None, typer.Option(help="The folder that coset writes to.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the work that the folder holds.")]
Epochs = Annotated[int | None, typer.Option(help="Train every row for this many epochs.")]
Dim = Annotated[int | None, typer.Option(help="The embedding dim of the full model.")]
Threads = Annotated[int, typer.Option(help="How many threads coset uses; the rounding of click models depends on it.")]
EngineChoice = Annotated[
    str, typer.Option("--engine", help="What trains the tables: `fused` kernels, `plain` torch, or `auto`.")
]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Set a field of the recipe, such as training.l2=0.02; repeatable.")
]
FullBelow = Annotated[int | None, typer.Option(help="Keep tables of fewer ids than this full (for DATA).")]
TaskName = Annotated[
    str | None,
    typer.Option("--task", help="The task of DATA, such as `ratings`; by default coset finds it from the data."),
]
ClickModelName = Annotated[str | None, typer.Option("--model", help="The click model to train: `dlrm` or `dcn`.")]
SchemaFile = Annotated[
    str | None, typer.Option("--schema", help="The schema of a click log: a name, or a .toml or .json file.")
]
CheckpointEvery = Annotated[
    str | None, typer.Option(help="Save a checkpoint every so many steps, such as 1000, or minutes, such as 10min.")
]
Keep = Annotated[int | None, typer.Option(help="Keep this many checkpoints; 2 by default.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write event files for TensorBoard into the run.")]
NoTune = Annotated[
    bool, typer.Option("--no-tune", help="Train with the settings of the recipe, and choose none by short trainings.")
]
Tuning = Annotated[bool, typer.Option("--tuning", help="Validate on 5 % of the training part, to choose settings.")]
