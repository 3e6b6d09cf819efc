"""Bits by block and column: within the budget, where they gain most, and near the best of all."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from coset.errors import InfeasibleBudget, InputError
from coset.planning.bits import allocate_bits, allocated
from coset.planning.numbers import BitBlocks, Numbers, Runs
from coset.storage.levels import Levels, least_squares_steps

STEP_BYTES = 2


def drawn(rows: int, deviations: list[float], seed: int = 0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(rows, len(deviations), generator=source) * torch.tensor(deviations)


def counts(rows: int) -> Tensor:
    """As popularity falls: from `rows` to 1."""
    return rows / torch.arange(1.0, rows + 1)


def spans(found: BitBlocks, rows: int) -> list[tuple[int, int]]:
    ends = [*found.bounds, rows]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def of_column(numbers: Tensor, weights: Tensor, bits: int) -> float:
    """The loss of one column of a block, with a step of its own."""
    wide = numbers.double().unsqueeze(1)
    if not bits:
        return float((weights * wide[:, 0].square()).sum())
    levels = Levels([bits])
    steps = least_squares_steps(wide, levels, (0,), weights)
    gaps = levels.values(levels.codes(wide, steps), steps) - wide
    return float((weights * gaps[:, 0].square()).sum())


def loss_of(array: Numbers, found: BitBlocks) -> float:
    """The loss, measured from what is said of the blocks alone."""
    importance = torch.ones(array.weights.shape[1]) if array.importance is None else array.importance
    return sum(
        of_column(array.weights[begin:end, column], array.counts[begin:end].double(), bits) * float(importance[column])
        for (begin, end), row in zip(spans(found, len(array.weights)), found.bits, strict=True)
        for column, bits in enumerate(row)
    )


def bytes_of(array: Numbers, found: BitBlocks) -> int:
    return sum(
        -(-(end - begin) * sum(row) // 8) + STEP_BYTES * sum(bits > 0 for bits in row)
        for (begin, end), row in zip(spans(found, len(array.weights)), found.bits, strict=True)
    )


@pytest.fixture(scope="module")
def both() -> list[Numbers]:
    vectors = Numbers(drawn(600, [1.0, 0.5, 0.2]), counts(600), torch.tensor([1.0, 0.5, 0.2]))
    return [vectors, Numbers(drawn(400, [0.4], seed=1), counts(400))]


@pytest.mark.parametrize("budget", [0, 1, 40, 200, 400, 800, 100_000])
def test_bytes_and_losses_are_what_is_said_and_within_the_budget(both: list[Numbers], budget: int) -> None:
    found = allocate_bits(both, budget, most_bits=6)
    assert sum(each.bytes for each in found) <= budget
    for array, each in zip(both, found, strict=True):
        assert each.bytes == bytes_of(array, each)
        assert all(0 <= bits <= 6 for row in each.bits for bits in row)
        nothing = loss_of(array, BitBlocks((), ((0,) * array.weights.shape[1],), 0, 0.0))
        # Steps of a grid are nearly as good as those that are searched.
        assert each.loss == pytest.approx(loss_of(array, each), rel=0.1, abs=1e-3 * nothing)


@pytest.mark.parametrize("budget", [200, 400, 800])
def test_little_of_the_budget_is_left(both: list[Numbers], budget: int) -> None:
    assert sum(each.bytes for each in allocate_bits(both, budget)) > 0.95 * budget


def test_more_bytes_never_lose_more(both: list[Numbers]) -> None:
    losses = [sum(each.loss for each in allocate_bits(both, budget)) for budget in range(0, 1000, 25)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.01 * losses[0]


def test_a_column_without_energy_or_importance_takes_no_bits() -> None:
    numbers = drawn(300, [1.0, 0.0, 1.0])
    [found] = allocate_bits([Numbers(numbers, counts(300), torch.tensor([1.0, 1.0, 0.0]))], 300)
    assert {row[1:] for row in found.bits} == {(0, 0)}
    assert max(row[0] for row in found.bits) > 0


def test_rows_that_are_not_read_take_no_bits() -> None:
    read = torch.cat([torch.full((100,), 9.0), torch.zeros(100)])
    [found] = allocate_bits([Numbers(drawn(200, [1.0, 1.0]), read)], 10_000)
    for (begin, _), row in zip(spans(found, 200), found.bits, strict=True):
        assert begin < 100 or not any(row)


def test_popular_rows_and_strong_columns_take_more_bits() -> None:
    numbers = drawn(2000, [1.0, 0.5, 0.25])
    [found] = allocate_bits([Numbers(numbers, counts(2000), torch.tensor([1.0, 0.5, 0.25]))], 900, most_bits=6)
    assert len(found.bits) > 2
    for column in zip(*found.bits, strict=True):
        assert column[0] > column[-1]
        assert all(later <= earlier + 1 for earlier, later in pairwise(column))  # of few rows a bit more may be luck
    for row in found.bits:
        assert list(row) == sorted(row, reverse=True)


def test_rows_alike_take_the_bits_of_the_textbook() -> None:
    """Of Gaussian numbers four times the deviation is two bits more, at 6 dB a bit."""
    [found] = allocate_bits([Numbers(drawn(4000, [4.0, 1.0]), torch.ones(4000))], 4004)
    rows = torch.tensor([end - begin for begin, end in spans(found, 4000)]) / 4000
    first, second = rows @ torch.tensor(found.bits, dtype=torch.float32)
    assert float(first - second) == pytest.approx(2, abs=0.4)


def test_bytes_go_to_the_array_that_is_read_more() -> None:
    numbers = drawn(500, [1.0])
    often, seldom = allocate_bits([Numbers(numbers, torch.full((500,), each)) for each in (64.0, 1.0)], 350)
    assert often.bytes > seldom.bytes


def test_no_choice_of_bits_and_one_cut_is_much_better() -> None:
    """Against all of them, on two columns of few rows with three bits at most."""
    array = Numbers(drawn(48, [1.0, 0.4]), counts(48) ** 1.5)
    budget = 30
    best = float("inf")
    table = {}
    for begin, end in [(0, 48), *((0, cut) for cut in range(4, 48, 4)), *((cut, 48) for cut in range(4, 48, 4))]:
        for column, bits in product(range(2), range(4)):
            weights = array.counts[begin:end].double()
            table[begin, end, column, bits] = of_column(array.weights[begin:end, column], weights, bits)
    rows = list(product(range(4), repeat=2))
    for bounds in [(), *((cut,) for cut in range(4, 48, 4))]:
        for bits in product(rows, repeat=len(bounds) + 1):
            tried = BitBlocks(bounds, bits, 0, 0.0)
            if bytes_of(array, tried) <= budget:
                pieces = zip(spans(tried, 48), bits, strict=True)
                best = min(
                    best, sum(table[*span, column, each] for span, row in pieces for column, each in enumerate(row))
                )
    [found] = allocate_bits([array], budget, most_bits=3)
    assert loss_of(array, found) <= 1.35 * best


def test_many_rows_are_looked_at_in_part() -> None:
    array = Numbers(drawn(3000, [1.0, 0.3]), counts(3000))
    [whole] = allocate_bits([array], 900)
    [part] = allocated([Runs(array, looked_at=40)], 900)
    assert part.bytes <= 900
    assert loss_of(array, part) <= 1.1 * loss_of(array, whole)


def test_the_same_numbers_give_the_same_blocks(both: list[Numbers]) -> None:
    assert allocate_bits(both, 300) == allocate_bits(both, 300)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"weights": torch.zeros(3)}, "rows and columns"),
        ({"counts": torch.ones(2)}, "counts of 3 numbers must have the shape \\(3,\\), not \\(2,\\)"),
        ({"counts": torch.tensor([1.0, -1.0, 0.0])}, "counts must be 0 or more"),
        ({"importance": torch.ones(3)}, "importance of 2 numbers must have the shape \\(2,\\)"),
        ({"weights": torch.tensor([[0.0, 0.0], [1.0, torch.nan], [0.0, 0.0]])}, "row 1 has one that is not"),
    ],
)
def test_bad_numbers(given: dict[str, Tensor], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Numbers(**{"weights": torch.zeros(3, 2), "counts": torch.ones(3), **given})


def test_bad_choices(both: list[Numbers]) -> None:
    with pytest.raises(InputError, match="at least one array"):
        allocate_bits([], 10)
    with pytest.raises(InputError, match="most_bits must be 1 to 8, not 9"):
        allocate_bits(both, 10, most_bits=9)
    with pytest.raises(InputError, match="pieces must be at least 1"):
        allocate_bits(both, 10, pieces=0)
    with pytest.raises(InfeasibleBudget, match="below 0"):
        allocate_bits(both, -1)
