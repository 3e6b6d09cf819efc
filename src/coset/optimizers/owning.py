"""The tables that an optimizer owns: taking them over, refusing other optimizers, copies, and giving them back."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from coset.engine.fused import FusedEngine
from coset.engine.owners import give_back, owner_of, take
from coset.engine.program import Program
from coset.errors import InputError
from coset.kernels import layout
from coset.optimizers.behind import Behind
from coset.optimizers.history import History
from coset.storage import StoredRows


class Owning(Behind):
    """An optimizer that owns the tables of collections."""

    version: int
    """Changes with every step, so that gradients of vectors from before it are recognised."""

    def _own(self, holders: Sequence[Any], engines: Sequence[FusedEngine]) -> None:
        """Take over tables, all of whose rows are at the last step."""
        self.engines = list(engines)
        self._parameters = self._free(engines)
        self._floats = [parameter for parameter in self._parameters if parameter.is_floating_point()]
        """Those that autograd may leave a gradient with: not codes."""
        self._begun = self.steps
        self._history = History(len(self.param_groups))
        numbers = [np.finfo(engine.program.dtype) for engine in engines]
        self._precision = float(numbers[0].eps)
        self._smallest, self._largest = (max(float(n.tiny) for n in numbers), min(float(n.max) for n in numbers))
        self._numbers = self._new_numbers()
        """The steps since the last synchronization, as kernels take them."""
        self._point()
        for parameter in self._parameters:
            take(parameter, self, lazily=self.dense)
        for holder, engine in zip(holders, engines, strict=True):
            holder.fuse(engine)
        self._holders = [weakref.ref(holder) for holder in holders]  # they hold this

    def _check_holders(self) -> None:
        """Raise an `InputError` where no model reads the tables that would be trained."""
        for holder, engine in zip(self._holders, self.engines, strict=True):
            if holder() is None:
                raise InputError(
                    f"{type(self).__name__} cannot take this step: the collection of its tables "
                    f"{list(engine.program.modules)[:3]} is no longer in use, or this optimizer was copied without it "
                    f"and has tables of its own, which no model reads; copy both together, as "
                    f"copy.deepcopy((model, optimizer)), or make an optimizer of this model"
                )

    def _free(self, engines: Sequence[FusedEngine]) -> list[Tensor]:
        """The arrays of all engines, unless another optimizer trains one of them."""
        every = {id(p): p for engine in engines for p in engine.program.parameters}
        if sum(len(engine.program.parameters) for engine in engines) > len(every):
            raise InputError("optimizer: two collections hold the same array, which kernels would train twice; use one")
        if (other := next((o for p in every.values() if (o := owner_of(p)) is not None), None)) is not None:
            raise InputError(
                f"optimizer: {type(other).__name__} owns a table of this model already; its release() gives them back"
            )
        return list(every.values())

    def __getstate__(self) -> dict[str, Any]:
        """The state of a copy, with the collections, since the copy owns those that are copied with it."""
        self.synchronize()
        holders = [holder() for holder in self._holders]
        if None in holders:
            raise InputError(f"{type(self).__name__} cannot be copied: a collection that it trains is no longer in use")
        own = ("defaults", "state", "param_groups", "max_norm", "nonfinite", "skipped", "replicas", "dense", "_factor")
        tables = [list(engine.program.modules) for engine in self.engines]
        pending = [engine.pending for engine in self.engines]
        return {name: getattr(self, name) for name in own} | {"owned": (holders, tables, pending)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Own the tables that were copied along; torch also calls it for loaded states."""
        owned = state.pop("owned", None)
        super().__setstate__(state)
        if owned is None:
            return
        holders, tables, pending = owned
        self.version = 0
        engines = [self._engine(holder, names) for holder, names in zip(holders, tables, strict=True)]
        self._own(holders, engines)
        for engine, found in zip(engines, pending, strict=True):
            engine.pending.extend(found)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Only for torch's own constructor.

        Raises:
            InputError: called later, when kernels would not know of the group.
        """
        if hasattr(self, "_history"):
            raise InputError(f"{type(self).__name__} takes tables over when it is made; groups cannot be added later")
        super().add_param_group(param_group)

    def release(self) -> None:
        """Bring the tables to the last step and give them up: they are ordinary parameters again, for any optimizer."""
        if self.dense and self._begun != self.steps:  # also of tables that were replaced
            self._bring_all([engine.own_addresses() for engine in self.engines])
        self.zero_grad()
        for holder in self._holders:
            if (owner := holder()) is not None:
                owner.fuse(None)
        for engine in self.engines:
            engine.outputs.clear()
            engine.sums.clear()
            engine.widened.clear()
        for parameter in self._parameters:
            give_back(parameter)

    def others(self, *modules: nn.Module) -> list[nn.Parameter]:
        """The parameters of these modules that no optimizer of coset owns, each once: those for an optimizer of torch.

        They include tables that cannot be owned, so pass the collections as well as the layers.

        Raises:
            InputError: something that is no module.
        """
        for module in modules:
            if not isinstance(module, nn.Module):
                raise InputError(
                    f"others takes modules, as others(model) or others(bags, tower), not {type(module).__name__}"
                )
        every = {id(p): p for module in modules for p in module.parameters()}
        return [p for p in every.values() if owner_of(p) is None]

    def _engine(self, holder: Any, names: Iterable[str] | None = None) -> FusedEngine:
        """The engine of a collection's tables, or of those of these names, which must still be `fusable`."""
        modules, features = holder.fusable()
        if names is not None:
            if not set(names) <= modules.keys():
                raise InputError(f"{type(self).__name__}: tables were copied that kernels cannot train any more")
            modules = {name: modules[name] for name in names}
            features = {feature: table for feature, table in features.items() if table in modules}
        arrays = (each for module in modules.values() for each in module.modules() if isinstance(each, StoredRows))
        dtypes = {stored.dtype for stored in arrays}
        if len(dtypes) > 1:
            raise InputError(f"optimizer: tables of one collection are of one dtype, not {sorted(map(str, dtypes))}")
        return FusedEngine(Program(modules, features, holder), self)

    def _point(self) -> None:
        """Pass the addresses of the states to the kernels."""
        group_of = {id(p): number for number, group in enumerate(self.param_groups) for p in group["params"]}
        # Arrays that kernels write to must stay alive, even where others replace them.
        self._pointed = [dict(state) for state in self.state.values()]
        for engine in self.engines:
            for line, parameter in zip(engine.states, engine.program.parameters, strict=True):
                state = dict(self.state[parameter])
                brought = state.pop("brought", None)
                line[:] = 0
                for column, value in zip((layout.STATE, layout.OTHER), state.values(), strict=False):
                    line[column] = value.data_ptr()
                line[layout.BROUGHT] = 0 if brought is None else brought.data_ptr()
                line[layout.GROUP] = group_of[id(parameter)]
