"""The click models by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from coset import settings
from coset.errors import InputError, unknown
from coset.models.base import ClickModel, ClickSettings
from coset.models.dcn import DCN, DCNSettings
from coset.models.dlrm import DLRM, DLRMSettings
from coset.tables import EmbeddingBagCollection


class ClickModelKind(NamedTuple):
    """A click model and the class of its settings."""

    model: Callable[[EmbeddingBagCollection, int, Any], ClickModel]
    settings: type[ClickSettings]


CLICK_MODELS: dict[str, ClickModelKind] = {
    "dcn": ClickModelKind(DCN, DCNSettings),
    "dlrm": ClickModelKind(DLRM, DLRMSettings),
}
"""The click models by name."""


def make_settings(name: str, given: Mapping[str, Any] | None = None) -> ClickSettings:
    """The settings of the model of that name, of fields as TOML or JSON have them.

    Raises:
        InputError: no such model, or fields that it does not have.

    Example:
        >>> make_settings("dlrm", {"top": [256]})
        DLRMSettings(embedding_dim=16, std=None, bottom=(512, 256, 64), top=(256,))
    """
    return settings.make(_kind(name).settings, given or {}, f"model {name!r}")


def build(
    name: str, tables: EmbeddingBagCollection, num_numeric: int, settings: ClickSettings | None = None
) -> ClickModel:
    """The model of that name on these tables.

    Raises:
        InputError: no such model, settings of another one, or tables that do not suit it.

    Example:
        >>> chosen = make_settings("dcn")
        >>> build("dcn", EmbeddingBagCollection([(chosen.table("C1", 10), "full")]), 13, chosen).width
        29
    """
    kind = _kind(name)
    chosen: Any = settings if settings is not None else kind.settings()
    if not isinstance(chosen, kind.settings):
        raise InputError(f"model {name!r} takes {kind.settings.__name__}, not {type(chosen).__name__}")
    return kind.model(tables, num_numeric, chosen)


def _kind(name: str) -> ClickModelKind:
    if name not in CLICK_MODELS:
        raise unknown("click model", name, CLICK_MODELS)
    return CLICK_MODELS[name]
