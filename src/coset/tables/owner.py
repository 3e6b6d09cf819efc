"""The base of all modules that users put in a model: it owns and names tables, and reads them by checked ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode

from coset.engine.base import Engine, Lookup, Owned
from coset.engine.composed import unfit
from coset.engine.owners import bring_up_to_date
from coset.engine.reading import Reader, torch_alone
from coset.errors import InputError, brief, unknown
from coset.ledger import components_of
from coset.methods import Method, TableModule, method
from coset.methods.wrapped import transforming, values_of
from coset.schema import COMPUTED, Component, Table
from coset.settings import of_kind
from coset.storage import StoredRows
from coset.storage.graphs import exporting, unseen
from coset.tables.choice import SUBMODULE, Description, check_state

MethodLike = str | Method | Mapping[str, Any]


def check_ids(table: Table, ids: Tensor) -> None:
    """Raise unless `ids` are whole numbers in `0 … num_embeddings - 1`; in graphs, which see no ids, check their type.

    Raises:
        TypeError: ids that are not int64 or int32.
        IndexError: an id out of range; the message names the table, the id and the range.
    """
    check_type(table, ids)
    if unseen(ids) or ids.numel() == 0:
        return
    ids = values_of(ids)
    low, high = (int(bound) for bound in ids.aminmax())
    if low < 0 or high >= table.num_embeddings:
        wrong = low if low < 0 else high
        raise IndexError(
            f"table {table.name!r}: id {wrong} is out of range, its ids are 0 … {table.num_embeddings - 1}"
        )


def checked(table: Table, ids: Tensor) -> tuple[Tensor, Tensor | None]:
    """Checked ids and None; or, in graphs, whose ids cannot be checked, the nearest ids in range, and which ids were in
    range: `or_nan` makes the vectors of the others NaN.

    Raises:
        TypeError, IndexError: as `check_ids`.
    """
    check_ids(table, ids)
    if not unseen(ids):
        return ids, None
    ids = ids.long()
    nearest = ids.clamp(0, table.num_embeddings - 1)
    return nearest, nearest == ids


def or_nan(vectors: Tensor, inside: Tensor | None) -> Tensor:
    """`vectors`, where those that are not `inside` become NaN and get no gradient."""
    if inside is None:
        return vectors
    return torch.where(inside.reshape(*inside.shape, *[1] * (vectors.dim() - inside.dim())), vectors, torch.nan)


def check_type(table: Table, ids: Tensor) -> None:
    """Raise a `TypeError` unless `ids` are a dense tensor of int64 or int32."""
    if not isinstance(ids, Tensor):
        raise TypeError(
            f"table {table.name!r}: ids must be a tensor of int64 or int32, not {type(ids).__name__}; "
            f"torch.as_tensor makes one of arrays and lists"
        )
    if ids.dtype not in (torch.int64, torch.int32):
        cure = "" if ids.is_complex() else "; .long() makes them so"
        raise TypeError(f"table {table.name!r}: ids must be int64 or int32, not {str(ids.dtype)[6:]}{cure}")
    if ids.layout != torch.strided or ids.is_nested:
        kind = "nested" if ids.is_nested else str(ids.layout)[6:]
        raise TypeError(f"table {table.name!r}: ids must be a dense tensor here, not {kind}")


class NamedModules(nn.Module):
    """Modules by name. Unlike `nn.ModuleDict` it allows names such as `items` or `type`."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._modules.update(modules)

    def __getitem__(self, name: str) -> Any:
        return self._modules[name]


