"""The comparison: every row of a recipe trained with every seed, and one results object of it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from coset import settings
from coset.errors import Diverged
from coset.experiments.calibrate import calibration
from coset.experiments.progress import Progress, Silent, counted
from coset.experiments.rows import resolve
from coset.experiments.spread import half_interval
from coset.experiments.task import SCHEMA, Options, Recipe, Row
from coset.files import claimed, clear, holding, path_of, read_json, write_json
from coset.methods.full import Full
from coset.training.folder import refuse_others
from coset.training.seal import METRICS


def compare(
    recipe: Any,
    out: Path,
    data: Any,
    *,
    options: Options | None = None,
    resume: bool = False,
    engine: Any = "auto",
    progress: Progress | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Run `recipe` on `data` and return its results, which are also written to `out`, as `results.json`.

    Every (row, seed) is a run in a folder of its own below `out/runs`, so a comparison that was stopped goes on
    at the first one not yet done. `coset.report.folder.write` makes a table and pictures of the results.

    Args:
        data: what the recipe's `load` gave.
        options: how runs are driven; in place of `resume` and `engine`.
        resume: continue what `out` holds; without it `out` must be empty or not exist.
        engine: see `coset.training.loop.Trainer`.
        notes: further lines for the results.

    Raises:
        InputError: a recipe that does not fit the data, or an `out` that cannot be used.
    """
    out = path_of(out)
    options = options or Options(resume, engine)
    first = encode(recipe, data, recipe.first_seed)
    rows, left_out = resolve(recipe, first, calibration(recipe, data, out.parent, progress))
    with claimed(out, "compare.json", options.resume):
        begun = bool(holding(out))
        _remember(recipe, out, data)
        try:
            runs = _run_all(recipe, rows, out, data, first, options, progress or Silent())
        except Diverged:
            if not begun and not any(out.glob(f"runs/*/*/{METRICS}")):
                clear(out)
            raise
        results = _results(recipe, rows, runs, data, first, [*recipe.notes, *left_out, *notes])
        write_json(out / "results.json", results)
    return results


def _remember(recipe: Recipe, out: Path, data: Any) -> None:
    """Write down what `out` compares, or refuse to mix it with something else; more seeds are no difference."""
    same = replace(recipe.anywhere(), seeds=1, first_seed=0)
    about = {"schema": SCHEMA, "recipe": settings.plain(same), "data": recipe.fingerprint(data)}
    if (out / "compare.json").exists():
        refuse_others(out, read_json(out / "compare.json"), about)
    else:
        write_json(out / "compare.json", about)


def encode(recipe: Any, data: Any, seed: int) -> Any:
    """The data as all rows of `recipe` share them for this seed."""
    return recipe.encoded(data, seed)


def _run_all(
    recipe: Recipe, rows: Sequence[Row], out: Path, data: Any, first: Any, options: Options, progress: Progress
) -> dict[str, list[dict[str, Any]]]:
    runs: dict[str, list[dict[str, Any]]] = {row.name: [] for row in rows}
    steps = {row.name: recipe.steps(row, first) for row in rows}
    progress.begin(sum(steps.values()) * recipe.seeds)
    for seed in _seeds(recipe):
        encoded = first if seed == recipe.first_seed else encode(recipe, data, seed)
        for row in rows:
            folder = out / "runs" / row.slug / f"seed-{seed}"
            with counted(progress, f"{row.name}, seed {seed}", steps[row.name]) as on_step:
                runs[row.name].append(recipe.execute(row, seed, folder, data, encoded, options, on_step))
    return runs


def _seeds(recipe: Recipe) -> range:
    return range(recipe.first_seed, recipe.first_seed + recipe.seeds)


def _results(
    recipe: Recipe, rows: Sequence[Row], runs: Mapping[str, list[dict[str, Any]]], data: Any, encoded: Any,
    notes: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    full_bytes = next((runs[row.name][0]["bytes"] for row in rows if row.name == "full"), None)
    everything = [run for of in runs.values() for run in of]
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "recipe": recipe.name,
        "title": recipe.title,
        **recipe.facts(data, encoded),
        "host": _common([run["host"] for run in everything]),
        "versions": _common([run["versions"] for run in everything]),
        "vocabulary_bytes": runs[rows[0].name][0]["vocabulary_bytes"],
        "budgets": sorted({row.budget for row in rows if row.budget is not None}, reverse=True),
        "contrasts": [list(pair) for pair in recipe.contrasts],
        "rows": [_result_row(recipe, row, runs[row.name], full_bytes, encoded) for row in rows],
    }
    results["notes"] = list(notes)
    return results


def _result_row(
    recipe: Recipe, row: Row, runs: Sequence[dict[str, Any]], full_bytes: int | None, encoded: Any
) -> dict[str, Any]:
    # The last evaluation, but for runs that say themselves which one their model is of.
    reported = [run["history"][run.get("reported", -1)] for run in runs]
    numbered = {} if row.vocabulary is None else {"vocabulary": settings.plain(row.vocabulary)}
    beside = ("layers_parameters", "layers_bytes", "optimizer_bytes")
    layers: dict[str, Any] = {name: runs[0][name] for name in beside if name in runs[0]}
    peaks = [peak for run in runs if (peak := run.get("peak_resident_bytes")) is not None]
    interval = recipe.measures.interval
    return {
        "name": row.name,
        "note": row.note,
        "group": row.group,
        "embedding_dim": row.model.embedding_dim,
        "methods": _methods(recipe, row, encoded),
        **({} if row.plan is None else {"plan": row.plan.to_json()}),
        **numbered,
        "model": settings.plain(row.model),
        "training": settings.plain(row.training),
        "parameters": runs[0]["parameters"],
        "bytes": runs[0]["bytes"],
        **layers,
        **({"peak_resident_bytes": max(peaks)} if peaks else {}),
        "ratio": None if full_bytes is None else full_bytes / runs[0]["bytes"],
        "seeds": list(_seeds(recipe)),
        "engine": "/".join(dict.fromkeys(run.get("engine", "plain") for run in runs)),
        "metrics": {name: summary([of[name] for of in reported], interval) for name in recipe.measures.metrics},
        "epochs": row.training.epochs,
        "seconds_per_epoch": median(of["seconds"] / of.get("share", 1) for run in runs for of in run["history"]),
        "history": [run["history"] for run in runs],
    }


def _methods(recipe: Recipe, row: Row, encoded: Any) -> dict[str, Any]:
    """The method of each table, `full` where the row does not name one; none for a model without tables."""
    names = [table.name for table in recipe.tables(row.model, encoded)]
    return {table: (row.methods[table] if table in row.methods else Full()).to_json() for table in names}


def _common(of: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all runs agree on, and lists of values where they do not."""
    found: dict[str, Any] = {}
    for key in of[0]:
        values = list(dict.fromkeys(each[key] for each in of))
        found[key] = values[0] if len(values) == 1 else values
    return found


def summary(values: Sequence[float | None], interval: bool = False) -> dict[str, Any]:
    """Mean and standard deviation (ddof = 1; None for one value) over seeds; where it is wanted, also half the width of
    the 95 % interval of the mean. A value that is not known for every seed has neither."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        found: dict[str, Any] = {"mean": None, "std": None, "values": list(values)}
        return found | ({"interval": None} if interval else {})
    std = stdev(known) if len(known) > 1 else None
    found = {"mean": fmean(known), "std": std, "values": known}
    if interval:
        found["interval"] = half_interval(std, len(known))
    return found
