"""Shared phrases of tables: names of metrics and methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from coset import settings
from coset.methods import method_class
from coset.storage import registered_storages
from coset.tasks import metrics

NOTHING = "–"
"""Shown for an unknown value."""


def headings() -> dict[str, str]:
    """The labels of the metrics of all tasks, by name."""
    return {name: metric.label for name, metric in metrics().items()}


def number(value: float | None, form: str = ".4f") -> str:
    """A number, or a dash where it is unknown."""
    return NOTHING if value is None else format(value, form)


def titled(title: str, found: Mapping[str, Any]) -> str:
    """A title, marked where the data are synthetic."""
    return f"SYNTHETIC DATA: {title}" if found["synthetic"] else title


def method_words(method: Mapping[str, Any]) -> str:
    """A method with its size, from its JSON, without default values, and with long lists cut.

    Example:
        >>> method_words({"method": "hashing", "version": 1, "num_buckets": 100, "hash": "remainder", "seed": 7})
        'hashing num_buckets=100 seed=7'
        >>> method_words({"method": "full", "version": 1, "storage": {"storage": "dense", "dtype": "float16"}})
        'full storage=float16'
    """
    usual = {of.name: of.default for of in fields(method_class(method["method"]))}
    said = [
        f"{key}={_short(value)}"
        for key, value in method.items()
        if key not in ("method", "version") and value != settings.plain(usual.get(key, MISSING))
    ]
    return " ".join([method["method"], *said])


def _storage_words(storage: Mapping[str, Any]) -> str:
    """A storage from its JSON, with its first choice, and others that are not the default; of a dense one, the type of
    its numbers."""
    if storage["storage"] == "dense":
        return str(storage["dtype"])
    known = registered_storages().get(storage["storage"])
    usual = {} if known is None else {of.name: of.default for of in fields(known)[1:]}
    chosen = [
        f"{key}={_short(value)}"
        for key, value in storage.items()
        if key not in ("storage", "version") and value != usual.get(key, MISSING)
    ]
    return " ".join([storage["storage"], *chosen])


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "method" in value:
        return f"({method_words(value)})"
    if isinstance(value, Mapping) and "storage" in value:
        return _storage_words(value)
    if isinstance(value, list):
        shown = [_short(each) for each in value[:4]]
        return "[" + ", ".join(shown + (["…"] if len(value) > 4 else [])) + "]"
    return str(value)
