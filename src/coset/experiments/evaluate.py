"""Evaluates a finished run on its own data, or on others with the same columns."""

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

    It recognises the data of the run by their contents, in any file: of these, it scores the validation part unless
    `part` names another.

    Args:
        run: its folder.
        source: the data; those of the run by default.
        columns: names of the columns of ratings and the separator; those of the run where they are not given.
        part: `"validation"`, `"training"` or `"all"`.
        data: where the data of the run are now, if they were moved.

    Returns:
        The metrics, with `own`, whether these are the data of the run; `part`; `rows`, the number of scored rows;
        `trained_on`, the number of training rows; and for data that are not its own, `known`, how many rows equal a
        training row in user, item and rating, or for clicks in every column (null where the data of the run are
        missing).

    Raises:
        InputError: no run there, an unfinished one, or data that do not fit it.
    """
    return FinishedRun.load(run).scored(Scored(source, columns or {}, part_named(part), data))
