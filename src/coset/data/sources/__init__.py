"""Readers of file formats, one file each; which one reads a file, its first bytes say.

A new format is one new file with a `Source`; see `base.py`.
"""

from __future__ import annotations

from coset.data.files import DataFile
from coset.data.sources.base import Block, Source, Wanted, register_source
from coset.data.sources.keyed import blocks_with_keys
from coset.data.sources.registry import registered_sources, source_of

__all__ = [
    "Block",
    "DataFile",
    "Source",
    "Wanted",
    "blocks_with_keys",
    "register_source",
    "registered_sources",
    "source_of",
]
