"""`docs/methods.md`, made from the registry: `make docs` writes it, and a test fails when it is stale."""

from __future__ import annotations

import sys
from dataclasses import MISSING, fields

from coset.methods import Method, registered
from coset.schema import Table

EXAMPLE = Table("example", 1_000_000, 64)
"""The table of the ratios."""

_HEAD = """\
# Methods

`make docs` makes this page from the registry; each method has its own file below `src/coset/methods`.

n is the number of ids, D the `embedding_dim`, k a number of partitions or hashes, m a number of rows. *Stored* is a
number of elements: 4 bytes each in float32, 2 with the storage `Dense("bfloat16")` or `"float16"`, for any method.
*Ratio* is the bytes of the full table over those of the method, from the largest to the smallest size that it offers
with its other fields at their defaults, for {n:,} ids of {dim} elements. k balanced partitions take k · n^(1/k) rows,
so two of them reach a ratio of √n / 2 at most, and QR's floor is 2 / √n of the table; by `concat`, with rows half as
wide, √n and 1 / √n. *Unique* says whether all ids have different vectors: always where stored rows differ (guaranteed),
with high probability (probable), or not (none).
"""


def page() -> str:
    """The page in Markdown."""
    methods = dict(sorted(registered().items()))
    lines = [
        _HEAD.format(n=EXAMPLE.num_embeddings, dim=EXAMPLE.embedding_dim),
        "| method | vector of id i | stored | one lookup | unique | ratio |",
        "| --- | --- | --- | --- | --- | ---: |",
    ]
    described = {name: (kind, kind.facts) for name, kind in methods.items() if kind.facts is not None}
    for name, (kind, facts) in described.items():
        cells = (f"`{name}`", facts.formula, facts.elements, facts.operations, facts.uniqueness, _ratio(kind))
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| method | class | paper | prefer it for | goes well with |", "| --- | --- | --- | --- | --- |"]
    for name, (kind, facts) in described.items():
        lines.append(f"| `{name}` | `{_call(kind)}` | {facts.paper} | {facts.prefer} | {facts.combines} |")
    return "\n".join(lines) + "\n"


def _call(kind: type[Method]) -> str:
    """The class with its fields; optional ones in brackets."""
    needed = [field.name for field in fields(kind) if field.default is MISSING]
    others = [field.name for field in fields(kind) if field.default is not MISSING and field.name != "storage"]
    shown = ", ".join([*needed, *(f"[{name}]" for name in others)])
    return f"{kind.__name__}({shown})"


def _ratio(kind: type[Method]) -> str:
    """Full bytes over those of the largest and of the smallest size."""
    if kind.needs_attributes:
        return "as the columns give it"
    sizes = kind.sizes(EXAMPLE)
    least, most = (EXAMPLE.full_bytes / sizes[at].bytes(EXAMPLE) for at in (-1, 0))
    return f"{least:.3g}×" if least == most else f"{least:.3g} … {most:,.0f}×"


if __name__ == "__main__":
    sys.stdout.buffer.write(page().encode())  # a file in UTF-8, whatever the locale
