"""Swaps modules of a model for others: all of them or none."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from torch import nn

from coset.errors import InputError
from coset.planning.sites import Site

_HOOKS = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks", "_is_full_backward_hook",
)  # fmt: skip
_STATE_HOOKS = (
    "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip
_TENSOR_HOOKS = "_backward_hooks", "_post_accumulate_grad_hooks"


def check_plain(site: Site, kinds: Collection[type[nn.Module]]) -> None:
    """Raise an `InputError` unless the class of the module is one of `kinds` and the module has no behaviour of its
    own."""
    module, where = site.module, f"module {site.name!r}"
    own = any(type(p) is not nn.Parameter for p in module.parameters(recurse=False))
    if type(module) not in kinds or own or module._buffers:
        known = " and ".join(sorted({kind.__name__ for kind in kinds}))
        raise InputError(
            f"{where}: a {type(module).__name__} may compute something of its own, where {known} are known; leave it "
            f"as it is"
        )
    if "forward" in vars(module):
        raise InputError(f"{where}: its forward was replaced, so what it computes is unknown; leave it as it is")
    if any(getattr(module, name, None) for name in _STATE_HOOKS):
        raise InputError(
            f"{where}: it has hooks on its state, whose names change with the table; remove them or leave it as it is"
        )
    if any(getattr(p, name, None) for p in module.parameters() for name in _TENSOR_HOOKS):
        raise InputError(f"{where}: its weight has hooks, which would be lost; remove them or leave it as it is")


def take_over(new: nn.Module, old: nn.Module) -> None:
    """Give `new` the mode of `old`, and the hooks and attributes that a user added to `old`."""
    for name in _HOOKS:  # the same dicts, so that handles still remove their hooks
        object.__setattr__(new, name, getattr(old, name))
    new.train(old.training)
    known = {*vars(_plain_of(old)), *dir(type(old))}
    for name, value in vars(old).items():
        if name not in known and not hasattr(new, name):
            setattr(new, name, value)


def swap_all(pairs: Iterable[tuple[Site, nn.Module]]) -> None:
    """Put every new module into all places of the old one; on an error, nothing has changed."""
    undo: list[tuple[nn.Module, str, nn.Module | None]] = []
    try:
        for site, new in pairs:
            for place in site.places:
                undo.append((place.parent, place.key, place.parent._modules[place.key]))
                place.parent._modules[place.key] = new
    except BaseException:
        for parent, key, old in reversed(undo):
            parent._modules[key] = old
        raise


def _plain_of(module: nn.Module) -> Any:
    """A small module of the same class, to find by it what a user has added."""
    return type(module)(1, 1)
