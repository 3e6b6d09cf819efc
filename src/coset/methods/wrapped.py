"""Ids within `torch.func`: tensors that wrap others, a whole batch of them under `vmap`, which calls once for all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_functorch: Any = torch._C._functorch


def batched(ids: Tensor) -> bool:
    """Whether these ids stand for a batch of such tensors, so that no shape may depend on which they are."""
    while _functorch.is_functorch_wrapped_tensor(ids):
        if _functorch.is_batchedtensor(ids):
            return True
        ids = _functorch.get_unwrapped(ids)
    return False


def values_of(ids: Tensor) -> Tensor:
    """The ids that a tensor within `torch.func` stands for, all of a batch."""
    while _functorch.is_functorch_wrapped_tensor(ids):
        ids = _functorch.get_unwrapped(ids)
    return ids
