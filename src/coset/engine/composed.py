"""What kernels know of a table: the compositions of rows that it is made of, and what keeps them from training it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coset.engine.owners import LazyParameter
from coset.kernels import layout
from coset.methods.base import TableModule
from coset.methods.composition import BlockedComposition, Composition, RowComposition
from coset.partitions import MultiplyShift, Partition, RowMap
from coset.storage import StoredRows

OPERATIONS = {"mult": layout.MULT, "add": layout.ADD, "concat": layout.CONCAT}
DTYPES: dict[torch.dtype, np.dtype[Any]] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
"""Types of numbers that kernels compute in."""
NARROW = {torch.bfloat16: layout.BFLOAT16, torch.float16: layout.FLOAT16}
"""Types of 16 bits that they store rows in."""
FORMS = "dense", "masters", "codes"
"""The forms of a stored array that they know."""


def fusable(module: TableModule) -> bool:
    """Whether kernels can look up and train this table: rows composed, on the CPU, in a type that they compute in."""
    return unfit(module) is None


def unfit(module: TableModule) -> str | None:
    """Why kernels cannot look up and train this table, as a phrase that follows its name; None where they can."""
    of = composition_of(module)
    if of is None:
        blocks = [each for each in module.modules() if each is not module and isinstance(each, TableModule)]
        wrong = [block.method.name for block in blocks if composition_of(block) is None]
        innermost = f" has a block of {wrong[-1]!r}, which" if wrong else ""
        return f"method {module.method.name!r}{innermost} is not composed of rows"
    names = [name for _, _, piece in flat(of, 0, module.table.num_embeddings) for name in _names(piece)]
    arrays = [stored_of(module, name) for name in names]
    for stored in arrays:
        view = stored.kernel_view()
        if view is None or view.form not in FORMS:
            return f"kernels do not train {stored.left_by_kernels}"
        if not view.trained:
            return "it is packed, and its codes are not trained; coset.unpack_ brings it back to floats that are"
        p = _held(stored, view.array)
        if p is None:
            return "a parametrization computes its weight, or took its place"
        if type(p) not in (nn.Parameter, LazyParameter, *([Tensor] if view.coding else [])):
            return f"its weight is a {type(p).__name__}, whose memory kernels cannot read"
        if p.device.type != "cpu":
            return f"it is on {p.device}, not on the CPU"
        if stored.dtype not in DTYPES:
            return f"it is of {str(stored.dtype)[6:]}, not float32 or float64"
        if p.dtype != stored.dtype and p.dtype not in NARROW and view.coding is None:
            return f"it is stored in {str(p.dtype)[6:]}, not in bfloat16, float16 or {str(stored.dtype)[6:]}"
        if p.layout != torch.strided or not p.is_contiguous():
            return "its weight is not contiguous"
        if p.numel() and not p.data_ptr():
            return "its weight has no memory"
        if not p.requires_grad and view.coding is None:  # kernels train all that they read
            return "it is frozen by requires_grad=False"
    return None if len({stored.dtype for stored in arrays}) == 1 else "its arrays are of two types"


def _names(of: RowComposition) -> list[str]:
    """Those of all its arrays."""
    projection = of.projection
    rest = [] if projection is None else [projection.name, *([projection.bias_name] if projection.bias_name else [])]
    return [*(part.name for part in of.parts), *rest]


def _held(stored: StoredRows, name: str) -> Tensor | None:
    """The parameter or buffer of this name, if there is one."""
    return stored._parameters.get(name, stored._buffers.get(name))


def stored_of(module: nn.Module, name: str) -> StoredRows:
    """The array of this name."""
    return module.get_submodule(name)  # type: ignore[return-value]


def composition_of(module: TableModule) -> Composition | None:
    """How rows become vectors; None where they are not composed of rows."""
    return module.method.descriptor(module.table)


def flat(of: Composition | None, start: int, stop: int) -> Iterator[tuple[int, int, RowComposition]]:
    """The compositions of the blocks of a table, and of blocks within them, each with its range of ids."""
    if isinstance(of, RowComposition):
        yield start, stop, of
    elif isinstance(of, BlockedComposition):
        edges = [start, *(start + bound for bound in of.bounds), stop]
        for (begin, end), block in zip(pairwise(edges), of.blocks, strict=True):
            yield from flat(block, begin, end)


def line_of(partition: RowMap, ids: int, codes: Tensor | None) -> list[int]:
    """How a part picks the rows of so many ids, as kernels take it; `codes` is the column of those of `Codes`."""
    if codes is not None:
        return [layout.CODES, codes.data_ptr(), codes.element_size() * codes[0].numel(), 0]
    if isinstance(partition, MultiplyShift):
        return [layout.HASH, *partition.keys, partition.modulus]
    assert isinstance(partition, Partition)
    if partition.is_identity(ids):
        return [layout.IDENTITY, 1, ids, 0]
    return [layout.ARITHMETIC, partition.divisor, partition.modulus, 0]
