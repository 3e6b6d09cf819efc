"""Measuring coset against its peers: `coset bench`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from coset.cli.options import Json, Out


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