class Tables(nn.Module):
    """Owns table modules, their state named `tables.<table>.<component>`, and reads checked ids from them.

    Args:
        methods: the tables, each with its method.
        orders: id → popularity rank, a permutation, by table name; see `Embedding`.
        device: of the parameters.
    """

    def __init__(
        self,
        methods: Iterable[tuple[Table, MethodLike]],
        orders: Mapping[str, np.ndarray | Tensor] | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        given = list(methods)
        self._names = tuple(table.name for table, _ in given)
        if len(set(self._names)) < len(self._names):
            raise InputError(f"tables need distinct names, not {list(self._names)}")
        of_kind("orders", orders, (Mapping, type(None)), "an order by name of the table")
        for name in orders or {}:
            if name not in self._names:
                raise unknown("table with an order", name, self._names)
        ranks = {table.name: _ranks(table, (orders or {}).get(table.name)) for table, _ in given}
        with _device(device):
            built = [_built(_by_rank(table, ranks[table.name]), method(how)) for table, how in given]
        self.tables = NamedModules({module.table.name: module for module in built})
        for module in built:
            order = ranks[module.table.name]
            if order is not None:
                if order.is_meta and module.device.type != "meta":
                    raise InputError(
                        f"table {module.table.name!r}: order is on the meta device, without values; give it on the CPU "
                        f"or as a numpy array"
                    )
                module.give("order", order, module.device)
            description = module.method.description(module.table, order is not None)
            module.add_module(SUBMODULE, Description(module.table.name, description))

    engine: Owned | None = None
    """The engine of the tables that an optimizer of coset owns."""
    _optimizer: Any = None
    _reader: Reader | None = None
    """The engine of tables that none owns, once it was used."""

    @property
    def _kernels(self) -> Engine | None:
        """The engine; none where a graph is exported, which may run where this engine is not. Tables that no optimizer
        owns have one where they are not being trained: in `eval()`, or without gradients.

        Raises:
            InputError: within a transform of `torch.func`.
        """
        if exporting():
            return None
        if self.engine is None:
            return self._reading()
        if not torch.compiler.is_compiling() and transforming():
            raise InputError(
                f"tables {list(self._names)[:3]} belong to {type(self._optimizer).__name__}, whose kernels do not work "
                "within transforms of torch.func; call its release() first"
            )
        return self.engine

    def _reading(self) -> Reader | None:
        """The engine of tables that no optimizer owns, where kernels may read them now."""
        if self.training and torch.is_grad_enabled():
            self._reader = None  # it would keep in memory what is replaced meanwhile
            return None
        if torch_alone() or torch.compiler.is_compiling() or transforming():
            return None
        if _get_current_dispatch_mode() is not None or forward_ad._current_level >= 0:
            return None
        modules, features, reader = self.tables._modules, self._features(), self._reader
        if reader is None or not reader.reads(modules, features):
            reader = self._reader = Reader(modules, features, self._by_torch)
        return reader if reader.ready() else None

    def _by_torch(self, asked: Sequence[Lookup] | Tensor, joined: bool) -> Tensor:
        """What an engine finds, by plain torch."""
        raise NotImplementedError

    def unfit(self) -> dict[str, str]:
        """For each table that an optimizer of coset cannot take over, the reason."""
        return {name: why for name in self._names if (why := unfit(self.tables[name])) is not None}

    def fusable(self) -> tuple[dict[str, TableModule], dict[str, str]]:
        """The tables that an optimizer of coset can take over; and feature → table."""
        left = self.unfit()
        kept = {name: self.tables[name] for name in self._names if name not in left}
        return kept, {feature: name for feature, name in self._features().items() if name in kept}

    def _features(self) -> dict[str, str]:
        """The table that each feature reads."""
        return {name: name for name in self._names}

    def fuse(self, engine: Owned | None) -> None:
        """Look tables up by `engine` from now on; by plain torch where it is None."""
        self.engine = engine
        self._optimizer = None if engine is None else engine.optimizer  # the optimizer lives as long as its tables do

    def _save_to_state_dict(self, *given: Any) -> None:
        bring_up_to_date(self.parameters())
        super()._save_to_state_dict(*given)

    def _load_from_state_dict(self, *given: Any) -> None:
        # Else the loaded rows would be brought through the steps that the old ones missed.
        bring_up_to_date(self.parameters())
        if self.engine is not None:
            if given[2].get("assign_to_params_buffers"):
                raise InputError("an optimizer of coset trains the arrays of these tables: load without assign=True")
            self.engine.forget_checks()
        state, prefix = given[:2]
        for name in self._names:
            check_state(self.tables[name], state, f"{prefix}tables.{name}.")
        super()._load_from_state_dict(*given)

    def _apply(self, *given: Any, **options: Any) -> Self:
        bring_up_to_date(self.parameters())  # kernels cannot read arrays of another type or on another device
        super()._apply(*given, **options)  # type: ignore[no-untyped-call]
        if self.engine is not None:
            self.engine.forget_checks()
        if other := {p.dtype for p in self.parameters()}.difference(COMPUTED):
            raise InputError(
                f"tables {list(self._names)[:3]}: their arrays are {str(other.pop())[6:]} now, which no vectors are "
                f"computed in; move them to float16, bfloat16, float32 or float64"
            )
        return self

    def __getstate__(self) -> dict[str, Any]:
        """A copy belongs to no optimizer, so its rows must be brought to the last step now."""
        bring_up_to_date(self.parameters())
        return {**self.__dict__, "engine": None, "_optimizer": None, "_reader": None}

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """As torch's.

        Raises:
            InputError: a table is packed, whose codes have no gradients; or has no masters, so no flag says that it is
                frozen.
        """
        for name in self._names:
            for each in self.tables[name].modules():
                if isinstance(each, StoredRows) and (each.needs_kernels or (requires_grad and each.is_packed)):
                    raise InputError(
                        f"table {name!r}: its rows are packed, and codes have no gradients; {each.way_out}"
                    )
        return super().requires_grad_(requires_grad)

    def components(self) -> list[Component]:
        """The stored arrays, index state included, under their names in the state: read off the tensors, so it is right
        after `.half()`. `Method.components` gives them in advance."""
        return components_of(self)

    def reset_parameters(self) -> None:
        """Draw fresh values in every table, and restore index state, such as orders."""
        bring_up_to_date(self.parameters())
        for name in self._names:
            self.tables[name].reset_parameters()
            self.tables[name].restore_index()

    def _rows_of(self, name: str, ids: Tensor) -> Tensor:
        """Ids of a table, or their ranks, as its method numbers them."""
        module = self.tables[name]
        if not ids.is_cpu and ids.device != module.device:  # torch would look up ids without values
            raise InputError(f"table {name!r}: ids are on {ids.device}, and the table is on {module.device}; move one")
        order = getattr(module, "order", None)
        return ids.long() if order is None else order[ids.long()].long()


def _device(device: Any) -> torch.device:
    """The device that is given; the one for new tensors by default."""
    try:
        return torch.empty(0).device if device is None else torch.device(device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"device must be one of torch's, such as 'cpu', not {brief(device)} ({error})") from None


def _built(table: Table, how: Method) -> TableModule:
    """A fresh module; an `InputError` where memory does not suffice."""
    try:
        return how.build(table)
    except (RuntimeError, MemoryError) as error:  # torch has no error class for a lack of CPU memory
        if not isinstance(error, MemoryError) and not any(word in str(error) for word in ("allocate", "overflow")):
            raise
        raise InputError(
            f"table {table.name!r}: there is no memory for its {how.bytes(table):,} bytes, stored by {how.name}; take "
            f"a method of fewer bytes or fewer ids"
        ) from None


def _ranks(table: Table, order: np.ndarray | Tensor | None) -> Tensor | None:
    """`order`, if it is a permutation of the ids."""
    if order is None:
        return None
    n, name = table.num_embeddings, table.name
    # Not on torch's default device, which may be the meta device.
    ranks = order if isinstance(order, Tensor) else _tensor(order)
    if ranks is None or ranks.layout != torch.strided or ranks.is_nested or not _is_whole(ranks.dtype):
        found = brief(order) if ranks is None else f"of {str(ranks.dtype)[6:]}, {str(ranks.layout)[6:]}"
        raise InputError(f"table {name!r}: order must be {n} whole numbers, one an id, not {found}")
    if tuple(ranks.shape) != (n,):
        raise InputError(f"table {name!r}: order must be {n} whole numbers, one an id, not of shape "
                         f"{tuple(ranks.shape)}")  # fmt: skip
    if not ranks.is_meta and not torch.equal(ranks.long().sort().values, torch.arange(n, device=ranks.device)):
        raise InputError(f"table {name!r}: order must hold every rank 0 … {n - 1} once")
    return ranks.to(torch.int32, copy=True)  # changes of the caller's array do not reach the table


def _tensor(order: Any) -> Tensor | None:
    """An array or a list of whole numbers as a tensor; None for anything else."""
    try:
        given = np.array(order)
    except (TypeError, ValueError, RuntimeError):  # such as lists of several lengths
        return None
    return torch.from_numpy(given.astype(np.int64)) if given.dtype.kind in "iu" else None


def _is_whole(dtype: torch.dtype) -> bool:
    return not (dtype.is_floating_point or dtype.is_complex or dtype == torch.bool)


def _by_rank(table: Table, ranks: Tensor | None) -> Table:
    """The table as its method sees it: frequencies and attributes in order of the ranks of ids."""
    if ranks is None or ranks.is_meta or (table.frequencies is None and table.attributes is None):
        return table
    place = np.argsort(ranks.cpu().numpy())
    return replace(
        table,
        frequencies=None if table.frequencies is None else table.frequencies[place],
        attributes=None if table.attributes is None else {key: of[place] for key, of in table.attributes.items()},
    )
