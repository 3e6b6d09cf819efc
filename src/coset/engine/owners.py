"""Which optimizer of coset owns a parameter, whose rows may have missed steps."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary


class Owner(Protocol):
    """An optimizer that owns tables."""

    def synchronize(self) -> None:
        """Bring all rows to the last step."""
        ...


# Not an attribute of the parameter, which would be copied and pickled with it.
_owners = WeakIdKeyDictionary()


def owner_of(parameter: Tensor) -> Owner | None:
    """The optimizer that owns a parameter, if there is one."""
    reference = _owners.get(parameter)
    found: Owner | None = None if reference is None else reference()
    return found


def take(parameter: Tensor, owner: Owner, lazily: bool = False) -> None:
    """Let `owner` own a parameter as long as it lives.

    Args:
        lazily: whether rows miss steps until they are next read.
    """
    _owners[parameter] = weakref.ref(owner)
    if lazily:
        parameter.__class__ = LazyParameter  # as torch's own lazy parameters do


def give_back(parameter: Tensor) -> None:
    """Remove the owner of a parameter."""
    _owners.pop(parameter, None)
    if isinstance(parameter, LazyParameter):
        parameter.__class__ = nn.Parameter  # type: ignore[assignment]


class LazyParameter(nn.Parameter):
    """A parameter some of whose rows have missed steps; whatever reads or writes it through torch brings them up first.

    So weight averages, copies, penalties, norms and initializers see the same values as with plain torch. Access to
    shape, type and `.grad` brings nothing up. Code in C++ alone, such as the first broadcast of
    DistributedDataParallel, bypasses this.
    """

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in _FACTS:
            with as_they_lie():
                bring_up_to_date(_parameters_in((args, kwargs or {})))
        with as_they_lie():
            return func(*args, **(kwargs or {}))

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Parameter:
        """A copy has no owner, and is up to date."""
        if id(self) not in memo:
            memo[id(self)] = nn.Parameter(self.data.clone(memory_format=torch.preserve_format), self.requires_grad)
        copied: nn.Parameter = memo[id(self)]
        return copied


_FACTS = {
    *(
        accessor
        for name in (
            "grad", "requires_grad", "shape", "dtype", "device", "layout", "ndim", "is_leaf", "grad_fn", "is_cpu",
            "is_cuda", "is_meta", "is_sparse", "is_quantized", "is_nested", "names", "_version", "nbytes", "itemsize",
        )
        if (of := getattr(Tensor, name, None)) is not None
        for accessor in (of.__get__, of.__set__)
    ),
    *(
        getattr(Tensor, name)
        for name in (
            "size", "dim", "numel", "nelement", "stride", "is_contiguous", "element_size", "is_floating_point",
            "is_complex", "is_shared", "get_device", "requires_grad_", "__len__", "untyped_storage", "storage_offset",
            "data_ptr",
        )
    ),
}  # fmt: skip
"""Attributes that are read or set without the values of a parameter."""


def _parameters_in(given: Any) -> Iterator[Tensor]:
    if isinstance(given, LazyParameter):
        yield given
    elif isinstance(given, tuple | list):
        for each in given:
            yield from _parameters_in(each)
    elif isinstance(given, dict):
        yield from _parameters_in(list(given.values()))


def as_they_lie() -> Any:
    """A context in which parameters are read as they lie in memory, and rows that are behind stay so."""
    return torch._C.DisableTorchFunctionSubclass()


def bring_up_to_date(parameters: Iterable[Tensor]) -> None:
    """Let the owners of these parameters bring their rows to the last step."""
    owners = {id(owner): owner for parameter in parameters if (owner := owner_of(parameter)) is not None}
    for owner in owners.values():
        owner.synchronize()
