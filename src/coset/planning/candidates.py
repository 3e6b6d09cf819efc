"""The candidates for a table: methods and sizes, each with its bytes and what it keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from typing import Any

from coset import settings
from coset.errors import InputError, Unsuitable, brief, unknown
from coset.methods import Method, from_json, method_class, registered
from coset.methods.blocks import Blocks
from coset.methods.composition import Composition
from coset.methods.full import Full
from coset.methods.sizing import thinned
from coset.methods.traffic import Traffic
from coset.planning.graded import graded
from coset.planning.plan import state_bytes, untrained
from coset.planning.proxy import Judge, Kept
from coset.planning.storages import AllowedStorages
from coset.schema import Table
from coset.storage import DEFAULT, Storage, storage

_READERS: settings.Readers = {Method: from_json, Storage: storage}

_IN_FEW_BITS = 16
"""Sizes of each method that are also tried in every storage."""

Allowed = Sequence[tuple[type[Method], Mapping[str, Any]]]
"""Classes of methods, each with the fields that are fixed."""


@dataclass(frozen=True)
class Candidate:
    """One way to store a table.

    Args:
        method: that stores it so.
        bytes: of the table.
        weight: bytes of the budget that it takes: its own and, where they count, those of the optimizer's state.
        composition: the descriptor of the method, if it has one.
        table: the table.
        judge: predicts what methods keep of the table.
    """

    method: Method
    bytes: int
    weight: int
    composition: Composition | None
    table: Table
    judge: Judge

    @cached_property
    def kept(self) -> Kept:
        """What the method keeps of the table, by the prediction."""
        return self.judge.kept(self.method, self.table, self.composition)


def classes(methods: Sequence[str | Mapping[str, Any]] | None) -> Allowed:
    """The methods that are allowed; those that plan by default where none are named.

    Raises:
        InputError: an unknown name, a field that the method lacks or of a wrong type, or fields without a name.
    """
    if methods is None:
        return [(cls, {}) for cls in registered().values() if cls.planned]
    is_list = isinstance(methods, Sequence) and not isinstance(methods, str)
    if not is_list or not all(isinstance(one, str | Mapping) for one in methods):
        raise InputError(f"methods must be a list of names, or of tables of fixed fields, not {brief(methods)}")
    found: list[tuple[type[Method], Mapping[str, Any]]] = []
    for one in methods:
        fixed = {"method": one} if isinstance(one, str) else dict(one)
        if not isinstance(name := fixed.pop("method", None), str):
            raise InputError(f'a method to plan with is a name or a table {{"method": "<name>", …}}, not {one!r}')
        cls = method_class(name)
        known, words = settings.fields(cls), set(signature(cls.sizes).parameters) - {"table", "fixed"}
        for field, value in fixed.items():
            if field not in {*known, *words}:
                raise unknown(f"field of method {name!r}", field, [*known, *words])
            if field in known:
                settings.checked(known[field], value, f"method {name!r}: {field}", _READERS)
        found.append((cls, fixed))
    return found


def full(table: Table, judge: Judge, optimizer: str | None) -> Candidate:
    """The table as it is."""
    components = Full().components(table)
    weight = table.full_bytes + state_bytes(components, optimizer)
    return Candidate(Full(), table.full_bytes, weight, Full().descriptor(table), table, judge)


def candidates(
    table: Table, traffic: Traffic, judge: Judge, allowed: Allowed, optimizer: str | None, count: int,
    storages: AllowedStorages | None = None,
) -> list[Candidate]:  # fmt: skip
    """Everything that may be chosen for a table, whatever the budget: each method in the type of the table and, where
    it is composed of rows, in every storage that is allowed.

    It leaves out methods that no choice of fields makes fit for the table; those that give several vectors an id, which
    is another model; and shared arrays, whose size no single table can choose.
    """
    found: list[Candidate] = []
    floats = [Full(), *_methods(table, traffic, allowed, count)]
    known = storages or AllowedStorages([])
    each = [one for one in known.each if optimizer is None or _trained_as_stored(one, table)]
    kinds: dict[type[Method], list[Method]] = {}
    for method in floats if each else ():
        if method.storage == DEFAULT:
            kinds.setdefault(type(method), []).append(method)
    packed = [method.stored(one) for sizes in kinds.values() for method in thinned(sizes, _IN_FEW_BITS) for one in each]
    if optimizer is None and any(cls is Blocks for cls, _ in allowed):
        packed += graded(table, traffic, judge, known)
    for method in dict.fromkeys([*floats, *packed]):
        if method.table_outputs > 1:
            continue
        composition = method.descriptor(table)
        if composition is None and method.storage != DEFAULT:
            continue  # what rounding loses of it is not known
        if optimizer is not None and composition is None:
            raise untrained(table, method, optimizer)
        components = method.components(table) if composition is None else composition.components(table.dtype)
        size = sum(component.bytes for component in components)
        if any(component.shared for component in components) or (found and size >= table.full_bytes):
            continue
        state = 0 if optimizer is None else state_bytes(method.training_components(table), optimizer)
        found.append(Candidate(method, size, size + state, composition, table, judge))
    return found


def _trained_as_stored(storage: Storage, table: Table) -> bool:
    """Whether an optimizer of coset trains the numbers as they are stored, so that they and its state are all that a
    training keeps: floats beside codes are not."""
    sizes = "rows", 2, table.embedding_dim, table.dtype
    return storage.form is not None and storage.components(*sizes) == storage.training_components(*sizes)


def within(found: Sequence[Candidate], limit: int) -> list[Candidate]:
    """The candidates within a limit, and the smallest even if it is over."""
    least = min(one.weight for one in found)
    return [one for one in found if one.weight <= max(limit, least)]


def _methods(table: Table, traffic: Traffic, allowed: Allowed, count: int) -> Iterator[Method]:
    for cls, fixed in allowed:
        if cls.needs_attributes and table.attributes is None:
            continue
        try:
            found = list(cls.tried(table, traffic, count, **fixed))
            for method in found[:1]:
                method.check(table)
        except Unsuitable:
            continue
        except InputError:
            if fixed:  # fields that the user fixed fit other tables, but not this one
                continue
            raise
        yield from found
