"""The contract: what a method is, what it builds, and how it is found by name."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from torch import Tensor

from coset import settings
from coset.errors import InputError, Unsuitable, brief
from coset.formulas import Formula
from coset.methods.facts import Facts
from coset.methods.module import VectorModule
from coset.methods.sizing import Sizes, largest_within, thinned, vector_bytes
from coset.registry import Registry
from coset.schema import Component, LookupBytes, Table
from coset.storage import DEFAULT, InTraining, Storage
from coset.storage import storage as storage_of

if TYPE_CHECKING:
    from coset.methods.composition import Composition
    from coset.methods.traffic import Traffic

M = TypeVar("M", bound="Method")


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
    """Whether it assumes ids in order of popularity, so that ids in another order need an `order`."""
    needs_attributes: ClassVar[bool] = False
    """Whether it fits only tables that carry `attributes`."""
    facts: ClassVar[Facts | None] = None
    """What `docs/methods.md` shows of the method; every method of coset has facts."""
    planned: ClassVar[bool] = False
    """Whether a planner tries it when the user names no methods."""
    costly: ClassVar[bool] = False
    """Whether it trains ten times as long as other methods or longer, since its lookups compute so much: a comparison
    leaves it out where the user names no methods."""
    worth: ClassVar[float] = 0.2
    """For a method whose vectors are not composed of rows: how many bytes of a narrow table are worth as much as one
    byte of it, as measured. A planner cannot predict the loss of such a method."""

    storage: Storage = dataclasses.field(default=DEFAULT, kw_only=True)
    """How the numbers of the arrays are stored; by default in the dtype of the table."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__repr__ = Method.__repr__  # type: ignore[method-assign]  # before `dataclass` looks for one

    def __post_init__(self) -> None:
        settings.check(self, self._what, _READERS)

    def __repr__(self) -> str:
        """The choices, as they are written in Python; the storage only where one was chosen."""
        names = [name for name in settings.fields(type(self)) if name != "storage"]
        shown = [*names, *([] if self.storage == DEFAULT else ["storage"])]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    @property
    def is_full(self) -> bool:
        """Whether it stores what `torch.nn.Embedding` would: a row for each id, of the type of the table."""
        return self.row_per_id and self.storage == DEFAULT

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
        """The stored arrays, in closed form; their keys are those of the module's state."""

    def training_components(self, table: Table) -> list[Component]:
        """The arrays of a module that is trained, likewise: those of the training form of its storage."""
        return dataclasses.replace(self, storage=InTraining(self.storage)).components(table)

    @abstractmethod
    def build(self, table: Table) -> TableModule:
        """A fresh module."""

    def descriptor(self, table: Table) -> Composition | None:
        """How vectors are composed of rows, for kernels; None where they are not."""
        return None

    def formula(self, table: Table) -> Formula:
        """How vectors are computed of the arrays of `components`, as data (`coset.formulas`), for readers that know no
        methods; by default as the descriptor says.

        Raises:
            InputError: there is no descriptor, so this method cannot be in an artifact.
        """
        found = self.descriptor(table)
        if found is None:
            raise InputError(f"{self._what} does not say as data how its vectors are computed, by `formula`")
        return found.formula()

    def lookup_bytes(self, table: Table) -> LookupBytes:
        """Bytes that a lookup in plain torch takes for each id, for the ledger.

        By default, a lookup reads one row of each component, keeps these rows with two numbers of 8 bytes each that
        locate them, and needs as much again and two vectors while it computes.
        """
        components = self.components(table)
        rows = sum((component.width or 1) * component.dtype.itemsize for component in components)
        passing = 2 * rows + 2 * vector_bytes(self, table)
        return LookupBytes(rows + 16 * len(components), passing, passing)

    def check(self, table: Table) -> None:  # noqa: B027 - most methods fit every table
        """Raise an `InputError` that names the table when these choices do not fit it; `__post_init__` refuses choices
        that fit no table."""

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
        """The candidates that a planner tries: sizes of increasing bytes, with the smallest and the largest.

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
        return largest_within(cls.offered(table, **fixed), table, max_bytes)

    @classmethod
    def for_collisions(cls, table: Table, collisions: int, **fixed: Any) -> Self:
        """The method at so many collisions: its largest component has ⌈n / collisions⌉ rows; `fixed` sets other fields.

        Raises:
            Unsuitable: a number of collisions does not determine its size.
        """
        raise Unsuitable(f"{cls.name} is not sized by collisions; give it a budget")

    def stored(self, storage: Storage) -> Self:
        """The same method with this storage, unless it names one itself."""
        return self if self.storage != DEFAULT else dataclasses.replace(self, storage=storage)

    @classmethod
    def offered(cls, table: Table, *, storage: Any = DEFAULT, **fixed: Any) -> Sequence[Self]:
        """`sizes` of the method with this storage."""
        found, kept = cls.sizes(table, **fixed), storage_of(storage)
        return found if kept == DEFAULT else Sizes(range(len(found)), lambda at: found[at].stored(kept))

    @classmethod
    def tried(
        cls,
        table: Table,
        traffic: Traffic,
        count: int,
        *,
        storage: Any = DEFAULT,
        **fixed: Any,
    ) -> Iterable[Method]:
        """`candidates` with this storage."""
        kept = storage_of(storage)
        return (method.stored(kept) for method in cls.candidates(table, traffic, count, **fixed))

    def bytes(self, table: Table) -> int:
        """Bytes of all components."""
        return sum(component.bytes for component in self.components(table))

    def to_json(self) -> dict[str, Any]:
        """The method as plain JSON values; `from_json` gives an equal one back."""
        return {"method": self.name, "version": self.version} | {
            field: settings.plain(getattr(self, field))
            for field in settings.fields(type(self))
            if field != "storage" or self.storage != DEFAULT
        }

    def description(self, table: Table, ordered: bool = False) -> str:
        """All that the vectors of a table depend on besides its arrays, as JSON text; a state of the module holds it.

        Args:
            table: the table that is stored.
            ordered: whether the table has an `order`, which is then one of its arrays.
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
        """The name of this method in messages; parts of other methods have no registered name."""
        return f"method {getattr(self, 'name', type(self).__name__)!r}"

    def _at_least(self, least: int, *fields: str) -> None:
        """Refuse fields, numbers or lists of numbers, with a value below `least`."""
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


