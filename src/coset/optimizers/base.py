"""`TableOptimizer`: what all optimizers of tables share, with a step that happens whole or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from coset.engine.fused import FusedEngine
from coset.engine.owners import owner_of
from coset.errors import InputError, UnownedTables
from coset.kernels import layout, updates
from coset.kernels.compile import announce
from coset.kernels.launch import exclusively
from coset.methods.base import TableModule
from coset.optimizers.arguments import (
    Replicas,
    check_factor,
    check_groups,
    check_module,
    check_options,
    check_ranks,
)
from coset.optimizers.behind import wholly
from coset.optimizers.found import collections_in, left_out, none_to_own
from coset.optimizers.gradients import norm_of, not_finite, together, untouched
from coset.optimizers.owning import Owning


class TableOptimizer(Owning):
    """Owns the row-composed tables of a model, and trains them by kernels.

    From then on the collections of the model look their tables up by kernels too, backward passes leave sums of
    gradients by row with the optimizer, and the tables get no `.grad`: give the other parameters, those of
    `others(model)`, to an optimizer of torch. A step checks, clips and applies all sums, or changes nothing. Use it
    like any optimizer of torch: `param_groups`, schedulers and `state_dict` work as there. What a step reads and writes
    follows the batch, not the number of ids. Copied or pickled together with its model, as `copy.deepcopy((model,
    optimizer))`, it owns the copied tables. Copied alone, it has copies of its tables that no model reads: `state_dict`
    gives its state, and a step raises.

    A step drops the gradients that it has applied, so they do not add up from step to step. To drop them without a
    step, call `zero_grad` of this optimizer: that of the model finds no `.grad` of these tables, and drops nothing.

    `torch.nn.utils.clip_grad_norm_` sees no gradients of these tables: give `max_norm`, or clip them together with
    those of other parameters by `gradient_norm` and `scale_gradients`.

    Args:
        module: a collection, or any model that holds collections.
        lr: learning rate.
        weight_decay: decoupled: a step scales a row by 1 - lr · weight_decay. Rows without
            a gradient lose nothing, except by `Adam(mode="dense")`.
        max_norm: longest allowed norm of all gradients together; longer ones are scaled down to it.
        nonfinite: `"error"`: a gradient that is NaN or infinite raises a `FloatingPointError`; `"skip"`: such a step is
            skipped, and counted in `skipped`. No table changes in either case.
        projection_scale: learning rate of projections, relative to that of rows.
        replicas: `"alike"`: where `torch.distributed` has several ranks, a step raises, since gradients of tables are
            not exchanged; `"independent"`: each rank trains a model of its own.

    Raises:
        InputError: no table in the module is composed of rows on the CPU, or another optimizer owns one.

    Warns:
        UnownedTables: some tables cannot be owned; the warning names them and the reasons.
    """

    kind: ClassVar[int]

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
        holders, left = collections_in(module)
        if not holders:
            raise InputError(none_to_own(type(self).__name__, left))
        engines = [self._engine(holder) for holder in holders]
        every = self._free(engines)
        slow = {id(p) for m in module.modules() if isinstance(m, TableModule) for p in m.projections()}
        self._check_forms(engines)
        steps = {id(p) for engine in engines for p in engine.program.steps}
        groups: list[dict[str, Any]] = [
            {"params": [p for p in every if (id(p) in slow, id(p) in steps) == (is_slow, are_steps)], "lr": lr * scale}
            | ({"weight_decay": 0.0} if are_steps else {})  # which would draw steps to 1
            for are_steps in (False, True)
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
            warnings.warn(left_out(type(self).__name__, left), UnownedTables, stacklevel=3)
        for engine in engines:
            program = engine.program
            for parameter, shape in zip(program.parameters, program.shapes, strict=True):
                self.state[parameter] = self._fresh_state(shape, engine.dtype, parameter.device)
                parameter.grad = None  # of a former optimizer
        self._own(holders, engines)
        announce()

    # -- what the kinds of optimizers differ in ----------------------------------------------------------------

    def _fresh_state(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
        """Fresh state of an array of this shape, in the type that it is computed in, under the names that torch's
        optimizers use; at most two arrays, and `brought`, the step that each row is brought to."""
        raise NotImplementedError

    def _check_forms(self, engines: Sequence[FusedEngine]) -> None:
        """Raise an `InputError` where this kind of optimizer cannot train an array as it lies."""

    # -- the interface of torch's optimizers -------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Check, clip and apply the gradients of all backward passes since the last step.

        Raises:
            FloatingPointError: a gradient is NaN, infinite or too large, and `nonfinite` is `"error"`.
            InputError: tables were replaced, moved or frozen, the model was freed or this optimizer was copied without
                it, a setting is no number to train with, or there are several ranks (see `replicas`).
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
        if not untouched(self._floats):
            frozen = any(not parameter.requires_grad for parameter in self._floats)
            raise InputError(
                f"{type(self).__name__} cannot take this step: "
                + ("a table is frozen by requires_grad=False; unfreeze it before the step"
                   if frozen
                   else "a table has a .grad, from a use of its parameters outside of the collection (a penalty, say), "
                        "which kernels do not see; leave that out, or train by an optimizer of torch")
            )  # fmt: skip
        places = [engine.addresses() for engine in self.engines]
        waiting = [(engine, together(engine)) for engine in self.engines]
        norm = norm_of(found for _, found in waiting) * abs(self._factor)
        scale = self._factor * (1.0 if self.max_norm is None else min(1.0, self.max_norm / (norm + 1e-6)))
        limit = inf if self.kind == layout.SGD else self._largest  # of squares, of which the other optimizers keep sums
        longest = scale * (norm / abs(self._factor)) if norm else 0.0  # of what is applied
        if not (norm < inf and longest * longest < limit) or 0 < abs(scale) < self._smallest:
            names = [not_finite(engine, found, limit) for engine, found in waiting if found is not None]
            self._forget()
            if self.nonfinite == "skip":
                self.skipped += 1
                return loss
            named = (f"table {name!r}" for name in names if name is not None)
            where = next(named, "all tables together")  # the sum may overflow where that of no table does
            raise FloatingPointError(
                f"{where}: a gradient is NaN or infinite, or too large to be squared, so this step was not "
                f"taken and nothing has changed; lower the learning rate, or leave such steps out with nonfinite='skip'"
            )
        now, version = self.steps + 1, self.version + 1

        def commit() -> None:
            rates = [float(group["lr"]) for group in self.param_groups]
            self._note(now, rates)
            steps = self._told(now)
            if scale != 1:
                numbers = self._numbers.copy()
                numbers[updates.SCALE] = scale
                steps = steps._replace(numbers=numbers)
            for (engine, found), arrays in zip(waiting, places, strict=True):
                if found is not None:
                    engine.apply(found, arrays, self.kind, np.array(rates), steps)
            for group in self.param_groups:
                group["steps"] = now
            self.version = version
            torch.autograd.graph.increment_version(self._parameters)
            self._forget()

        exclusively(wholly, commit)
        for hook in self._optimizer_step_post_hooks.values():
            hook(self, (), {})
        return loss

    # torch wraps `step` to profile it, which takes as long as all kernels of a small batch.
    step.hooked = True  # type: ignore[attr-defined]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients since the last step, which `zero_grad` of the model does not."""
        self._forget()
        for parameter in self._floats:
            parameter.grad = None

    def gradient_norm(self) -> float:
        """The norm of all gradients since the last step, before `max_norm`; NaN or infinite where one of them is."""
        return norm_of(map(together, self.engines)) * abs(self._factor)

    def scale_gradients(self, factor: float) -> None:
        """Multiply all gradients since the last step by a factor: to clip them together with those of other parameters,
        or to undo the scale of a `torch.amp.GradScaler` by `scale_gradients(1 / scaler.get_scale())`.
        """
        self._factor *= check_factor(factor)

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """`torch.amp.GradScaler.step` reads this; it finds no gradients in `.grad` and would only fail later."""
        raise InputError(
            f"GradScaler sees no gradients of the tables that {type(self).__name__} owns: call "
            f"optimizer.scale_gradients(1 / scaler.get_scale()) and optimizer.step() in place of scaler.step(optimizer)"
        )

    def scratch_bytes(self) -> dict[str, int]:
        """Bytes that this optimizer keeps now beside tables and state, by purpose: for reuse, for the next step, and
        for steps that rows have missed."""
        waiting = [found for engine in self.engines for found in engine.pending]
        history = sum(array.nbytes for array in self._history.arrays) if self.dense else 0
        return {
            "vectors": sum(engine.outputs.bytes for engine in self.engines),
            "sums of gradients by row": sum(engine.sums.bytes for engine in self.engines)
            + sum(found.distinct.nbytes for found in waiting),
            "steps to make up for": history,
            "arrays widened for lookups": sum(engine.widened.bytes for engine in self.engines),
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
        try:
            groups, states = state_dict["param_groups"], state_dict["state"]
            numbers = [number for group in groups for number in group["params"]]
            given = [[_shapes(states[number]) for number in group["params"]] for group in groups]
            alike = given == own and set(numbers) == set(states) and all("steps" in group for group in groups)
        except (AttributeError, IndexError, KeyError, TypeError):
            alike = False
        if not alike:  # before torch replaces the state here by it
            raise InputError("optimizer: the state to load is of another optimizer, or of other tables")
        old = {id(p): state for p, state in self.state.items()}
        super().load_state_dict(state_dict)
        loaded = [states[number] for group in groups for number in group["params"]]
        for parameter, state in zip((p for group in self.param_groups for p in group["params"]), loaded, strict=True):
            fresh = old[id(parameter)]
            for name, value in state.items():  # not as torch has cast them, to the type of their parameter
                fresh[name].copy_(value)
            if "brought" in fresh:
                fresh["brought"].fill_(self.steps)
            self.state[parameter] = fresh
        self._begun = self.steps
        self._point()


def _shapes(state: Mapping[str, Any]) -> dict[str, tuple[int, ...] | None]:
    """The sizes of the arrays of a state, by name."""
    return {name: tuple(value.shape) if isinstance(value, Tensor) else None for name, value in state.items()}


def _refuse_owned(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Raise an `InputError` where another optimizer takes a table that is owned."""
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
