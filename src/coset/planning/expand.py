"""`expand_`: turns coset's tables in any torch model back into full ones of torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from coset.errors import InputError
from coset.ledger import inference_bytes
from coset.methods.full import Full
from coset.planning.rules import apart
from coset.planning.sites import Holders, Site, sites
from coset.planning.swap import check_plain, swap_all, take_over
from coset.tables import Embedding, EmbeddingBag
from coset.tables.fitted import Compression, Fitted

KINDS = (Embedding, EmbeddingBag)


def expand_(model: nn.Module, *, leave: Sequence[str] = ()) -> Compression:
    """Swap every `coset.Embedding` and `coset.EmbeddingBag` of a model for torch's, in place, with the same vectors:
    the reverse of `compress_`. Options, device, type, mode, hooks and sharing stay.

    Args:
        model: any model that holds such modules; collections stay as they are.
        leave: names or patterns of modules that stay as they are.

    Returns:
        The bytes of every table before and after.

    Raises:
        InputError: a method that gives several vectors an id, or weights that some other module holds as well; the
            message names the module, and the model is as it was.

    Example:
        >>> from coset import LowRank, compress_
        >>> model = nn.Sequential(nn.Embedding(1000, 16))
        >>> report = compress_(model, LowRank(4))
        >>> report = expand_(model)
        >>> model[0], report.bytes_after
        (Embedding(1000, 16), 64000)
    """
    every = sites(model, KINDS)
    going, _ = apart(every, leave)
    holders = Holders(model)
    weights: dict[int, nn.Parameter] = {}
    pairs: list[tuple[Site, nn.Module]] = []
    found: list[Fitted] = []
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
        for site in going:
            _check(site, going, holders)
            old: Any = site.module
            fresh = id(old.tables) not in weights
            if fresh:
                trained = any(p.requires_grad for p in old.parameters())
                weights[id(old.tables)] = nn.Parameter(old.materialize(), requires_grad=trained)
            weight = weights[id(old.tables)]
            new = _full(old, weight)
            take_over(new, old)
            pairs.append((site, new))
            if fresh:
                before = inference_bytes(old.components())
                n, dim = weight.shape
                found.append(Fitted(site.name, n, dim, Full(), before, weight.nbytes, 0.0, 0.0))
    swap_all(pairs)
    return Compression(tuple(found))


def _check(site: Site, going: Sequence[Site], holders: Holders) -> None:
    check_plain(site, KINDS)
    old: Any = site.module
    where = f"module {site.name!r}"
    if len(old._module.vector_shape) > 1:
        raise InputError(f"{where}: {old.method.name!r} gives several vectors an id, which torch's modules do not")
    others: list[Any] = [other.module for other in going]
    inside = {id(module) for other in others if other.tables is old.tables for module in other.modules()}
    for parameter in old.parameters():
        for module, name in holders.of(parameter):
            if id(module) not in inside:
                raise InputError(f"{where}: {name!r} holds one of its arrays as well; leave this module as it is")
    holders.refuse_hidden(site, dict(old.named_parameters()))


def _full(old: Any, weight: nn.Parameter) -> nn.Module:
    n, dim = weight.shape
    options = {
        "padding_idx": old.padding_idx, "max_norm": old.max_norm, "norm_type": old.norm_type,
        "scale_grad_by_freq": old.scale_grad_by_freq, "device": "meta",
    }  # fmt: skip
    new: nn.Embedding | nn.EmbeddingBag
    if isinstance(old, EmbeddingBag):
        new = nn.EmbeddingBag(n, dim, mode=old.mode, include_last_offset=old.include_last_offset, **options)
    else:
        new = nn.Embedding(n, dim, **options)
    new.weight = weight
    return new
