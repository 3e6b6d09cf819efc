"""`Embedding` and `EmbeddingBag`: one table with the options of torch's modules of the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor

from coset.engine.base import Lookup
from coset.engine.owners import bring_up_to_date
from coset.engine.reading import Reader
from coset.errors import InputError
from coset.methods import TableModule
from coset.methods.module import every_vector
from coset.schema import Table
from coset.settings import number, of_kind, truth, whole
from coset.storage import StoredRows
from coset.tables.bags import Bags, Mode, check_weights, checked_mode, read_bags
from coset.tables.nested import bags_within, is_nested, like, values_within, weights_within
from coset.tables.owner import MethodLike, Tables, checked, or_nan
from coset.tables.plain import by_torch
from coset.tables.pooling import pool


class _SingleTable(Tables):
    """One table with the options of `torch.nn.Embedding`."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        method: MethodLike = "full",
        *,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        name: str = "embedding",
        std: float = 0.05,
        frequencies: np.ndarray | None = None,
        attributes: Mapping[str, np.ndarray] | None = None,
        order: np.ndarray | Tensor | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        table = Table(
            name,
            num_embeddings,
            embedding_dim,
            std,
            torch.get_default_dtype() if dtype is None else dtype,
            frequencies,
            attributes,
        )
        super().__init__([(table, method)], None if order is None else {name: order}, device)
        self.table = table
        self.method = self._module.method
        max_norm = None if max_norm is None else number(f"table {name!r}: max_norm", max_norm)
        if max_norm is not None and max_norm < 0:
            raise InputError(f"table {name!r}: max_norm must be 0 or more, not {max_norm!r}")
        self.padding_idx = self._checked_padding(padding_idx)
        self.max_norm = max_norm
        self.norm_type = number(f"table {name!r}: norm_type", norm_type)
        scale_grad_by_freq = truth(f"table {name!r}: scale_grad_by_freq", scale_grad_by_freq)
        self.scale_grad_by_freq = scale_grad_by_freq
        if not self.method.row_per_id and (max_norm is not None or scale_grad_by_freq):
            option = "scale_grad_by_freq" if max_norm is None else "max_norm"
            raise InputError(
                f"table {name!r}: {option} needs a row for each id, and {self.method.name!r} has none; use 'full'"
            )
        self._zero_padding()

    @classmethod
    def from_table(cls, table: Table, method: MethodLike = "full", **options: Any) -> Self:
        """The same from a `Table`, with its name, sizes, std, dtype, frequencies and attributes."""
        of_kind("table", table, Table, "a coset.Table")
        return cls(
            table.num_embeddings, table.embedding_dim, method, name=table.name, std=table.std, dtype=table.dtype,
            frequencies=table.frequencies, attributes=table.attributes, **options,
        )  # fmt: skip

    @property
    def num_embeddings(self) -> int:
        """Number of ids."""
        return self.table.num_embeddings

    @property
    def embedding_dim(self) -> int:
        """Elements of a vector."""
        return self.table.embedding_dim

    def unfit(self) -> dict[str, str]:
        """As for all tables; also the options that kernels lack."""
        options = {
            "padding_idx": self.padding_idx is not None,
            "max_norm": self.max_norm is not None,
            "scale_grad_by_freq": self.scale_grad_by_freq,
        }
        given = " and ".join(name for name, is_given in options.items() if is_given)
        return {self.table.name: f"kernels do not have {given}"} if given else super().unfit()

    def reset_parameters(self) -> None:
        """Draw fresh values; the padding row of a full table is zero."""
        super().reset_parameters()
        self._zero_padding()

    @torch.no_grad()
    def materialize(self, chunk: int | None = None) -> Tensor:
        """The whole table by id, shape `(num_embeddings, embedding_dim)`, detached; `chunk` ids at a time.

        It changes nothing; with `max_norm`, rows that no lookup has shortened yet are longer.
        """
        n, device = self.num_embeddings, self._module.device
        step = self._module.ids_at_once if chunk is None else whole(f"table {self.table.name!r}: chunk", chunk, 1)
        return every_vector(self._read, n, step, device)

    def fit_(self, weight: Tensor, frequencies: Tensor | None = None) -> float:
        """Come as near to the full table `weight` as the method allows; see `TableModule.fit_`."""
        bring_up_to_date(self.parameters())
        if isinstance(order := self._order, Tensor):
            self._module.check_fit(weight, frequencies)
            place = torch.argsort(order.long()).cpu()  # the weight may be on any device
            weight = weight[place]
            frequencies = None if frequencies is None else torch.as_tensor(frequencies)[place]
        return self._module.fit_(weight, frequencies)

    def extra_repr(self) -> str:
        """The sizes and the method."""
        return f"{self.table.name!r}, {self.num_embeddings}, {self.embedding_dim}, {self.method}"

    @property
    def _module(self) -> TableModule:
        module: TableModule = self.tables[self.table.name]
        return module

    @property
    def _stored(self) -> StoredRows:
        """The rows of a `row_per_id` method."""
        return cast("StoredRows", self._module.get_submodule("rows"))

    @property
    def _order(self) -> Tensor | None:
        return getattr(self._module, "order", None)

    def _reading(self) -> Reader | None:
        """None where a gradient, or a vector, depends on the padding, or a gradient on frequencies."""
        special = self.padding_idx is not None or self.scale_grad_by_freq
        if special and (torch.is_grad_enabled() or not self.method.row_per_id):
            return None
        return super()._reading()

    def _by_torch(self, asked: Sequence[Lookup] | Tensor, joined: bool) -> Tensor:
        return by_torch(self, [self.table.name], asked, joined)

    def _rows(self, ids: Tensor) -> Tensor:
        return self._rows_of(self.table.name, ids)

    def _vectors(self, ids: Tensor) -> Tensor:
        """Vectors of checked ids, shortened first where there is a `max_norm`."""
        if self.max_norm is not None:
            self._stored.renorm_(self._rows(ids), self.max_norm, self.norm_type)
        return self._read(ids)

    def _read(self, ids: Tensor) -> Tensor:
        """Vectors as they are; padding reads as stored for `full`, as zeros elsewhere."""
        if (engine := self._kernels) is not None:
            flat = engine.look_up([Lookup(0, ids.reshape(-1).contiguous())], joined=False)
            return flat.view(*ids.shape, *self._module.vector_shape)
        rows = self._rows(ids)
        if not self.method.row_per_id:
            vectors = self._module.lookup(rows)
            if self.padding_idx is not None:
                padding = (ids == self.padding_idx).reshape(*ids.shape, *[1] * len(self._module.vector_shape))
                vectors = vectors.masked_fill(padding, 0)
            return vectors
        stored = self._stored
        if self.padding_idx is None or self._order is None:
            found: Tensor = stored(rows, self.padding_idx, self.scale_grad_by_freq)
            return found
        # The padding's row is in a tensor, and reading that in every step would take time: mask the ids instead.
        found = stored(rows, None, self.scale_grad_by_freq)
        return torch.where((ids == self.padding_idx).unsqueeze(-1), found.detach(), found)

    @torch.no_grad()
    def _zero_padding(self) -> None:
        if self.padding_idx is not None and self.method.row_per_id:
            row = torch.tensor([self.padding_idx], device=self._stored.device)
            row = row if self._order is None else self._order[row].long()
            self._stored.write_(torch.zeros(1, self.embedding_dim, device=row.device), row)

    def _checked_padding(self, padding_idx: int | None) -> int | None:
        n = self.table.num_embeddings
        if padding_idx is None:
            return None
        found = whole(f"table {self.table.name!r}: padding_idx", padding_idx, -n, n - 1)
        return found % n


