"""Numbers to store in few bits, and what they lose: of every run of pieces of their rows, column and number of bits.

See `coset.planning.bits`, which chooses among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from coset.errors import InputError
from coset.storage.levels import Levels
from coset.vectors import Vectors, vectors_of

_STEPS, _RATIO = 48, 0.9
"""Steps to try: the one whose outermost level is the largest number of a column, and each by this ratio smaller."""
_FINER = 1.5
"""From one price of a curve to the next."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """An array to store in few bits.

    Args:
        weights: its numbers, shape `(rows, columns)`, a tensor or vectors wherever they lie, rows in order of
            popularity.
        counts: how often each row is read, shape `(rows,)`.
        importance: the mean square of what a column is multiplied by, shape `(columns,)`; 1 each by default.
        ordered: whether rows are in order of popularity; others stay one block.
    """

    weights: Tensor | Vectors = field(repr=False)
    counts: Tensor = field(repr=False)
    importance: Tensor | None = field(default=None, repr=False)
    ordered: bool = True

    def __post_init__(self) -> None:
        if len(self.weights.shape) != 2 or not all(self.weights.shape):
            raise InputError(f"numbers to store have rows and columns, not the shape {tuple(self.weights.shape)}")
        rows, columns = self.weights.shape
        for name, given, wanted in (("counts", self.counts, rows), ("importance", self.importance, columns)):
            if given is None:
                continue
            if given.shape != (wanted,):
                raise InputError(
                    f"{name} of {wanted} numbers must have the shape ({wanted},), not {tuple(given.shape)}"
                )
            if not bool((given >= 0).all()):
                raise InputError(f"{name} must be 0 or more, and one is {float(given.min())}")
        if (row := self.vectors.summary.fault) is not None:
            raise InputError(f"numbers to store must be finite, and row {row} has one that is not")

    @cached_property
    def vectors(self) -> Vectors:
        """The numbers, wherever they lie."""
        return vectors_of(self.weights)


@dataclass(frozen=True)
class BitBlocks:
    """The blocks of an array.

    Args:
        bounds: where blocks end, but for the last, as `Blocks` takes them.
        bits: of each column of each block; 0: not stored.
        bytes: of codes and steps, each block in bytes of its own.
        loss: by how much the sum of squared errors of all predictions grows, in all.
    """

    bounds: tuple[int, ...]
    bits: tuple[tuple[int, ...], ...]
    bytes: int
    loss: float


@dataclass
class Choice:
    """Runs of pieces, as the numbers of the pieces they begin and end at, and the bits of their columns."""

    runs: list[tuple[int, int]]
    bits: list[list[int]]


class Runs:
    """The losses of all runs of pieces of an array.

    Args:
        array: the numbers.
        most_bits, step_bytes, block_bytes, pieces: as for `allocate_bits`.
        looked_at: of a piece of more rows, so many are looked at, at equal distances.
    """

    def __init__(
        self, array: Numbers, most_bits: int = 8, step_bytes: int = 2, block_bytes: int = 16, pieces: int = 24,
        looked_at: int = 1 << 12,
    ) -> None:  # fmt: skip
        self.cuts = _cuts(array.counts, pieces if array.ordered else 1)
        self._step_bits, self._block_bits = 8 * step_bytes, 8 * block_bytes
        each = _losses(array, self.cuts, most_bits, looked_at)  # (pieces, columns, bits, steps)
        upto = torch.cat([torch.zeros_like(each[:1]), each.cumsum(0)])
        many = len(self.cuts)
        # [begin, end, column, bits], infinite where there is nothing between.
        self.losses = torch.full((many, many, *each.shape[1:3]), torch.inf, dtype=torch.float64)
        for begin in range(many - 1):
            self.losses[begin, begin + 1 :] = (upto[begin + 1 :] - upto[begin]).amin(-1).clamp(min=0)
        self.total = float(self.losses[0, -1, :, 0].sum())
        self._lists: dict[tuple[int, int], list[list[float]]] = {}
        rows = torch.tensor(self.cuts, dtype=torch.float64)
        bits = torch.arange(most_bits + 1, dtype=torch.float64)
        self._costs = (rows - rows.unsqueeze(1)).clamp(min=0)[..., None] * bits + self._step_bits * (bits > 0)

    def best(self, price: float) -> Choice:
        """Those that minimise the loss and the price of all bits."""
        each, bits = (self.losses + price * self._costs.unsqueeze(2)).min(-1)
        costs = (each.sum(-1) + price * self._block_bits).tolist()
        least, origin = [0.0], [0]
        for end in range(1, len(self.cuts)):
            found = min((least[begin] + costs[begin][end], begin) for begin in range(end))
            least.append(found[0])
            origin.append(found[1])
        end, runs = len(self.cuts) - 1, []
        while end:
            runs.append((origin[end], end))
            end = origin[end]
        runs.reverse()
        return Choice(runs, [bits[run].tolist() for run in runs])

    def curve(self) -> list[BitBlocks]:
        """Blocks at prices that fall by a third each, from those of the fewest bytes to those of the most."""
        rows, columns = self.cuts[-1], self.losses.shape[2]
        low = self.total / (rows * columns) * 4.0 ** -self.losses.shape[3]
        price, found = 2 * self.total, dict[int, BitBlocks]()
        while price > low > 0:
            said = self.said(self.best(price))
            found[said.bytes] = said
            price /= _FINER
        return [found[size] for size in sorted(found)]

    def bytes_of(self, run: tuple[int, int], bits: Sequence[int]) -> int:
        rows = self.cuts[run[1]] - self.cuts[run[0]]
        return -(-rows * sum(bits) // 8) + sum(each > 0 for each in bits) * self._step_bits // 8

    def of(self, run: tuple[int, int]) -> list[list[float]]:
        """The losses of a run, by column and bits."""
        if run not in self._lists:
            self._lists[run] = self.losses[run].tolist()
        return self._lists[run]

    def bytes(self, choice: Choice) -> int:
        return sum(self.bytes_of(run, bits) for run, bits in zip(choice.runs, choice.bits, strict=True))

    def said(self, choice: Choice) -> BitBlocks:
        loss = sum(
            self.of(run)[column][bits]
            for run, row in zip(choice.runs, choice.bits, strict=True)
            for column, bits in enumerate(row)
        )
        bounds = tuple(self.cuts[end] for _, end in choice.runs[:-1])
        return BitBlocks(bounds, tuple(tuple(row) for row in choice.bits), self.bytes(choice), loss)


def _cuts(counts: Tensor, pieces: int) -> list[int]:
    """Where pieces begin, and the end: of equal sums of the roots of counts, between equal rows and equal traffic."""
    rows = len(counts)
    upto = counts.double().clamp(min=0.25).sqrt().cumsum(0)
    wanted = upto[-1] * torch.arange(1, pieces, dtype=torch.float64) / pieces
    ends = torch.searchsorted(upto, wanted) + 1
    return sorted({0, rows, *(end for end in ends.tolist() if end < rows)})


def _losses(array: Numbers, cuts: Sequence[int], most_bits: int, looked_at: int) -> Tensor:
    """The loss of each piece, column, number of bits and step, shape `(pieces, columns, most_bits + 1, steps)`; without
    bits all steps lose the same."""
    columns = array.weights.shape[1]
    found = torch.zeros(len(cuts) - 1, columns, most_bits + 1, _STEPS, dtype=torch.float64)
    largest = array.vectors.summary.largest
    largest = torch.where(largest > 0, largest, 1.0)
    looked = torch.cat(
        [torch.linspace(begin, end - 1, min(end - begin, looked_at)).long() for begin, end in pairwise(cuts)]
    )
    pieces = torch.searchsorted(torch.tensor(cuts), looked, right=True) - 1
    share = torch.tensor(cuts).diff() / torch.bincount(pieces)
    weights = torch.zeros(len(cuts) - 1, len(looked), dtype=torch.float64)
    weights[pieces, torch.arange(len(looked))] = array.counts[looked].double() * share[pieces]
    rows = array.vectors.at(looked)
    ratios = _RATIO ** torch.arange(_STEPS, dtype=torch.float64)
    for column in range(columns):
        numbers = rows[:, column].double().unsqueeze(1)
        found[:, column, 0] = weights @ numbers.square()
        for bits in range(1, most_bits + 1):
            levels = Levels([bits])
            steps = largest[column] / levels.outermost(numbers) * ratios
            gaps = (levels.nearest(levels.place(numbers, steps)) - levels.outermost(numbers)) * steps - numbers
            found[:, column, bits] = weights @ gaps.square()
    if array.importance is not None:
        found *= array.importance.double()[:, None, None]
    return found
