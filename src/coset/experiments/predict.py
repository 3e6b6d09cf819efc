"""Predictions of a finished run for rows of a file, with or without a rating or label, written block by block."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coset.data.columns import import_polars
from coset.documents import Json
from coset.errors import InputError
from coset.files import check_writable, replacing
from coset.tasks.later import PartOrAll, Scored
from coset.training.finished import FinishedRun


def predict_run(run: Path, asked: Scored, out: Path, *, overwrite: bool = False) -> Json:
    """Write the predictions of a finished run for the rows of some data to a file, wholly or not at all.

    Args:
        run: its folder.
        asked: the data, by default those of the run, and the part of them, by default all rows.
        out: a `.csv` or `.parquet` file with columns that identify a row (its ids; or its number in the log, or in a
            part of prepared data), its rating or label if there is one, and `prediction`: a rating, or the probability
            of a click.
        overwrite: replace an existing file.

    Returns:
        `run`, `out`, `part`, `rows`, the number of predictions, and `mean`, their mean.

    Raises:
        InputError: no finished run, data that do not fit it or have no such rows, an id that it refuses, or an existing
            file.
    """
    polars = import_polars("writing predictions")
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise InputError(f"{out}: predictions are written to a .csv or a .parquet file; name one with --out")
    check_writable(out)
    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists already; give --overwrite, or choose another --out")
    part: PartOrAll = asked.part or "all"
    rows, total = 0, 0.0
    with _writing(polars, out) as write:
        finished = FinishedRun.load(run)
        for frame in finished.spec.task.predictions(finished.trained, asked):
            write(frame)
            rows, total = rows + frame.height, total + float(frame["prediction"].sum())
        if not rows:
            where = f"{asked.source or run}: no rows"
            raise InputError(f"{where}, so nothing to predict" if part == "all" else f"{where} in the {part} part")
    return {"run": str(run), "out": str(out), "part": part, "rows": rows, "mean": total / rows}


@contextmanager
def _writing(polars: Any, out: Path) -> Iterator[Any]:
    """A function that appends frames to a file, which is in place once all are written."""
    with replacing(out) as aside:
        if out.suffix.lower() == ".csv":
            with aside.open("wb") as file:
                yield lambda frame: frame.write_csv(file, include_header=file.tell() == 0)
            return
        with tempfile.TemporaryDirectory(prefix=".coset-predict-", dir=out.absolute().parent) as folder:
            parts: list[Path] = []

            def write(frame: Any) -> None:
                parts.append(Path(folder) / f"{len(parts)}.parquet")
                frame.write_parquet(parts[-1])

            yield write
            polars.scan_parquet(parts, glob=False, hive_partitioning=False).sink_parquet(aside)
