"""Where modules of some kinds are in a model, and what else refers to them or to their weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import FunctionType, MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn

from coset.errors import InputError
from coset.ledger.holding import OF_TORCH
from coset.ledger.memory import storages
from coset.settings import of_kind

_DEPTH = 3  # nested lists and dicts that are searched within an attribute


@dataclass(frozen=True)
class Place:
    """One place of a module: `parent._modules[key]`, called `name` in the model."""

    parent: nn.Module
    key: str
    name: str


@dataclass(frozen=True)
class Site:
    """A module of a model, and all its places: several where parents share it."""

    module: nn.Module
    places: tuple[Place, ...]

    @property
    def name(self) -> str:
        """That of the first place, for errors and reports."""
        return self.places[0].name

    @property
    def weight(self) -> nn.Parameter:
        """The weight of the module."""
        return cast("nn.Parameter", self.module.weight)

    @property
    def stored_otherwise(self) -> str:
        """Why its weight is no plain array; empty where it is one, or is computed from others."""
        weight = self.module._parameters.get("weight")
        if weight is None or (type(weight) in (nn.Parameter, Tensor) and weight.layout == torch.strided):
            return ""
        if type(weight) in (nn.Parameter, Tensor):
            return f"its weight is stored as {str(weight.layout).removeprefix('torch.')}"
        return f"its weight is a {type(weight).__name__}"

    @property
    def table_name(self) -> str:
        """The name with slashes for dots, which names of tables lack."""
        return self.name.replace(".", "/")


def first_of_weights(sites: Sequence[Site]) -> dict[str, str]:
    """By the name of each site, that of the first one which holds the same weight: its own unless the weight is tied. A
    module that computes its weight makes a new one each time, so it is alone."""
    first: dict[int, str] = {}
    held = {site.name: id(site.module._parameters.get("weight", site.module)) for site in sites}
    return {name: first.setdefault(key, name) for name, key in held.items()}


def sites(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> list[Site]:
    """The modules of these kinds in `model`, in the order of their first places.

    Raises:
        InputError: the model itself is of such a kind, so that it has no parent to swap it in.
    """
    of_kind("the model", model, nn.Module, "a module of torch")
    if isinstance(model, kinds):
        raise InputError(
            f"the model is itself a {type(model).__name__} without a parent; put it into a module such as nn.Sequential"
        )
    every = dict(model.named_modules())
    found: dict[int, tuple[nn.Module, list[Place]]] = {id(of): (of, []) for of in every.values()}
    for name, parent in every.items():
        if isinstance(parent, kinds):
            continue  # modules inside belong to it
        for key, child in parent._modules.items():
            if isinstance(child, kinds):
                place = Place(parent, key, f"{name}.{key}".lstrip("."))
                # Torch names a module by its first place.
                found[id(child)][1].insert(0 if every.get(place.name) is child else len(found[id(child)][1]), place)
    return [Site(module, tuple(places)) for module, places in found.values() if places]


def foreign(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> dict[str, nn.Module]:
    """The outermost modules whose class name says embedding, by name, that are none of these kinds and have none
    within: tables of other libraries, sharded, fused or quantized."""
    known = {id(of) for of in model.modules() if isinstance(of, kinds)}
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        within = any(not top or name.startswith(f"{top}.") for top in found)
        named_so = "embedding" in type(module).__name__.lower()
        if named_so and not within and not any(id(of) in known for of in module.modules()):
            found[name] = module
    return found


def named(model: nn.Module, found: list[Site], name: str) -> Site | None:
    """The site that `name` leads to, by any of its places; None where there is none."""
    try:
        module = model.get_submodule(name)
    except AttributeError:
        return None
    return next((site for site in found if site.module is module), None)


class Holders:
    """Which modules of a model hold which tensors and modules."""

    def __init__(self, model: nn.Module) -> None:
        self._of_tensor: dict[int, list[tuple[nn.Module, str]]] = {}
        self._of_memory: dict[Any, list[tuple[int, str]]] = {}
        self._of_object: dict[int, list[tuple[nn.Module, str]]] = {}
        for name, module in model.named_modules():
            for key, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None:
                    where = f"{name}.{key}".lstrip(".")
                    self._of_tensor.setdefault(id(tensor), []).append((module, where))
                    for memory in storages(tensor):
                        self._of_memory.setdefault(memory, []).append((id(tensor), where))
            for key, value in vars(module).items():
                if key not in OF_TORCH:
                    for held in _held(value):
                        self._of_object.setdefault(id(held), []).append((module, f"{name}.{key}".lstrip(".")))

    def of(self, tensor: Tensor) -> list[tuple[nn.Module, str]]:
        """The modules that register a tensor, with its name in each."""
        return self._of_tensor.get(id(tensor), [])

    def refuse_hidden(self, site: Site, tensors: Mapping[str, Tensor]) -> None:
        """Raise an `InputError` where something would keep using the old module, or the memory of its tensors."""
        for held in (site.module, *tensors.values()):
            for module, where in self._of_object.get(id(held), []):
                if module is not site.module:
                    raise InputError(
                        f"module {site.name!r}: {where!r} refers to it, past the modules of torch, and would keep "
                        "using the old table; leave this module as it is, or look it up by its name"
                    )
        for tensor in tensors.values():
            for other, where in (held for memory in storages(tensor) for held in self._of_memory.get(memory, [])):
                if other != id(tensor):
                    raise InputError(
                        f"module {site.name!r}: its weight lies in the memory of {where!r}, so the two change "
                        f"together; leave this module as it is, or give it memory of its own"
                    )


def _held(value: Any, depth: int = _DEPTH) -> Iterator[Any]:
    """Tensors and modules in an attribute, or in lists, dicts and functions there."""
    if isinstance(value, nn.Module | Tensor):
        yield value
    elif depth and isinstance(value, list | tuple | set | frozenset | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _held(item, depth - 1)
    elif depth and callable(value):
        for item in _bound(value):
            yield from _held(item, depth - 1)


def _bound(function: Any) -> Iterator[Any]:
    """What a function keeps using after a swap, such as the module of `torch.compile(module)`."""
    if isinstance(function, MethodType):
        yield function.__self__
    elif isinstance(function, partial):
        yield from (function.func, *function.args, *function.keywords.values())
    elif isinstance(function, FunctionType):
        for cell in function.__closure__ or ():
            with suppress(ValueError):  # an empty one
                yield cell.cell_contents
