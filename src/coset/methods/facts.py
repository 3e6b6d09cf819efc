"""What is known of a method, for people who choose one; `docs/methods.md` is made of it."""

from __future__ import annotations

from dataclasses import dataclass

COMPOSED = "guaranteed by concat, probable by mult and add"
"""What complementary partitions give: different rows for any two ids, which only `concat` surely leaves apart."""


@dataclass(frozen=True)
class Facts:
    """What the docs say of a method. n is the number of ids, D the dim, and bytes are counted in elements.

    Args:
        paper: authors, year, arXiv id.
        formula: the vector of id i.
        elements: how many are stored.
        operations: what one lookup costs.
        uniqueness: whether two ids can have the same vector: not as long as stored rows differ (guaranteed), only by
            bad luck (probable), or as a rule (none).
        prefer: when to take it.
        combines: what it goes well with.
    """

    paper: str
    formula: str
    elements: str
    operations: str
    uniqueness: str
    prefer: str
    combines: str = "blocks"
