"""Predicted loss: how much of what a table could tell the model a method keeps, from frequencies alone.

Vectors are assumed to have a spectrum: dim k = 1, 2 … has the weight λ_k = (1 + (k - 1) / reach)^-decay. Of that, an id
with c training rows learns the share

    s_k(c) = c λ_k / (c λ_k + ν)        with ν = max(rows, noise · T) for T tables

so that ids with few rows learn few dims, and width that they lose costs little. It is the shrinkage of ridge
regression: where a row of data shows the element v of an id, times a known element of the other table, in noise of the
variance σ², and v has a Gaussian prior, the share of its variance that c rows tell is c / (c + σ² / signal), the signal
being the variance of the product (Hoerl and Kennard, 1970; Efron and Morris, 1973, "Stein's estimation rule and its
competitors"). So ν is the noise over the signal of the first dim, in rows: an id with ν rows learns half of it. The
more tables a row is about, the smaller a part of the signal is due to each. Where ids share a row, it becomes
their mean weighted by traffic. Of vectors that have nothing to do with each other it keeps, on the traffic of an id,
the share π = c / (traffic of the row). Of a method that composes rows of several arrays, sorted by what they keep
alone, an id keeps 1 - (1 - π₁) Π (1 - π_j)^complement by `mult` and `add`; by `concat`, each array keeps its own dims,
the one that keeps most the first. Rows narrower than the dim keep the first dims. So the whole table keeps, of dim k,

    A_k = Σ_i p_i π_i,k s_k(c_i)        (p_i of the traffic)

of the dims that are stored, but no more than it has ids, which span no more. Models multiply vectors of tables, so what
two of them tell together is G = Σ_k λ_k A_k B_k, and a model is worth the mean of G over all pairs of its tables (of
one table, Σ_k λ_k A_k). The predicted loss is 1 - worth / worth of full tables of unlimited dim: 0 loses nothing, 1
keeps nothing but biases. A table's part of it is Shapley's: that of its pairs, half with the others as they are and
half with the others unlimited; the parts sum to the whole.

Numbers of few bits lose the share ε of their squares, as normally distributed ones do (`Storage.loss`). An error e of
one vector changes a product with another, v, by e · v, whose mean square is the share ε of that of the product; so a
table in such a storage keeps (1 - ε) A_k, and of blocks each keeps its own part.

Without data, decay, reach, noise and complement are those that fit the rows of MovieLens-1M best
(`recipes/results/ml-1m-frontier` and `ml-1m-methods`). Its ids have so many rows that they tell nothing about ν: the
fit is as good for any from 1 to 16. So `rows` is not fitted; it is the ridge that ratings begin with. `Signal` has
constants that were measured on the data at hand.

A method provides what this needs: its composition (`Method.descriptor`). One that is not composed of rows counts as a
narrow table of `Method.worth` times its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from coset import settings
from coset.errors import InputError, brief
from coset.methods import Method
from coset.methods.composition import BlockedComposition, Composition, RowComposition
from coset.methods.traffic import Traffic
from coset.schema import Table

DIMS = 64
"""Dims of the spectrum; wider vectors count as no better."""


class Kept(NamedTuple):
    """What a method keeps of a table.

    Args:
        dims: A_k of every dim of the spectrum, shape `(DIMS,)`.
        alone: share of the traffic that is an id's own, in the best of its rows.
    """

    dims: np.ndarray
    alone: float


@dataclass(frozen=True)
class Proxy:
    """The constants of the predicted loss; see the formula above.

    Args:
        decay, reach: of the spectrum: how fast the weight of dims falls, and from which dim on.
        noise: training rows, for each table of the model, with which an id learns half of the first dim; in all, no
            fewer than `rows`.
        complement: how much a second array helps to tell apart the ids that share a row of the first; 0 not at all.
        rows: see `noise`.
    """

    decay: float = 2.3
    reach: float = 3.0
    noise: float = 0.4
    complement: float = 0.5
    rows: float = 8.0

    def __post_init__(self) -> None:
        settings.check(self, "proxy")
        for name in ("decay", "reach", "noise", "rows"):
            if (value := getattr(self, name)) <= 0:
                raise InputError(f"proxy: {name} must be positive, not {value}")
        if not 0 <= self.complement <= 1:
            raise InputError(f"proxy: complement must be in 0 … 1, not {self.complement}")

    @property
    def spectrum(self) -> np.ndarray:
        """λ_k, shape `(DIMS,)`."""
        return np.asarray((1 + np.arange(DIMS) / self.reach) ** -self.decay)

    def learned(self, counts: np.ndarray, tables: int) -> np.ndarray:
        """s_k of ids with so many rows each, shape `(ids, DIMS)`.

        Example:
            >>> Proxy(rows=8).learned(np.array([1, 2, 8, 72]), tables=2)[:, 0].round(2)
            array([0.11, 0.2 , 0.5 , 0.9 ])
        """
        met = np.asarray(counts)[:, None] * self.spectrum
        return np.asarray(met / (met + max(self.rows, self.noise * tables)))

    def judge(self, traffic: Traffic, tables: int) -> Judge:
        """The predictions for methods of a table with this traffic, in a model of so many tables."""
        return Judge(self, traffic, tables)


class Judge:
    """Predictions for one table; computes once what candidates have in common."""

    def __init__(self, proxy: Proxy, traffic: Traffic, tables: int) -> None:
        self._proxy, self._traffic, self._tables = proxy, traffic, tables
        self.spectrum = proxy.spectrum
        self._span = min(DIMS, traffic.ids)
        self._learned: dict[int, np.ndarray] = {}
        self.unlimited = self._of_curve(traffic).sum(0) / traffic.total
        """What the full table of unlimited dim keeps, shape `(DIMS,)`."""

    def kept(self, method: Method, table: Table, composition: Composition | None) -> Kept:
        """What `method`, with this descriptor, keeps of `table`."""
        if composition is None:
            return self._as_narrow(method, table)
        dims, alone = self.composed(self._traffic, composition)
        return Kept(dims / self._traffic.total, alone / self._traffic.total)

    def _as_narrow(self, method: Method, table: Table) -> Kept:
        row = table.num_embeddings * table.dtype.itemsize
        width = min(table.embedding_dim, method.worth * method.bytes(table) / row)
        share = np.clip(width - np.arange(DIMS), 0, 1)
        return Kept(self.unlimited * share, min(1.0, width))

    def _of_curve(self, traffic: Traffic) -> np.ndarray:
        """`mass · s_k(c)` of every segment and dim; none beyond the number of ids of the table."""
        if (found := self._learned.get(id(traffic))) is None:
            found = traffic.mass[:, None] * self._proxy.learned(traffic.counts, self._tables)
            found[:, self._span :] = 0
            self._learned[id(traffic)] = found
        return found

    def composed(self, traffic: Traffic, composition: Composition) -> tuple[np.ndarray, float]:
        """What a composition keeps of each dim, of ids of this traffic, and how much of the traffic is an id's own;
        both times the lookups."""
        if isinstance(composition, BlockedComposition):
            edges = (0, *composition.bounds, traffic.ids)
            parts = [
                self.composed(traffic.block(start, stop), inner)
                for start, stop, inner in zip(edges[:-1], edges[1:], composition.blocks, strict=True)
            ]
            return np.sum([dims for dims, _ in parts], axis=0), float(sum(alone for _, alone in parts))
        return self._of_rows(traffic, composition)

    def _of_rows(self, traffic: Traffic, composition: RowComposition) -> tuple[np.ndarray, float]:
        shares = [traffic.own_share(part.partition) for part in composition.parts]
        alone = [float(traffic.mass @ share) for share in shares]
        order = sorted(range(len(shares)), key=lambda part: -alone[part])
        learned = self._of_curve(traffic)
        dims = np.zeros(DIMS)
        if composition.operation == "concat":
            start = 0
            for part in order:
                stop = start + composition.parts[part].width
                dims[start:stop] = shares[part] @ learned[:, start:stop]
                start = stop
        else:
            missed = 1 - shares[order[0]]
            for part in order[1:]:
                missed = missed * (1 - shares[part]) ** self._proxy.complement
            width = min(composition.width, composition.dim)
            dims[:width] = (1 - missed) @ learned[:, :width]
        return dims * _left(composition), alone[order[0]]


def _left(composition: RowComposition) -> np.ndarray:
    """The share of the squares of each dim that is left where numbers are rounded, shape `(DIMS,)`: of products, that
    of all factors; of sums, the mean of the parts; of dims side by side, each part's own."""
    parts = [1 - np.array(part.storage.loss(part.width)) for part in composition.parts]
    shared = 1.0
    if composition.projection is not None:
        shared = 1 - float(np.mean(composition.projection.storage.loss(composition.dim)))
    if composition.operation == "mult":
        each = np.prod(parts, axis=0)
    else:
        each = np.concatenate(parts) if composition.operation == "concat" else np.mean(parts, axis=0)
    found = np.full(DIMS, shared)
    found[: len(each)] *= each[:DIMS]
    return found


