"""What a task has to say of data: warned of before anything is trained, and noted below results."""

from __future__ import annotations

import warnings

from coset.tasks import Task
from coset.tasks.types import BatchT, DataT, EncodedT, ModelT


def said(task: Task[DataT, EncodedT, ModelT, BatchT], data: DataT) -> list[str]:
    """The terms and the hints of a task as notes of results; warns of the hints."""
    hints = [f"{hint[:1].upper()}{hint[1:]}." for hint in task.hints(data)]
    for hint in hints:
        warnings.warn(hint, stacklevel=3)
    return [*task.terms(data), *hints]
