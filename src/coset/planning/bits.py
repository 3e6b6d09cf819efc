"""Bits by block of popularity and by column: those that lose least of what a model predicts, within so many bytes.

An array holds a row for each id, ids in order of popularity. Rounding its number x in row i and column k to x̂ moves the
predictions that read it, and their squared error grows in sum by about

    counts_i · importance_k · (x̂ - x)²

where `counts` say how often the row is read and `importance` is the mean square of what its column is multiplied by: of
a dot model the mean square of the other side's column over training rows, and 1 for a bias. A column of a block that
takes no bits reads as 0.

Rows are cut at a few places into pieces (`pieces`), and blocks are runs of pieces. For every run, column and number of
bits the loss with the best step is measured on the numbers themselves; a grid of steps that all pieces have in common
makes the loss of a run the sum of those of its pieces, step by step. The blocks and bits sought minimise

    loss + λ · bits stored,        steps included

for one λ that all arrays have in common, as more bytes anywhere must gain as much as they would elsewhere (Shoham and
Gersho, 1988, "Efficient bit allocation for an arbitrary set of quantizers"). For a given λ the best bits of a run are
those of each column alone, and the best runs follow by dynamic programming. λ is halved into the budget; bits that are
left over go, one at a time, where they gain most a byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from coset.errors import InfeasibleBudget, InputError
from coset.storage.levels import Levels

_STEPS, _RATIO = 48, 0.9
"""Steps to try: the one whose outermost level is the largest number of a column, and each by this ratio smaller."""
_MOST_ROWS = 1 << 12
"""Of a piece of more rows, so many are looked at, at equal distances."""
_HALVINGS = 60
_TRIED = 4
"""The last choices within the budget, each of which gets the bits that are left over; the best of them is taken."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """An array to store in few bits.

    Args:
        weights: its numbers, shape `(rows, columns)`, rows in order of popularity.
        counts: how often each row is read, shape `(rows,)`.
        importance: the mean square of what a column is multiplied by, shape `(columns,)`; 1 each by default.
    """

    weights: Tensor = field(repr=False)
    counts: Tensor = field(repr=False)
    importance: Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.weights.dim() != 2 or not self.weights.numel():
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
        if not bool(self.weights.isfinite().all()):
            row = int((~self.weights.isfinite()).any(1).nonzero()[0])
            raise InputError(f"numbers to store must be finite, and row {row} has one that is not")


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


def allocate_bits(
    arrays: Sequence[Numbers],
    budget: int,
    *,
    most_bits: int = 8,
    step_bytes: int = 2,
    block_bytes: int = 16,
    pieces: int = 24,
) -> list[BitBlocks]:
    """The blocks of every array and their bits, together within a budget.

    Args:
        arrays: whose bytes come from one budget, such as vectors and biases of both sides of a dot model.
        budget: in bytes, for codes and steps of them all.
        most_bits: of a number, 1 to 8.
        step_bytes: of the step that a column of a block has.
        block_bytes: what a further block must save beside its steps, so that neighbours that hardly differ stay one.
        pieces: the most blocks that an array may be cut into.

    Raises:
        InfeasibleBudget: a budget below 0.
        InputError: no arrays, or numbers of bits or pieces out of range.

    Example:
        >>> counts = torch.tensor([100.0] * 50 + [1.0] * 50)
        >>> vectors = torch.randn(100, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.3])
        >>> [found] = allocate_bits([Numbers(vectors, counts)], 40)
        >>> found.bounds, found.bits, found.bytes
        ((49,), ((3, 2), (0, 0)), 35)
    """
    if not arrays:
        raise InputError("bits are for at least one array, and there is none")
    if not 1 <= most_bits <= 8:
        raise InputError(f"most_bits must be 1 to 8, not {most_bits}")
    if pieces < 1:
        raise InputError(f"pieces must be at least 1, not {pieces}")
    if budget < 0:
        raise InfeasibleBudget(f"a budget of {budget} bytes is below 0", 0)
    measured = [_Runs(array, most_bits, step_bytes, block_bytes, pieces) for array in arrays]

    def at(price: float) -> list[_Choice]:
        return [runs.best(price) for runs in measured]

    def size(choices: Sequence[_Choice]) -> int:
        return sum(runs.bytes(choice) for runs, choice in zip(measured, choices, strict=True))

    # At the upper price no bit is worth it: a bit more costs more than all that there is to lose.
    low, high = 0.0, 2 * sum(runs.total for runs in measured) + 1e-300
    within = [at(high)]
    if size(free := at(low)) <= budget:
        within.append(free)
    else:
        for number in range(_HALVINGS):
            # Prices differ by orders of magnitude, so that their logarithms are halved once the lower is above 0.
            middle = (low * high) ** 0.5 if low else high * 0.5 ** min(number + 1, 8)
            found = at(middle)
            if size(found) > budget:
                low = middle
                continue
            high = middle
            if size(found) != size(within[-1]):
                within.append(found)
    best: list[BitBlocks] = []
    for chosen in within[-_TRIED:]:
        _spend(measured, chosen, budget - size(chosen))
        said = [runs.said(choice) for runs, choice in zip(measured, chosen, strict=True)]
        if not best or sum(each.loss for each in said) < sum(each.loss for each in best):
            best = said
    return best


@dataclass
class _Choice:
    """Runs of pieces, as the numbers of the pieces they begin and end at, and the bits of their columns."""

    runs: list[tuple[int, int]]
    bits: list[list[int]]


class _Runs:
    """The losses of all runs of pieces of an array."""

    def __init__(self, array: Numbers, most_bits: int, step_bytes: int, block_bytes: int, pieces: int) -> None:
        self.cuts = _cuts(array.counts, pieces)
        self._step_bits, self._block_bits = 8 * step_bytes, 8 * block_bytes
        each = _losses(array, self.cuts, most_bits)  # (pieces, columns, bits, steps)
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

    def best(self, price: float) -> _Choice:
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
        return _Choice(runs, [bits[run].tolist() for run in runs])

    def bytes_of(self, run: tuple[int, int], bits: Sequence[int]) -> int:
        rows = self.cuts[run[1]] - self.cuts[run[0]]
        return -(-rows * sum(bits) // 8) + sum(each > 0 for each in bits) * self._step_bits // 8

    def of(self, run: tuple[int, int]) -> list[list[float]]:
        """The losses of a run, by column and bits."""
        if run not in self._lists:
            self._lists[run] = self.losses[run].tolist()
        return self._lists[run]

    def bytes(self, choice: _Choice) -> int:
        return sum(self.bytes_of(run, bits) for run, bits in zip(choice.runs, choice.bits, strict=True))

    def said(self, choice: _Choice) -> BitBlocks:
        loss = sum(
            self.of(run)[column][bits]
            for run, row in zip(choice.runs, choice.bits, strict=True)
            for column, bits in enumerate(row)
        )
        bounds = tuple(self.cuts[end] for _, end in choice.runs[:-1])
        return BitBlocks(bounds, tuple(tuple(row) for row in choice.bits), self.bytes(choice), loss)


def _spend(measured: Sequence[_Runs], chosen: Sequence[_Choice], spare: int) -> None:
    """Give bits that are left over to single columns of blocks, where they gain most a byte, while they fit."""
    while True:
        best, where = 0.0, None
        for array, (runs, choice) in enumerate(zip(measured, chosen, strict=True)):
            for place, (run, bits) in enumerate(zip(choice.runs, choice.bits, strict=True)):
                present, losses = runs.bytes_of(run, bits), runs.of(run)
                for column, now in enumerate(bits):
                    for more in range(now + 1, len(losses[column])):
                        extra = runs.bytes_of(run, [*bits[:column], more, *bits[column + 1 :]]) - present
                        if extra > spare:
                            break
                        gain = (losses[column][now] - losses[column][more]) / max(extra, 0.1)
                        if gain > best:
                            best, where = gain, (array, place, column, more, extra)
        if where is None:
            return
        array, place, column, more, extra = where
        chosen[array].bits[place][column] = more
        spare -= extra


def _cuts(counts: Tensor, pieces: int) -> list[int]:
    """Where pieces begin, and the end: of equal sums of the roots of counts, between equal rows and equal traffic."""
    rows = len(counts)
    upto = counts.double().clamp(min=0.25).sqrt().cumsum(0)
    wanted = upto[-1] * torch.arange(1, pieces, dtype=torch.float64) / pieces
    ends = torch.searchsorted(upto, wanted) + 1
    return sorted({0, rows, *(end for end in ends.tolist() if end < rows)})


def _losses(array: Numbers, cuts: Sequence[int], most_bits: int) -> Tensor:
    """The loss of each piece, column, number of bits and step, shape `(pieces, columns, most_bits + 1, steps)`; without
    bits all steps lose the same."""
    columns = array.weights.shape[1]
    found = torch.zeros(len(cuts) - 1, columns, most_bits + 1, _STEPS, dtype=torch.float64)
    largest = array.weights.double().abs().amax(0)
    largest = torch.where(largest > 0, largest, 1.0)
    looked = torch.cat(
        [torch.linspace(begin, end - 1, min(end - begin, _MOST_ROWS)).long() for begin, end in pairwise(cuts)]
    )
    pieces = torch.searchsorted(torch.tensor(cuts), looked, right=True) - 1
    share = torch.tensor(cuts).diff() / torch.bincount(pieces)
    weights = torch.zeros(len(cuts) - 1, len(looked), dtype=torch.float64)
    weights[pieces, torch.arange(len(looked))] = array.counts[looked].double() * share[pieces]
    ratios = _RATIO ** torch.arange(_STEPS, dtype=torch.float64)
    for column in range(columns):
        numbers = array.weights[looked, column].double().unsqueeze(1)
        found[:, column, 0] = weights @ numbers.square()
        for bits in range(1, most_bits + 1):
            levels = Levels([bits])
            steps = largest[column] / levels.outermost(numbers) * ratios
            gaps = (levels.nearest(levels.place(numbers, steps)) - levels.outermost(numbers)) * steps - numbers
            found[:, column, bits] = weights @ gaps.square()
    if array.importance is not None:
        found *= array.importance.double()[:, None, None]
    return found
