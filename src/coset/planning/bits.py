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

from coset.errors import InfeasibleBudget, InputError
from coset.methods import Blocks, Full, Method
from coset.planning.numbers import BitBlocks, Choice, Numbers, Runs
from coset.storage import Packed

_HALVINGS = 60
_TRIED = 4
"""The last choices within the budget, each of which gets the bits that are left over; the best of them is taken."""


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
        >>> import torch
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
    return allocated([Runs(array, most_bits, step_bytes, block_bytes, pieces) for array in arrays], budget)


def allocated(measured: Sequence[Runs], budget: int) -> list[BitBlocks]:
    """What `allocate_bits` gives for arrays whose losses are known."""

    def at(price: float) -> list[Choice]:
        return [runs.best(price) for runs in measured]

    def size(choices: Sequence[Choice]) -> int:
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


def _spend(measured: Sequence[Runs], chosen: Sequence[Choice], spare: int) -> None:
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


def as_method(blocks: BitBlocks) -> Method:
    """The method that stores an array in these blocks."""
    inner = tuple(Full(storage=Packed(bits, step_dtype="float16")) for bits in blocks.bits)
    return Blocks(blocks.bounds, inner) if blocks.bounds else inner[0]
