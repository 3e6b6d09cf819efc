"""What a finished run is: its tables with their methods, what it was trained on, and how well it did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text

from coset.experiments.plan_report import method_words
from coset.experiments.single import HEADINGS
from coset.schema import CHOICE, EXTRA
from coset.sizes import format_size
from coset.training.checkpoint import Saved
from coset.training.further import epochs_of
from coset.training.seal import opened


def inspect_run(run: Path) -> dict[str, Any]:
    """What a finished run of any kind is, as plain JSON values.

    Args:
        run: its folder.

    Returns:
        `run`; `task`, ratings or clicks; `data`, where those lay that it was trained on; `rows` by part; `tables`, the
        largest first, each with its `part` of the model, ids, dim, method and bytes; `parameters` and `bytes`, of all
        that is reported of a run; `epochs`; `metrics` of its model on the validation part; and what it was made of
        where that is another run: `compressed` or `continued`.

    Raises:
        InputError: no run there, one that is not finished, or one that was edited.
    """
    with opened(run) as finished:
        about, metrics, tables = finished.about, finished.metrics, _tables(finished.model)
    reported = metrics["history"][-1 if metrics.get("reported") is None else metrics["reported"]]
    spec = about["spec"]
    return {
        "run": str(run),
        "task": about.get("task", "ratings"),
        "data": metrics.get("prepared") or spec["data"]["source"],
        "rows": metrics["rows"],
        "tables": tables,
        "parameters": metrics["parameters"],
        "bytes": metrics["bytes"],
        "epochs": epochs_of(metrics),
        "metrics": {name: value for name, value in reported.items() if name.startswith("val_")},
        **{how: about[how] for how in ("compressed", "continued") if how in about},
    }


def _tables(model: Saved) -> list[dict[str, Any]]:
    """Every table of a model by what its state says of it, and the bytes of its own arrays."""
    found = []
    for key in model.names:
        if not key.endswith(f".{CHOICE}"):
            continue
        prefix = key.removesuffix(CHOICE)
        told = json.loads(bytes(model.tensor(key).numpy()))
        own = [one for one in model.names if one.startswith(prefix) and not one.endswith(EXTRA)]
        part, _, name = prefix.rstrip(".").rpartition(".tables.")
        found.append({
            "part": part, "name": name, "num_embeddings": told["num_embeddings"],
            "embedding_dim": told["embedding_dim"], "method": told["method"],
            "bytes": sum(model.tensor(one).nbytes for one in own),
        })  # fmt: skip
    return sorted(found, key=lambda of: -of["bytes"])


def run_inspection_table(found: dict[str, Any]) -> Group:
    """What `inspect_run` found, for the terminal."""
    grid = Grid(
        title=Text(f"{found['run']}: a run on {found['task']}, {found['parameters']:,} parameters, "
                   f"{format_size(found['bytes'])}"),
        title_justify="left",
    )  # fmt: skip
    for heading in ("part", "table", "ids", "dim", "method", "bytes"):
        grid.add_column(heading, justify="right" if heading in ("ids", "dim", "bytes") else "left")
    for of in found["tables"]:
        grid.add_row(
            Text(of["part"]), Text(of["name"]), f"{of['num_embeddings']:,}", f"{of['embedding_dim']}",
            Text(method_words(of["method"])), format_size(of["bytes"]),
        )  # fmt: skip
    return Group(grid, *(Text(f"• {note}") for note in _notes(found)))


def _notes(found: Mapping[str, Any]) -> list[str]:
    """Where it comes from, how well it does, and what can be done with it."""
    run, rows = found["run"], found["rows"]
    metrics = [(HEADINGS[name.removeprefix("val_")], value) for name, value in found["metrics"].items()
               if name.removeprefix("val_") in HEADINGS and value is not None]  # fmt: skip
    epochs = "1 epoch" if found["epochs"] == 1 else f"{found['epochs']} epochs"
    notes = [
        f"trained for {epochs} on {rows['training']:,} rows of {found['data']}",
        f"on the {rows['validation']:,} rows that validate: " + ", ".join(f"{of} {value:.4f}" for of, value in metrics),
    ]
    if (how := found.get("compressed")) is not None:
        notes.insert(
            0, f"made smaller, from the {format_size(how['bytes_before'])} of {how['from']}; epochs are those since"
        )
    if (how := found.get("continued")) is not None:
        notes.insert(0, f"trained on from {how['run']}, whose epochs count")
    return [*notes, f"next: coset evaluate {run}, coset predict {run} DATA, coset compress {run} --budget 25%, "
                    f"coset train {run} --continue --epochs N"]  # fmt: skip
