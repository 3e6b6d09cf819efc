"""`Embedding`, `EmbeddingBag` and `EmbeddingCollection`: what users put in a model.

They own, once for all methods, what is not storage: checks of ids, padding, pooling, per-sample weights, and the
order of popularity where ids do not come in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coset.errors import InputError
from coset.ledger import measure
from coset.methods import Method, TableModule, method
from coset.methods.rows import Rows
from coset.schema import Component, Table

Mode = Literal["sum", "mean", "max"]
MethodLike = str | Method | Mapping[str, Any]


def check_ids(table: Table, ids: Tensor) -> None:
    """Raise unless `ids` are whole numbers in `0 … num_embeddings - 1`; compiled graphs check the type alone.

    Raises:
        TypeError: ids that are not int64 or int32.
        IndexError: an id out of range; the message names the table, the id and the range.
    """
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"table {table.name!r}: ids must be int64 or int32, not {str(ids.dtype)[6:]}")
    if torch.compiler.is_compiling() or ids.numel() == 0 or ids.is_meta:
        return
    low, high = (int(bound) for bound in ids.aminmax())
    if low < 0 or high >= table.num_embeddings:
        wrong = low if low < 0 else high
        raise IndexError(
            f"table {table.name!r}: id {wrong} is out of range, its ids are 0 … {table.num_embeddings - 1}"
        )


class _TableDict(nn.Module):
    """Tables by name. Unlike `nn.ModuleDict` it has room for tables called `items` or `type`."""

    def __init__(self, tables: Mapping[str, TableModule]) -> None:
        super().__init__()
        self._modules.update(tables)

    def __getitem__(self, name: str) -> TableModule:
        return self._modules[name]  # type: ignore[return-value]


class _Tables(nn.Module):
    """Owns table modules, their state named `tables.<table>.<component>`, and reads checked ids from them."""

    def __init__(self, methods: Iterable[tuple[Table, MethodLike]], device: torch.device | str | None = None) -> None:
        super().__init__()
        with torch.device(device if device is not None else torch.get_default_device()):
            built = [method(how).build(table) for table, how in methods]
        if len({module.table.name for module in built}) < len(built):
            raise InputError(f"tables need distinct names, not {[module.table.name for module in built]}")
        self.tables = _TableDict({module.table.name: module for module in built})
        self._names = tuple(module.table.name for module in built)

    def components(self) -> list[Component]:
        """What is stored, index state included, under the names of the state: read off the tensors, so that it
        stays true after `.half()`. What will be stored, `Method.components` tells in advance."""
        return measure(self)

    def reset_parameters(self) -> None:
        """Draw fresh values in every table."""
        for name in self._names:
            self.tables[name].reset_parameters()


class _SingleTable(_Tables):
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
            name, num_embeddings, embedding_dim, std, dtype or torch.get_default_dtype(), frequencies, attributes
        )
        super().__init__([(table, method)], device)
        self.table = table
        self.method = self._module.method
        self.padding_idx = self._checked_padding(padding_idx)
        self.max_norm, self.norm_type, self.scale_grad_by_freq = max_norm, norm_type, scale_grad_by_freq
        if not self.method.row_per_id and (max_norm is not None or scale_grad_by_freq):
            option = "scale_grad_by_freq" if max_norm is None else "max_norm"
            raise InputError(
                f"table {name!r}: {option} needs a row for each id, which {self.method.name!r} has not; use 'full'"
            )
        if order is not None:
            self._module.register_buffer("order", self._checked_order(order))
        self._zero_padding()

    @classmethod
    def from_table(cls, table: Table, method: MethodLike = "full", **options: Any) -> Self:
        """The same from a `Table`, whose name, sizes, std, dtype, frequencies and attributes are taken."""
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

    def reset_parameters(self) -> None:
        """Draw fresh values; the padding row of a full table is zero."""
        super().reset_parameters()
        self._zero_padding()

    @torch.no_grad()
    def materialize(self, chunk: int = 65536) -> Tensor:
        """The whole table by id, shape `(num_embeddings, embedding_dim)`, detached; `chunk` ids at a time.

        It reads what is stored and changes nothing; with `max_norm`, rows that no lookup has scaled yet are longer.
        """
        n, device = self.num_embeddings, next(self.parameters()).device
        return torch.cat([self._read(torch.arange(at, min(at + chunk, n), device=device)) for at in range(0, n, chunk)])

    def fit_(self, weight: Tensor, frequencies: Tensor | None = None) -> float:
        """Come as near to the full table `weight` as the method allows; see `TableModule.fit_`."""
        if isinstance(order := self._order, Tensor):
            self._module.check_fit(weight, frequencies)
            place = torch.argsort(order.long()).cpu()  # the weight may be on any device, and so may be indexed
            weight = weight[place]
            frequencies = None if frequencies is None else torch.as_tensor(frequencies)[place]
        return self._module.fit_(weight, frequencies)

    def extra_repr(self) -> str:
        """The sizes and the method."""
        return f"{self.table.name!r}, {self.num_embeddings}, {self.embedding_dim}, {self.method}"

    @property
    def _module(self) -> TableModule:
        return self.tables[self.table.name]

    @property
    def _stored(self) -> Rows:
        """The rows of a `row_per_id` method."""
        return cast("Rows", self._module.get_submodule("rows"))

    @property
    def _order(self) -> Tensor | None:
        return getattr(self._module, "order", None)

    def _rows(self, ids: Tensor) -> Tensor:
        """The ids, or their ranks, as the method numbers them."""
        return ids.long() if self._order is None else self._order[ids.long()].long()

    def _vectors(self, ids: Tensor) -> Tensor:
        """Vectors of ids that are checked already, after a renorm where `max_norm` wants it."""
        if self.max_norm is not None:
            with torch.no_grad():
                rows = self._rows(ids).contiguous()
                torch.embedding_renorm_(self._stored.weight, rows, self.max_norm, self.norm_type)
        return self._read(ids)

    def _read(self, ids: Tensor) -> Tensor:
        """Vectors as they are; padding reads as stored for `full`, as zeros elsewhere."""
        rows = self._rows(ids)
        if not self.method.row_per_id:
            vectors = self._module.lookup(rows)
            if self.padding_idx is not None:
                vectors = vectors.masked_fill((ids == self.padding_idx).unsqueeze(-1), 0)
            return vectors
        stored = self._stored
        if self.padding_idx is None or self._order is None:
            found: Tensor = stored(rows, self.padding_idx, self.scale_grad_by_freq)
            return found
        # Which row is the padding's stands in a tensor, which must not be asked in every step: mask the ids instead.
        found = stored(rows, None, self.scale_grad_by_freq)
        return torch.where((ids == self.padding_idx).unsqueeze(-1), found.detach(), found)

    @torch.no_grad()
    def _zero_padding(self) -> None:
        if self.padding_idx is not None and self.method.row_per_id:
            row = torch.tensor([self.padding_idx], device=self._stored.weight.device)
            self._stored.weight.index_fill_(0, row if self._order is None else self._order[row].long(), 0)

    def _checked_padding(self, padding_idx: int | None) -> int | None:
        n = self.table.num_embeddings
        if padding_idx is None:
            return None
        whole = isinstance(padding_idx, int | np.integer) and not isinstance(padding_idx, bool)
        if not whole or not -n <= padding_idx < n:
            raise InputError(
                f"table {self.table.name!r}: padding_idx {padding_idx!r} is not an id, which are 0 … {n - 1}"
            )
        return int(padding_idx) % n

    def _checked_order(self, order: np.ndarray | Tensor) -> Tensor:
        n, name = self.table.num_embeddings, self.table.name
        ranks, device = torch.as_tensor(order), next(self.parameters()).device
        if ranks.dtype.is_floating_point or tuple(ranks.shape) != (n,):
            raise InputError(f"table {name!r}: order must be {n} whole numbers, one an id, not {tuple(ranks.shape)} "
                             f"of {str(ranks.dtype)[6:]}")  # fmt: skip
        if not ranks.is_meta and not torch.equal(ranks.long().sort().values, torch.arange(n, device=ranks.device)):
            raise InputError(f"table {name!r}: order must hold every rank 0 … {n - 1} once")
        return ranks.to(device, torch.int32)


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
        max_norm, norm_type, scale_grad_by_freq: as in torch; with `full` only.
        name: of the table, for state keys and errors.
        std: deviation of the elements of fresh vectors; see `Table`.
        frequencies, attributes: see `Table`.
        order: id → popularity rank, a permutation, for ids that do not come in order of popularity and a
            method that wants it; stored as int32 and counted.
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
        """Vectors of ids of any shape: `(*input.shape, embedding_dim)`."""
        check_ids(self.table, input)
        return self._vectors(input)


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
        **options: Any,
    ) -> None:
        if mode not in ("sum", "mean", "max"):
            raise InputError(f"mode must be 'sum', 'mean' or 'max', not {mode!r}")
        super().__init__(num_embeddings, embedding_dim, method, **options)
        if mode == "max" and self.scale_grad_by_freq:
            raise InputError(f"table {self.table.name!r}: scale_grad_by_freq is for the modes 'sum' and 'mean'")
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        """Pooled vectors, shape `(bags, embedding_dim)`; an empty bag gives zeros.

        Args:
            input: ids, 1-D with `offsets`, or 2-D `(bags, ids in each)` without.
            offsets: where each bag begins in `input`.
            per_sample_weights: a factor for each id, same shape as `input`; mode `"sum"` only.
        """
        check_ids(self.table, input)
        ids, offsets = self._bags(input, offsets)
        if per_sample_weights is not None:
            if self.mode != "sum":
                raise InputError(f"table {self.table.name!r}: per_sample_weights are for mode 'sum', not {self.mode!r}")
            if per_sample_weights.shape != input.shape:
                raise InputError(
                    f"table {self.table.name!r}: per_sample_weights have shape {tuple(per_sample_weights.shape)}, "
                    f"the ids {tuple(input.shape)}"
                )
            per_sample_weights = per_sample_weights.reshape(-1)
        vectors, places = self._vectors(ids), torch.arange(len(ids), device=ids.device)
        padding: int | None = None
        if self.padding_idx is not None or len(ids) == 0:
            # All padding reads one more row, which torch's kernel leaves out; and with no ids at all, the kernel
            # still wants a row to exist.
            padding = len(ids)
            places = torch.where(ids == self.padding_idx, padding, places) if self.padding_idx is not None else places
            vectors = torch.cat([vectors, vectors.new_zeros(1, self.embedding_dim)])
        return F.embedding_bag(
            places, vectors, offsets, mode=self.mode, per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset and input.dim() == 1, padding_idx=padding,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """The sizes, the method and the mode."""
        return f"{super().extra_repr()}, mode={self.mode!r}"

    def _bags(self, input: Tensor, offsets: Tensor | None) -> tuple[Tensor, Tensor]:
        """Ids in one dimension and where each bag begins."""
        name = self.table.name
        if input.dim() == 2:
            if offsets is not None:
                raise InputError(f"table {name!r}: ids of shape (bags, length) take no offsets")
            bags, length = input.shape
            return input.reshape(-1), torch.arange(bags, device=input.device) * length
        if input.dim() != 1:
            raise InputError(f"table {name!r}: ids of a bag are 1-D or 2-D, not {input.dim()}-D")
        if offsets is None:
            raise InputError(f"table {name!r}: 1-D ids need offsets, which say where each bag begins")
        if offsets.dim() != 1 or offsets.dtype not in (torch.int64, torch.int32):
            raise InputError(f"table {name!r}: offsets must be 1-D int64 or int32")
        if not torch.compiler.is_compiling():
            self._check_offsets(input, offsets)
        return input, offsets.long()

    def _check_offsets(self, ids: Tensor, offsets: Tensor) -> None:
        name = self.table.name
        if len(offsets) == 0:
            if self.include_last_offset:
                raise InputError(f"table {name!r}: include_last_offset needs offsets to end with {len(ids)}, not none")
            if len(ids):  # torch's kernel would read memory that is not there
                raise InputError(f"table {name!r}: offsets are empty, so {len(ids)} ids are in no bag; begin with 0")
            return
        last = int(offsets[-1])
        wrong = int(offsets[0]) != 0 or last > len(ids) or bool((offsets[1:] < offsets[:-1]).any())
        if wrong or (self.include_last_offset and last != len(ids)):
            end = f"end at {len(ids)}" if self.include_last_offset else f"stay within {len(ids)}"
            raise InputError(f"table {name!r}: offsets must begin at 0, not fall, and {end}, not {_short(offsets)}")


class EmbeddingCollection(_Tables):
    """Several tables, read together: `{table: ids}` → `{table: vectors}`.

    Example:
        >>> both = EmbeddingCollection([(Table("user", 10, 4), "full"), (Table("movie", 20, 4), "full")])
        >>> found = both({"user": torch.tensor([1, 2]), "movie": torch.tensor([3, 4])})
        >>> found["movie"].shape
        torch.Size([2, 4])
    """

    def forward(self, ids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Vectors for each table's ids, of shape `(*ids.shape, embedding_dim)`."""
        return {name: self.lookup(name, of) for name, of in ids.items()}

    def lookup(self, name: str, ids: Tensor) -> Tensor:
        """Vectors of one table's ids."""
        module = self.tables[name]
        check_ids(module.table, ids)
        return module.lookup(ids.long())


def _short(values: Tensor) -> str:
    shown = [int(value) for value in values[:6]]
    return f"{shown}" if len(values) <= 6 else f"{str(shown)[:-1]}, …, {int(values[-1])}]"
