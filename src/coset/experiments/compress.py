"""Compresses a finished run: plans its tables, fits them to the trained ones, and may train them for a few epochs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from coset.documents import Json
from coset.errors import InputError, unknown
from coset.experiments.planning import read_plan
from coset.files import claimed, holding, path_of, read_json
from coset.methods import Method
from coset.planning.fits import best_fits
from coset.planning.rules import within
from coset.planning.storages import AllowedStorages, Storages
from coset.progress import Progress, Silent, counted
from coset.settings import MOST_EPOCHS, check_range
from coset.sizes import budget_bytes, format_size
from coset.tasks import task_class
from coset.training.compressible import CompressibleRun
from coset.training.finished import FinishedRun
from coset.training.seal import MODEL, RUN
from coset.training.trainer import ENGINES, EngineOption


def compress_run(
    run: Path, out: Path, *, budget: str | None = None, plan: Path | None = None, storages: Storages | None = None,
    finetune: int = 0, engine: EngineOption = "auto", progress: Progress | None = None, data: str | None = None,
) -> Json:  # fmt: skip
    """Compress a finished run, write it as a new finished run, and return its metrics before and after.

    Args:
        run: its folder.
        out: the folder of the new one.
        budget: most bytes of tables and biases: a size, or a share of the run, as `25%`.
        plan: a file with a plan for its tables, in place of a new one; it must fit into the budget, if there is one.
        storages: that a budget may choose from (`coset.planning.storages`): by default all, so that tables, and biases,
            take the bits that cost the model least; `["float32"]` leaves bits out, and methods are planned by
            frequencies.
        finetune: epochs of training after the fit.
        engine: of that training.
        data: where the data of the run are now, if they were moved.

    Raises:
        InputError: no budget and no plan, a budget that is infeasible or that the run fits into already, a plan that
            does not fit the run, a run that is not finished, data that are no longer there, or an `out` that is not
            empty.
    """
    if budget is None and plan is None:
        raise InputError("give a --budget to plan for, or a --plan")
    check_range("--finetune, in epochs,", finetune, 0, MOST_EPOCHS)
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    run, out = path_of(run), path_of(out)
    begun = _was_begun(out)
    if not begun and ((out.exists() and not out.is_dir()) or holding(out)):
        raise InputError(f"{out}: exists already; choose another --out")
    progress = progress or Silent()
    opened = CompressibleRun(FinishedRun.load(run), data)
    size = opened.bytes
    most = None if budget is None else budget_bytes(budget, size)
    if plan is not None and storages is not None:
        raise InputError("a plan names the storages of its tables; leave out --storages, or the --plan")
    started = perf_counter()
    chosen = _planned(run, opened, most, plan, AllowedStorages(storages))
    planned = perf_counter() - started
    with claimed(out, RUN, resume=begun):
        before = opened.evaluate()
        started = perf_counter()
        fitted = opened.compress(chosen)
        seconds = {"plan": planned, "fit": perf_counter() - started, "finetune": 0.0}
        history: list[Json] = [{"epoch": 0, **opened.evaluate(), "seconds": seconds["fit"]}]
        if finetune:
            steps = opened.steps(finetune)
            progress.begin(steps)
            with counted(progress, "fine-tuning", steps) as on_step:
                started = perf_counter()
                history += opened.finetune(finetune, engine, on_step)
                seconds["finetune"] = perf_counter() - started
        how = {"from": Path(run).resolve().name, "bytes_before": size, "finetune": finetune}
        opened.save(out, how, history)
    return {
        "run": str(out),
        "from": str(run),
        "dataset": opened.dataset,
        "synthetic": opened.synthetic,
        "budget": most,
        "bytes_before": size,
        "bytes": opened.bytes,
        "tables": [of.to_json() for of in fitted],
        "before": before,
        "fitted": _metrics(history[0]),
        "finetuned": _metrics(history[-1]) if finetune else None,
        "seconds": seconds,
    }


def _was_begun(out: Path) -> bool:
    """Whether `out` holds only the beginning of a compression whose process was killed or met a full disk; it is made
    anew, as nothing in it took long to compute."""
    held = holding(out)
    about = read_json(out / RUN) if RUN in held else None
    if not isinstance(about, dict) or "compressed" not in about:
        return False
    return held <= {RUN, MODEL, *task_class(about.get("task")).files}


def _planned(
    run: Path,
    opened: CompressibleRun[Any, Any, Any, Any],
    most: int | None,
    plan: Path | None,
    allowed: AllowedStorages,
) -> Mapping[str, Method]:
    if plan is None:
        assert most is not None
        if opened.bytes <= most:
            raise InputError(
                f"{run}: the run takes {format_size(opened.bytes)} ({opened.bytes} bytes) already, within the budget "
                f"of {format_size(most)} ({most} bytes); give a smaller one"
            )
        if allowed.floats_alone:
            return within(opened.tables, most, opened.other_bytes, together=True)
        return best_fits(opened.trained(), most, allowed, opened.kept_bytes)
    found = read_plan(plan)
    if found.training:
        raise InputError(
            f"{plan}: the plan is for a model that a solver makes, from data; coset train DATA --plan {plan}"
        )
    try:
        found = found.fitted(opened.tables, opened.other_bytes)
    except InputError as error:
        raise InputError(f"{plan}: {error}") from None
    if most is not None and found.bytes > most:
        raise InputError(f"{plan}: the plan takes {format_size(found.bytes)} ({found.bytes} bytes), over the budget of "
                         f"{most} bytes")  # fmt: skip
    return found.methods


def _metrics(epoch: Json) -> Json:
    return {name: value for name, value in epoch.items() if name.startswith("val_")}
