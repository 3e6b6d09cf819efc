"""One way to call coset, and what holds of its results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from judge import Fault
from pools import DIM


@dataclass(frozen=True)
class Call:
    """One way to call coset.

    Args:
        name: of what is called.
        run: the call.
        good: arguments of a call that succeeds, by name.
        pools: what may stand in the place of each.
        check: raises a `Fault` where the result of a call that was not refused is wrong.
    """

    name: str
    run: Callable[..., Any]
    good: dict[str, Any]
    pools: dict[str, tuple[Any, ...]]
    check: Callable[[Any, dict[str, Any]], None] = lambda *_: None


def finite(found: Any, given: dict[str, Any]) -> None:
    """Vectors hold numbers, as what they are made of does."""
    for each in found.values() if isinstance(found, dict) else [found]:
        if not isinstance(each, torch.Tensor) or each.shape[-1] != DIM:
            raise Fault(f"no vectors of {DIM}: {each!r}")
        if not each.is_meta and not bool(torch.isfinite(each).all()):
            raise Fault(f"vectors that are not finite: {each!r}")


def is_vector(found: Any, given: dict[str, Any]) -> None:
    """A lookup gives a vector for each id."""
    finite(found, given)
    if found.shape[:-1] != given["input"].shape:
        raise Fault(f"{tuple(found.shape)} of ids of shape {tuple(given['input'].shape)}")


def is_bytes(found: Any, given: dict[str, Any]) -> None:
    """A size is a whole number."""
    if type(found) is not int or found < 0:
        raise Fault(f"no number of bytes: {found!r}")


def is_split(found: Any, given: dict[str, Any]) -> None:
    """Every row is in one part, and both have some."""
    rows = np.concatenate([found.training, found.validation])
    if not len(found.training) or not len(found.validation) or not np.array_equal(np.sort(rows), np.arange(len(rows))):
        raise Fault(f"no split: {found!r}")


class Calls(list[Call]):
    """Calls, each named by its function."""

    def add(self, run: Callable[..., Any], pools: dict[str, tuple[Any, ...]], check: Any = None, **good: Any) -> None:
        """One more, with what may stand in the place of each argument."""
        self.append(Call(run.__name__, run, good, pools, check or (lambda *_: None)))
