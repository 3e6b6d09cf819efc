"""The contract: what a method is, what it builds, and how it is found by name."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf, prod
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

import torch
from torch import Tensor, nn

from coset import settings
from coset.errors import InfeasibleBudget, InputError, Unsuitable, brief, unknown
from coset.methods.facts import Facts
from coset.methods.index import Indexed
from coset.methods.owners import bring_up_to_date
from coset.schema import Component, LookupBytes, Table

if TYPE_CHECKING:
    from coset.methods.composition import Composition
    from coset.methods.traffic import Traffic

M = TypeVar("M", bound="Method")


class TableModule(Indexed, ABC):
    """The trainable storage of one table under one method.

    Lookups trust their ids; `coset.tables` checks them once for all methods. Fresh values are drawn from
    torch's global generator.
    """

    ids_at_once: int = 65536
    """Ids that `materialize` looks up together; fewer where a lookup needs much room for each id."""

    def __init__(self, table: Table, method: Method) -> None:
        super().__init__()
        self.table = table
        self.method = method

    @property
    def vector_shape(self) -> tuple[int, ...]:
        """Shape of what one id gives: `(embedding_dim,)`, or `(table_outputs, embedding_dim)` where that is several
        vectors."""
        return self.method.vector_shape(self.table)

    @abstractmethod
    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of `ids` (int64, any shape, each in 0 … n-1): shape `(*ids.shape, *vector_shape)`."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draw fresh values: composed vectors have mean 0 and, on average over their elements, deviation
        `table.std`; behind a projection some elements vary more than others."""

    def projections(self) -> Iterable[nn.Parameter]:
        """The parameters that widen composed rows to the dim, matrices and biases alike; most methods have none.

        All ids share them, so that they get far larger gradients than any row; training may want to take smaller
        steps there.
        """
        return ()

    def shareable(self) -> Mapping[str, str]:
        """Submodules whose arrays the tables of one collection hold in common, with the names they are shared by."""
        return {}

    def _shareable_within(self) -> Iterator[tuple[TableModule, str]]:
        """The submodules that `shareable` names, of this table and of all blocks within it."""
        for inner in self.modules():
            if isinstance(inner, TableModule):
                yield from ((inner, name) for name in inner.shareable())

    def forward(self, ids: Tensor) -> Tensor:
        """Same as `lookup`."""
        return self.lookup(ids)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        modules: list[nn.Module] = [self, *(getattr(inner, name) for inner, name in self._shareable_within())]
        return next(parameter.device for module in modules for parameter in module.parameters())

    @torch.no_grad()
    def materialize(self, chunk: int | None = None) -> Tensor:
        """The whole table, shape `(num_embeddings, *vector_shape)`, detached; `chunk` ids at a time."""
        bring_up_to_date(self.parameters())
        n, step, device = self.table.num_embeddings, chunk or self.ids_at_once, self.device
        return every_vector(self.lookup, n, step, device)

    def fit_(self, weight: Tensor, frequencies: Tensor | None = None) -> float:
        """Change the parameters so that the table is as near to a full one as the method allows.

        Args:
            weight: the full table to approach, shape `(num_embeddings, *vector_shape)`.
            frequencies: how much each id counts, shape `(num_embeddings,)`; all alike by default.

        Returns:
            Mean squared difference per element that remains, each id weighted by its frequency.
        """
        if any(name not in inner._modules for inner, name in self._shareable_within()):
            raise InputError(
                f"table {self.table.name!r}: its array is shared with other tables of a collection, so it cannot be "
                f"fitted alone; fit a method with an array of its own"
            )
        weight, share = self._fit_inputs(weight, frequencies)
        bring_up_to_date(self.parameters())
        self._fit(weight, share)
        return self._error(weight, share)

    def _fit(self, weight: Tensor, share: Tensor) -> None:
        """By gradient, for methods that know no better: Adam on random ids, kept where it was best. In float32 at
        least: types of 16 bits have no room for Adam's epsilon, nor for its small steps."""
        dtype = torch.promote_types(self.table.dtype, torch.float32)
        try:
            self.to(dtype)._descend(weight, weight.to(dtype), share)
        finally:
            self.to(self.table.dtype)

    def _descend(self, weight: Tensor, target: Tensor, share: Tensor) -> None:
        n = len(weight)
        generator = torch.Generator().manual_seed(0)
        scale = float(weight.double().pow(2).mean().sqrt()) or 1.0
        steps, batch = 400, min(n, 4096)
        # A step in proportion to what is stored: rows are as small as the weight, layers of networks are not.
        sizes = [float(parameter.detach().double().pow(2).mean().sqrt()) for parameter in self.parameters()]
        rates = [0.05 * (size or scale) for size in sizes]
        groups = [{"params": [p], "lr": rate} for p, rate in zip(self.parameters(), rates, strict=True)]
        optimizer = torch.optim.Adam(groups, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        best, kept = self._error(weight, share), _copy(self)
        for step in range(1, steps + 1):
            ids = torch.randint(n, (batch,), generator=generator) if batch < n else torch.arange(n)
            ids = ids.to(weight.device)
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
        total, step = 0.0, self.ids_at_once  # a large table is not there twice in float64
        for at in range(0, len(weight), step):
            part = slice(at, min(at + step, len(weight)))
            gap = (
                self.lookup(torch.arange(part.start, part.stop, device=weight.device)).double() - weight[part].double()
            )
            total += float((gap.pow(2).flatten(1).mean(-1) * share[part]).sum())
        return total


@dataclasses.dataclass(frozen=True)
class Method(ABC):
    """A way to store a table in fewer bytes: a frozen dataclass that holds choices, never data.

    A new method is one new file in this folder: a subclass decorated with `@register(name)`.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    row_per_id: ClassVar[bool] = False
    """Whether each id owns one bare row, so that torch's `max_norm` and `scale_grad_by_freq` make sense."""
    by_popularity: ClassVar[bool] = False
    """Whether it takes ids to be in order of popularity, so that those of another order need an `order`."""
    needs_attributes: ClassVar[bool] = False
    """Whether it fits only tables that carry `attributes`."""
    facts: ClassVar[Facts | None] = None
    """What `docs/methods.md` says of it; coset's own methods all have them."""
    planned: ClassVar[bool] = False
    """Whether a planner tries it when nobody says which methods to try."""
    worth: ClassVar[float] = 0.2
    """Of a method whose vectors are not composed of rows: how many bytes of a narrow table a byte of it is worth, as
    far as measured; a planner has no other way to know."""

    def __post_init__(self) -> None:
        settings.check(self, self._what, _READERS)

    @property
    def table_outputs(self) -> int:
        """Vectors that one id gives; more than 1 only for feature generation."""
        return 1

    def vector_shape(self, table: Table) -> tuple[int, ...]:
        """Shape of what one id of `table` gives."""
        outputs, dim = self.table_outputs, table.embedding_dim
        return (dim,) if outputs == 1 else (outputs, dim)

    @abstractmethod
    def components(self, table: Table) -> list[Component]:
        """What is stored, in closed form; the keys are those of the module's state."""

    @abstractmethod
    def build(self, table: Table) -> TableModule:
        """A fresh module."""

    def descriptor(self, table: Table) -> Composition | None:
        """How vectors are composed of rows, for kernels; None where they are not."""
        return None

    def lookup_bytes(self, table: Table) -> LookupBytes:
        """What a lookup in plain torch takes for each id; the ledger counts on it.

        A method that does not say is taken to read a row of each of its components, to keep the rows with two numbers
        of 8 bytes to find each, and to compute with as much again and with two vectors.
        """
        components = self.components(table)
        rows = sum((component.width or 1) * component.dtype.itemsize for component in components)
        passing = 2 * rows + 2 * vector_bytes(self, table)
        return LookupBytes(rows + 16 * len(components), passing, passing)

    def check(self, table: Table) -> None:  # noqa: B027 - most methods fit every table
        """Raise an `InputError` that names the table when these choices do not fit it; what would fit no table is
        refused by `__post_init__` already."""

    @classmethod
    @abstractmethod
    def sizes(cls, table: Table, **fixed: Any) -> Sequence[Self]:
        """Candidates from the smallest to full, bytes never falling; `fixed` sets fields for all of them."""

    @classmethod
    def examples(cls, table: Table) -> list[Self]:
        """One instance of every variant, fit for `table`: what the contract suite runs over."""
        sizes = cls.sizes(table)
        return [sizes[len(sizes) // 2]]

    @classmethod
    def candidates(cls, table: Table, traffic: Traffic, count: int = 24, **fixed: Any) -> Iterable[Method]:
        """What a planner tries: sizes along the bytes, the smallest and the largest among them.

        Args:
            table: to be stored.
            traffic: how often its ids occur.
            count: about how many there should be.
            fixed: fields that all candidates have.
        """
        return thinned(cls.sizes(table, **fixed), count)

    @classmethod
    def for_budget(cls, table: Table, max_bytes: int, **fixed: Any) -> Self:
        """The largest of `sizes(table, **fixed)` that takes at most `max_bytes`.

        Raises:
            InfeasibleBudget: when even the smallest is larger; the message and `floor` say how large it is.
            InputError: a budget that is no finite number.
        """
        given: Any = max_bytes
        is_number = isinstance(given, Real) and not isinstance(given, bool)
        if not is_number or not -inf < given < inf:
            raise InputError(f"table {table.name!r}: max_bytes is a finite number of bytes, not {brief(max_bytes)}")
        return largest_within(cls.sizes(table, **fixed), table, max_bytes)

    @classmethod
    def for_collisions(cls, table: Table, collisions: int, **fixed: Any) -> Self:
        """The method at so many collisions: its largest component has ⌈n / collisions⌉ rows; `fixed` sets other fields.

        Raises:
            Unsuitable: its size is not said by a number of collisions.
        """
        raise Unsuitable(f"{cls.name} is not sized by collisions; give it a budget")

    def bytes(self, table: Table) -> int:
        """Bytes of all components."""
        return sum(component.bytes for component in self.components(table))

    def to_json(self) -> dict[str, Any]:
        """The method as plain JSON values; `from_json` gives an equal one back."""
        return {"method": self.name, "version": self.version} | {
            field: settings.plain(getattr(self, field)) for field in settings.fields(type(self))
        }

    def description(self, table: Table, ordered: bool = False) -> str:
        """All that the vectors of a table depend on besides its arrays, as JSON; a state says it.

        Args:
            table: that is stored so.
            ordered: whether it has an `order`, which is an array of it then.
        """
        told = {"method": self.to_json(), "num_embeddings": table.num_embeddings, "embedding_dim": table.embedding_dim}
        if self.hashes_name:
            told["name"] = table.name
        return json.dumps(told | {"order": ordered}, ensure_ascii=False, separators=(",", ":"))

    @property
    def hashes_name(self) -> bool:
        """Whether the vectors of a table depend on its name."""
        return False

    @property
    def _what(self) -> str:
        """How messages call this method; parts of other methods have no registered name."""
        return f"method {getattr(self, 'name', type(self).__name__)!r}"

    def _at_least(self, least: int, *fields: str) -> None:
        """Refuse numbers, or lists of them, that hold less."""
        for field in fields:
            value = getattr(self, field)
            smallest = min(value, default=least) if isinstance(value, tuple) else value
            if smallest < least:
                shown = list(value) if isinstance(value, tuple) else value
                raise InputError(f"{self._what}: {field} must be at least {least}, not {shown}")

    def _at_most(self, most: int, *fields: str) -> None:
        for field in fields:
            if (value := getattr(self, field)) > most:
                raise InputError(f"{self._what}: {field} must be at most {most}, not {value}")


def vector_bytes(method: Method, table: Table) -> int:
    """Bytes of what one id of `table` gives."""
    return prod(method.vector_shape(table)) * table.dtype.itemsize


def every_vector(lookup: Callable[[Tensor], Tensor], n: int, step: int, device: torch.device) -> Tensor:
    """What `lookup` gives for the ids 0 … n-1, asked for `step` at a time."""
    whole: Tensor | None = None  # filled, as pieces put together at the end would be there twice
    for at in range(0, n, step):
        vectors = lookup(torch.arange(at, min(at + step, n), device=device))
        whole = vectors.new_empty(n, *vectors.shape[1:]) if whole is None else whole
        whole[at : at + len(vectors)] = vectors
    assert whole is not None, "a table has ids"
    return whole


def largest_within(sizes: Sequence[M], table: Table, max_bytes: int) -> M:
    """The last of `sizes`, whose bytes never fall, that takes at most `max_bytes`; else `InfeasibleBudget`."""
    settings.number(f"table {table.name!r}: max_bytes", max_bytes)
    smallest = sizes[0]
    if (floor := smallest.bytes(table)) > max_bytes:
        raise InfeasibleBudget(
            f"table {table.name!r}: {smallest.name} needs at least {floor} bytes, the budget is {max_bytes}", floor
        )
    return sizes[bisect_right(sizes, max_bytes, key=lambda method: method.bytes(table)) - 1]


def rows_at(table: Table, collisions: int) -> int:
    """Rows of the largest component at so many collisions: ⌈n / collisions⌉."""
    return -(-table.num_embeddings // settings.whole(f"table {table.name!r}: collisions", collisions, 1))


def thinned(sizes: Sequence[M], count: int) -> list[M]:
    """At most `count` of `sizes`, the first and the last among them, at equal ratios of their places.

    Example:
        >>> thinned(range(1, 1001), 4)
        [1, 10, 100, 1000]
    """
    return [sizes[place - 1] for place in spread(1, len(sizes), count)]


def rising(candidates: Iterable[M], table: Table) -> list[M]:
    """`candidates` as `Method.sizes` wants them: from the one of fewest bytes on, those that take more than all before
    and no more than the full table."""
    counted = [(method.bytes(table), method) for method in candidates]
    least = min(range(len(counted)), key=lambda at: counted[at][0])
    kept = [counted[least]]
    for size, method in counted[least + 1 :]:
        if kept[-1][0] < size <= table.full_bytes:
            kept.append((size, method))
    return [method for _, method in kept]


def spread(least: int, most: int, count: int = 512) -> list[int]:
    """Whole numbers from `least` to `most`, all of them when they are few, else `count` at equal ratios.

    Example:
        >>> spread(3, 6), spread(1, 1000, 4)
        ([3, 4, 5, 6], [1, 10, 100, 1000])
    """
    if most - least < count:
        return list(range(least, most + 1))
    ratio = (most / least) ** (1 / (count - 1))
    return sorted({least, most, *(round(least * ratio**step) for step in range(count - 1))})


class Sizes(Sequence[M]):
    """A lazy sequence `make(integer)` over a range of integers: methods are made when asked for."""

    def __init__(self, integers: range, make: Callable[[int], M]) -> None:
        self._integers = integers
        self._make = make

    def __len__(self) -> int:
        return len(self._integers)

    @overload
    def __getitem__(self, at: int) -> M: ...
    @overload
    def __getitem__(self, at: slice) -> Sizes[M]: ...
    def __getitem__(self, at: int | slice) -> M | Sizes[M]:
        if isinstance(at, slice):
            return Sizes(self._integers[at], self._make)
        return self._make(self._integers[at])


_registry: dict[str, type[Method]] = {}
_READERS: settings.Readers = {Method: lambda value: from_json(value)}


def register(name: str, version: int = 1) -> Callable[[type[M]], type[M]]:
    """Class decorator: make a method known by `name`, whose fields have the meaning of `version`."""

    def enter(cls: type[M]) -> type[M]:
        if name in _registry and _registry[name].__qualname__ != cls.__qualname__:
            raise InputError(f"method {name!r} is registered already, by {_registry[name].__module__}")
        cls.name, cls.version = name, version
        _registry[name] = cls
        return cls

    return enter


def known_methods() -> Mapping[str, type[Method]]:
    """The methods registered so far, by name."""
    return _registry


def from_json(value: Mapping[str, Any], known: Mapping[str, type[Method]] | None = None) -> Method:
    """The method that `to_json` wrote; `{"method": "full"}` and the like, written by hand, are fine too."""
    known = _registry if known is None else known
    fields = dict(value) if isinstance(value, Mapping) else {}
    if not isinstance(name := fields.pop("method", None), str):
        raise InputError(f'a method is written {{"method": "<name>", …}}, not {value!r}')
    if name not in known:
        raise unknown("method", name, known)
    cls = known[name]
    version = fields.pop("version", cls.version)
    if version != cls.version or isinstance(version, bool):
        raise InputError(f"method {name!r} is of version {version!r}; this coset knows version {cls.version}")
    return make(cls, fields)


def make(cls: type[M], fields: Mapping[str, Any]) -> M:
    """An instance of `cls`, with a sentence instead of a `TypeError` for fields it does not have or lacks."""
    return settings.make(cls, fields, f"method {cls.name!r}", _READERS)


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in module.state_dict().items()}
