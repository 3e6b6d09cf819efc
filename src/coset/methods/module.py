"""`VectorModule`: gives the vectors of a table, whatever the method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor, nn

from coset.errors import InputError
from coset.methods.index import Indexed
from coset.schema import Table
from coset.storage import StoredRows
from coset.vectors import Vectors


class Remains(NamedTuple):
    """What a fit leaves: the mean squared difference of an element, and the mean square of an element, each id weighted
    by its frequency."""

    error: float
    power: float


class VectorModule(Indexed, ABC):
    """Gives a vector for every id of one table, and can be fitted to given vectors.

    Lookups trust their ids; `coset.tables` checks them once for all methods. Fresh values are drawn from
    torch's global generator.
    """

    ids_at_once: int = 65536
    """Ids that `materialize` looks up together; fewer where a lookup needs much memory for each id."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.table = table

    @property
    @abstractmethod
    def vector_shape(self) -> tuple[int, ...]:
        """Shape of what one id gives: `(embedding_dim,)`, or `(table_outputs, embedding_dim)` where that is several
        vectors."""

    @abstractmethod
    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of `ids` (int64, any shape, each in 0 … n-1): shape `(*ids.shape, *vector_shape)`."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draw fresh values: composed vectors have mean 0 and, on average over their elements, deviation
        `table.std`; behind a projection some elements vary more than others."""

    def projections(self) -> Iterable[Tensor]:
        """The arrays that widen composed rows to the dim, matrices and biases alike; most methods have none.

        All ids share them, so their gradients are far larger than those of a row; training may need smaller steps for
        them.
        """
        return ()

    def reads(self) -> Iterator[tuple[StoredRows, Tensor]]:
        """How often each row of an array of this table is read, shape `(rows,)`, by the frequencies of its ids; nothing
        where these are not known, or are all 0."""
        return iter(())

    def shareable(self) -> Mapping[str, str]:
        """Submodules whose arrays the tables of one collection hold in common, with the names they are shared by."""
        return {}

    def _shareable_within(self) -> Iterator[tuple[VectorModule, str]]:
        """The submodules that `shareable` names, of this table and of all blocks within it."""
        for inner in self.modules():
            if isinstance(inner, VectorModule):
                yield from ((inner, name) for name in inner.shareable())

    def forward(self, ids: Tensor) -> Tensor:
        """Same as `lookup`."""
        return self.lookup(ids)

    @property
    def device(self) -> torch.device:
        """Where the arrays are."""
        modules: list[nn.Module] = [self, *(getattr(inner, name) for inner, name in self._shareable_within())]
        found = (inner.device for module in modules for inner in module.modules() if isinstance(inner, StoredRows))
        own = (each.device for module in modules for each in (*module.parameters(), *module.buffers()))
        device: torch.device = next(chain(found, own))
        return device

    @torch.no_grad()
    def materialize(self, chunk: int | None = None) -> Tensor:
        """The whole table, shape `(num_embeddings, *vector_shape)`, detached; `chunk` ids at a time."""
        n, step, device = self.table.num_embeddings, chunk or self.ids_at_once, self.device
        return every_vector(self.lookup, n, step, device)

    def fit_(self, weight: Tensor, frequencies: Tensor | None = None) -> float:
        """Fit the parameters, so that the table comes as near to a full one as the method allows.

        Args:
            weight: the full table to approach, shape `(num_embeddings, *vector_shape)`.
            frequencies: the weight of each id, shape `(num_embeddings,)`; equal weights by default.

        Returns:
            Mean squared difference per element that remains, each id weighted by its frequency.
        """
        if any(name not in inner._modules for inner, name in self._shareable_within()):
            raise InputError(
                f"table {self.table.name!r}: its array is shared with other tables of a collection, so it cannot be "
                f"fitted alone; fit a method with an array of its own"
            )
        weight, share = self._fit_inputs(weight, frequencies)
        packed = [array for array in self.modules() if isinstance(array, StoredRows) and array.is_packed]
        for array in packed:
            array.unpack()
        self._fit(weight, share)
        for array in packed:
            array.pack()
        return self._error(weight, share)

    @torch.no_grad()
    def fit_from_(self, vectors: Vectors, frequencies: Tensor | None = None) -> Remains:
        """As `fit_`, for a table on the CPU that may be larger than memory: in passes over pieces of the vectors, where
        the method has a fit of that kind (`fits_in_pieces`), and else with all of them in memory. Arrays stay in the
        form that they are in.

        Args:
            vectors: finite ones, of the sizes of the table.
            frequencies: as there.
        """
        n = self.table.num_embeddings
        if vectors.shape != (expected := (n, *self.vector_shape)):
            raise InputError(f"table {self.table.name!r}: vectors to fit have shape {vectors.shape}, not {expected}")
        share = torch.ones(n, dtype=torch.float64) if frequencies is None else frequencies.double()
        share = share / share.sum()
        if self.fits_in_pieces:
            self._fit_from(vectors, share)
        else:
            with torch.enable_grad():
                self.fit_(vectors.whole(), share)
        error = power = 0.0
        for rows, numbers in vectors.pieces():
            for ids, wanted in zip(rows.split(self.ids_at_once), numbers.split(self.ids_at_once), strict=True):
                wide = wanted.double()
                power += float(wide.square().mean(-1) @ share[ids])
                error += float(wide.sub_(self.lookup(ids)).square().mean(-1) @ share[ids])
        return Remains(error, power)

    @property
    def fits_in_pieces(self) -> bool:
        """Whether `fit_from_` needs no more than pieces of the vectors in memory."""
        return False

    def _fit_from(self, vectors: Vectors, share: Tensor) -> None:
        """`_fit` in passes over pieces, where `fits_in_pieces` says so."""
        raise NotImplementedError

    def _fit(self, weight: Tensor, share: Tensor) -> None:
        """By gradient descent, for methods without a better way: Adam on random ids; keeps the best parameters.
        Computes in float32 or wider, as 16 bits hold neither Adam's epsilon nor its small steps."""
        dtype = torch.promote_types(self.table.dtype, torch.float32)
        arrays = [inner for inner in self.modules() if isinstance(inner, StoredRows)]
        for array in arrays:
            array.widen(dtype)
        try:
            self._descend(weight, weight.to(dtype), share)
        finally:
            for array in arrays:
                array.narrow()

    def _descend(self, weight: Tensor, target: Tensor, share: Tensor) -> None:
        n = len(weight)
        generator = torch.Generator().manual_seed(0)
        scale = float(weight.double().pow(2).mean().sqrt()) or 1.0
        steps, batch = 400, min(n, 4096)
        every = torch.arange(n, device=weight.device) if batch == n else None
        # A step in proportion to the parameter: rows are as small as the weight, layers of networks are not.
        sizes = [float(parameter.detach().double().pow(2).mean().sqrt()) for parameter in self.parameters()]
        rates = [0.05 * (size or scale) for size in sizes]
        groups = [{"params": [p], "lr": rate} for p, rate in zip(self.parameters(), rates, strict=True)]
        optimizer = torch.optim.Adam(groups, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        best, kept = self._error(weight, share), _copy(self)
        for step in range(1, steps + 1):
            ids = torch.randint(n, (batch,), generator=generator).to(weight.device) if every is None else every
            gap = (self.lookup(ids) - target[ids]).pow(2).flatten(1).mean(-1)
            optimizer.zero_grad()
            torch.autograd.backward((gap * (share[ids] * n).to(gap.dtype)).mean())
            optimizer.step()
            schedule.step()
            if step % 200 == 0 and (error := self._error(weight, share)) < best:
                best, kept = error, _copy(self)
        self.load_state_dict(kept)

    def check_fit(self, weight: Tensor, frequencies: Tensor | None = None) -> None:
        """Raise an `InputError` unless these have the shapes that `fit_` takes."""
        name, n = self.table.name, self.table.num_embeddings
        for what, given in (("the weight to fit", weight), ("frequencies", frequencies)):
            if isinstance(given, Tensor) and (given.is_meta or given.layout != torch.strided):
                kind = "on the meta device, without values" if given.is_meta else str(given.layout)[6:]
                raise InputError(f"table {name!r}: {what} must be a dense tensor, not {kind}")
        if not isinstance(weight, Tensor):
            raise InputError(f"table {name!r}: the weight to fit must be a tensor, not {type(weight).__name__}")
        if tuple(weight.shape) != (expected := (n, *self.vector_shape)):
            raise InputError(f"table {name!r}: the weight to fit has shape {tuple(weight.shape)}, expected {expected}")
        try:
            shape = (n,) if frequencies is None else tuple(torch.as_tensor(frequencies).shape)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"table {name!r}: frequencies must be {n} numbers, one an id") from None
        if shape != (n,):
            raise InputError(f"table {name!r}: frequencies have shape {shape}, expected {(n,)}")

    def _fit_inputs(self, weight: Tensor, frequencies: Tensor | None) -> tuple[Tensor, Tensor]:
        self.check_fit(weight, frequencies)
        name, n = self.table.name, self.table.num_embeddings
        share = torch.ones(n, dtype=torch.float64) if frequencies is None else torch.as_tensor(frequencies).double()
        if not bool(torch.isfinite(weight).all()):
            raise InputError(f"table {name!r}: the weight to fit holds NaN or infinite values")
        if not bool((share >= 0).all()) or not 0 < float(share.sum()) < float("inf"):
            raise InputError(f"table {name!r}: frequencies must be finite, not negative, and not all zero")
        return weight.detach(), (share / share.sum()).to(weight.device)

    @torch.no_grad()
    def _error(self, weight: Tensor, share: Tensor) -> float:
        total, step = 0.0, self.ids_at_once  # memory does not hold a large table twice in float64
        for at in range(0, len(weight), step):
            part = slice(at, min(at + step, len(weight)))
            gap = (
                self.lookup(torch.arange(part.start, part.stop, device=weight.device)).double() - weight[part].double()
            )
            total += float((gap.pow(2).flatten(1).mean(-1) * share[part]).sum())
        return total


def every_vector(lookup: Callable[[Tensor], Tensor], n: int, step: int, device: torch.device) -> Tensor:
    """What `lookup` gives for the ids 0 … n-1, `step` ids at a time."""
    whole: Tensor | None = None  # filled in place: to concatenate pieces would take the memory twice
    for at in range(0, n, step):
        vectors = lookup(torch.arange(at, min(at + step, n), device=device))
        whole = vectors.new_empty(n, *vectors.shape[1:]) if whole is None else whole
        whole[at : at + len(vectors)] = vectors
    assert whole is not None, "a table has ids"
    return whole


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in module.state_dict().items()}
