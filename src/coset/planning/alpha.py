"""The alpha-power rule of mixed dimensions: the more ids, or the rarer, the narrower (Ginart et al., 2019)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import floor, log2
from typing import Literal, get_args

import numpy as np

from coset.errors import InfeasibleBudget, InputError
from coset.methods import Method
from coset.methods.full import Full
from coset.methods.low_rank import LowRank
from coset.methods.mixed_dimension import MixedDimension
from coset.planning.proxy import names_of
from coset.schema import Table
from coset.sizes import format_size, parse_size

Rounding = Literal["nearest", "power_of_two"]


def alpha_dims(
    popularity: Sequence[float], alpha: float = 0.3, *, base_dim: float, widest: int, rounding: Rounding = "nearest"
) -> list[int]:
    """The width of every table or block, `base_dim · (popularity / largest popularity) ** alpha`, rounded.

    Ginart et al., 2019, arXiv 1909.11810. The popularity of a table of n ids is 1 / n, the mean share of the traffic of
    its ids; so the smallest table has `base_dim`, and widths fall with n ** -alpha. That of a block is the mean
    frequency in it.

    Args:
        popularity: positive numbers.
        alpha: 0 makes all widths equal; 0.1 to 0.4 are usual, and 0.3 is the default of DLRM.
        base_dim: width of the most popular.
        widest: no width is more than this, nor less than 1.
        rounding: `"nearest"`, halves up; or `"power_of_two"`, the nearest one in the exponent, as DLRM does.

    Example:
        >>> alpha_dims([1 / 3, 1 / 1460, 1 / 10131227], 0.3, base_dim=64, widest=64)
        [64, 10, 1]
    """
    return [_rounded(width, widest, rounding) for width in _shape(popularity, alpha) * base_dim]


def alpha_rule(
    tables: Sequence[Table],
    alpha: float = 0.3,
    *,
    base_dim: float | None = None,
    budget: int | str | None = None,
    rounding: Rounding = "nearest",
) -> dict[str, Method]:
    """The rule by table: one width each, `d ∝ n ** -alpha`, in a model of the dim of the tables.

    A table narrower than the dim is stored as `LowRank`, rows and projection, or as a full table where that takes no
    more.

    Args:
        tables: all of one dim.
        alpha, rounding: see `alpha_dims`.
        base_dim: the width of the smallest table, by default the dim.
        budget: in place of `base_dim`: bytes of all tables, projections counted, within which widths are the largest of
            the rule. The paper's λ = budget / Σ n ** (1 - alpha) counts no projection, and rounding its widths may go
            over the budget; here λ is the largest with which they do not, once rounded.

    Raises:
        InfeasibleBudget: rows of one element are over the budget already.
        InputError: both or neither of a wrong kind, no tables, tables of several dims.

    Example:
        >>> tables = [Table("user", 1_000_000, 16), Table("day", 7, 16)]
        >>> alpha_rule(tables, 0.3, budget="9MB")
        {'user': LowRank(rank=2), 'day': Full()}
    """
    names_of(tables)
    if not tables or len({table.embedding_dim for table in tables}) > 1:
        raise InputError("the alpha rule needs tables, all of one embedding_dim, which is that of the model")
    dim = tables[0].embedding_dim
    shape = _shape([1 / table.num_embeddings for table in tables], alpha)

    def stored(widths: Sequence[int]) -> dict[str, Method]:
        return {table.name: _narrow(table, width) for table, width in zip(tables, widths, strict=True)}

    def bytes_of(widths: Sequence[int]) -> int:
        return sum(_narrow(table, width).bytes(table) for table, width in zip(tables, widths, strict=True))

    largest = max(tables, key=lambda table: table.num_embeddings).name
    what = f"the tables, of which {largest!r} is the largest"
    return stored(_widths(shape, dim, base_dim, budget, rounding, bytes_of, what))


def alpha_blocks(
    table: Table,
    block_sizes: Sequence[int],
    alpha: float = 0.3,
    *,
    base_dim: float | None = None,
    budget: int | str | None = None,
    rounding: Rounding = "nearest",
) -> MixedDimension:
    """The rule by blocks of one table: widths `d ∝ p ** alpha`, with p the mean frequency in a block.

    Args:
        table: with frequencies.
        block_sizes: numbers of ids, together all; `Traffic.cuts` finds good ones.
        alpha, base_dim, budget, rounding: see `alpha_rule`; the budget is that of this table.

    Raises:
        InfeasibleBudget: rows of one element are over the budget already.
        InputError: the table has no frequencies.

    Example:
        >>> movie = Table("movie", 100, 16, frequencies=[100] * 10 + [1] * 90)
        >>> alpha_blocks(movie, (10, 90), 0.3).block_dims
        (16, 4)
    """
    if table.frequencies is None:
        raise InputError(f"table {table.name!r}: widths by popularity need frequencies, and it has none")
    sizes, dim = tuple(block_sizes), table.embedding_dim
    MixedDimension(sizes, (1,) * len(sizes)).check(table)
    edges = np.cumsum([0, *sizes[:-1]])
    mean = np.add.reduceat(np.asarray(table.frequencies, dtype=np.float64), edges) / np.array(sizes)
    shape = _shape(np.maximum(mean, max(mean.max(), 1e-300) * 1e-12), alpha)

    def bytes_of(widths: Sequence[int]) -> int:
        return MixedDimension(sizes, tuple(widths)).bytes(table)

    widths = _widths(shape, dim, base_dim, budget, rounding, bytes_of, f"table {table.name!r}")
    return MixedDimension(sizes, tuple(widths))


def _shape(popularity: Sequence[float] | np.ndarray, alpha: float) -> np.ndarray:
    """Widths relative to the widest."""
    given = np.asarray(popularity, dtype=np.float64)
    if not given.size or not np.isfinite(given).all() or given.min() <= 0:
        raise InputError(f"the alpha rule needs positive popularities, not {given.tolist()}")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.number) or not 0 <= alpha <= 1:
        raise InputError(f"the alpha rule needs an alpha in 0 … 1, not {alpha!r}")
    return np.asarray((given / given.max()) ** alpha)


def _widths(
    shape: np.ndarray, dim: int, base_dim: float | None, budget: int | str | None, rounding: Rounding,
    bytes_of: Callable[[Sequence[int]], int], what: str,
) -> list[int]:  # fmt: skip
    if base_dim is not None and budget is not None:
        raise InputError("the alpha rule is sized by base_dim or by a budget; give one of them")
    if base_dim is not None and not (isinstance(base_dim, int | float | np.number) and 0 < base_dim <= dim):
        raise InputError(f"the alpha rule needs a base_dim in 1 … {dim}, the dim of the model, not {base_dim!r}")
    if rounding not in get_args(Rounding):
        raise InputError(f"rounding must be one of {', '.join(map(repr, get_args(Rounding)))}, not {rounding!r}")

    def at(scale: float) -> list[int]:
        return [_rounded(width, dim, rounding) for width in shape * scale]

    if budget is None:
        return at(dim if base_dim is None else base_dim)
    limit = parse_size(budget)
    if (least := bytes_of([1] * len(shape))) > limit:
        raise InfeasibleBudget(
            f"{what}: rows of one element take {format_size(least)} ({least} bytes), and the budget is {limit} bytes",
            least,
        )
    # Widths, and so bytes, only change at scales where one of them is rounded up; slightly above these, so that it is.
    steps = np.arange(1, dim) + 0.5 if rounding == "nearest" else 2 ** (np.arange(0, log2(dim)) + 0.5)
    scales = np.unique(np.concatenate([[0.0], (steps / shape[:, None]).ravel() * (1 + 1e-12), [dim / shape.min()]]))
    last = bisect_right(scales, limit, key=lambda scale: bytes_of(at(scale))) - 1
    return at(scales[last])


def _rounded(width: float, widest: int, rounding: Rounding) -> int:
    if width <= 1:
        return 1
    nearest = floor(width + 0.5) if rounding == "nearest" else 2 ** floor(log2(width) + 0.5)
    return min(nearest, widest)


def _narrow(table: Table, width: int) -> Method:
    """Rows of this width and a projection, or the full table where that is no larger."""
    n, dim = table.num_embeddings, table.embedding_dim
    return Full() if width * (n + dim) >= n * dim else LowRank(width)
