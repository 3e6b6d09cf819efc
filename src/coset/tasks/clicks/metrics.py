"""Metrics of predicted clicks: log-loss, normalised entropy, calibration and AUC, over any number of rows.

Sums are of float64 and in a fixed order. The AUC is exact: scores are kept as float32, 4 bytes a row, those of clicks
at one end of one array and all others at the other end, so that labels take no memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from torch import Tensor

from coset.errors import InputError
from coset.tasks.rows import Running

_CHUNK = 1 << 16  # clicks ranked at once


@dataclass
class Losses(Running):
    """Running sums over the rows seen so far; `loss` is that of the log-losses.

    Example:
        >>> import torch
        >>> losses = Losses()
        >>> losses.add(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0]))
        >>> round(losses.logloss, 6), losses.calibration
        (0.693147, 1.0)
    """

    clicks: int = 0
    predicted: float = 0.0

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Take in logits and labels of 0 or 1, both of shape `(batch,)`."""
        self.take(*_arrays(logits, labels))

    def take(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """The same from float64 arrays."""
        # ln(1 + exp(z)) - y z, so that no probability is rounded to 0 or 1. numpy sums on one thread, pairwise, in an
        # order that depends on the length alone.
        with np.errstate(invalid="ignore", over="ignore"):  # the log-loss shows that a training diverged
            bent = np.logaddexp(0.0, logits)
            self.rows += len(labels)
            self.clicks += int(np.count_nonzero(labels))
            self.loss += float((bent - labels * logits).sum())
            self.predicted += float(np.exp(logits - bent).sum())

    @property
    def logloss(self) -> float:
        """Mean of -ln of the predicted probability of the label."""
        return self.loss / self.rows

    @property
    def calibration(self) -> float | None:
        """Mean prediction over mean label; None where there is no click."""
        return self.predicted / self.clicks if self.clicks else None

    def report(self) -> dict[str, float | None]:
        """The metrics of the training part."""
        return {"logloss": self.logloss, "calibration": self.calibration}

    @property
    def normalised_entropy(self) -> float | None:
        """Log-loss over that of the best constant, the entropy of the rate of clicks (He et al., 2014, ADKDD): below 1
        where the model knows more than the rate. None where all rows are clicks, or none is."""
        if not 0 < self.clicks < self.rows:
            return None
        rate = self.clicks / self.rows
        return self.logloss / -(rate * log(rate) + (1 - rate) * log(1 - rate))


class ClickScores:
    """The metrics of a part of the data.

    Args:
        rows: most rows that will be added; 4 bytes are kept for each.

    Example:
        >>> import torch
        >>> scores = ClickScores(3)
        >>> scores.add(torch.tensor([0.1, 2.0, 0.1]), torch.tensor([0.0, 1.0, 1.0]))
        >>> scores.auc()
        0.75
    """

    def __init__(self, rows: int) -> None:
        self.losses = Losses()
        self._kept = np.empty(rows, np.float32)

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Take in logits and labels of 0 or 1, both of shape `(batch,)`.

        Raises:
            InputError: there are more rows than were announced.
        """
        given, clicked = _arrays(logits, labels)
        before = self.losses.rows
        if before + len(given) > len(self._kept):
            raise InputError(f"scores of {before + len(given)} rows, where {len(self._kept)} were announced")
        clicks, others = self.losses.clicks, before - self.losses.clicks
        is_click = clicked != 0
        mine, rest = given[is_click], given[~is_click]
        self._kept[clicks : clicks + len(mine)] = mine
        end = len(self._kept) - others
        self._kept[end - len(rest) : end] = rest
        self.losses.take(given, clicked)

    def auc(self) -> float | None:
        """Probability that a click scores above a row that is none, ties counted half, over all pairs: exact for the
        scores as float32. None where all rows are clicks, or none is. Sorts the kept scores in place."""
        clicks, others = self.losses.clicks, self.losses.rows - self.losses.clicks
        if not clicks or not others:
            return None
        mine, rest = self._kept[:clicks], self._kept[len(self._kept) - others :]
        mine.sort()
        rest.sort()
        wins = 0  # a whole number of halves, of any size: no rounding
        for at in range(0, clicks, _CHUNK):
            part = mine[at : at + _CHUNK]
            below, up_to = np.searchsorted(rest, part, "left"), np.searchsorted(rest, part, "right")
            wins += int(below.sum()) + int(up_to.sum())
        return wins / (2 * clicks * others)

    def report(self) -> dict[str, float | None]:
        """All metrics, by name.

        Raises:
            InputError: no rows.
        """
        if not self.losses.rows:
            raise InputError("there are no rows to evaluate on")
        return {
            "logloss": self.losses.logloss,
            "auc": self.auc(),
            "calibration": self.losses.calibration,
            "normalised_entropy": self.losses.normalised_entropy,
        }


def _arrays(logits: Tensor, labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return logits.detach().double().cpu().numpy(), labels.detach().double().cpu().numpy()
