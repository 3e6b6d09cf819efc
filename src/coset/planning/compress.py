"""`compress_`: makes the tables of any torch model smaller in place, fitted to their trained weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coset.errors import InputError, unknown
from coset.ledger import inference_bytes, measure
from coset.methods import Method
from coset.methods.full import Full
from coset.planning.fits import buys_order
from coset.planning.plan import Plan
from coset.planning.rules import PlanLike, apart, is_budget, is_measured, methods_of
from coset.planning.sites import Holders, Site, first_of_weights, foreign, named, sites
from coset.planning.storages import AllowedStorages, Storages
from coset.planning.swap import check_plain, swap_all, take_over
from coset.schema import COMPUTED, Table
from coset.settings import number, of_kind, truth, whole
from coset.tables import Embedding, EmbeddingBag, EmbeddingBagCollection, EmbeddingCollection
from coset.tables.fitted import Compression, Fitted, Left, fit_, frequency_weights

KINDS = (nn.Embedding, nn.EmbeddingBag)
_OURS = (Embedding, EmbeddingBag, EmbeddingCollection, EmbeddingBagCollection)


def compress_(
    model: nn.Module,
    plan: PlanLike,
    *,
    frequencies: Mapping[str, Any] | None = None,
    fit: bool = True,
    full_below: int = 0,
    leave: Sequence[str] = (),
    storages: Storages | None = None,
    seed: int = 0,
) -> Compression:
    """Swap the `nn.Embedding` and `nn.EmbeddingBag` of a model for coset's, in place, fitted to their weights.

    Everything else stays: options, device, type, mode, frozen weights, hooks of modules, modules that several parents
    share, and weights that several of these modules hold together. Where something cannot be kept, an error names the
    module, and the model is as it was. Tables that are quantized or sharded already, and those of other libraries, are
    left as they are, and listed in the report (`left`). Make the optimizer afterwards, since the parameters are new.

    Args:
        model: any model that holds such modules.
        plan: a `Plan`, whose tables have the names of the modules; rules, a mapping from names of modules and patterns
            such as `"*.items"` to methods, where an exact name comes before patterns, and the first pattern that
            matches counts (`"*"` is the default; a module that none matches stays as it is); one method for all, or a
            function from `Table` to `Method`; or a budget for all tables together, `"1MB"`, a number of bytes, `"25%"`
            or 0.25, within which tables get the methods and the bits that come nearest to their weights
            (`coset.planning.fits`). A table that gets a bare row an id (`"full"`), and one that a budget cannot make
            smaller, stays as it is.
        frequencies: how often each id occurs, by name of the module; a budget needs them for all tables or for none.
            For a weight that several modules hold, they are summed. The fit weights ids by them. A method that needs
            ids in order of popularity gets an `order`, 4 bytes an id, where ids are in another order; within a budget
            where that pays, which the report says (`note`); and not from a plan, which is for ids as they are.
        fit: come as near to the trained weights as the method allows; otherwise values are fresh, of the deviation that
            the weights have. A saved state fits into a fresh model that was compressed by the same methods
            (`report.methods`): with the same frequencies where rules gave an `order`; after a budget, with those of the
            tables that have one; and without any after a plan.
        full_below: tables of fewer ids stay as they are; a budget counts them.
        leave: names or patterns of modules that stay as they are; a budget does not count them.
        storages: what a budget may choose from: names, such as `"int8"`, `"bfloat16"` or `"packed"` for any number of
            bits, or storages; by default all. With `["float32"]`, and for weights without values, it is planned by
            frequencies (`planning.planner.methods_within`) or, without these, gives each table the same share by
            `low_rank`.
        seed: of fresh values, from which some fits start; a whole number of 0 … 2^64 - 1.

    Returns:
        For every table its bytes before and after, and the error of the fit. New tables are in the form that optimizers
        of torch train, where numbers of few bits are floats that are rounded as they are read: `coset.pack_` leaves the
        bits alone, and `coset.unpack_` leads back.

    Raises:
        InputError: a plan that does not fit the model, an option that a method cannot offer (`sparse`; `max_norm` and
            `scale_grad_by_freq` but for `full`), a weight that some other module holds as well, or a budget that no
            table fits in. The message names the module.

    Example:
        >>> model = nn.ModuleDict({"user": nn.Embedding(1000, 16), "genre": nn.Embedding(20, 16)})
        >>> report = compress_(model, {"*": {"method": "low_rank", "rank": 4}}, full_below=100)
        >>> report.bytes_before, report.bytes_after, model["user"].method
        (65280, 17536, LowRank(rank=4))
    """
    seed = whole("seed", seed, 0, 2**64 - 1)
    of_kind("frequencies", frequencies, (Mapping, type(None)), "a column by name of the module")
    fit, least = truth("fit", fit), number("full_below", full_below)
    known = sites(model, KINDS)
    otherwise = [site for site in known if site.stored_otherwise]
    _refuse_naming(plan, model, otherwise)
    every = [site for site in known if not site.stored_otherwise]
    first = first_of_weights(every)
    weights = [[site for site in every if first[site.name] == name] for name in dict.fromkeys(first.values())]
    counts = _counts(model, known, frequencies or {})
    chosen, left = apart(known, leave)
    chosen, left = [site for site in chosen if site not in otherwise], [*left, *otherwise]
    tables = {site.name: (site, _table(site, counts.get(site.name))) for site in chosen}
    small = {name for name, (_, table) in tables.items() if table.num_embeddings < least}
    allowed = AllowedStorages(storages)
    methods = methods_of(plan, model, tables, small, left, allowed)
    going = {name: of for name, of in methods.items() if name not in small and not of.is_full}
    measured = is_measured(plan, tables, allowed)
    holders = Holders(model)
    groups = [_together(tables[name][0], going, tables, holders) for name in going]
    groups = [group for at, group in enumerate(groups) if group not in groups[:at]]
    found: dict[str, Fitted] = {}
    pairs: list[tuple[Site, nn.Module]] = []
    with torch.random.fork_rng(devices=_devices(model)), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        for group in groups:
            name = group[0].name
            table = tables[name][1]
            as_they_come = isinstance(plan, Plan) or (is_budget(plan) and not (measured and buys_order(table)))
            order = None if as_they_come else _order(table, going[name])
            made, found[name] = _made(group, table, going[name], order, fit)
            if measured and order is not None:
                found[name] = replace(found[name], note="with an order of ids")
            pairs += zip(group, made, strict=True)
    swap_all(pairs)
    others = [
        *((site.name, site.module, site.stored_otherwise) for site in otherwise),
        *((name, of, "no nn.Embedding or nn.EmbeddingBag") for name, of in foreign(model, (*KINDS, *_OURS)).items()),
    ]
    return Compression(
        tuple(found.get(group[0].name) or _left(group) for group in weights),
        tuple(Left(name, type(of).__name__, measure(of).inference, why) for name, of, why in others),
    )


def tables_of(model: nn.Module, frequencies: Mapping[str, Any] | None = None) -> list[Table]:
    """The tables of the `nn.Embedding` and `nn.EmbeddingBag` in a model, to plan for; each is named by its module, with
    a slash for every dot. A weight that several of them hold occurs once, under the first name.

    Args:
        model: any model that holds such modules.
        frequencies: how often each id occurs, by name of the module.

    Example:
        >>> model = nn.Sequential(nn.Sequential(nn.Embedding(1000, 16)))
        >>> [(table.name, table.full_bytes) for table in tables_of(model)]
        [('0/0', 64000)]
    """
    every = sites(model, KINDS)
    counts = _counts(model, every, frequencies or {})
    every = [site for site in every if not site.stored_otherwise]
    first = first_of_weights(every)
    return [_table(site, counts.get(site.name)) for site in every if first[site.name] == site.name]


def _refuse_naming(plan: PlanLike, model: nn.Module, otherwise: list[Site]) -> None:
    """Raise an `InputError` where rules or a plan name a module that cannot be swapped."""
    if isinstance(plan, Plan):
        names = [name.replace("/", ".") for name in plan.tables]
    else:
        names = [name for name in plan if isinstance(name, str)] if isinstance(plan, Mapping) else []
    for name in names:
        if site := named(model, otherwise, name):
            raise InputError(
                f"module {name!r}: {site.stored_otherwise}, not a plain array, so it cannot be made smaller; leave "
                "it out, or give it a plain weight first"
            )


def _counts(model: nn.Module, every: list[Site], frequencies: Mapping[str, Any]) -> dict[str, Any]:
    """Frequencies by the first name of each module; of modules that hold one weight, the sum of all."""
    own: dict[str, Any] = {}
    for name, given in frequencies.items():
        if (site := named(model, every, name)) is None:
            raise unknown("module with frequencies", name, [of.name for of in every])
        if site.name in own:
            raise InputError(f"module {site.name!r}: frequencies are given under two of its names; give them once")
        try:
            own[site.name] = Table(site.table_name, len(site.weight), 1, frequencies=given).frequencies
        except InputError as error:
            raise InputError(f"module {site.name!r}: {error}") from None
    first = first_of_weights(every)
    of_weight: dict[str, Any] = {}
    for name, counts in own.items():
        of_weight[first[name]] = counts if first[name] not in of_weight else of_weight[first[name]] + counts
    return {name: of_weight[first[name]] for name in first if first[name] in of_weight}


def _table(site: Site, frequencies: Any) -> Table:
    """The table of a module, with the deviation of its weight."""
    if "weight" not in site.module._parameters:
        raise InputError(
            f"module {site.name!r}: its weight is computed from other tensors, so a new table could not take its place"
        )
    weight = site.weight
    if not weight.numel() or weight.dtype not in COMPUTED:
        raise InputError(
            f"module {site.name!r}: a table has floating-point numbers of 16, 32 or 64 bits, not {tuple(weight.shape)} "
            f"of {weight.dtype}"
        )
    size = 0.0 if weight.is_meta else float(torch.linalg.vector_norm(weight.detach(), dtype=torch.float64))
    std = size / weight.numel() ** 0.5
    std = std if 0 < std < float("inf") else 1.0
    try:
        return Table(site.table_name, len(weight), weight.shape[1], std, weight.dtype, frequencies)
    except InputError as error:
        raise InputError(f"module {site.name!r}: {error}") from None


def _together(
    site: Site, going: Mapping[str, Method], tables: Mapping[str, tuple[Site, Table]], holders: Holders
) -> list[Site]:
    """All sites that hold the same weight as this one, after a check that they may all be swapped."""
    of_module = {id(of.module): of for of, _ in tables.values()}
    check_plain(site, KINDS)
    weight = site.weight
    group = []
    for module, where in holders.of(weight):
        other = of_module.get(id(module))
        if other is None or other.name not in going:
            raise InputError(
                f"module {site.name!r}: its weight is tied to {where!r}, which would be untied; leave this module as "
                f"it is, or give both the same method"
            )
        if going[other.name] != going[site.name]:
            raise InputError(
                f"module {site.name!r}: its weight is tied to that of {other.name!r}, which is to be stored by another "
                f"method; give both the same"
            )
        group.append(other)
    holders.refuse_hidden(site, {"weight": weight})
    _check_options(site, going[site.name])
    return group


def _check_options(site: Site, method: Method) -> None:
    module: Any = site.module
    where = f"module {site.name!r}"
    if module.sparse:
        raise InputError(f"{where}: coset's tables have no sparse gradients; set sparse=False first")
    for option in ("max_norm", "scale_grad_by_freq"):
        if getattr(module, option):
            raise InputError(f"{where}: {option} needs a row for each id, and {method.name!r} has none; use 'full'")
    padding, weight = module.padding_idx, module.weight.detach()
    if isinstance(module, nn.Embedding) and padding is not None and not weight.is_meta and bool(weight[padding].any()):
        raise InputError(
            f"{where}: the row of its padding_idx {padding} is not zero, and a method whose rows are shared reads it "
            f"as zeros; set it to zero first"
        )


def _made(
    group: Sequence[Site], table: Table, method: Method, order: np.ndarray | None, fit: bool
) -> tuple[list[nn.Module], Fitted]:
    """The new modules of a group that shares a weight, and the report of that weight."""
    old: Any = group[0].module
    weight: Tensor = old.weight
    if weight.is_inference():  # a copy, as autograd refuses tensors made under inference_mode
        weight = weight.clone().requires_grad_(weight.requires_grad)
    if fit and weight.is_meta:
        raise InputError(f"module {group[0].name!r}: its weight is on the meta device, with no values; use fit=False")
    try:
        new = [_built(site.module, table, method, order) for site in group]
        for other in new[1:]:
            other.tables = new[0].tables
        error, relative = fit_(new[0], weight, _weighed(group, table)) if fit else (None, None)
    except InputError as wrong:
        raise InputError(f"module {group[0].name!r}: {wrong}") from None
    for site, made in zip(group, new, strict=True):
        take_over(made, site.module)
    new[0].requires_grad_(weight.requires_grad)
    size = inference_bytes(new[0].components())
    tied = tuple(site.name for site in group[1:])
    return new, Fitted(
        group[0].name,
        table.num_embeddings,
        table.embedding_dim,
        method,
        weight.nbytes,
        size,
        error,
        relative,
        tied=tied,
    )


def _built(old: Any, table: Table, method: Method, order: np.ndarray | None) -> Any:
    options = {"padding_idx": old.padding_idx, "order": order, "device": old.weight.device}
    if isinstance(old, nn.EmbeddingBag):
        return EmbeddingBag.from_table(
            table, method, mode=old.mode, include_last_offset=old.include_last_offset, **options
        )
    return Embedding.from_table(table, method, **options)


def _order(table: Table, method: Method) -> np.ndarray | None:
    """Ranks by frequency, for a method that needs ids in that order, where they are not."""
    counts = table.frequencies
    if not method.by_popularity or counts is None or bool((counts[1:] <= counts[:-1]).all()):
        return None
    order = np.empty(table.num_embeddings, np.int64)
    order[np.argsort(-np.asarray(table.frequencies, np.float64), kind="stable")] = np.arange(table.num_embeddings)
    return order


def _weighed(group: Sequence[Site], table: Table) -> Tensor | None:
    """The weight of each id in the fit: 0 for padding, which is never read."""
    paddings = {getattr(site.module, "padding_idx", None) for site in group}
    share = frequency_weights(table.frequencies)
    if len(paddings) > 1 or None in paddings:
        return share
    share = torch.ones(table.num_embeddings, dtype=torch.float64) if share is None else share.clone()
    share[paddings.pop()] = 0
    return share if bool(share.any()) else None


def _left(group: Sequence[Site]) -> Fitted:
    """The report of a weight that stays as it is."""
    (n, dim), size = group[0].weight.shape, group[0].weight.nbytes
    tied = tuple(site.name for site in group[1:])
    return Fitted(group[0].name, n, dim, Full(), size, size, 0.0, 0.0, "left as it is", tied)


def _devices(model: nn.Module) -> list[torch.device]:
    return list({p.device for p in model.parameters() if p.device.type == "cuda"})
