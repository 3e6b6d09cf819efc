"""Facts on a method, for people who choose one; `make docs` writes them into `docs/methods.md`."""

from __future__ import annotations

from dataclasses import dataclass

COMPOSED = "guaranteed by concat, probable by mult and add"
"""Complementary partitions give any two ids different rows; only `concat` guarantees different vectors."""


@dataclass(frozen=True)
class Facts:
    """Facts on a method. n is the number of ids and D the dim; sizes are numbers of elements.

    Args:
        paper: authors, year, arXiv id.
        formula: the vector of id i.
        elements: how many are stored.
        operations: what one lookup costs.
        uniqueness: whether all ids have different vectors: always where stored rows differ (guaranteed), with high
            probability (probable), or not (none).
        prefer: when to choose it.
        combines: methods that it combines well with.
    """

    paper: str
    formula: str
    elements: str
    operations: str
    uniqueness: str
    prefer: str
    combines: str = "blocks"
