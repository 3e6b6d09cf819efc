"""The comparison: every row of a recipe trained with every seed, and one results object of it all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, Protocol

from coset import settings
from coset.data import Encoded, Ratings
from coset.data.settings import DataSettings
from coset.experiments.recipe import Recipe, Row, resolve
from coset.files import claimed, read_json, write_json, write_text
from coset.methods.full import Full
from coset.training.folder import refuse_others
from coset.training.fused import Engine
from coset.training.run import RunSpec, execute, fingerprint

SCHEMA = 1
_METRICS = ("val_mse", "val_mae", "train_mse", "train_mae")


class Progress(Protocol):
    """What a comparison tells of itself while it runs."""

    def begin(self, steps: int) -> None:
        """There will be this many steps in all."""

    def advance(self, steps: int, what: str) -> None:
        """So many more are done; `what` is being trained."""


class Silent:
    """Progress that nobody watches."""

    def begin(self, steps: int) -> None:
        """Nothing."""

    def advance(self, steps: int, what: str) -> None:
        """Nothing."""


def compare(
    recipe: Recipe,
    out: Path,
    ratings: Ratings,
    *,
    resume: bool = False,
    engine: Engine = "auto",
    progress: Progress | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Run `recipe` on `ratings` and return its results, which are also written to `out`.

    Every (row, seed) is a run in a folder of its own below `out/runs`, so a comparison that was stopped goes on
    at the first one not yet done. `out` gets `results.json`, `results.md`, `losses.png` and `frontier.png`.

    Args:
        resume: continue what `out` holds; without it `out` must be empty or not exist.
        engine: see `coset.training.loop.Trainer`.
        notes: further lines for the results.

    Raises:
        InputError: a recipe that does not fit the data, or an `out` that cannot be used.
    """
    out = Path(out)
    first = encode(recipe, ratings, recipe.first_seed)
    rows, left_out = resolve(recipe, first)
    with claimed(out, "compare.json", resume):
        _remember(recipe, out, ratings)
        runs = _run_all(recipe, rows, out, ratings, first, resume, engine, progress or Silent())
        results = _results(recipe, rows, runs, ratings, first, [*recipe.notes, *left_out, *notes])
        _present(results, out)
    return results


def _remember(recipe: Recipe, out: Path, ratings: Ratings) -> None:
    """Write down what `out` compares, or refuse to mix it with something else; more seeds are no difference."""
    same = replace(recipe, data=DataSettings(""), seeds=1, first_seed=0)
    about = {"schema": SCHEMA, "recipe": settings.plain(same), "data": fingerprint(ratings)}
    if (out / "compare.json").exists():
        refuse_others(out, read_json(out / "compare.json"), about)
    else:
        write_json(out / "compare.json", about)


def encode(recipe: Recipe, ratings: Ratings, seed: int) -> Encoded:
    """The split and the ids that all rows of `recipe` share for this seed."""
    spec = RunSpec(recipe.data, recipe.split, recipe.vocabulary, recipe.model, {}, recipe.training, seed)
    return spec.prepare(ratings)


