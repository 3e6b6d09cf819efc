"""`mixed_dimension`: popular ids get wide rows, rare ids narrow ones and a projection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

import numpy as np

from coset.errors import InputError
from coset.methods.base import Method, make, register
from coset.methods.blocks import BlockMethod
from coset.methods.composition import RowComposition, projected
from coset.methods.facts import Facts
from coset.methods.full import Full
from coset.methods.low_rank import LowRank
from coset.methods.quotient_remainder import KERAS_UNIFORM_STD
from coset.methods.rows import RowMethod
from coset.methods.sizing import thinned
from coset.methods.traffic import Traffic
from coset.partitions import naive
from coset.schema import Table

_ALPHA = 0.3  # the exponent that DLRM uses by default for the paper's popularity rule
_SHARES = (0.5, 0.9)  # of the traffic: where the blocks end when frequencies are known …
_FRACTIONS = (0.1, 0.4)  # … and of the ids when they are not


@register("mixed_dimension")
@dataclass(frozen=True)
class MixedDimension(BlockMethod):
    """Mixed-dimension embeddings (Ginart et al., 2019, arXiv 1909.11810): the ids in order of popularity are cut
    into blocks; a block narrower than the dim has a projection of its own to it.

    Bytes: `Σ_b (n_b · d_b + [d_b < dim] · d_b · dim) · itemsize`. Operations: one row read, in the id's own
    block only, and `d_b · dim` multiplications where the block is narrow. Every vector is unique.

    Rows begin at random, the projections of the compact layout do not: each begins at the first d_b cosine waves of
    the discrete cosine transform, the same in every table and under every seed, so that a narrow block lies in the
    subspace of every wider one (and of a low-rank table) from the start and can meet it in a dot product. Fresh
    vectors of a narrow block deviate by `table.std` on average over their elements, not in each one.

    Args:
        block_sizes: number of ids of every block, the most popular first; together n.
        block_dims: row width of every block, each 1 … embedding_dim. The popularity rule of the paper is
            d_b ∝ p_b^α, with p_b the mean frequency in the block and α about 0.3.
        layout: `"compact"`, or `"keras"`, the layout of the Keras example "Memory-efficient embeddings for
            recommendation systems": one more row a block, for unseen ids, that is never read, a bias in every
            projection, rows uniform in ±0.05 and projections Glorot uniform, whatever `table.std`.

    Example:
        >>> from coset.schema import Table
        >>> method = MixedDimension(block_sizes=(400, 1300, 2006), block_dims=(64, 32, 16))
        >>> method.bytes(Table("movie", 3706, 64)) // 4
        102368
    """

    block_sizes: tuple[int, ...]
    block_dims: tuple[int, ...]
    layout: Literal["compact", "keras"] = "compact"

    planned: ClassVar[bool] = True

    facts: ClassVar[Facts] = Facts(
        paper="Ginart et al., 2019, arXiv 1909.11810",
        formula="E_b[i] · P_b in block b of i",
        elements="Σ n_b · d_b + [d_b < D] · d_b · D",
        operations="1 row, d_b · D multiplications",
        uniqueness="guaranteed",
        prefer="ids in order of popularity; small and middle ratios",
        combines="is blocks itself",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "block_sizes", "block_dims")
        if len(self.block_sizes) != len(self.block_dims) or not self.block_sizes:
            raise InputError(
                f"{self._what}: block_sizes and block_dims need one number for every block, at least one, not "
                f"{list(self.block_sizes)} and {list(self.block_dims)}"
            )

    def check(self, table: Table) -> None:
        """The blocks hold all ids and are no wider than the dim."""
        n, dim = table.num_embeddings, table.embedding_dim
        where = f"table {table.name!r}: mixed_dimension"
        if sum(self.block_sizes) != n:
            raise InputError(
                f"{where} needs block_sizes that sum to {n} ids, not {list(self.block_sizes)}, "
                f"which sum to {sum(self.block_sizes)}"
            )
        if max(self.block_dims) > dim:
            raise InputError(f"{where} needs block_dims in 1 … {dim}, not {list(self.block_dims)}")

    def blocks(self, table: Table) -> list[tuple[Table, Method]]:
        """Full blocks where the width is the dim, low-rank blocks where it is less."""
        blocks: list[tuple[Table, Method]] = []
        start = 0
        for size, width in zip(self.block_sizes, self.block_dims, strict=True):
            narrow: Method = Full() if width == table.embedding_dim else LowRank(width)
            blocks.append((table.block(start, start + size), narrow if self.layout == "compact" else _Keras(width)))
            start += size
        return blocks

    @classmethod
    def sizes(cls, table: Table, **fixed: Any) -> Sequence[Self]:
        """Widths by the popularity rule, λ · p_b^α, for growing λ; `block_sizes` may be fixed."""
        if "block_dims" in fixed:
            return [make(cls, fixed)]
        dim = table.embedding_dim
        block_sizes = fixed.pop("block_sizes", None) or _popularity_blocks(table)
        widest = [dim] * len(block_sizes) if isinstance(block_sizes, Sequence) else [dim]
        full = make(cls, {"block_sizes": block_sizes, "block_dims": widest} | fixed)
        full.check(table)
        block_sizes = full.block_sizes
        ratios = _popularity_ratios(table, block_sizes)
        scales = np.linspace(0, dim / ratios[-1], 8 * dim + 1)
        widths = np.clip(np.rint(scales[:, None] * ratios), 1, dim).astype(int)
        found = {
            tuple(row): make(cls, {"block_sizes": block_sizes, "block_dims": tuple(row)} | fixed)
            for row in [*widths.tolist(), [dim] * len(block_sizes)]
        }
        ordered = sorted(found.values(), key=lambda method: (method.bytes(table), method.block_dims))
        limit = max(table.full_bytes, ordered[0].bytes(table))
        return [method for method in ordered if method.bytes(table) <= limit] or ordered[:1]

    @classmethod
    def candidates(cls, table: Table, traffic: Traffic, count: int = 24, **fixed: Any) -> Iterable[Method]:
        """Widths by the popularity rule, λ · p_b^α, on the blocks that a half and nine tenths of the traffic make and
        on the best five (`Traffic.cuts`)."""
        if not traffic.ordered or "block_dims" in fixed:
            return thinned(cls.sizes(table, **fixed), count)
        dim = table.embedding_dim
        cuts = [fixed.pop("block_sizes")] if "block_sizes" in fixed else [_quantiles(traffic), traffic.cuts(5)]
        found: dict[Method, None] = {}
        for sizes in cuts:
            edges = np.cumsum([0, *sizes])
            mean = np.diff(traffic.until(edges)) / np.diff(edges)
            ratios = _ratios(mean)
            for scale in np.geomspace(1, dim / ratios[-1], count):
                widths = np.clip(np.rint(scale * ratios), 1, dim).astype(int).tolist()
                found[make(cls, {"block_sizes": tuple(sizes), "block_dims": tuple(widths)} | fixed)] = None
        return found

    @classmethod
    def examples(cls, table: Table) -> list[Self]:
        """One block, blocks of falling width, in both layouts."""
        n, dim = table.num_embeddings, table.embedding_dim
        cut = tuple(_popularity_blocks(table))
        falling = tuple(max(1, dim >> number) for number in range(len(cut)))
        return [cls((n,), (dim,)), cls(cut, falling), cls(cut, falling, layout="keras")]


@dataclass(frozen=True)
class _Keras(RowMethod):
    """A block in the layout of the Keras example; not a method of its own, so it is not registered."""

    width: int

    def composition(self, table: Table) -> RowComposition:
        plain = projected(table, self.width)
        rows = replace(
            plain.parts[0], rows=table.num_embeddings + 1, std=KERAS_UNIFORM_STD, distribution="uniform",
            partition=naive(table.num_embeddings),
        )  # fmt: skip
        glorot = (2 / (self.width + table.embedding_dim)) ** 0.5
        projection = plain.projection and replace(plain.projection, std=glorot, distribution="uniform", bias=True)
        return replace(plain, parts=(rows,), projection=projection)

    @classmethod
    def sizes(cls, table: Table, **fixed: Any) -> Sequence[Self]:
        return [make(cls, fixed)]


def _popularity_blocks(table: Table) -> list[int]:
    """Sizes of up to three non-empty blocks: they end where half and nine tenths of the traffic is reached."""
    n = table.num_embeddings
    if table.frequencies is None or not np.any(table.frequencies):
        edges = [round(n * fraction) for fraction in _FRACTIONS]
    else:
        traffic = np.cumsum(np.asarray(table.frequencies, dtype=np.float64))
        edges = [int(np.searchsorted(traffic, share * traffic[-1])) + 1 for share in _SHARES]
    edges = sorted({0, *(edge for edge in edges if 0 < edge < n), n})
    return [stop - start for start, stop in pairwise(edges)]


def _quantiles(traffic: Traffic) -> list[int]:
    """The blocks of `_popularity_blocks`, read off the curve."""
    edges = sorted({0, *(edge for edge in map(traffic.hot, _SHARES) if 0 < edge < traffic.ids), traffic.ids})
    return [stop - start for start, stop in pairwise(edges)]


def _popularity_ratios(table: Table, block_sizes: Sequence[int]) -> np.ndarray:
    """Widths of the blocks by the popularity rule, relative to the first block and never rising."""
    edges = np.cumsum([0, *block_sizes])
    if table.frequencies is None or not np.any(table.frequencies):
        mass = 1.0 / np.array([start + stop + 1 for start, stop in pairwise(edges)])
    else:
        frequencies = np.asarray(table.frequencies, dtype=np.float64)
        mass = np.array([frequencies[a:b].mean() for a, b in pairwise(edges)])
    return _ratios(mass)


def _ratios(mean: np.ndarray) -> np.ndarray:
    """Widths by the popularity rule of blocks of this mean frequency, relative to the first and never rising."""
    mean = np.maximum(mean, mean.max() * 1e-6)
    return np.asarray(np.minimum.accumulate((mean / mean[0]) ** _ALPHA))
