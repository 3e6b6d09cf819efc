"""The comparison: every row of a recipe trained with every seed, and one results object of it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from coset import settings
from coset.documents import Json
from coset.errors import Diverged, InputError, brief
from coset.experiments.calibrate import calibration
from coset.experiments.recipe import Recipe
from coset.experiments.resolve import Row, resolve
from coset.experiments.said import said
from coset.experiments.spread import half_interval
from coset.experiments.tune import beside, tuned
from coset.files import claimed, clear, holding, path_of, read_json, write_json
from coset.methods.full import Full
from coset.progress import Progress, Silent, counted
from coset.tasks import measures
from coset.tasks.baselines import Baseline
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT
from coset.training.folder import refuse_others
from coset.training.run import Options, execute
from coset.training.seal import METRICS

SCHEMA = 2
"""Version of the results."""


def compare(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT],
    out: Path,
    data: DataT,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
    notes: Sequence[str] = (),
) -> Json:
    """Run `recipe` on `data` and return its results, which are also written to `out`, as `results.json`.

    Every (row, seed) is a run in a folder of its own below `out/runs`, so an interrupted comparison continues at the
    first run that is not done. `coset.report.folder.write` makes a table and pictures of the results.

    Args:
        data: what the recipe's task loaded.
        options: how runs are executed; unless they `resume`, `out` must be empty or not exist.
        notes: further lines for the results.

    Raises:
        InputError: a recipe that does not fit the data, or an `out` that cannot be used.
    """
    out = path_of(out)
    options = options or Options()
    first = recipe.task.encoded(data, recipe.first_seed)
    notes = [*notes, *said(recipe.task, data)]
    resolve(recipe, first)  # errors in any row are raised before anything is trained
    with claimed(out, "compare.json", options.resume):  # what is wrong with it is said before anything is trained
        recipe = tuned(recipe, data, beside(out), progress, encoded=first)
    rows, left_out = resolve(recipe, first, calibration(recipe, data, out.parent, progress))
    with claimed(out, "compare.json", options.resume):
        begun = bool(holding(out))
        _remember(recipe, out, data)
        try:
            runs, baselines = _run_all(recipe, rows, out, data, first, options, progress or Silent())
        except Diverged:
            if not begun and not any(out.glob(f"runs/*/*/{METRICS}")):
                clear(out)
            raise
        results = _results(recipe, rows, runs, baselines, data, first, [*recipe.notes, *left_out, *notes])
        write_json(out / "results.json", results)
    return results


def _remember(recipe: Recipe[DataT, EncodedT, ModelT, BatchT], out: Path, data: DataT) -> None:
    """Record what `out` compares, or raise where it holds another comparison; the number of seeds may differ."""
    same = replace(recipe, task=recipe.task.anywhere(), seeds=1, first_seed=0)
    about: Json = {"schema": SCHEMA, "recipe": same.to_json(), "data": recipe.task.fingerprint(data)}
    if not (out / "compare.json").exists():
        write_json(out / "compare.json", about)
        return
    there = read_json(out / "compare.json")
    if isinstance(there, dict) and there.get("schema") != SCHEMA:
        raise InputError(
            f"{out}: a comparison that another version of coset began (schema {brief(there.get('schema'))}, this coset "
            f"writes {SCHEMA}); compare anew in another --out"
        )
    refuse_others(out, there, about)


def _run_all(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], rows: Sequence[Row[DataT, EncodedT, ModelT, BatchT]], out: Path,
    data: DataT, first: EncodedT, options: Options, progress: Progress,
) -> tuple[dict[str, list[Json]], list[Sequence[Baseline]]]:  # fmt: skip
    """The metrics of all runs by row, and the baselines of every seed."""
    runs: dict[str, list[Json]] = {row.name: [] for row in rows}
    baselines = []
    steps = {row.name: row.spec(recipe.first_seed).steps(first) for row in rows}
    progress.begin(sum(steps.values()) * recipe.seeds)
    for seed in _seeds(recipe):
        shared = first if seed == recipe.first_seed else recipe.task.encoded(data, seed)
        baselines.append(recipe.task.baselines(shared))
        for row in rows:
            folder = out / "runs" / row.slug / f"seed-{seed}"
            encoded = shared if _sees_the_same(recipe, row) else None
            with counted(progress, f"{row.name}, seed {seed}", steps[row.name]) as on_step:
                found = execute(row.spec(seed), folder, data, options, encoded=encoded, on_step=on_step)
                runs[row.name].append(found)
    return runs, baselines


def _sees_the_same(recipe: Recipe[DataT, EncodedT, ModelT, BatchT], row: Row[DataT, EncodedT, ModelT, BatchT]) -> bool:
    """Whether the row has the same split and the same ids as the recipe."""
    sections = set(row.task.sections()) - {"model", "training"}
    return all(getattr(row.task, name) == getattr(recipe.task, name) for name in sections)


def _seeds(recipe: Recipe[DataT, EncodedT, ModelT, BatchT]) -> range:
    return range(recipe.first_seed, recipe.first_seed + recipe.seeds)


def _results(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], rows: Sequence[Row[DataT, EncodedT, ModelT, BatchT]],
    runs: Mapping[str, list[Json]], baselines: Sequence[Sequence[Baseline]], data: DataT, encoded: EncodedT,
    notes: Sequence[str],
) -> Json:  # fmt: skip
    full_bytes = next((runs[row.name][0]["bytes"] for row in rows if row.name == "full"), None)
    everything = [run for of in runs.values() for run in of]
    return {
        "schema": SCHEMA,
        "recipe": recipe.name,
        "title": recipe.title,
        "measures": measures(type(recipe.task)),
        **recipe.task.facts(data, encoded),
        "host": _common([run["host"] for run in everything]),
        "versions": _common([run["versions"] for run in everything]),
        "vocabulary_bytes": runs[rows[0].name][0]["vocabulary_bytes"],
        "budgets": sorted({row.budget for row in rows if row.budget is not None}, reverse=True),
        "contrasts": [list(pair) for pair in recipe.contrasts],
        "rows": [
            *(_baseline_row(recipe, of_seeds, full_bytes) for of_seeds in zip(*baselines, strict=True)),
            *(_result_row(recipe, row, runs[row.name], full_bytes, encoded) for row in rows),
        ],
        "notes": list(notes),
    }


def _result_row(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], row: Row[DataT, EncodedT, ModelT, BatchT], runs: Sequence[Json],
    full_bytes: int | None, encoded: EncodedT,
) -> Json:  # fmt: skip
    task = row.task
    reported = [run["history"][run["reported"]] for run in runs]  # the evaluation of the model that was kept
    peaks = [peak for run in runs if (peak := run["peak_resident_bytes"]) is not None]
    return {
        "name": row.name,
        "note": row.note,
        "group": row.group,
        "embedding_dim": task.model.embedding_dim,
        "methods": _methods(row, encoded),
        **({} if row.plan is None else {"plan": row.plan.to_json()}),
        **{section: settings.plain(getattr(task, section)) for section in task.row_sections},
        "parameters": runs[0]["parameters"],
        "bytes": runs[0]["bytes"],
        **{name: runs[0][name] for name in ("layers_parameters", "layers_bytes", "optimizer_bytes")},
        "peak_resident_bytes": max(peaks) if peaks else None,
        "ratio": None if full_bytes is None else full_bytes / runs[0]["bytes"],
        "seeds": list(_seeds(recipe)),
        "engine": "/".join(dict.fromkeys(run["engine"] for run in runs)),
        "metrics": {
            name: summary([of[name] for of in reported]) for name in reported[0] if name.startswith(("val_", "train_"))
        },
        "epochs": task.training.epochs if task.training.solver is None else 0,
        "seconds_per_epoch": median(of["seconds"] / of.get("share", 1) for run in runs for of in run["history"]),
        "history": [run["history"] for run in runs],
    }


def _baseline_row(
    recipe: Recipe[DataT, EncodedT, ModelT, BatchT], of_seeds: Sequence[Baseline], full_bytes: int | None
) -> Json:
    """The row of one baseline, as those of trained models; what only these have is 0 or empty."""
    first = of_seeds[0]
    return {
        "name": first.name,
        "note": first.note,
        "group": "baseline",
        "embedding_dim": 0,
        "methods": {},
        "parameters": first.parameters,
        "bytes": first.bytes,
        **dict.fromkeys(("layers_parameters", "layers_bytes", "optimizer_bytes"), 0),
        "peak_resident_bytes": None,
        "ratio": None if full_bytes is None or first.parameters == 1 else full_bytes / first.bytes,
        "seeds": list(_seeds(recipe)),
        "engine": "closed form" if first.seconds is None else "numpy",
        "metrics": {name: summary([of.metrics[name] for of in of_seeds]) for name in first.metrics},
        "epochs": 0,
        "seconds_per_epoch": first.seconds,
        "history": [],
    }


def _methods(row: Row[DataT, EncodedT, ModelT, BatchT], encoded: EncodedT) -> Json:
    """The method of each table, `full` where the row does not name one; none for a model without tables."""
    names = [table.name for table in row.task.tables(encoded)]
    return {table: (row.methods[table] if table in row.methods else Full()).to_json() for table in names}


def _common(of: Sequence[Mapping[str, Any]]) -> Json:
    """The value of each key; a list of values where runs differ."""
    found: Json = {}
    for key in of[0]:
        values = list(dict.fromkeys(each[key] for each in of))
        found[key] = values[0] if len(values) == 1 else values
    return found


def summary(values: Sequence[float | None]) -> Json:
    """Mean and standard deviation (ddof = 1; None for one value) over seeds, and half the width of the 95 % interval of
    the mean. A value that is not known for every seed has none of them."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return {"mean": None, "std": None, "interval": None, "values": list(values)}
    std = stdev(known) if len(known) > 1 else None
    return {"mean": fmean(known), "std": std, "interval": half_interval(std, len(known)), "values": known}
