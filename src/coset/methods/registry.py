"""Every method by name: those of this folder, and those of other packages by entry points."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from coset.errors import InputError, unknown
from coset.methods.base import Method, known_methods
from coset.methods.base import from_json as _from_json


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
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        import_module(f"coset.methods.{module.name}")
    for entry in entry_points(group="coset.methods"):
        entry.load()
