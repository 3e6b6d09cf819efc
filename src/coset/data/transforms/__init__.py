"""Scales on which ratings are learned in place of their own, one file each; see `base.py`."""

from __future__ import annotations

from coset.data.transforms.base import Transform, register_transform, transform_named

__all__ = ["Transform", "register_transform", "transform_named"]
