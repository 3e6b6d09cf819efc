"""From an artifact of tables into the user's own model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coset.checkpoints.stored import StoredTables
from coset.checkpoints.tables import module_of
from coset.errors import InputError, unknown
from coset.methods import Method
from coset.planning.compress import KINDS, compress_
from coset.planning.sites import Site, sites
from coset.settings import of_kind
from coset.storage.forms import pack_


@dataclass(frozen=True)
class Loaded:
    """What became of the tables of a checkpoint in a model.

    Args:
        small: names of modules that are tables of coset now.
        full: names of tensors whose tables were put in as they are, or as the vectors that their small arrays give.
        others: number of other tensors.
    """

    small: tuple[str, ...]
    full: tuple[str, ...]
    others: int


def load_compressed(model: nn.Module, folder: str | Path, *, expand: Sequence[str] = ()) -> Loaded:
    """Put what `coset compress FILE` wrote into a model of the class that the checkpoint is of, in place.

    Each `nn.Embedding` and `nn.EmbeddingBag` whose weight is a table of the artifact becomes a `coset.Embedding` or
    `coset.EmbeddingBag` with the same options, which takes the same calls, in its stored form: for inference;
    `coset.unpack_(model)` makes it trainable again. A table that another kind of module holds, such as the weight of an
    `nn.Linear`, is put in as full vectors. All other tensors are loaded as `load_state_dict` does, and every name and
    shape is checked before anything changes. A model on the meta device gets memory on the CPU.

    Args:
        model: fresh or trained, with the names of the checkpoint.
        folder: of the artifact.
        expand: names of tensors or modules, or patterns, whose tables are put in as full vectors, such as those that an
            output layer shares.

    Returns:
        Names of the tables by what became of them.

    Raises:
        InputError: no such artifact; a tensor that model or artifact lacks, or of another shape; or a module that
            cannot be replaced (see `coset.compress_`). The model is as it was.

    Example:
        A model of class `Recommender`, whose checkpoint is `model.safetensors`:

        ```console
        $ coset compress model.safetensors --budget 10% --out small
        ```

        ```python
        model = Recommender()
        coset.load_compressed(model, "small")
        ```
    """
    of_kind("the model", model, nn.Module, "a module of torch")
    stored = StoredTables(Path(folder))
    state = {name: of for name, of in model.state_dict(keep_vars=True).items() if isinstance(of, Tensor)}
    _check_names(stored, state)
    small = _small(model, stored, _asked(stored, expand))
    for name in stored.tables:
        stored.check(name)
    full = [name for name in stored.tables if name not in small]
    others = stored.others
    given = {name: stored.vectors(name) for name in full}
    given |= {name: others.rows(name, 0, of.rows).reshape(of.shape) for name, of in others.entries.items()}
    given |= {name: given[first] for name, first in stored.tied.items() if first in given}
    devices = {tensor: site.weight.device for tensor, site in small.items()}
    _swap(model, stored, small)
    for tensor, site in small.items():
        _fill(model.get_submodule(site.name), stored.arrays(tensor), devices[tensor])
    _load(model, {name: value for name, value in given.items() if name in state})
    return Loaded(tuple(site.name for site in small.values()), tuple(full), len(others.entries))


def _asked(stored: StoredTables, patterns: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        some = {name for name in stored.tables if any(fnmatchcase(of, pattern) for of in (name, module_of(name)))}
        if not some:
            raise unknown("table to expand", pattern, [*stored.tables, *map(module_of, stored.tables)])
        found |= some
    return found


def _check_names(stored: StoredTables, state: dict[str, Tensor]) -> None:
    """Raise an `InputError` unless artifact and model have the same tensors, but for names of one tensor."""
    there = {*stored.names}
    same = {id(value): name for name, value in state.items() if name in there}
    missing = [name for name, value in state.items() if name not in there and id(value) not in same]
    if missing:
        name = missing[0]
        more = f" and {len(missing) - 1} more tensors" if len(missing) > 1 else ""
        raise InputError(f"{stored.folder}: the model has {name!r}{more}, which the checkpoint lacks; give a model of "
                         "the same class")  # fmt: skip
    for name in stored.names:
        if name not in state and stored.tied.get(name) not in state:
            raise unknown(f"tensor of the model, which {stored.folder} has,", name, state)
    shapes: dict[str, tuple[int, ...]] = {
        name: (table.num_embeddings, table.embedding_dim) for name, (table, _) in stored.tables.items()
    }
    shapes |= {name: of.shape for name, of in stored.others.entries.items()}
    for name, shape in shapes.items():
        if name in state and tuple(state[name].shape) != tuple(shape):
            mine = list(state[name].shape)
            raise InputError(f"{stored.folder}: {name!r} has shape {list(shape)}, and in the model {mine}; give a "
                             "model of the same sizes")  # fmt: skip


def _small(model: nn.Module, stored: StoredTables, expand: set[str]) -> dict[str, Site]:
    """The modules that become small, by the tensor of their table."""
    every = {f"{place.name}.weight": site for site in sites(model, KINDS) for place in site.places}
    found: dict[str, Site] = {}
    for name, (_, method) in stored.tables.items():
        if name in every and name not in expand and not method.is_full and not every[name].stored_otherwise:
            found[name] = every[name]
    return found


def _swap(model: nn.Module, stored: StoredTables, small: dict[str, Site]) -> None:
    """Replace modules by tables on the meta device, all of them or none."""
    rules: dict[str, Method] = {site.name: stored.tables[tensor][1] for tensor, site in small.items()}
    ranks = {site.name: order for tensor, site in small.items() if (order := stored.order(tensor)) is not None}
    frequencies = {name: len(order) - order.long() for name, order in ranks.items()}
    weights = {id(site.weight): site.weight for site in small.values()}
    thin = {key: nn.Parameter(torch.empty_like(of, device="meta"), of.requires_grad) for key, of in weights.items()}
    holders = [of for of in model.modules() if id(of._parameters.get("weight")) in weights]
    before = {id(of): of._parameters["weight"] for of in holders}
    try:
        for module in holders:  # so that nothing is made in the size of the full tables
            module._parameters["weight"] = thin[id(module._parameters["weight"])]
        compress_(model, rules, frequencies=frequencies, fit=False)
    except InputError as error:
        for module in holders:
            module._parameters["weight"] = before[id(module)]
        raise InputError(f"{error} (expand= puts a table in as full vectors)") from None


@torch.no_grad()
def _fill(module: Any, arrays: dict[str, Tensor], device: torch.device) -> None:
    """Give a table of coset, on the meta device, its arrays."""
    pack_(module)
    module.to_empty(device="cpu" if device.type == "meta" else device)
    state = module.tables[module.table.name].state_dict()
    for name, value in arrays.items():
        state[name].copy_(value)


def _load(model: nn.Module, given: dict[str, Tensor]) -> None:
    """Load tensors, all of which the model has, by its own `load_state_dict`."""
    state = model.state_dict(keep_vars=True)
    empty = any(state[name].is_meta for name in given)
    if empty:  # torch would leave such a tensor empty
        given = {name: of if state[name].is_meta else of.to(state[name]) for name, of in given.items()}
    model.load_state_dict(given, strict=False, assign=empty)
