"""What an optimizer finds in a model: collections whose tables it can own, and messages on what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from coset.methods.base import TableModule
from coset.storage import StoredRows


def collections_in(module: nn.Module) -> tuple[list[Any], dict[str, str]]:
    """The collections of a model with tables that can be owned; and its other tables by name, with the reasons."""
    # By the type, since wrappers such as torch.compile's pass attributes of the module within through.
    owners: dict[str, Any] = {path: inner for path, inner in module.named_modules() if hasattr(type(inner), "fuse")}
    left: dict[str, str] = {}
    seen = {id(each) for owner in owners.values() for each in owner.modules()}
    for path, owner in owners.items():
        for name, why in owner.unfit().items():
            left[f"{name!r} of {path}" if path else repr(name)] = why + _or_nothing(owner.tables[name])
    for path, inner in module.named_modules():
        if isinstance(inner, TableModule) and id(inner) not in seen:
            seen |= {id(each) for each in inner.modules()}
            left[f"{inner.table.name!r} of {path}" if path else repr(inner.table.name)] = "it is in no collection"
        elif owners and id(inner) not in seen and _is_torchs(inner):
            left[repr(path)] = "it is torch's own, not a table of coset"
    return [owner for owner in owners.values() if owner.fusable()[0]], left


def _or_nothing(module: nn.Module) -> str:
    """What is to be added where optimizers of torch cannot train a table either."""
    bare = any(isinstance(each, StoredRows) and each.needs_kernels for each in module.modules())
    return "; without masters nothing else trains it, so give its storage masters" if bare else ""


def _is_torchs(module: nn.Module) -> bool:
    """Whether this is a trainable table of torch, which a user may take for one of coset."""
    return isinstance(module, nn.Embedding | nn.EmbeddingBag) and any(p.requires_grad for p in module.parameters())


def _listed(left: Mapping[str, str]) -> str:
    """A few of the tables that are left out, with the reasons."""
    shown = [f"{name} ({why})" for name, why in list(left.items())[:5]]
    return ", ".join(shown) + (f" and {len(left) - 5} more" if len(left) > 5 else "")


def left_out(kind: str, left: Mapping[str, str]) -> str:
    """The warning on tables that an optimizer of this kind does not train."""
    count = "1 table" if len(left) == 1 else f"{len(left)} tables"
    return (
        f"{kind} does not train {count} of this model: {_listed(left)}; give another optimizer the parameters of "
        f"others(model), as torch.optim.Adam(optimizer.others(model))"
    )


def none_to_own(kind: str, left: Mapping[str, str]) -> str:
    """The message of the error where the optimizer can own no table."""
    if left:
        return f"optimizer: {kind} can own no table here: {_listed(left)}; train them by an optimizer of torch"
    return f"optimizer: {kind} finds no table of coset here, such as coset.Embedding or a collection, that it could own"
