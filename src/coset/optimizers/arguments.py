"""Checks of the arguments of optimizers: numbers, modules, and how many ranks train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import Any, Literal

import torch
from torch import nn

from coset.errors import InputError, brief
from coset.settings import one_of

Replicas = Literal["alike", "independent"]


def check_options(
    *, lr: Any, eps: Any, weight_decay: Any, betas: Any, max_norm: Any, projection_scale: Any, nonfinite: Any,
    replicas: Any,
) -> None:  # fmt: skip
    """Raise an `InputError` for a value that no optimizer can train with."""
    for what, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
        if not 0 <= _number(what, value) < inf:
            raise InputError(f"optimizer: {what} must be 0 or more and finite, not {brief(value)}")
    _check_betas(betas)
    if not 0 < _number("projection_scale", projection_scale) < inf:
        raise InputError(f"optimizer: projection_scale must be positive and finite, not {brief(projection_scale)}")
    if max_norm is not None and not _number("max_norm", max_norm) > 0:
        raise InputError(f"optimizer: max_norm must be positive, not {brief(max_norm)}")
    one_of("optimizer: nonfinite", nonfinite, ("error", "skip"))
    one_of("optimizer: replicas", replicas, ("alike", "independent"))


def check_groups(groups: Sequence[Mapping[str, Any]], largest: float) -> None:
    """Raise an `InputError` where a scheduler or a user has put a number into `param_groups` that would ruin rows.

    Args:
        largest: number of the type of the tables.
    """
    for group in groups:
        for what in ("lr", "eps", "weight_decay"):
            value = _number(what, group[what])
            if not abs(value) <= largest:  # schedules may go below zero by a rounding
                raise InputError(f"optimizer: {what} of a group is {value!r}, which tables cannot be trained with")
        _check_betas(group["betas"])


def check_module(kind: str, module: Any) -> None:
    """Raise an `InputError` unless this is a module, and not parameters as torch's optimizers take them."""
    if not isinstance(module, nn.Module):
        raise InputError(
            f"{kind} of coset takes the model or collection that holds the tables, as {kind}(model), where torch's "
            f"optimizers take parameters; this is a {type(module).__name__}"
        )


def check_ranks(kind: str, replicas: Replicas) -> None:
    """Raise an `InputError` where the copies of the tables in several ranks would drift apart."""
    distributed = torch.distributed
    if replicas == "independent" or not distributed.is_available() or not distributed.is_initialized():
        return
    if (ranks := distributed.get_world_size()) > 1:
        raise InputError(
            f"{kind}: torch.distributed has {ranks} ranks, and coset exchanges no gradients of its tables, so their "
            "copies would drift apart, within DistributedDataParallel too; train them by an optimizer of torch there, "
            "or set replicas='independent' where each rank trains a model of its own"
        )


def _check_betas(betas: Any) -> None:
    pair = isinstance(betas, tuple | list) and len(betas) == 2
    if not pair or not all(0 <= _number("betas", beta) < 1 for beta in betas):
        raise InputError(f"optimizer: betas must be two numbers in 0 … 1, 1 excluded, not {brief(betas)}")


def _number(what: str, value: Any) -> float:
    """The value as a number; NaN for one that cannot be compared."""
    if isinstance(value, str | bytes | bool | complex):
        raise InputError(f"optimizer: {what} must be a number, not {brief(value)}")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise InputError(f"optimizer: {what} must be a number, not {brief(value)}") from None


def check_factor(factor: Any) -> float:
    """A factor of gradients, if it is a finite number."""
    if not isfinite(found := _number("a factor of gradients", factor)):
        raise InputError(f"optimizer: a factor of gradients must be finite, not {brief(factor)}")
    return found
