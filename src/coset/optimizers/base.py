"""`TableOptimizer`: what all optimizers of tables share, from taking tables over to a step done whole or not."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf, sqrt
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from coset.errors import InputError
from coset.kernels import layout, updates
from coset.kernels.compile import SMALL, announce, exclusively, launch
from coset.methods.base import TableModule
from coset.methods.owners import give_back, owner_of, take
from coset.methods.program import Program, fusable
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
    step reads and writes follows the batch, not the number of ids.

    Args:
        module: a collection, or any model that holds some.
        lr: learning rate.
        weight_decay: decoupled: with a step, a row loses this part of itself, times the learning rate. Rows without
            a gradient lose nothing, except by `Adam(mode="dense")`.
        max_norm: longest allowed norm of all gradients together; longer ones are scaled down to it.
        nonfinite: `"error"`: a gradient that is NaN or infinite raises a `FloatingPointError`; `"skip"`: its step is
            left out, and counted in `skipped`. No table changes in either case.
        projection_scale: learning rate of projections, relative to that of rows.

    Raises:
        InputError: no table in the module is composed of rows on the CPU, or another optimizer owns one.
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
    ) -> None:
        for what, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            if not 0 <= value < inf:
                raise InputError(f"optimizer: {what} must be 0 or more, not {value!r}")
        if not projection_scale > 0:
            raise InputError(f"optimizer: projection_scale must be positive, not {projection_scale!r}")
        if max_norm is not None and not max_norm > 0:
            raise InputError(f"optimizer: max_norm must be positive, not {max_norm!r}")
        if nonfinite not in ("error", "skip"):
            raise InputError(f"optimizer: nonfinite must be 'error' or 'skip', not {nonfinite!r}")
        if not all(0 <= beta < 1 for beta in betas):
            raise InputError(f"optimizer: betas must be in 0 … 1, 1 excluded, not {betas!r}")
        owners: list[Any] = [inner for inner in module.modules() if hasattr(inner, "fuse")]
        self.engines = [engine for owner in owners if (engine := self._engine(owner)) is not None]
        if not self.engines:
            raise InputError(
                "optimizer: no table here is composed of rows, on the CPU, in float32 or float64, in a collection; "
                "train it by an optimizer of torch's"
            )
        slow = {id(p) for m in module.modules() if isinstance(m, TableModule) for p in m.projections()}
        every = {id(p): p for engine in self.engines for p in engine.program.parameters}
        if sum(len(engine.program.parameters) for engine in self.engines) > len(every):
            raise InputError("optimizer: two collections hold one array, which kernels would train in each; use one")
        if (other := next((o for p in every.values() if (o := owner_of(p)) is not None), None)) is not None:
            raise InputError(
                f"optimizer: {type(other).__name__} owns a table of this model already; its release() gives them back"
            )
        groups = [
            {"params": [p for p in every.values() if (id(p) in slow) == is_slow], "lr": lr * scale}
            for is_slow, scale in ((False, 1.0), (True, projection_scale))
        ]
        self.max_norm, self.nonfinite, self.skipped, self.version = max_norm, nonfinite, 0, 0
        self._begun = 0
        self._factor = 1.0
        super().__init__(
            [group for group in groups if group["params"]],
            {"lr": lr, "eps": eps, "weight_decay": weight_decay, "betas": betas, "steps": 0},
        )
        for parameter in every.values():
            self.state[parameter] = self._fresh_state(parameter)
            parameter.grad = None  # of the optimizer before
            take(parameter, self)
        self._parameters = list(every.values())
        self._history = History(len(self.param_groups))
        self._precision = float(np.finfo(self.engines[0].program.dtype).eps)
        self._numbers = self._new_numbers()
        """What kernels are told of the steps since the last synchronization."""
        self._point()
        holders = [owner for owner in owners if self._fuses(owner)]
        for owner, engine in zip(holders, self.engines, strict=True):
            owner.fuse(engine)
        self._holders = [weakref.ref(owner) for owner in holders]  # they hold this
        announce()

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
            FloatingPointError: a gradient is NaN or infinite, and `nonfinite` is `"error"`.
        """
        for hook in self._optimizer_step_pre_hooks.values():
            hook(self, (), {})
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for parameter in self._parameters:
            if parameter.grad is not None or not parameter.requires_grad:
                raise InputError(
                    f"{type(self).__name__} cannot take this step: "
                    + ("a table has a .grad, from a use of its parameters outside of the collection (a penalty, say), "
                       "of which kernels know nothing; leave that out, or train by an optimizer of torch's"
                       if parameter.requires_grad
                       else "a table was frozen by requires_grad=False; call no step while it is")
                )  # fmt: skip
        places = [engine.addresses() for engine in self.engines]
        waiting = [(engine, _together(engine)) for engine in self.engines]
        norm = _norm(found for _, found in waiting)
        if not norm < inf:
            names = [_not_finite(engine, found) for engine, found in waiting if found is not None]
            self._forget()
            if self.nonfinite == "skip":
                self.skipped += 1
                return loss
            table = next((repr(name) for name in names if name is not None), "of all")  # all together may overflow
            raise FloatingPointError(
                f"table {table}: a gradient is NaN or infinite, or too large to be squared, so this step was not "
                f"taken and nothing has changed; lower the learning rate, or leave such steps out with nonfinite='skip'"
            )
        scale = self._factor * (1.0 if self.max_norm is None else min(1.0, self.max_norm / (norm + 1e-6)))
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
        return _norm(map(_together, self.engines))

    def scale_gradients(self, factor: float) -> None:
        """Multiply all gradients that wait for a step, as when they are clipped together with those of other
        parameters."""
        self._factor *= factor

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
        places = [engine.addresses() for engine in self.engines]

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
        self.synchronize()
        self.zero_grad()
        for holder in self._holders:
            if (owner := holder()) is not None:
                owner.fuse(None)
        for engine in self.engines:
            engine.outputs.clear()
            engine.sums.clear()
        for parameter in self._parameters:
            give_back(parameter)

    def others(self, module: nn.Module) -> list[nn.Parameter]:
        """The parameters of a model that no such optimizer owns: those for an optimizer of torch's."""
        return [p for p in module.parameters() if owner_of(p) is None]

    def _engine(self, owner: Any) -> Engine | None:
        modules, features = owner.fusable()
        modules = {name: m for name, m in modules.items() if fusable(m)}
        kept = {feature: table for feature, table in features.items() if table in modules}
        dtypes = {p.dtype for m in modules.values() for p in m.parameters()}
        if len(dtypes) > 1:
            raise InputError(f"optimizer: tables of one collection are of one dtype, not {sorted(map(str, dtypes))}")
        return Engine(Program(modules, kept), self) if modules else None

    def _fuses(self, owner: Any) -> bool:
        return any(fusable(m) for m in owner.fusable()[0].values())

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
        return updates.numbers_of(group["eps"], *group["betas"], self._precision)


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


def _not_finite(engine: Engine, found: Gradients) -> str | None:
    """A table with a gradient that is NaN or infinite."""
    for task, squares in zip(found.tasks, found.squares, strict=True):
        if not np.isfinite(squares):
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