def _run_all(
    recipe: Recipe, rows: Sequence[Row], out: Path, ratings: Ratings, first: Encoded, resume: bool, engine: Engine,
    progress: Progress,
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    runs: dict[str, list[dict[str, Any]]] = {row.name: [] for row in rows}
    rows_to_learn = len(first.split.training)
    steps = {row.name: row.training.epochs * -(-rows_to_learn // row.training.batch_size) for row in rows}
    progress.begin(sum(steps.values()) * recipe.seeds)
    for seed in _seeds(recipe):
        encoded = first if seed == recipe.first_seed else encode(recipe, ratings, seed)
        for row in rows:
            what = f"{row.name}, seed {seed}"
            with counted(progress, what, steps[row.name]) as on_step:
                metrics = execute(
                    recipe.spec(row, seed), out / "runs" / row.slug / f"seed-{seed}", ratings,
                    encoded=encoded if row.vocabulary == recipe.vocabulary else None,
                    resume=resume, engine=engine, on_step=on_step,
                )  # fmt: skip
            runs[row.name].append(metrics)
    return runs


def _seeds(recipe: Recipe) -> range:
    return range(recipe.first_seed, recipe.first_seed + recipe.seeds)


@contextmanager
def counted(progress: Progress, what: str, steps: int) -> Iterator[Any]:
    """A callback for the steps of one run; steps that an earlier process did are told of at the end."""
    told = 0

    def on_step(done: int) -> None:
        nonlocal told
        told += done
        progress.advance(done, what)

    yield on_step
    progress.advance(steps - told, what)


def _results(
    recipe: Recipe, rows: Sequence[Row], runs: Mapping[str, list[dict[str, Any]]], ratings: Ratings,
    encoded: Encoded, notes: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    from coset.experiments import report

    full_bytes = next((runs[row.name][0]["bytes"] for row in rows if row.name == "full"), None)
    tables = (encoded.user.name, encoded.item.name)
    everything = [run for of in runs.values() for run in of]
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "recipe": recipe.name,
        "title": recipe.title,
        "dataset": ratings.name,
        "synthetic": ratings.synthetic,
        "noise_floor": ratings.noise_floor,
        "split": {
            **settings.plain(recipe.split),
            "training_rows": len(encoded.split.training),
            "validation_rows": len(encoded.split.validation),
            "users": encoded.user.num_embeddings,
            "items": encoded.item.num_embeddings,
        },
        "protocol": {
            "reported": "a slice of the training part" if recipe.split.tuning else "the validation part",
            "epoch": "last",
            "vocabulary": settings.plain(recipe.vocabulary),
            "model": settings.plain(recipe.model),
            "training": settings.plain(recipe.training),
        },
        "host": _common([run["host"] for run in everything]),
        "versions": _common([run["versions"] for run in everything]),
        "vocabulary_bytes": runs[rows[0].name][0]["vocabulary_bytes"],
        "budgets": sorted({row.budget for row in rows if row.budget is not None}, reverse=True),
        "rows": [_result_row(recipe, row, runs[row.name], full_bytes, tables) for row in rows],
    }
    found = [*report.verdicts(results, results["budgets"]), *report.contrasts(results, recipe.contrasts)]
    results["notes"] = [*notes, *found]
    return results


def _result_row(
    recipe: Recipe, row: Row, runs: Sequence[dict[str, Any]], full_bytes: int | None, tables: Sequence[str]
) -> dict[str, Any]:  # fmt: skip
    lasts = [run["history"][-1] for run in runs]
    return {
        "name": row.name,
        "note": row.note,
        "group": row.group,
        "embedding_dim": row.model.embedding_dim,
        "methods": _methods(row, tables),
        "vocabulary": settings.plain(row.vocabulary),
        "model": settings.plain(row.model),
        "training": settings.plain(row.training),
        "parameters": runs[0]["parameters"],
        "bytes": runs[0]["bytes"],
        "ratio": None if full_bytes is None else full_bytes / runs[0]["bytes"],
        "seeds": list(_seeds(recipe)),
        "engine": "/".join(dict.fromkeys(run.get("engine", "plain") for run in runs)),
        "metrics": {name: _summary([last[name] for last in lasts]) for name in _METRICS},
        "epochs": row.training.epochs,
        "seconds_per_epoch": median(epoch["seconds"] for run in runs for epoch in run["history"]),
        "history": [run["history"] for run in runs],
    }


def _methods(row: Row, tables: Sequence[str]) -> dict[str, Any]:
    """The method of each table, `full` where the row does not name one; none for a model without tables."""
    if not row.model.embedding_dim:
        return {}
    return {table: (row.methods[table] if table in row.methods else Full()).to_json() for table in tables}


def _common(of: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all runs agree on, and lists of values where they do not."""
    found: dict[str, Any] = {}
    for key in of[0]:
        values = list(dict.fromkeys(each[key] for each in of))
        found[key] = values[0] if len(values) == 1 else values
    return found


def _summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation (ddof = 1; None for one value) over seeds."""
    return {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else None, "values": list(values)}


def _present(results: Mapping[str, Any], out: Path) -> None:
    from coset.experiments import plots, report

    plots.losses(results, out / "losses.png")
    plots.frontier(results, out / "frontier.png")
    write_text(out / "results.md", report.markdown(results))
    write_json(out / "results.json", results)
