"""`TableOptimizer`: what all optimizers of tables share, from taking tables over to a step done whole or not."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf, sqrt
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from coset.errors import InputError, UnownedTables
from coset.kernels import layout, updates
from coset.kernels.compile import SMALL, announce, exclusively, launch
from coset.methods.base import TableModule
from coset.methods.owners import as_they_lie, give_back, owner_of, take
from coset.methods.program import Program
from coset.optimizers.arguments import (
    Replicas,
    check_factor,
    check_groups,
    check_module,
    check_options,
    check_ranks,
)
from coset.optimizers.engine import Call, Engine, Gradients
from coset.optimizers.history import History

_LONGEST = 1 << 16
"""Steps after which all rows are brought up, so that what steps did need not be kept for ever."""


class TableOptimizer(torch.optim.Optimizer):
    """Owns the row-composed tables of a model, and trains them by kernels.

    From then on the collections of the model look their tables up by kernels too, backward passes leave sums of
    gradients by row with the optimizer, and the tables get no `.grad`: hand the other parameters, those of
    `others(model)`, to an optimizer of torch's. A step checks, clips and applies all sums, or changes nothing.
    Drive it like any optimizer of torch's: `param_groups`, schedulers and `state_dict` work as there. What a
    step reads and writes follows the batch, not the number of ids. Copied or pickled together with its model, as
    `copy.deepcopy((model, optimizer))`, it owns the copied tables. Copied alone, it has copies of its tables that no
    model reads: `state_dict` gives its state, and a step raises.

    `torch.nn.utils.clip_grad_norm_` sees no gradients of these tables: give `max_norm`, or clip them together with
    those of other parameters by `gradient_norm` and `scale_gradients`.

    Args:
        module: a collection, or any model that holds some.
        lr: learning rate.
        weight_decay: decoupled: with a step, a row loses this part of itself, times the learning rate. Rows without
            a gradient lose nothing, except by `Adam(mode="dense")`.
        max_norm: longest allowed norm of all gradients together; longer ones are scaled down to it.
        nonfinite: `"error"`: a gradient that is NaN or infinite raises a `FloatingPointError`; `"skip"`: its step is
            left out, and counted in `skipped`. No table changes in either case.
        projection_scale: learning rate of projections, relative to that of rows.
        replicas: `"alike"`: where `torch.distributed` has several ranks, a step raises, since gradients of tables are
            not exchanged; `"independent"`: each rank trains a model of its own.

    Raises:
        InputError: no table in the module is composed of rows on the CPU, or another optimizer owns one.

    Warns:
        UnownedTables: some tables cannot be owned; it names them, and says why.
    """

    kind: ClassVar[int]
    dense: bool = False
    """Whether rows without a gradient change, too."""

    def __init__(
        self,
        module: nn.Module,
        lr: float,
        *,
        eps: float = 0.0,
        weight_decay: float = 0.0,
        max_norm: float | None = None,
        nonfinite: Literal["error", "skip"] = "error",
        projection_scale: float = 1.0,
        betas: tuple[float, float] = (0.0, 0.0),
        replicas: Replicas = "alike",
    ) -> None:
        check_options(
            lr=lr, eps=eps, weight_decay=weight_decay, betas=betas, max_norm=max_norm, nonfinite=nonfinite,
            projection_scale=projection_scale, replicas=replicas,
        )  # fmt: skip
        check_module(type(self).__name__, module)
        holders, left = _found(module)
        if not holders:
            raise InputError(_none_to_own(type(self).__name__, left))
        engines = [self._engine(holder) for holder in holders]
        every = self._free(engines)
        slow = {id(p) for m in module.modules() if isinstance(m, TableModule) for p in m.projections()}
        groups = [
            {"params": [p for p in every if (id(p) in slow) == is_slow], "lr": lr * scale}
            for is_slow, scale in ((False, 1.0), (True, projection_scale))
        ]
        self.max_norm, self.nonfinite, self.skipped, self.version = max_norm, nonfinite, 0, 0
        self.replicas = replicas
        self._factor = 1.0
        super().__init__(
            [group for group in groups if group["params"]],
            {"lr": lr, "eps": eps, "weight_decay": weight_decay, "betas": tuple(betas), "steps": 0},
        )
        if left:
            warnings.warn(_left_out(type(self).__name__, left), UnownedTables, stacklevel=3)
        for parameter in every:
            self.state[parameter] = self._fresh_state(parameter)
            parameter.grad = None  # of the optimizer before
        self._own(holders, engines)
        announce()

    def _own(self, holders: Sequence[Any], engines: Sequence[Engine]) -> None:
        """Take tables over whose rows are all brought to the last step."""
        self.engines = list(engines)
        self._parameters = self._free(engines)
        self._begun = self.steps
        self._history = History(len(self.param_groups))
        numbers = [np.finfo(engine.program.dtype) for engine in engines]
        self._precision = float(numbers[0].eps)
        self._smallest, self._largest = (max(float(n.tiny) for n in numbers), min(float(n.max) for n in numbers))
        self._numbers = self._new_numbers()
        """What kernels are told of the steps since the last synchronization."""
        self._point()
        for parameter in self._parameters:
            take(parameter, self, lazily=self.dense)
        for holder, engine in zip(holders, engines, strict=True):
            holder.fuse(engine)
        self._holders = [weakref.ref(holder) for holder in holders]  # they hold this

    def _check_holders(self) -> None:
        """Raise an `InputError` where nobody can look up what would be trained."""
        for holder, engine in zip(self._holders, self.engines, strict=True):
            if holder() is None:
                raise InputError(
                    f"{type(self).__name__} cannot take this step: the collection of its tables "
                    f"{list(engine.program.modules)[:3]} is no longer in use, or this optimizer was copied without it "
                    f"and has tables of its own, which no model reads; copy both together, as "
                    f"copy.deepcopy((model, optimizer)), or make an optimizer of this model"
                )

    def _free(self, engines: Sequence[Engine]) -> list[nn.Parameter]:
        """The parameters of all engines, if nobody else trains one of them."""
        every = {id(p): p for engine in engines for p in engine.program.parameters}
        if sum(len(engine.program.parameters) for engine in engines) > len(every):
            raise InputError("optimizer: two collections hold one array, which kernels would train in each; use one")
        if (other := next((o for p in every.values() if (o := owner_of(p)) is not None), None)) is not None:
            raise InputError(
                f"optimizer: {type(other).__name__} owns a table of this model already; its release() gives them back"
            )
        return list(every.values())

    # -- copies ------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made of: the collections as well, since it is to own those that are copied with it."""
        self.synchronize()
        holders = [holder() for holder in self._holders]
        if None in holders:
            raise InputError(f"{type(self).__name__} cannot be copied: a collection that it trains is no longer in use")
        own = ("defaults", "state", "param_groups", "max_norm", "nonfinite", "skipped", "replicas", "dense", "_factor")
        tables = [list(engine.program.modules) for engine in self.engines]
        pending = [engine.pending for engine in self.engines]
        return {name: getattr(self, name) for name in own} | {"owned": (holders, tables, pending)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Own the tables that were copied along; torch calls it for loaded states, too."""
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

    # -- what the kinds of optimizers differ in ----------------------------------------------------------------

    def _fresh_state(self, parameter: Tensor) -> dict[str, Tensor]:
        """What is kept beside a parameter, under the names that torch's optimizers use; at most two arrays, and
        `brought`, the step that each row is brought to."""
        raise NotImplementedError

    # -- the interface of torch's optimizers -------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Steps taken."""
        return int(self.param_groups[0]["steps"])

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Check, clip and apply the gradients of all backward passes since the last step.

        Raises:
            FloatingPointError: a gradient is NaN, infinite or too large, and `nonfinite` is `"error"`.
            InputError: tables were replaced, moved or frozen, the model is no longer there or this was copied without
                it, a setting is no number to train with, or there are several ranks, see `replicas`.
        """
        check_ranks(type(self).__name__, self.replicas)
        self._check_holders()
        for hook in self._optimizer_step_pre_hooks.values():
            hook(self, (), {})
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        check_groups(self.param_groups, self._largest)
        with as_they_lie():
            wrong = next((p for p in self._parameters if p.grad is not None or not p.requires_grad), None)
            if wrong is not None:
                raise InputError(
                    f"{type(self).__name__} cannot take this step: "
                    + ("a table has a .grad, from a use of its parameters outside of the collection (a penalty, say), "
                       "of which kernels know nothing; leave that out, or train by an optimizer of torch's"
                       if wrong.requires_grad
                       else "a table was frozen by requires_grad=False; call no step while it is")
                )  # fmt: skip
        places = [engine.addresses() for engine in self.engines]
        waiting = [(engine, _together(engine)) for engine in self.engines]
        norm = _norm(found for _, found in waiting) * abs(self._factor)
        scale = self._factor * (1.0 if self.max_norm is None else min(1.0, self.max_norm / (norm + 1e-6)))
        limit = inf if self.kind == layout.SGD else self._largest  # of squares, which the others keep sums of
        longest = scale * (norm / abs(self._factor)) if norm else 0.0  # of what is applied
        if not (norm < inf and longest * longest < limit) or 0 < abs(scale) < self._smallest:
            names = [_not_finite(engine, found, limit) for engine, found in waiting if found is not None]
            self._forget()
            if self.nonfinite == "skip":
                self.skipped += 1
                return loss
            table = next((repr(name) for name in names if name is not None), "of all")  # all together may overflow
            raise FloatingPointError(
                f"table {table}: a gradient is NaN or infinite, or too large to be squared, so this step was not "
                f"taken and nothing has changed; lower the learning rate, or leave such steps out with nonfinite='skip'"
            )
        rows = sum(len(found.distinct) for _, found in waiting if found is not None)
        now, version = self.steps + 1, self.version + 1

        def commit() -> None:
            rates = [float(group["lr"]) for group in self.param_groups]
            self._note(now, rates)
            numbers = self._numbers
            if scale != 1:
                numbers = numbers.copy()
                numbers[updates.SCALE] = scale
            for (engine, found), arrays in zip(waiting, places, strict=True):
                if found is not None:
                    launch(
                        updates.apply, rows, self.kind, arrays, engine.states, found.tasks, found.distinct, found.sums,
                        found.counts, now, self._begun, numbers, np.array(rates), *self._history.arrays,
                    )  # fmt: skip
            for group in self.param_groups:
                group["steps"] = now
            self.version = version
            torch.autograd.graph.increment_version(self._parameters)
            self._forget()

        exclusively(_wholly, commit)
        for hook in self._optimizer_step_post_hooks.values():
            hook(self, (), {})
        return loss

    # torch wraps `step` to profile it, which takes as long as all kernels of a small batch.
    step.hooked = True  # type: ignore[attr-defined]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients that wait for a step."""
        self._forget()
        for parameter in self._parameters:
            parameter.grad = None

    def gradient_norm(self) -> float:
        """The norm of all gradients that wait for a step, before `max_norm`; NaN or infinite where one of them is."""
        return _norm(map(_together, self.engines)) * abs(self._factor)

    def scale_gradients(self, factor: float) -> None:
        """Multiply all gradients that wait for a step, as when they are clipped together with those of other
        parameters, or as the scale of a `torch.amp.GradScaler` is taken off: `scale_gradients(1 / scaler.get_scale())`.
        """
        self._factor *= check_factor(factor)

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """Asked for by `torch.amp.GradScaler.step`, which finds no gradients in `.grad` and would only fail later."""
        raise InputError(
            f"GradScaler sees no gradients of the tables that {type(self).__name__} owns: call "
            f"optimizer.scale_gradients(1 / scaler.get_scale()) and optimizer.step() in place of scaler.step(optimizer)"
        )

    def scratch_bytes(self) -> dict[str, int]:
        """Bytes that are kept besides tables and state now, by purpose: to be used again, for a step that waits, and
        for steps to be made up for."""
        waiting = [found for engine in self.engines for found in engine.pending]
        history = sum(array.nbytes for array in self._history.arrays) if self.dense else 0
        return {
            "vectors": sum(engine.outputs.bytes for engine in self.engines),
            "sums of gradients by row": sum(engine.sums.bytes for engine in self.engines)
            + sum(found.distinct.nbytes for found in waiting),
            "steps to make up for": history,
        }

    def _forget(self) -> None:
        self._factor = 1.0
        for engine in self.engines:
            engine.pending.clear()

    def state_dict(self) -> dict[str, Any]:
        """As torch's; every row is brought to the last step first."""
        self.synchronize()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, with every array of the size and type that it has here.

        Raises:
            InputError: the state is of another kind of optimizer or of other tables.
        """
        own = [[_shapes(self.state[p]) for p in group["params"]] for group in self.param_groups]
        groups, states = state_dict.get("param_groups", []), state_dict.get("state", {})
        given = [[_shapes(states.get(number, {})) for number in group["params"]] for group in groups]
        if given != own or not all("steps" in group for group in groups):  # before torch puts it in place of ours
            raise InputError("optimizer: the state to load is of another optimizer, or of other tables")
        old = {id(p): state for p, state in self.state.items()}
        super().load_state_dict(state_dict)
        for parameter, state in self.state.items():
            fresh = old[id(parameter)]
            for name, value in state.items():
                fresh[name].copy_(value)
            if "brought" in fresh:  # torch casts states to the type of their parameter, which whole numbers may not fit
                fresh["brought"].fill_(self.steps)
            self.state[parameter] = fresh
        self._begun = self.steps
        self._point()

    # -- tables that are behind --------------------------------------------------------------------------------

    @torch.no_grad()
    def synchronize(self) -> None:
        """Bring every row to the last step. `state_dict` and `materialize` of the tables do it by themselves; call it
        before reading a parameter directly."""
        if not self.dense or self._begun == self.steps:
            return
        self._bring_all([engine.addresses() for engine in self.engines])

    def _bring_all(self, places: Sequence[np.ndarray]) -> None:
        def bring() -> None:
            for engine, arrays in zip(self.engines, places, strict=True):
                launch(
                    updates.bring_all, SMALL, arrays, engine.states, self.steps, self._begun, self._numbers,
                    *self._history.arrays, engine.like,
                )  # fmt: skip
            self._begun = self.steps

        exclusively(_wholly, bring)

    def bring(self, call: Call) -> None:
        """Bring the rows that a call is about to read to the last step."""
        if not self.dense or self._begun == self.steps:
            return
        launch(
            updates.bring, call.shape.ids, call.shape.tasks, call.shape.uses, call.features, call.rows,
            call.piece_of, call.arrays, call.engine.states, self.steps, self._begun, self._numbers,
            *self._history.arrays, call.engine.like,
        )  # fmt: skip

    # -- inside ------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Only for torch's own constructor.

        Raises:
            InputError: later; kernels would not know of the group.
        """
        if hasattr(self, "_history"):
            raise InputError(f"{type(self).__name__} takes tables over when it is made; groups cannot be added later")
        super().add_param_group(param_group)

    def release(self) -> None:
        """Give the tables back, brought to the last step: they are ordinary parameters again, for any optimizer."""
        if self.dense and self._begun != self.steps:  # of tables that were replaced as well
            self._bring_all([engine.own_addresses() for engine in self.engines])
        self.zero_grad()
        for holder in self._holders:
            if (owner := holder()) is not None:
                owner.fuse(None)
        for engine in self.engines:
            engine.outputs.clear()
            engine.sums.clear()
        for parameter in self._parameters:
            give_back(parameter)

    def others(self, *modules: nn.Module) -> list[nn.Parameter]:
        """The parameters of these modules that no optimizer of coset owns, each once: those for one of torch's.

        Tables that cannot be owned are among them, so name the collections as well as the layers.

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

    def _engine(self, holder: Any, names: Iterable[str] | None = None) -> Engine:
        """Looks up the tables of a collection, or those of these names, which it still has to be fit to own."""
        modules, features = holder.fusable()
        if names is not None:
            if not set(names) <= modules.keys():
                raise InputError(f"{type(self).__name__}: tables were copied that kernels cannot train any more")
            modules = {name: modules[name] for name in names}
            features = {feature: table for feature, table in features.items() if table in modules}
        dtypes = {p.dtype for m in modules.values() for p in m.parameters()}
        if len(dtypes) > 1:
            raise InputError(f"optimizer: tables of one collection are of one dtype, not {sorted(map(str, dtypes))}")
        return Engine(Program(modules, features, holder.tables._modules), self)

    def _point(self) -> None:
        """Tell the kernels where the states are."""
        group_of = {id(p): number for number, group in enumerate(self.param_groups) for p in group["params"]}
        # What kernels write to must live, whatever is put in its place.
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

    def _note(self, now: int, rates: Sequence[float]) -> None:
        """Write down what step `now` does to rows, for those that are brought to it later."""
        if not self.dense:
            self._begun = now - 1
        elif now - 1 - self._begun >= _LONGEST or self._numbers is not self._new_numbers():
            self.synchronize()  # schedulers may change betas, by which the steps until now are made up for
        self._numbers = self._new_numbers()
        first, second = self.param_groups[0]["betas"]
        self._history.put(
            now - 1 - self._begun,
            [rate / (1 - first**now) for rate in rates],
            (1 - second**now) ** -0.5,
            [1 - rate * group["weight_decay"] for rate, group in zip(rates, self.param_groups, strict=True)],
        )

    def _new_numbers(self) -> np.ndarray:
        group = self.param_groups[0]
        eps = max(
            float(group["eps"]), self._smallest
        )  # or it would be zero in this type, and 0/0 of a zero gradient NaN
        return updates.numbers_of(eps, *map(float, group["betas"]), self._precision)


def _found(module: nn.Module) -> tuple[list[Any], dict[str, str]]:
    """The collections of a model with tables that can be owned; and its other tables by name, with the reasons."""
    # Asked of the type, as wrappers (torch.compile's, say) answer for the module within.
    owners: dict[str, Any] = {path: inner for path, inner in module.named_modules() if hasattr(type(inner), "fuse")}
    left: dict[str, str] = {}
    seen = {id(each) for owner in owners.values() for each in owner.modules()}
    for path, owner in owners.items():
        for name, why in owner.unfit().items():
            left[f"{name!r} of {path}" if path else repr(name)] = why
    for path, inner in module.named_modules():
        if isinstance(inner, TableModule) and id(inner) not in seen:
            seen |= {id(each) for each in inner.modules()}
            left[f"{inner.table.name!r} of {path}" if path else repr(inner.table.name)] = "it is in no collection"
        elif owners and id(inner) not in seen and _is_torchs(inner):
            left[repr(path)] = "it is torch's own, not a table of coset"
    return [owner for owner in owners.values() if owner.fusable()[0]], left


def _is_torchs(module: nn.Module) -> bool:
    """Whether this is a table of torch's that wants to be trained, and that one may take for one of coset."""
    return isinstance(module, nn.Embedding | nn.EmbeddingBag) and any(p.requires_grad for p in module.parameters())


def _listed(left: Mapping[str, str]) -> str:
    """A few of the tables that are left out, with the reasons."""
    shown = [f"{name} ({why})" for name, why in list(left.items())[:5]]
    return ", ".join(shown) + (f" and {len(left) - 5} more" if len(left) > 5 else "")


def _left_out(kind: str, left: Mapping[str, str]) -> str:
    count = "1 table" if len(left) == 1 else f"{len(left)} tables"
    return (
        f"{kind} does not train {count} of this model: {_listed(left)}; give another optimizer the parameters of "
        f"others(model), as torch.optim.Adam(optimizer.others(model))"
    )


def _none_to_own(kind: str, left: Mapping[str, str]) -> str:
    if left:
        return f"optimizer: {kind} can own no table here: {_listed(left)}; train them by an optimizer of torch's"
    return f"optimizer: {kind} finds no table of coset here, such as coset.Embedding or a collection, that it could own"


def _shapes(state: Mapping[str, Any]) -> dict[str, tuple[int, ...] | None]:
    """The sizes of the arrays of a state, by name."""
    return {name: tuple(value.shape) if isinstance(value, Tensor) else None for name, value in state.items()}


def _together(engine: Engine) -> Gradients | None:
    """The gradients of all backward passes since the last step, as one."""
    filled = [found for found in engine.pending if len(found.tasks)]  # a call may ask for no ids at all
    if len(filled) <= 1:
        return filled[0] if filled else None
    width = engine.program.arrays[:, layout.ARRAY_WIDTH]
    rows: dict[int, list[np.ndarray]] = {}
    values: dict[int, list[np.ndarray]] = {}
    for found in filled:
        for task, count in zip(found.tasks, found.counts, strict=True):
            array, room, start = int(task[layout.TASK_ARRAY]), task[layout.ROOM], task[layout.SUMS]
            rows.setdefault(array, []).append(found.distinct[room : room + count])
            values.setdefault(array, []).append(
                found.sums[start : start + count * width[array]].reshape(count, width[array])
            )
    tasks, distinct, sums, squares = [], [], [], []
    room = start = 0
    for array, parts in rows.items():
        each, place = np.unique(np.concatenate(parts), return_inverse=True)
        total = np.zeros((len(each), width[array]), engine.program.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found below
            np.add.at(total, place, np.concatenate(values[array]))
        tasks.append([array, 0, 1, room, start, 0, 0])
        distinct.append(each)
        sums.append(total.reshape(-1))
        squares.append(float(np.square(total, dtype=np.float64).sum()))
        room, start = room + len(each), start + total.size
    return Gradients(
        np.array(tasks, np.int64), np.concatenate(distinct), np.concatenate(sums),
        np.array([len(each) for each in distinct], np.int64), np.array(squares), sum(squares),
    )  # fmt: skip


def _norm(parts: Iterable[Gradients | None]) -> float:
    return sqrt(sum(found.square for found in parts if found is not None))


def _not_finite(engine: Engine, found: Gradients, limit: float) -> str | None:
    """A table with a gradient that is NaN or infinite, or whose squares are beyond a limit."""
    for task, squares in zip(found.tasks, found.squares, strict=True):
        if not squares < limit:
            parameter = engine.program.parameters[task[layout.TASK_ARRAY]]
            return next(n for n, m in engine.program.modules.items() if any(p is parameter for p in m.parameters()))
    return None


def _wholly(work: Callable[[], None]) -> None:
    """Do all of `work`, of which doing some part twice does no more than once: an interrupt from the keyboard waits."""
    waits: KeyboardInterrupt | None = None
    while True:
        try:
            work()
            break
        except KeyboardInterrupt as interrupt:
            waits = interrupt
    if waits is not None:
        raise waits


def _refuse_owned(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Tables have one optimizer."""
    if isinstance(optimizer, TableOptimizer):
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if (owner := owner_of(parameter)) is not None:
                raise InputError(
                    f"{type(optimizer).__name__} was given a table that {type(owner).__name__} of coset trains; "
                    f"give it optimizer.others(model) instead of all parameters"
                )


register_optimizer_step_pre_hook(_refuse_owned)
