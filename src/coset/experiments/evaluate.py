"""A finished run scored on its own data, or on any of the same form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from coset.documents import Json
from coset.tasks.later import Scored, part_named
from coset.training.finished import FinishedRun


def evaluate_run(
    run: Path, source: str | None = None, columns: Mapping[str, str | None] | None = None,
    part: str | None = None, data: str | None = None,
) -> Json:  # fmt: skip
    """Metrics of a finished run of any kind: on its own data, or on any of the same schema.

    What it was trained on is known by its contents, whatever file it is in: of those rows, the validation part is
    scored unless another part is asked for.

    Args:
        run: its folder.
        source: the data; those of the run by default.
        columns: names of the columns of ratings and the separator; those of the run where they are not given.
        part: `"validation"`, `"training"` or `"all"`.
        data: where the data of the run are now, if they were moved.

    Returns:
        The metrics, with `own`, whether these are the data of the run, `part`, `rows`, how many were scored, and
        `trained_on`, how many it was trained on; of data that are not its own, `known`, how many of the rows say what a
        row says that it was trained on: the user, item and rating, of clicks every column (null where its data are not
        there).

    Raises:
        InputError: no run there, one that is not finished, or data that do not fit it.
    """
    return FinishedRun.load(run).scored(Scored(source, columns or {}, part_named(part), data))
