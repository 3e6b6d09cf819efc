"""Bytes of components: of what a method or a module stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import prod

from torch import nn

from coset.schema import EXTRA, Component, Kind
from coset.storage import StoredRows


def parameters(components: Iterable[Component]) -> int:
    """Number of trained values; index state is not trained."""
    return sum(component.trained for component in components)


def inference_bytes(components: Iterable[Component]) -> int:
    """Bytes that lookups need: parameters and index state.

    Example:
        >>> inference_bytes([Component("rows.weight", 10, 4), Component("order", 10, 0, kind="index")])
        200
    """
    return sum(component.bytes for component in components)


def together(tables: Mapping[str, Iterable[Component]]) -> list[Component]:
    """The components of the tables of one collection, under the names of its state; arrays that they share occur once.

    Example:
        >>> array = Component("array.weight", 1000, 1, shared="all")
        >>> [(c.key, c.bytes) for c in together({"user": [array], "movie": [array]})]
        [('shared.all.weight', 4000)]
    """
    found: dict[str, Component] = {}
    for name, components in tables.items():
        for component in components:
            key = stored_key(name, component)
            found[key] = replace(component, key=key)
    return list(found.values())


def bytes_by_table(tables: Mapping[str, Iterable[Component]]) -> dict[str, int]:
    """Bytes of each table of one collection; arrays that several share count for the first of them.

    Example:
        >>> array = Component("array.weight", 1000, 1, shared="all")
        >>> bytes_by_table({"user": [array], "movie": [array]})
        {'user': 4000, 'movie': 0}
    """
    found: dict[str, int] = {}
    seen: set[str] = set()
    for name, components in tables.items():
        new = {key: of.bytes for of in components if (key := stored_key(name, of)) not in seen}
        found[name] = sum(new.values())
        seen |= set(new)
    return found


def stored_key(table: str, component: Component) -> str:
    """The name of a component of a table in the state of a collection."""
    if component.shared is None:
        return f"tables.{table}.{component.key}"
    return f"shared.{component.shared}.{component.key.rpartition('.')[2]}"


def components_of(module: nn.Module) -> list[Component]:
    """The components of a module, read off its state; of arrays that are trained in another form than they are stored
    in, those of the stored form."""
    trained = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    arrays = {name: of for name, of in module.named_modules(remove_duplicate=False) if isinstance(of, StoredRows)}
    found: list[Component] = []
    told: set[str] = set()
    for key, value in module.state_dict().items():
        if key.endswith(EXTRA):  # a description of a module, which is no array
            continue
        name = key.rpartition(".")[0]
        stored = arrays[name].components(name) if name in arrays else None
        if stored is None:
            kind: Kind = "parameter" if key in trained else "index"
            found.append(Component(key, *sides(tuple(value.shape)), value.dtype, kind))
        elif name not in told:
            found += stored
            told.add(name)
    return found


def sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and width of a tensor, as a `Component` has them: all dimensions but the first are the width.

    Example:
        >>> sides((3, 4)), sides((5,)), sides(()), sides((2, 3, 4)), sides((3, 0))
        ((3, 4), (5, 0), (1, 0), (2, 12), (0, 0))
    """
    if len(shape) < 2:
        return (shape[0] if shape else 1), 0
    width = prod(shape[1:])
    return (shape[0], width) if width else (0, 0)
