"""The contents of a finished run: its tables with their methods, its data, and its metrics."""

from __future__ import annotations

import json
from pathlib import Path

from coset.documents import Json
from coset.schema import CHOICE, EXTRA
from coset.training.checkpoint import Saved
from coset.training.further import epochs_of
from coset.training.seal import opened


def inspect_run(run: Path) -> Json:
    """The contents of a finished run of any task, as plain JSON values.

    Args:
        run: its folder.

    Returns:
        `run`; `task`, its name; `data`, the place of its data; `rows` by part; `tables`, the largest first, each with
        its `part` of the model, ids, dim, method and bytes; `others`, the bytes of what else counts, by the
        name of its part, such as histories of users; `parameters` and `bytes` of the model; `epochs`; `metrics`
        of its model on the validation part; and for a run that was made from another one, `compressed` or `continued`.

    Raises:
        InputError: no run there, an unfinished one, or one that was edited.
    """
    with opened(run) as finished:
        about, metrics = finished.about, finished.metrics
        tables = _tables(finished.model)
        all_counts = metrics["bytes"] > sum(of["bytes"] for of in tables)  # of models on clicks, tables alone count
        others = _others(finished.model) if all_counts else {}
    reported = metrics["history"][metrics["reported"]]
    spec = about["spec"]
    return {
        "run": str(run),
        "task": about["task"],
        "data": metrics.get("prepared") or spec["data"]["source"],
        "rows": metrics["rows"],
        "tables": tables,
        "others": others,
        "parameters": metrics["parameters"],
        "bytes": metrics["bytes"],
        "epochs": epochs_of(metrics),
        "metrics": {name: value for name, value in reported.items() if name.startswith("val_")},
        **{how: about[how] for how in ("compressed", "continued") if how in about},
    }


def _tables(model: Saved) -> list[Json]:
    """Every table of a model, by its description in the state, and the bytes of its own arrays."""
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


def _others(model: Saved) -> dict[str, int]:
    """Bytes of the arrays that are in no table, by the part of the model that they are in."""
    found: dict[str, int] = {}
    for name in model.names:
        if ".tables." not in name and not name.endswith(EXTRA):
            part = name.partition(".")[0]
            found[part] = found.get(part, 0) + model.tensor(name).nbytes
    return found
