"""A sample of prepared clicks, as prepared data of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from coset.data.clicks.store import ClickData
from coset.data.clicks.write import ClickWriter
from coset.errors import InputError

_AT_ONCE = 4096


def write_sample(folder: str | Path, data: ClickData, rows: int, validation: float = 0.05) -> ClickData:
    """The first rows of the training part of `data`, written to `folder`; the last of them validate.

    Args:
        folder: empty or missing.
        data: prepared clicks; the sample has their ids, and frequencies of its own.
        rows: most rows of the sample.
        validation: share of these that validates, in (0, 1).

    Raises:
        InputError: there are not enough rows for both parts.
    """
    part = data.part("training")
    total = min(rows, len(part))
    training = total - round(total * validation)
    if not 0 < training < total:
        raise InputError(f"{data.name}: {total} training rows are too few for a sample that trains and validates")
    facts = {"sample_of": data.fingerprint["digest"]}
    with ClickWriter(folder, data.name, data.numeric, data.features, synthetic=data.synthetic, facts=facts) as writer:
        done = 0
        batches = part.batches(_AT_ONCE, read_ahead=0)
        while done < total:
            batch = next(batches)
            lists = {name: (values.numpy(), _lengths(values, starts)) for name, (values, starts) in batch.bags.items()}
            left = {"training": (0, training - done), "validation": (training - done, total - done)}
            for name, (start, stop) in left.items():
                cut = slice(max(0, start), max(0, min(stop, len(batch))))
                if cut.start < cut.stop:
                    numbers = (batch.labels.numpy()[cut], batch.numeric.numpy()[cut], batch.ids.numpy()[:, cut])
                    writer.append(name, *numbers, _cut(lists, cut))
            done += len(batch)
    return ClickData.open(folder)


def _lengths(values: torch.Tensor, starts: torch.Tensor) -> np.ndarray:
    return np.diff(starts.numpy(), append=len(values))


def _cut(lists: dict[str, tuple[np.ndarray, np.ndarray]], cut: slice) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The lists of some rows of a batch."""
    found = {}
    for name, (values, lengths) in lists.items():
        ends = np.concatenate([[0], np.cumsum(lengths)])
        found[name] = (values[ends[cut.start] : ends[cut.stop]], lengths[cut])
    return found
