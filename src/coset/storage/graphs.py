"""Calls that become graphs, of which torch sees shapes and no values: torch.compile, torch.export, torch.jit.trace."""

from __future__ import annotations

import torch
from torch import Tensor


def unseen(values: Tensor) -> bool:
    """Whether these values cannot be read now: torch is making a graph of the call, or they are on the meta device.

    The computation may then depend on how many there are, not on their values, and may not make their number a constant
    of the graph, as `len` does.
    """
    return torch.compiler.is_compiling() or _traced() or values.is_meta


def exporting() -> bool:
    """Whether torch is making a graph that may leave this process, and so may hold only torch's own operators."""
    told = getattr(torch.compiler, "is_exporting", None)  # newer than torch.export
    return bool(told is not None and told()) or _traced()


def _traced() -> bool:
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]
