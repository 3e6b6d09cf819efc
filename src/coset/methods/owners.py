"""Which optimizer trains a parameter, where that is one of coset's; such a table may have steps to make up for."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Protocol

from torch import Tensor
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


def take(parameter: Tensor, owner: Owner) -> None:
    """Let `owner` own a parameter as long as it lives."""
    _owners[parameter] = weakref.ref(owner)


def give_back(parameter: Tensor) -> None:
    """Let nobody own a parameter."""
    _owners.pop(parameter, None)


def bring_up_to_date(parameters: Iterable[Tensor]) -> None:
    """Let the owners of these parameters make up for the steps that their rows missed."""
    owners = {id(owner): owner for parameter in parameters if (owner := owner_of(parameter)) is not None}
    for owner in owners.values():
        owner.synchronize()
