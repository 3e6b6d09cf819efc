"""Methods: ways to store a table in fewer bytes, one file each.

Every module of this folder is imported and its `@register`ed classes can be had from here by class name
(`coset.methods.LowRank`). Methods of other packages are found through the entry-point group `coset.methods`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from coset.errors import InputError, unknown
from coset.methods.base import Method, known_methods, register
from coset.methods.base import from_json as _from_json
from coset.methods.module import TableModule
from coset.methods.sizing import Sizes

__all__ = ["Method", "Sizes", "TableModule", "from_json", "method", "register", "registered"]


def registered() -> Mapping[str, type[Method]]:
    """Every method by name: coset's own and those of installed packages."""
    _load()
    return known_methods()


def method(name: str | Method | Mapping[str, Any], **fields: Any) -> Method:
    """The method called `name` with these fields; a method or its JSON is taken as it is.

    Raises:
        InputError: an unknown name, wrong fields, or something that is neither a name nor a method nor a mapping.

    Example:
        >>> method("low_rank", rank=8)
        LowRank(rank=8)
    """
    if isinstance(name, Method):
        return name
    if isinstance(name, str):
        name = {"method": name}
    if not isinstance(name, Mapping):
        raise InputError(
            f'a method is a name like "full", a Method, or a mapping {{"method": "<name>", …}}, not {name!r}'
        )
    return from_json({**name, **fields})


def method_class(name: str) -> type[Method]:
    """The class registered as `name`."""
    known = registered()
    if name not in known:
        raise unknown("method", name, known)
    return known[name]


def from_json(value: Mapping[str, Any]) -> Method:
    """The method that `Method.to_json` wrote."""
    _load()
    return _from_json(value)


@cache
def _load() -> None:
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    for entry in entry_points(group="coset.methods"):
        entry.load()


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):
        for cls in registered().values():
            if cls.__name__ == name:
                return cls
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
