"""Methods by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coset.errors import InputError
from coset.methods.base import METHODS, Method, from_json


def registered() -> Mapping[str, type[Method]]:
    """Every method by name: coset's own and those of installed packages."""
    return METHODS.all()


def method_class(name: str) -> type[Method]:
    """The class registered as `name`."""
    return METHODS.find(name)


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
