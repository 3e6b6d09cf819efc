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


def every_one(batch: Tensor) -> Tensor:
    """The tensors of one dimension that a batched one stands for, in rows."""
    length = batch.shape[0]
    while _functorch.is_functorch_wrapped_tensor(batch):
        found, place = _functorch.get_unwrapped(batch), _functorch.maybe_get_bdim(batch)
        batch = found.movedim(place, 0) if place >= 0 else found
    return values_of(batch.reshape(-1, length))  # what is computed within a transform is wrapped again


def transforming() -> bool:
    """Whether a transform of `torch.func` is active."""
    return _functorch.peek_interpreter_stack() is not None
