"""The alpha-power rule, against the same computed in decimal arithmetic."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import cache

import numpy as np
import pytest

from coset.data.clicks import CRITEO_KAGGLE_CARDINALITIES as CRITEO
from coset.errors import InfeasibleBudget, InputError
from coset.methods.low_rank import LowRank
from coset.methods.mixed_dimension import MixedDimension
from coset.planning.alpha import alpha_blocks, alpha_dims, alpha_rule
from coset.schema import Table


@cache
def power(base: Decimal, exponent: Decimal) -> Decimal:
    """At 30 digits, as every test here computes."""
    return (base.ln() * exponent).exp()


def decimal_dims(scale: Decimal, alpha: str, widest: int, rounding: str) -> list[int]:
    """`scale · n ** -alpha`, rounded, at 30 digits."""
    found, two = [], Decimal(2).ln()
    for n in CRITEO:
        width = scale * power(Decimal(n), -Decimal(alpha))
        if rounding == "power_of_two":
            exponent = (width.ln() / two).quantize(Decimal(1), ROUND_HALF_UP)
            rounded = 2 ** max(0, int(exponent))
        else:
            rounded = int(width.quantize(Decimal(1), ROUND_HALF_UP))
        found.append(min(widest, max(1, rounded)))
    return found


def decimal_elements(dims: list[int], widest: int) -> int:
    """What is stored: rows, and a projection for narrow tables, unless the full table is no larger."""
    return sum(min(n * d + (d * widest if d < widest else 0), n * widest) for n, d in zip(CRITEO, dims, strict=True))


@pytest.fixture(autouse=True)
def _digits():
    with localcontext() as context:
        context.prec = 30
        yield


def criteo(dim: int) -> list[Table]:
    return [Table(f"C{number}", n, dim) for number, n in enumerate(CRITEO, 1)]


@pytest.mark.parametrize("rounding", ["nearest", "power_of_two"])
@pytest.mark.parametrize("alpha", ["0.1", "0.3"])
@pytest.mark.parametrize("dim", [16, 32, 64])
def test_widths_on_criteo_are_those_of_decimal_arithmetic(dim: int, alpha: str, rounding) -> None:
    scale = dim * power(Decimal(min(CRITEO)), Decimal(alpha))
    expected = decimal_dims(scale, alpha, dim, rounding)
    popularity = [1 / n for n in CRITEO]
    found = alpha_dims(popularity, float(alpha), base_dim=dim, widest=dim, rounding=rounding)
    assert found == expected
    assert found[CRITEO.index(3)] == dim
    plan = alpha_rule(criteo(dim), float(alpha), rounding=rounding)
    assert sum(plan[table.name].bytes(table) for table in criteo(dim)) == 4 * decimal_elements(expected, dim)


@pytest.mark.parametrize("rounding", ["nearest", "power_of_two"])
@pytest.mark.parametrize("alpha", ["0.1", "0.3"])
@pytest.mark.parametrize("dim", [16, 32, 64])
@pytest.mark.parametrize("ratio", [4, 8])
def test_a_budget_on_criteo_gives_the_largest_widths_within_it(dim: int, alpha: str, rounding, ratio: int) -> None:
    """The plan is that of a scale of the rule; at the next larger scale it would be over the budget."""
    budget = 4 * dim * sum(CRITEO) // ratio
    plan = alpha_rule(criteo(dim), float(alpha), budget=budget, rounding=rounding)
    spent = sum(plan[table.name].bytes(table) for table in criteo(dim))
    low, high = Decimal(0), Decimal(dim) * power(Decimal(max(CRITEO)), Decimal(alpha)) * 2
    for _ in range(60):
        middle = (low + high) / 2
        fits = 4 * decimal_elements(decimal_dims(middle, alpha, dim, rounding), dim) <= budget
        low, high = (middle, high) if fits else (low, middle)
    assert spent <= budget
    assert spent == 4 * decimal_elements(decimal_dims(low, alpha, dim, rounding), dim)
    assert 4 * decimal_elements(decimal_dims(high, alpha, dim, rounding), dim) > budget


def test_the_papers_scale_is_over_the_budget_once_rounded_and_ours_is_not() -> None:
    """λ = B / Σ n ** (1 - α), rounded to powers of two, can take more than B."""
    over = 0
    for elements in range(36_000_000, 60_000_000, 400_000):
        scale = Decimal(elements) / sum(power(Decimal(n), Decimal("0.7")) for n in CRITEO)
        over += decimal_elements(decimal_dims(scale, "0.3", 16, "power_of_two"), 16) > elements
        plan = alpha_rule(criteo(16), 0.3, budget=4 * elements, rounding="power_of_two")
        assert sum(plan[table.name].bytes(table) for table in criteo(16)) <= 4 * elements
    assert over > 0


def test_projections_count() -> None:
    tables = [Table("user", 1000, 16), Table("day", 7, 16)]
    plan = alpha_rule(tables, 0.3, base_dim=8)
    assert plan["user"] == LowRank(2)
    assert plan["user"].bytes(tables[0]) == 4 * (1000 * 2 + 2 * 16)


def test_below_the_floor() -> None:
    tables = [Table("user", 1000, 16), Table("day", 7, 16)]
    floor = 4 * (1000 + 16 + 7 + 16)
    plan = alpha_rule(tables, budget=floor)
    assert sum(plan[table.name].bytes(table) for table in tables) == floor
    with pytest.raises(InfeasibleBudget, match=str(floor)) as caught:
        alpha_rule(tables, budget=floor - 1)
    assert caught.value.floor == floor


def test_blocks_by_popularity() -> None:
    counts = np.repeat([1000.0, 10.0, 0.1], [10, 100, 1000])
    table = Table("movie", 1110, 32, frequencies=counts)
    method = alpha_blocks(table, (10, 100, 1000), 0.3)
    assert method == MixedDimension((10, 100, 1000), (32, 8, 2))  # 32 · 100 ** -0.3 = 8.04, 32 · 10 ** -1.2 = 2.02
    within = alpha_blocks(table, (10, 100, 1000), 0.3, budget=10_000)
    assert within.bytes(table) <= 10_000
    assert within.block_dims == tuple(sorted(within.block_dims, reverse=True))
    with pytest.raises(InfeasibleBudget, match="movie"):
        alpha_blocks(table, (10, 100, 1000), budget=100)


@pytest.mark.parametrize("rounding", ["nearest", "power_of_two"])
@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.5])
def test_a_budget_of_what_a_base_dim_takes_is_spent_to_the_last_byte(alpha: float, rounding) -> None:
    """Scales at which a width is rounded up are met, though the float there may lie just below a half."""
    draws = np.random.default_rng(0)
    for _ in range(20):
        tables = [Table(f"t{at}", int(n), 16) for at, n in enumerate(np.exp(draws.uniform(1, 12, 4)))]
        for base_dim in (1.5, 2.5, 4, 7.5, 11.5, 16):
            plan = alpha_rule(tables, alpha, base_dim=base_dim, rounding=rounding)
            budget = sum(plan[table.name].bytes(table) for table in tables)
            again = alpha_rule(tables, alpha, budget=budget, rounding=rounding)
            assert sum(again[table.name].bytes(table) for table in tables) == budget


@pytest.mark.parametrize(("counts", "dims"), [([8.0, 0.0], (16, 1)), ([0.0, 0.0], (16, 16)), ([0.0, 8.0], (1, 16))])
def test_blocks_that_were_never_seen_are_as_narrow_as_can_be(counts, dims) -> None:
    table = Table("movie", 110, 16, frequencies=np.repeat(counts, [10, 100]))
    assert alpha_blocks(table, (10, 100), 0.3).block_dims == dims


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"base_dim": 8, "budget": 10**6}, "give one of them"),
        ({"base_dim": 17}, "1 … 16"),
        ({"budget": "1 parsec"}, "parsec"),
        ({"alpha": 1.5}, "0 … 1"),
        ({"alpha": "0.3"}, "0 … 1, not '0.3'"),
        ({"alpha": None}, "0 … 1, not None"),
        ({"base_dim": "8"}, "1 … 16"),
        ({"rounding": "up"}, "'power_of_two'"),
    ],
)
def test_bad_choices(given, said: str) -> None:
    with pytest.raises(InputError, match=said):
        alpha_rule([Table("user", 1000, 16)], **given)


def test_bad_tables() -> None:
    with pytest.raises(InputError, match="one embedding_dim"):
        alpha_rule([Table("user", 1000, 16), Table("movie", 10, 8)])
    with pytest.raises(InputError, match="several tables"):
        alpha_rule([Table("user", 1000, 16), Table("user", 10, 16)])
    with pytest.raises(InputError, match=r"'movie'.*frequencies"):
        alpha_blocks(Table("movie", 10, 8), (5, 5))
    with pytest.raises(InputError, match=r"'movie'.*sum to 10"):
        alpha_blocks(Table("movie", 10, 8, frequencies=[1] * 10), (5, 6))
