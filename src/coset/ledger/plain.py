"""What a training step of plain torch takes beside tables and their state: kept for autograd, gradients, scratch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil

from coset.errors import InputError
from coset.ledger.asked import Asked, pieces_of
from coset.ledger.components import stored_key
from coset.ledger.optimizers import Keeps
from coset.schema import Component, LookupBytes

_KEPT, _SORTED, _BAG = 16, 48, 24
"""Bytes that pooling keeps for each id, that sorting takes in the backward pass, and that pooling keeps for each
bag."""


def plain_step(asked: Sequence[Asked], components: Iterable[Component], kept: Keeps) -> list[dict[str, int]]:
    """Bytes by purpose, at most, with a dense gradient of every parameter.

    Args:
        asked: the features that plain torch looks up.
        components: of the tables that they read, under their names in the state of the collection.
        kept: what the optimizer keeps.

    Returns:
        Bytes during lookups, during the backward pass, and during the optimizer's step.
    """
    if not asked:
        return [{}, {}, {}]
    vectors = sum(of.vectors for of in asked)
    each = [(of, _lookup_bytes(of)) for of in asked]
    trained = {component.key: component.bytes for component in components if component.kind == "parameter"}
    uses = _uses(asked)
    # One more gradient exists while it is added to that of another use.
    again = max((size for key, size in trained.items() if uses[key] > 1), default=0)
    gradients = sum(trained.values())
    there = {
        "vectors": vectors,
        "kept for gradients": sum(of.ids * (found.kept + _KEPT) + of.bags * _BAG for of, found in each),
    }
    forward = {**there, "at work": max(of.ids * found.forward for of, found in each)}
    backward = {
        **there,
        "gradients of vectors": sum(of.gradients for of in asked),
        "at work": max(of.ids * (found.backward + _SORTED) for of, found in each),
        "gradients": gradients + again,
    }
    beside = kept.beside * max(trained.values(), default=0)
    return [forward, backward, {"vectors": vectors, "gradients": gradients, "at work": beside}]


def sparse_step(asked: Sequence[Asked], kept: Keeps, optimizer: str) -> list[dict[str, int]]:
    """The same for `torch.nn.Embedding(sparse=True)`; with sgd `torch.nn.EmbeddingBag(sparse=True)` takes up to about
    60 bytes an id more, for bags, which is not counted.

    Raises:
        InputError: the optimizer takes no sparse gradients, or a table is stored otherwise.
    """
    if kept.sparse is None:
        raise InputError(f"optimizer {optimizer!r} takes no sparse gradients; sgd, adagrad and sparse_adam do")
    for of in asked:
        if not of.method.row_per_id:
            raise InputError(f"table {of.table.name!r}: only full tables have sparse gradients, not {of.method}")
    vectors = sum(of.vectors for of in asked)
    rows: dict[str, int] = {}
    steps: dict[str, int] = {}
    for of in asked:
        name, (arrays, each) = of.table.name, kept.sparse
        again = name in rows  # gradients of several features are concatenated
        rows[name] = rows.get(name, 0) + of.ids * (of.width + 8) * (2 if again else 1)
        steps[name] = steps.get(name, 0) + of.ids * (arrays * of.width + each)
    gradients = sum(rows.values())
    backward = {"vectors": vectors, "gradients of vectors": vectors, "gradients": gradients}
    return [backward, {"vectors": vectors, "gradients": gradients, "at work": max(steps.values(), default=0)}]


def _lookup_bytes(of: Asked) -> LookupBytes:
    """What a lookup takes for each id; where arrays are stored in another type than they are read in, rows exist in
    both types, neither more than twice the size of the other."""
    kept, forward, backward = of.method.lookup_bytes(of.table)
    stored = of.method.training_components(of.table)
    wide = max((c.dtype.itemsize for c in stored if c.computed not in (None, c.dtype)), default=0)
    share = wide / of.table.dtype.itemsize
    return LookupBytes(kept, forward + ceil(share * (kept + forward)), backward + ceil(share * (kept + backward)))


def _uses(asked: Iterable[Asked]) -> Mapping[str, int]:
    """How often a step reads each array of parameters."""
    found: dict[str, int] = {}
    for of in asked:
        parts = [part.name for piece in pieces_of(of.method.descriptor(of.table)) for part in piece.parts]
        for component in of.method.training_components(of.table):
            key = stored_key(of.table.name, component)
            found[key] = found.get(key, 0) + max(1, parts.count(component.key.rpartition(".")[0]))
    return found