class Embedding(_SingleTable):
    """`torch.nn.Embedding` with a table that is stored by any method; with `full`, the same values and gradients.

    What differs from torch: the third argument is the method, and `padding_idx` and all others are given by name.
    There is no `sparse` and no `from_pretrained` (see `fit_`). There is no `.weight`: the whole table is read by
    `materialize()`, and the state has the names `tables.<name>.<component>`. Fresh vectors have the deviation
    `std`, where torch has 1. Ids out of range raise an `IndexError` that names the table.

    Args:
        num_embeddings: number of ids.
        embedding_dim: elements of a vector.
        method: a `Method`, its name (for methods without needed fields), or its JSON.
        padding_idx: this id gets no gradient. With `full` it reads as stored (zeros at first, as in torch),
            with other methods, whose rows are shared, always as zeros.
        max_norm, norm_type, scale_grad_by_freq: as in torch; with `full` only. As in torch, `max_norm` shortens rows
            where they are looked up, so copies in several ranks (`DistributedDataParallel`) drift apart.
        name: of the table, for state keys and errors.
        std: deviation of the elements of fresh vectors; see `Table`.
        frequencies, attributes: see `Table`.
        order: id → popularity rank, a permutation, for ids that are not in order of popularity, under a method that
            needs it; stored as int32 and counted.
        device, dtype: of the parameters.

    Raises:
        InputError: a method that does not fit the table, or an option that it cannot offer.

    Example:
        >>> from coset.methods.quotient_remainder import QuotientRemainder
        >>> users = Embedding(6040, 64, QuotientRemainder(num_buckets=120), name="user")
        >>> users(torch.tensor([[1, 2], [3, 6039]])).shape
        torch.Size([2, 2, 64])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Vectors of ids of any shape: `(*input.shape, embedding_dim)`; of a jagged nested tensor, such a tensor."""
        if is_nested(input):
            return like(self(values_within(self.table, input)), input)
        ids, inside = checked(self.table, input)
        return or_nan(self._vectors(ids), inside)