class TableModule(VectorModule):
    """The trainable storage of one table under one method."""

    def __init__(self, table: Table, method: Method) -> None:
        super().__init__(table)
        self.method = method

    @property
    def vector_shape(self) -> tuple[int, ...]:
        """Shape of what one id gives: `(embedding_dim,)`, or `(table_outputs, embedding_dim)` where that is several
        vectors."""
        return self.method.vector_shape(self.table)

    def shorten_(self, factors: Tensor) -> None:
        """Multiply the rows that an id has to itself by its factor, of shape `(num_embeddings,)`; rows that ids share
        stay as they are, and so do all rows of a method that is not composed of rows."""


METHODS: Registry[Method] = Registry("method", "coset.methods")
_READERS: settings.Readers = {Method: lambda value: from_json(value), Storage: storage_of}


def register(name: str, version: int = 1) -> Callable[[type[M]], type[M]]:
    """Class decorator: make a method known by `name`, whose fields have the meaning of `version`."""

    def enter(cls: type[M]) -> type[M]:
        METHODS.add(name, cls)
        cls.version = version
        return cls

    return enter


def from_json(value: Mapping[str, Any]) -> Method:
    """The method that `Method.to_json` wrote; also one written by hand, such as `{"method": "full"}`."""
    return METHODS.from_json(value, _READERS)


def make(cls: type[M], fields: Mapping[str, Any]) -> M:
    """An instance of `cls`, with a sentence instead of a `TypeError` for fields it does not have or lacks."""
    return settings.make(cls, fields, f"method {cls.name!r}", _READERS)
