"""Commands on what leaves: `coset export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coset.cli.options import Json, Out
from coset.cli.output import show


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    out: Out = None,
    title: Annotated[str | None, typer.Option(help="The title of the card.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="The licence of the data that the model was trained on, for the card.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the model of a finished run as an artifact: a folder that serves without torch.

    Examples: `coset export runs/mine --out small`, `coset export runs/mine --out small --licence "CC BY 4.0"`
    """
    from coset.artifact import export_run
    from coset.experiments import places
    from coset.report.runs import export_table

    out = out or places.beside_run(run, "artifact")
    show(export_run(run, out, title=title, licence=licence), as_json, export_table)