def losses(
    kept: Mapping[str, np.ndarray], unlimited: Mapping[str, np.ndarray], spectrum: np.ndarray, together: bool = True
) -> dict[str, float]:
    """The part of every table in the predicted loss of a model, whose sum is that loss.

    Args:
        kept: A_k by table name.
        unlimited: the same of full tables of unlimited dim.
        spectrum: λ_k.
        together: see `partners`.
    """
    prices = partners({name: (kept[name] + unlimited[name]) / 2 for name in kept}, spectrum, together)
    whole = _whole(unlimited, spectrum, together)
    twice = 2 if together and len(kept) > 1 else 1
    return {name: twice * float((unlimited[name] - kept[name]) @ prices[name]) / max(whole, 1e-300) for name in kept}


def worth(kept: Mapping[str, np.ndarray], spectrum: np.ndarray) -> float:
    """What a model with tables that keep this is worth: the mean of G over all pairs of them.

    Example:
        >>> worth({"user": np.array([0.5, 0.0]), "item": np.array([0.5, 0.5])}, np.array([1.0, 0.5]))
        0.25
    """
    return _whole(kept, spectrum, together=True) / len(kept)


def _whole(kept: Mapping[str, np.ndarray], spectrum: np.ndarray, together: bool) -> float:
    return sum(float(kept[name] @ price) for name, price in partners(kept, spectrum, together).items())


def partners(kept: Mapping[str, np.ndarray], spectrum: np.ndarray, together: bool = True) -> dict[str, np.ndarray]:
    """The worth of each dim of each table given the others: λ_k times the mean of what they keep of it; λ_k where the
    tables are not `together`, that is, where no model is known to multiply their vectors."""
    if len(kept) == 1 or not together:
        return dict.fromkeys(kept, spectrum)
    total = np.sum(list(kept.values()), axis=0)
    return {name: spectrum * (total - one) / (len(kept) - 1) for name, one in kept.items()}


def names_of(tables: Sequence[Table]) -> list[str]:
    """The names of tables, which must be distinct."""
    if not isinstance(tables, Sequence) or not all(isinstance(table, Table) for table in tables):
        raise InputError(f"tables must be a list of coset.Table, not {brief(tables)}")
    names = [table.name for table in tables]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"table {name!r}: there are several tables of this name")
    return names