class EmbeddingBag(_SingleTable):
    """`torch.nn.EmbeddingBag` with a table that is stored by any method: vectors are composed per id first and
    pooled second, so that a bag is exactly the pooled sum of its items, whatever the method.

    What differs from torch is what differs for `Embedding`, and, on purpose: with `scale_grad_by_freq`, the gradient
    of each id is divided by the count of that id, as torch's `Embedding` does; torch's `EmbeddingBag` divides some
    by the count of another id on the CPU. Offsets that leave ids in no bag raise an `InputError`.

    Args:
        mode: `"sum"`, `"mean"` or `"max"`.
        include_last_offset: whether `offsets` ends with the number of ids.
        padding_idx: this id is left out of every bag.
        others: as for `Embedding`.

    Example:
        >>> genres = EmbeddingBag(18, 8, mode="sum", name="genres")
        >>> genres(torch.tensor([0, 3, 3, 17]), offsets=torch.tensor([0, 1, 1])).shape
        torch.Size([3, 8])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        method: MethodLike = "full",
        *,
        mode: Mode = "mean",
        include_last_offset: bool = False,
        device: torch.device | str | None = None,
        **options: Any,
    ) -> None:
        checked_mode(mode)
        super().__init__(num_embeddings, embedding_dim, method, device=device, **options)
        if mode == "max" and self.scale_grad_by_freq:
            raise InputError(f"table {self.table.name!r}: scale_grad_by_freq is for the modes 'sum' and 'mean'")
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        """Pooled vectors, shape `(bags, embedding_dim)`, or `(bags, k, embedding_dim)` of a method that gives k vectors
        an id; an empty bag gives zeros.

        Args:
            input: ids, 1-D with `offsets`, or 2-D `(bags, ids in each)` without, or a jagged nested tensor.
            offsets: where each bag begins in `input`.
            per_sample_weights: a factor for each id, same shape as `input`, nested ones in lists of the same lengths
                (in graphs, a bag of other lengths is NaN); mode `"sum"` only.
        """
        include_last, weighted = self.include_last_offset, None
        if is_nested(input) and offsets is None:
            input, offsets, include_last = *bags_within(self.table, input), True
            if is_nested(per_sample_weights):
                assert per_sample_weights is not None
                per_sample_weights, weighted = weights_within(self.table, per_sample_weights, offsets)
        ids, inside = checked(self.table, input)
        bags = read_bags(self.table, ids, offsets, include_last)
        check_weights(self.table, self.mode, input, per_sample_weights)
        left_out = None if self.padding_idx is None else (input == self.padding_idx).reshape(-1)
        inside = None if inside is None else inside.reshape(-1)
        if (by_kernels := self._pooled(bags, per_sample_weights, left_out)) is not None:
            return or_nan(by_kernels, weighted)
        vectors = self._vectors(bags.ids)
        found = pool(vectors, bags, self.mode, weights=per_sample_weights, left_out=left_out, inside=inside)
        return or_nan(found, weighted)

    def _pooled(self, bags: Bags, weights: Tensor | None, left_out: Tensor | None) -> Tensor | None:
        """The vectors of bags, where kernels read and pool them in one."""
        if self.mode == "max" or self.max_norm is not None or (weights is not None and weights.requires_grad):
            return None
        if (engine := self._kernels) is None or not engine.checks_bags:
            return None
        ids, offsets = bags.ids, bags.offsets
        weights = None if weights is None else weights.reshape(-1)
        if left_out is not None and bool(left_out.any()):
            kept = ~left_out
            offsets = torch.cat([offsets.new_zeros(1), kept.cumsum(0)])[offsets]
            ids, weights = ids[kept], None if weights is None else weights[kept]
        lookup = Lookup(0, ids.contiguous(), offsets, weights, self.mode == "mean", not bags.include_last)
        return engine.look_up([lookup], joined=True).view(lookup.bags, *self._module.vector_shape)

    def extra_repr(self) -> str:
        """The sizes, the method and the mode."""
        return f"{super().extra_repr()}, mode={self.mode!r}"
