"""Models that are built from tables: `DLRM` and `DCN` for clicks, `DotModel` for ratings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coset.lazy import handing_on

if TYPE_CHECKING:
    from coset.models.base import ClickModel, ClickSettings
    from coset.models.clicks import build, make_settings
    from coset.models.dcn import DCN, DCNSettings
    from coset.models.dlrm import DLRM, DLRMSettings
    from coset.models.dot import DotModel, DotSettings

__all__ = [
    "DCN",
    "DLRM",
    "ClickModel",
    "ClickSettings",
    "DCNSettings",
    "DLRMSettings",
    "DotModel",
    "DotSettings",
    "build",
    "make_settings",
]

_HOMES = {
    "ClickModel": "base",
    "ClickSettings": "base",
    "DCN": "dcn",
    "DCNSettings": "dcn",
    "DLRM": "dlrm",
    "DLRMSettings": "dlrm",
    "DotModel": "dot",
    "DotSettings": "dot",
    "build": "clicks",
    "make_settings": "clicks",
}

if not TYPE_CHECKING:  # to a type checker, only the names above are there
    __getattr__, __dir__ = handing_on(__name__, _HOMES)
