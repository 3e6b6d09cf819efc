"""What may be chosen for a table: methods and sizes, each with its bytes and with what it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coset.errors import InputError, Unsuitable
from coset.methods import Method, method_class, registered
from coset.methods.full import Full
from coset.methods.traffic import Traffic
from coset.planning.plan import state_bytes
from coset.planning.proxy import Judge, Kept
from coset.schema import Table

Allowed = Sequence[tuple[type[Method], Mapping[str, Any]]]
"""Classes of methods, each with the fields that are fixed."""


@dataclass(frozen=True)
class Candidate:
    """One way to store a table.

    Args:
        method: that does.
        bytes: of the table.
        weight: that it takes of the budget: its bytes and, where that counts, those of the optimizer's state.
        kept: what the method keeps of the table.
    """

    method: Method
    bytes: int
    weight: int
    kept: Kept


def classes(methods: Sequence[str | Mapping[str, Any]] | None) -> Allowed:
    """The methods that are allowed; those that plan by default where none are named.

    Raises:
        InputError: an unknown name, or fields without one.
    """
    if methods is None:
        return [(cls, {}) for cls in registered().values() if cls.planned]
    found: list[tuple[type[Method], Mapping[str, Any]]] = []
    for one in methods:
        fixed = {"method": one} if isinstance(one, str) else dict(one)
        if not isinstance(name := fixed.pop("method", None), str):
            raise InputError(f'a method to plan with is a name or a table {{"method": "<name>", …}}, not {one!r}')
        found.append((method_class(name), fixed))
    return found


def full(table: Table, judge: Judge, optimizer: str | None) -> Candidate:
    """The table as it is."""
    return _candidate(Full(), table, judge, optimizer)


def candidates(
    table: Table, traffic: Traffic, judge: Judge, allowed: Allowed, optimizer: str | None
) -> list[Candidate]:
    """Everything that may be chosen for a table, the full one first and no other as large.

    Methods that no choice of fields makes fit for the table are left out, and those that give several vectors an id,
    which is another model, and arrays that tables would share, whose one size no table can choose.
    """
    found = [full(table, judge, optimizer)]
    for method in dict.fromkeys(_methods(table, traffic, allowed)):
        try:
            method.check(table)
            components = method.components(table)
        except InputError:
            continue
        if method.table_outputs > 1 or any(component.shared for component in components):
            continue
        size = sum(component.bytes for component in components)
        if size < table.full_bytes:
            weight = size + state_bytes(components, optimizer)
            found.append(Candidate(method, size, weight, judge.kept(method, table)))
    return found


def _methods(table: Table, traffic: Traffic, allowed: Allowed) -> Iterator[Method]:
    for cls, fixed in allowed:
        if cls.needs_attributes and table.attributes is None:
            continue
        try:
            yield from _all(cls.candidates(table, traffic, **fixed))
        except Unsuitable:
            continue


def _all(found: Iterable[Method]) -> list[Method]:
    return list(found)


def _candidate(method: Method, table: Table, judge: Judge, optimizer: str | None) -> Candidate:
    components = method.components(table)
    size = sum(component.bytes for component in components)
    return Candidate(method, size, size + state_bytes(components, optimizer), judge.kept(method, table))
