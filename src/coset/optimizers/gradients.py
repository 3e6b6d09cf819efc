"""Gradients since the last step: those of several backward passes as one, their norm, and which are not finite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from math import sqrt
from operator import is_not

import numpy as np
import torch
from torch import Tensor

from coset.engine.fused import FusedEngine, Gradients
from coset.engine.owners import as_they_lie
from coset.kernels import layout


def untouched(parameters: Sequence[Tensor]) -> bool:
    """Whether all parameters are to be trained, and autograd has left a gradient with none. Every step asks, so in one
    pass that Python does not interpret."""
    with as_they_lie():
        return not any(map(is_not, map(_grad, parameters), repeat(None))) and all(map(_requires_grad, parameters))


_grad, _requires_grad = vars(torch._C.TensorBase)["grad"].__get__, vars(torch._C.TensorBase)["requires_grad"].__get__


def together(engine: FusedEngine) -> Gradients | None:
    """The gradients of all backward passes since the last step, as one."""
    filled = [found for found in engine.pending if len(found.tasks)]  # a call may have no ids at all
    if len(filled) <= 1:
        return filled[0] if filled else None
    width = engine.program.arrays[:, layout.ARRAY_WIDTH]
    rows: dict[int, list[np.ndarray]] = {}
    values: dict[int, list[np.ndarray]] = {}
    for found in filled:
        for task, count in zip(found.tasks, found.counts, strict=True):
            array, room, start = int(task[layout.TASK_ARRAY]), task[layout.ROOM], task[layout.SUMS]
            rows.setdefault(array, []).append(found.distinct[room : room + count])
            values.setdefault(array, []).append(
                found.sums[start : start + count * width[array]].reshape(count, width[array])
            )
    tasks, distinct, sums, squares = [], [], [], []
    room = start = 0
    for array, parts in rows.items():
        each, place = np.unique(np.concatenate(parts), return_inverse=True)
        total = np.zeros((len(each), width[array]), engine.program.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # sums that are not finite are found below
            np.add.at(total, place, np.concatenate(values[array]))
        tasks.append([array, 0, 1, room, start, 0, 0])
        distinct.append(each)
        sums.append(total.reshape(-1))
        squares.append(float(np.square(total, dtype=np.float64).sum()))
        room, start = room + len(each), start + total.size
    return Gradients(
        np.array(tasks, np.int64), np.concatenate(distinct), np.concatenate(sums),
        np.array([len(each) for each in distinct], np.int64), np.array(squares), sum(squares),
    )  # fmt: skip


def norm_of(parts: Iterable[Gradients | None]) -> float:
    """The norm of all these gradients together."""
    return sqrt(sum(found.square for found in parts if found is not None))


def not_finite(engine: FusedEngine, found: Gradients, limit: float) -> str | None:
    """The name of a table with a gradient that is NaN or infinite, or whose squares exceed a limit."""
    for task, squares in zip(found.tasks, found.squares, strict=True):
        if not squares < limit:
            stored = engine.program.stored[task[layout.TASK_ARRAY]]
            return next(n for n, m in engine.program.modules.items() if any(each is stored for each in m.modules()))
    return None
