"""Why a plan stores a table as it does: one sentence on what it saves, which ids share rows, and what the next best
choice would cost."""

from __future__ import annotations

from collections.abc import Iterator

from coset.methods import Method
from coset.methods.composition import BlockedComposition, Composition
from coset.planning.plan import Alternative
from coset.schema import Table
from coset.sizes import format_size


def saving(table: Table, size: int) -> str:
    """The bytes of a table against those of a full one.

    Example:
        >>> saving(Table("user", 1000, 16), 16_000)
        'takes 16KB, where a full table of dim 16 takes 64KB'
    """
    full = format_size(table.full_bytes)
    if size == table.full_bytes:
        return f"is a full table of dim {table.embedding_dim}, {full}"
    return f"takes {format_size(size)}, where a full table of dim {table.embedding_dim} takes {full}"


def sharing(table: Table, composition: Composition | None) -> str:
    """How many ids share how many rows; empty for a method without rows of ids.

    Example:
        >>> from coset.methods import Blocks, Full, Hashing
        >>> table = Table("page", 1000, 16)
        >>> sharing(table, Blocks((100,), (Full(), Hashing(30))).descriptor(table))
        '100 ids have a row each, the other 900 share 30 rows'
    """
    if composition is None:
        return ""
    shared = [(ids, rows) for ids, rows in _ranges(table.num_embeddings, composition) if rows < ids]
    if not shared:
        return "every id has a row of its own"
    ids, rows = sum(ids for ids, _ in shared), sum(rows for _, rows in shared)
    own = table.num_embeddings - ids
    shares = f"share {rows:,} {'row' if rows == 1 else 'rows'}"
    several = not isinstance(composition, BlockedComposition) and len(composition.parts) > 1
    where = f"{shares} of the largest array" if several else shares
    if not own:
        return f"{ids:,} ids {where}"
    return f"{own:,} {'id has a row' if own == 1 else 'ids have a row each'}, the other {ids:,} {where}"


def next_best(loss: float, instead: Alternative | None, measured: bool) -> str:
    """What the next best choice would cost.

    Args:
        loss: predicted for the choice.
        instead: the next best, if anything else fits.
        measured: whether short trainings measured losses, in units of a metric; else they are shares.
    """
    if instead is None:
        return "nothing else fits into the budget"
    more = instead.loss - loss
    amount = f"{more:.4f}" if measured else f"{more:.2%}"
    much = "as much" if float(amount.rstrip("%")) <= 0 else f"{amount} more"
    return f"the next best, {instead.method.name} in {format_size(instead.bytes)}, is predicted to lose {much}"


def reason(
    table: Table, method: Method, size: int, loss: float, instead: Alternative | None, measured: bool = False
) -> str:
    """Why a table is stored by a method, as one sentence.

    Args:
        table: with the dim of the plan.
        method, size, loss: of the choice: its bytes and its predicted loss.
        instead, measured: as for `next_best`.
    """
    parts = saving(table, size), sharing(table, method.descriptor(table)), next_best(loss, instead, measured)
    return "; ".join(part for part in parts if part)


def _ranges(ids: int, composition: Composition) -> Iterator[tuple[int, int]]:
    """Numbers of ids, and of rows in the largest array that they read, of every block."""
    if isinstance(composition, BlockedComposition):
        bounds = [0, *composition.bounds, ids]
        for block, first, last in zip(composition.blocks, bounds, bounds[1:], strict=False):
            yield from _ranges(last - first, block)
    else:
        yield ids, max(part.rows for part in composition.parts)
